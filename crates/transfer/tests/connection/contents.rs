//! Contents beside the orders: both ways, broken, and begun again.

use std::io::{Read, Write};
use std::time::Duration;

use anyhow::Result;
use p2v_transfer::connection::{Policy, is_lost, retry};

use crate::sshd::{Sshd, data_order};

#[test]
fn contents_go_both_ways() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(
        "echo $SSH_ORIGINAL_COMMAND >$HERE/command; read -r order; echo $order >$HERE/order; cat",
    );
    let mut data = sshd.link().data(&data_order()).unwrap();
    let sent: Vec<u8> = (0..32 << 20)
        .map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut received = vec![0; sent.len()];
    std::thread::scope(|scope| {
        let (from, to) = (&mut data.from, &mut data.to);
        scope.spawn(|| {
            to.write_all(&sent).unwrap();
            to.flush().unwrap();
        });
        from.read_exact(&mut received).unwrap();
    });
    assert!(sent == received);
    data.close().unwrap();
    assert!(sshd.text("command").ends_with(" p2v agent --data\n"));
    assert!(sshd.text("order").contains("\"volume\":\"vda1\""));
}

#[test]
fn whose_fault_a_broken_copy_is() {
    p2v_testing::need_root!();
    let copied = |script: &str, error: &str| {
        let sshd = Sshd::start(script);
        let data = sshd.link().data(&data_order()).unwrap();
        // Until the script has done what it does.
        std::thread::sleep(Duration::from_millis(700));
        let failed: Result<()> = Err(anyhow::anyhow!("{error}"));
        let error = data.settle(failed).unwrap_err();
        (format!("{error:#}"), is_lost(&error))
    };
    let (text, lost) = copied("read order; kill -9 $PPID", "the stream ended");
    assert!(lost, "{text}");
    let (text, lost) = copied("read order; cat", "reading /home/x: I/O error");
    assert_eq!((text.as_str(), lost), ("reading /home/x: I/O error", false));
    let full = "read order; echo p2v: error: the disk is full >&2; exit 1";
    let (text, lost) = copied(full, "the stream ended");
    assert!(text.contains("the disk is full") && !lost, "{text}");

    let sshd = Sshd::start("read order; echo p2v: error: the disk is full >&2; exit 1");
    let error = sshd
        .link()
        .data(&data_order())
        .unwrap()
        .close()
        .unwrap_err();
    assert!(
        format!("{error:#}").ends_with("the disk is full"),
        "{error:#}"
    );
}

#[test]
fn work_is_repeated_until_the_connection_lasts() {
    p2v_testing::need_root!();
    let sshd = Sshd::start(
        "read order; echo >>$HERE/tries; [ $(wc -l <$HERE/tries) -gt 3 ] || kill -9 $PPID; echo good; cat >/dev/null",
    );
    let link = sshd.link();
    let policy = Policy {
        first: Duration::from_millis(20),
        longest: Duration::from_millis(100),
        give_up: Duration::from_secs(60),
    };
    let mut said = Vec::new();
    let text = retry(&policy, &mut |line| said.push(line.to_owned()), |pulse| {
        let mut data = link.data(&data_order())?;
        let mut text = [0; 5];
        let read = data.from.read_exact(&mut text);
        pulse.beat();
        data.settle(read.map(|()| text).map_err(Into::into))
    });
    assert_eq!(&text.unwrap(), b"good\n");
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(
        said[0].starts_with("connection lost; trying again in 1 s: "),
        "{said:?}"
    );
}
