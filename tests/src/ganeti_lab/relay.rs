//! A way out of a node's network to one host and port outside: the node's
//! network has no other. It only carries bytes.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use super::node::Node;

/// Listens at `address` in the node's network, as long as this process lives;
/// who connects there is talking to `outside`, a "host:port".
pub fn start(node: &Node, address: SocketAddr, outside: &str) -> Result<()> {
    let listener = listen_in(node, address)?;
    let outside = outside.to_owned();
    std::thread::Builder::new()
        .name("relay".to_owned())
        .spawn(move || {
            for inside in listener.incoming().flatten() {
                let outside = outside.clone();
                std::thread::spawn(move || carry(&inside, &outside));
            }
        })
        .context("starting a thread")?;
    Ok(())
}

/// A socket stays in the network in which it was made, whoever uses it.
fn listen_in(node: &Node, address: SocketAddr) -> Result<TcpListener> {
    let network = node.network()?;
    let made = std::thread::spawn(move || {
        setns(&network, CloneFlags::CLONE_NEWNET).context("entering the node's network")?;
        TcpListener::bind(address).with_context(|| format!("listening at {address}"))
    });
    made.join()
        .map_err(|_| anyhow!("a thread in the node's network panicked"))?
}

/// Failures end the connection, which is all that the other side can be told.
fn carry(inside: &TcpStream, outside: &str) {
    let Ok(outside) = TcpStream::connect(outside) else {
        return;
    };
    std::thread::scope(|scope| {
        scope.spawn(|| copy(inside, &outside));
        copy(&outside, inside);
    });
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
