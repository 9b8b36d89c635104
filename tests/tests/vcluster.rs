//! `p2v distribute` in a virtual cluster: two of Ganeti's nodes on one machine,
//! each with a root directory of its own (`vcluster-setup`).

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use p2v_sys::Cmd;
use p2v_tests::ganeti_lab::node::{Network, Node, NodeSpec};
use p2v_tests::ganeti_lab::node_root;
use p2v_tests::ganeti_lab::scratch::Scratch;
use p2v_tests::{GIB, Instance, Lab, image, leftovers, need_root};

/// Where the virtual nodes' roots are.
const ROOTS: &str = "/srv/vcluster";

const CONFIG: &str = "etc/ganeti/instance-p2v-target";
const CACHE: &str = "var/cache/ganeti-instance-p2v-target";
const STATE: &str = "var/lib/ganeti-instance-p2v-target";

/// A machine with the virtual nodes node1, the master, and node2.
struct VirtualCluster {
    // In this order: the machine ends before its directory goes.
    machine: Node,
    scratch: Scratch,
}

impl VirtualCluster {
    fn up() -> Self {
        let root = node_root::ready().unwrap();
        let scratch = Scratch::new().unwrap();
        let spec = NodeSpec {
            name: "machine.lab".to_owned(),
            root,
            dir: scratch.dir().to_owned(),
            network: Network::Own,
        };
        let machine = Node::start(&spec).unwrap();
        let cluster = Self { machine, scratch };
        cluster.set_up();
        cluster
    }

    fn set_up(&self) {
        let hosts = "127.0.0.1 localhost\n";
        self.machine.write("/etc/hosts", hosts).unwrap();
        std::fs::create_dir_all(self.machine.path(ROOTS)).unwrap();
        for line in [
            "ip link set lo up",
            "ip link add br0 type bridge",
            "ip link set br0 up",
            "mkdir -p /root/.ssh",
            "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519",
            "cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys",
            "/usr/sbin/sshd",
            &format!("/usr/lib/ganeti/tools/vcluster-setup -c 2 -i 1 -n br0 {ROOTS}"),
        ] {
            self.machine
                .command("sh", line)
                .args(["-c", line])
                .run()
                .unwrap();
        }
        self.gnt(
            "gnt-cluster init --no-ssh-init --no-etc-hosts --enabled-disk-templates=diskless \
             --enabled-hypervisors=fake --master-netdev=br0 --nic-parameters=link=br0 cluster",
        );
        self.gnt("gnt-node add --no-ssh-key-check node2");
    }

    /// A program as on a virtual node.
    fn on(&self, node: &str, program: &str) -> Cmd {
        self.machine
            .command(program, format!("running {program} on {node}"))
            .env("GANETI_ROOTDIR", format!("{ROOTS}/{node}"))
            .env("GANETI_HOSTNAME", node)
    }

    fn gnt(&self, line: &str) {
        let (program, arguments) = line.split_once(' ').unwrap();
        let command = self.on("node1", program);
        command.args(arguments.split_whitespace()).run().unwrap();
    }

    /// Runs `p2v distribute` on the master: its status and what it printed.
    fn distribute(&self, options: &[&str]) -> (i32, String) {
        let command = self.on("node1", "p2v").arg("distribute").args(options);
        command.read_answer(&[1]).unwrap()
    }

    /// A virtual node's directory, as it is seen from here.
    fn path(&self, node: &str, inside: &str) -> PathBuf {
        self.machine.path(&format!("{ROOTS}/{node}/{inside}"))
    }

    /// What `make install` and the first create leave on a node.
    fn install(&self, lab: &Lab) {
        let binary = self.machine.path("/usr/sbin/p2v");
        std::fs::copy(lab.binary(), binary).unwrap();
        let copy = |from: &Path, to: &str| {
            let to = self.path("node1", to);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            let copy = Cmd::new("cp", "copying").args(["-a", "-T", "--"]);
            copy.args([from, &to]).run().unwrap();
        };
        copy(&lab.config_dir(), CONFIG);
        copy(lab.cache_dir(), CACHE);
        copy(&lab.state_dir(), STATE);
        let cache = self.path("node1", CACHE);
        std::fs::set_permissions(cache, Permissions::from_mode(0o700)).unwrap();
    }

