//! A way to a local port that breaks: it carries bytes, and after so many of
//! them ends every connection at once, in the middle of whatever they say.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Such a way; its listener lives as long as this process.
#[derive(Debug, Clone)]
pub struct Unreliable {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// The bytes that may still pass before the next cut.
    left: u64,
    every: u64,
    cuts_to_come: usize,
    cuts: usize,
    there: u16,
    passed: u64,
    connections: Vec<TcpStream>,
}

impl Unreliable {
    /// A way to `port` that breaks `cuts` times, each after `every` more bytes
    /// that went there.
    pub fn to(port: u16, cuts: usize, every: u64) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("opening a port")?;
        let state = State {
            left: every,
            every,
            cuts_to_come: cuts,
            cuts: 0,
            there: port,
            passed: 0,
            connections: Vec::new(),
        };
        let way = Self {
            port: listener.local_addr().context("opening a port")?.port(),
            state: Arc::new(Mutex::new(state)),
        };
        let carrier = way.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let carrier = carrier.clone();
                std::thread::spawn(move || carrier.carry(&stream));
            }
        });
        Ok(way)
    }

    /// Where to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Leads those who connect from now on to another port.
    pub fn lead_to(&self, port: u16) {
        self.state().there = port;
    }

    /// How often it has broken.
    pub fn cuts(&self) -> usize {
        self.state().cuts
    }

    /// How many bytes went there.
    pub fn passed(&self) -> u64 {
        self.state().passed
    }

    /// Waits until so many bytes went there.
    pub fn wait_for(&self, bytes: u64, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while self.passed() < bytes {
            ensure!(
                Instant::now() < deadline,
                "only {} of {bytes} bytes passed",
                self.passed()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Failures end the connection, which is all that either side can be told.
    fn carry(&self, stream: &TcpStream) {
        let port = self.state().there;
        let Ok(there) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
            return;
        };
        for end in [stream, &there] {
            if let Ok(end) = end.try_clone() {
                self.state().connections.push(end);
            }
        }
        std::thread::scope(|scope| {
            scope.spawn(|| copy(&there, stream, |_| ()));
            copy(stream, &there, |count| self.count(count));
        });
    }

    fn count(&self, bytes: usize) {
        let mut state = self.state();
        state.left = state.left.saturating_sub(bytes as u64);
        state.passed += bytes as u64;
        if state.left == 0 && state.cuts_to_come > 0 {
            state.left = state.every;
            state.cuts_to_come -= 1;
            state.cuts += 1;
            for connection in state.connections.drain(..) {
                // It may have ended by itself.
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, counted: impl Fn(usize)) {
    let mut bytes = [0; 16384];
    loop {
        match from.read(&mut bytes) {
            Ok(0) | Err(_) => break,
            Ok(count) if to.write_all(&bytes[..count]).is_err() => break,
            Ok(count) => counted(count),
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_breaks_as_often_as_told_and_then_holds() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = server.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in server.incoming().flatten() {
                std::thread::spawn(move || copy(&stream, &stream, |_| ()));
            }
        });
        let way = Unreliable::to(port, 2, 100_000).unwrap();
        let send = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, way.port())).unwrap();
            let mut back = stream.try_clone().unwrap();
            let sent = std::thread::spawn(move || {
                let sent = stream.write_all(&[7; 300_000]);
                sent.is_ok() && stream.shutdown(Shutdown::Write).is_ok()
            });
            let mut echoed = Vec::new();
            let _ = back.read_to_end(&mut echoed);
            sent.join().unwrap() && echoed.len() == 300_000
        };
        assert!(!send());
        assert!(!send());
        assert_eq!(way.cuts(), 2);
        assert!(send());
        assert_eq!(way.cuts(), 2);
    }
}
