//! `verify` as Ganeti calls it, and the OS parameters that are nobody else's
//! business: their values work, and reach no log.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p2v_tests::{Created, GIB, Instance, Lab, Outcome, image, need_root};

/// Part of every secret here, and of nothing else.
const SECRET: &str = "s3cr3t";
const HASH: &str = "$6$s3cr3t$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6W";

fn assert_not_shown(outcome: &Outcome) {
    assert!(!outcome.log.contains(SECRET), "{}", outcome.log);
}

#[test]
fn good_parameters_pass_without_a_word() {
    need_root!();
    let lab = Lab::new("verify").unwrap();
    let proxy = format!("http://me:{SECRET}@proxy.example:3128");
    let good = [
        ("filesystem", "xfs"),
        ("proxy", proxy.as_str()),
        ("root_password_hash", HASH),
        ("hostname_policy", "instance"),
        ("timezone", "Europe/Brussels"),
        ("extra_pkgs", "+vim less"),
    ];
    for parameters in [&good[..], &[]] {
        let outcome = lab.verify(parameters).unwrap();
        assert_eq!(outcome.assert_success().log, "");
    }
}

#[test]
fn every_fault_names_what_is_allowed_and_no_secret() {
    need_root!();
    let lab = Lab::new("verify-bad").unwrap();
    let mirror = format!("ssh://me:{SECRET}@mirror");
    let proxy = format!("http://me:{SECRET}/x@proxy");
    let hash = format!("$1${SECRET}");
    let bad = [
        ("filesystem", "zfs", "allowed: ext2, ext3, ext4, xfs, btrfs"),
        ("hostname_policy", "no", "allowed: keep, instance"),
        ("mirror", &mirror, "allowed: a URL, http://..."),
        ("proxy", &proxy, "%2F"),
        ("root_password_hash", &hash, "mkpasswd"),
        ("authorized_keys", SECRET, "public SSH keys"),
        ("colour", SECRET, "unknown (known: filesystem"),
    ];
    for (name, value, allowed) in bad {
        let outcome = lab.verify(&[(name, value)]).unwrap();
        outcome.assert_refused(&[name, allowed]);
        assert_not_shown(&outcome);
    }
    let all: Vec<_> = bad.iter().map(|(name, value, _)| (*name, *value)).collect();
    let outcome = lab.verify(&all).unwrap();
    outcome.assert_refused(&["7 faults"]);
    assert_not_shown(&outcome);
}

#[test]
fn secrets_given_to_create_work_and_reach_no_log() {
    need_root!();
    let lab = Lab::new("secrets").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    // The cached root is used, so no proxy is asked for anything.
    Created::make(&lab, &Instance::new("first.example.com", &disk)).unwrap();
    let proxy = format!("http://me:{SECRET}@proxy.example:3128");
    let mut instance = Instance::new("secret.example.com", &disk)
        .parameter("proxy", &proxy)
        .parameter("root_password_hash", HASH)
        .parameter("timezone", "Europe/Brussels");
    instance.debug = true;
    let created = Created::make(&lab, &instance).unwrap();
    assert!(!created.log.contains(SECRET), "{}", created.log);
    assert!(created.log.contains("debug"), "{}", created.log);
    let root = created.mount(&lab).unwrap();
    let read = |name: &str| std::fs::read_to_string(root.path().join(name)).unwrap();
    let line = format!("root:{HASH}:");
    assert!(
        read("etc/shadow")
            .lines()
            .any(|have| have.starts_with(&line))
    );
    assert_eq!(read("etc/timezone"), "Europe/Brussels\n");
    assert!(root.path().join("etc/localtime").symlink_metadata().is_ok());
    root.close().unwrap();
    let state = std::fs::read_to_string(lab.state_of(&created.name)).unwrap();
    assert!(!state.contains(SECRET), "{state}");
}

#[test]
fn secrets_of_a_create_that_fails_reach_no_log() {
    need_root!();
    let lab = Lab::with_own_cache("secrets-fail").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let bad = format!("http://me:{SECRET}/@proxy.example:3128");
    for (name, value) in [("proxy", bad.as_str()), ("root_password_hash", SECRET)] {
        let mut instance = Instance::new("secret.example.com", &disk).parameter(name, value);
        instance.debug = true;
        let outcome = lab.create(&instance).unwrap();
        outcome.assert_refused(&[name, "allowed"]);
        assert_not_shown(&outcome);
    }
    assert!(image::edges_are_blank(&disk).unwrap());
    lab.assert_nothing_left();
}

/// The bootstrap tool's own words come too, and others may look at its
/// arguments while it runs.
#[test]
fn a_mirrors_password_is_sent_to_the_mirror_alone() {
    need_root!();
    let lab = Lab::with_own_cache("secret-mirror").unwrap();
    let disk = lab.disk("disk.img", 2 * GIB).unwrap();
    let proxy = Proxy::start();
    let mut instance = Instance::new("secret.example.com", &disk)
        .parameter(
            "mirror",
            &format!("http://me:{SECRET}@mirror.example/debian"),
        )
        .parameter("proxy", &format!("http://{}", proxy.address));
    instance.debug = true;
    let mut running = lab.start_create(&instance).unwrap();
    let mut looks = 0;
    while running.child.try_wait().unwrap().is_none() {
        assert_no_argument_shows_it();
        looks += 1;
    }
    let outcome = running.finish(Duration::from_secs(10)).unwrap();
    outcome.assert_refused(&["mirror.example/debian", "cannot be reached"]);
    assert!(!outcome.log.contains(SECRET), "{}", outcome.log);
    assert!(looks > 3, "it ended before anybody looked");
    let asked = proxy.requests.lock().unwrap().concat();
    // me:s3cr3t
    assert!(asked.contains("Basic bWU6czNjcjN0"), "{asked}");
    assert!(image::edges_are_blank(&disk).unwrap());
    lab.assert_nothing_left();
}

fn assert_no_argument_shows_it() {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&arguments).replace('\0', " ");
        assert!(!text.contains(SECRET), "{text}");
    }
}

/// A proxy that has nothing, and remembers what it was asked for.
struct Proxy {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
        };
        let requests = Arc::clone(&proxy.requests);
        // Ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                requests.lock().unwrap().push(head.join("\n"));
                let answer =
                    "HTTP/1.1 404 Nothing\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        proxy
    }
}