    /// Every file and directory below, with its mode and hash.
    fn content(&self, node: &str, inside: &str) -> BTreeMap<String, (u32, String)> {
        let top = self.path(node, inside);
        let mut found = BTreeMap::new();
        collect(&top, &top, &mut found);
        // Those belong to the node that made them.
        found.retain(|name, _| !name.starts_with("initrd-") && !name.ends_with(".lock"));
        found
    }

    #[track_caller]
    fn assert_equal(&self) {
        for inside in [CONFIG, CACHE] {
            let (one, two) = (self.content("node1", inside), self.content("node2", inside));
            assert!(one.len() > 2, "{one:?}");
            assert_eq!(one, two, "{inside}");
        }
    }
}

fn collect(top: &Path, path: &Path, found: &mut BTreeMap<String, (u32, String)>) {
    let metadata = path.metadata().unwrap();
    let name = path.strip_prefix(top).unwrap().to_str().unwrap();
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        found.insert(format!("{name}/"), (mode, String::new()));
        for entry in std::fs::read_dir(path).unwrap() {
            collect(top, &entry.unwrap().path(), found);
        }
    } else {
        let hash = image::hash(path).unwrap().to_hex().to_string();
        found.insert(name.to_owned(), (mode, hash));
    }
}

/// A node's files after a first create.
fn made() -> Lab {
    let lab = Lab::new("vcluster").unwrap();
    // What the hooks read may be nobody else's business.
    std::fs::create_dir(lab.config_dir().join("confdata")).unwrap();
    let secret = lab.write_config("confdata/defaultpasswords", "root:secret\n");
    std::fs::set_permissions(secret.unwrap(), Permissions::from_mode(0o600)).unwrap();
    let disk = lab.disk("disk.img", GIB).unwrap();
    let instance = Instance::new("first.example.org", &disk);
    lab.create(&instance).unwrap().assert_success();
    lab
}

#[test]
fn two_nodes_hold_the_same_and_a_change_reaches_both() {
    need_root!();
    let lab = made();
    let cluster = VirtualCluster::up();
    cluster.install(&lab);

    let (status, shown) = cluster.distribute(&["--dry-run"]);
    assert_eq!(status, 1);
    let copies = "gnt-cluster copyfile -n node2 /srv/vcluster/node1/etc/ganeti";
    assert!(shown.contains(copies), "{shown}");
    assert!(!cluster.path("node2", CONFIG).exists());

    let (status, report) = cluster.distribute(&[]);
    println!("{shown}{report}");
    assert!(report.contains("node1: master, "), "{report}");
    assert!(report.contains("node2: equal, "), "{report}");
    assert_eq!(status, 0);
    cluster.assert_equal();
    assert!(
        !cluster.path("node2", STATE).exists(),
        "the state was copied"
    );
    assert_eq!(cluster.distribute(&["--dry-run"]), (0, String::new()));

    // What is changed on the master reaches both, modes too.
    let hook = cluster.path("node1", CONFIG).join("hooks.d/55-new");
    std::fs::write(&hook, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&hook, Permissions::from_mode(0o750)).unwrap();
    let conf = cluster.path("node1", CONFIG).join("p2v-target.conf");
    std::fs::write(&conf, "FILESYSTEM=xfs\n").unwrap();
    // What only the other node has is named, and stays.
    let extra = cluster.path("node2", CONFIG).join("hooks.d/99-own");
    std::fs::write(&extra, "#!/bin/sh\n").unwrap();
    let (status, report) = cluster.distribute(&[]);
    println!("{report}");
    assert_eq!(status, 1, "{report}");
    assert!(report.contains("only there"), "{report}");
    assert!(report.contains("hooks.d/99-own"), "{report}");
    std::fs::remove_file(&extra).unwrap();
    assert_eq!(cluster.distribute(&[]).0, 0);
    cluster.assert_equal();

    let refused = cluster.on("node2", "p2v").arg("distribute");
    let text = format!("{:#}", refused.run().unwrap_err());
    println!("{text}");
    assert!(text.contains("master node"), "{text}");

    let dir = cluster.scratch.dir().to_owned();
    drop(cluster);
    leftovers::assert_none(&dir);
    assert!(!dir.exists());
}
