//! A whole machine moves: made from Debian's packages, over a connection that
//! breaks, into an instance that runs in RAM, and starts there.

use p2v_tests::moving::{self, Way};
use p2v_tests::sources::{self, EXT4, Look};
use p2v_tests::{GIB, Lab, need_root};

/// What it says of itself on its own hardware, less what packages decide.
const BEFORE: &str = "\
hostname old1
fqdn old1.example.net
init systemd
mount / ext4 11111111-aaaa-4aaa-8aaa-000000000001
mount /home ext4 11111111-aaaa-4aaa-8aaa-000000000005 home
mount /srv/export ext4 11111111-aaaa-4aaa-8aaa-000000000005 home
swap partition
address 10.0.2.15/24
gateway 10.0.2.2
multi-user active
";

#[test]
fn a_machine_moves_over_a_breaking_connection_and_starts_with_all_its_files() {
    need_root!();
    let lab = Lab::new("transfer").unwrap();
    let source = sources::ready(&EXT4).unwrap();
    let before = Look::parse(BEFORE);
    let way = Way::Breaking { cuts: 3 };
    lab.run(|lab| moving::migrate(lab, &source, 8 * GIB, way, &before))
        .unwrap();
    lab.assert_nothing_left();
}
