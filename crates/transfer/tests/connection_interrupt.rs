//! A signal ends what waits for the target. In a process of its own, since a
//! signal is for all its threads.

#[path = "connection/sshd.rs"]
#[allow(dead_code)]
mod sshd;

use std::io::Read;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, raise};
use p2v_transfer::connection::{Policy, is_lost, retry};
use p2v_transfer::protocol::{Order, Status};

#[test]
fn a_signal_ends_orders_contents_and_pauses() {
    p2v_testing::need_root!();
    let sshd = sshd::Sshd::start("read order; sleep 60");
    let link = sshd.link();
    let mut agent = link.agent().unwrap();
    let mut data = link.data(&sshd::data_order()).unwrap();
    p2v_sys::interrupt::install().unwrap();
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(1));
        raise(Signal::SIGTERM).unwrap();
    });
    let start = Instant::now();
    let asked: anyhow::Result<Status> = agent.ask(Order::Status, &mut |_| {});
    let read = data.from.read_exact(&mut [0; 5]);
    let read = data.settle(read.map_err(Into::into));
    let policy = Policy {
        first: Duration::from_secs(60),
        longest: Duration::from_secs(60),
        give_up: Duration::from_secs(600),
    };
    let repeated: anyhow::Result<()> = retry(&policy, &mut |_| {}, |_| {
        Err(p2v_transfer::connection::Lost("gone".to_owned()).into())
    });
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    for error in [asked.unwrap_err(), read.unwrap_err(), repeated.unwrap_err()] {
        assert!(
            format!("{error:#}").contains("interrupted by SIGTERM"),
            "{error:#}"
        );
        assert!(!is_lost(&error));
    }
}
