//! Whatever layout a machine has, its plan is sound or refused.

use super::*;

/// A small generator, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn disk(&mut self, number: usize) -> Disk {
        let kinds = ["ext4", "xfs", "btrfs", "ext2", "vfat"];
        let label = if self.below(2) == 0 { "dos" } else { "gpt" };
        let count = 1 + self.below(9) as usize;
        let mut parts = Vec::new();
        for part in 0..count {
            let size = (4 + self.below(4000)) * MIB + self.below(5) * 4096;
            let used = size / 100 * self.below(90);
            let mount = match (number, part) {
                (0, 0) => "/".to_owned(),
                _ => format!("/{number}/{part}"),
            };
            let content = match self.below(8) {
                _ if (number, part) == (0, 0) => {
                    filesystem(kinds[self.below(4) as usize], "/", used)
                }
                0 => swap(),
                1 => Content::Nothing,
                2 => Content::Unmovable("LVM2_member".to_owned()),
                _ => filesystem(kinds[self.below(5) as usize], &mount, used),
            };
            parts.push((size, content));
        }
        let used: u64 = parts.iter().map(|(size, _)| size + 2 * MIB).sum();
        let free = self.below(3) * self.below(2000) * MIB;
        disk(
            char::from(b'a' + number as u8),
            used + 20 * MIB + free,
            label,
            &parts,
        )
    }
}

#[test]
fn any_layout_comes_out_sound_or_is_refused() {
    let mut random = Random(4);
    let (mut made, mut refused) = (0, 0);
    for _ in 0..150 {
        let count = 1 + random.below(2) as usize;
        let source = source((0..count).map(|number| random.disk(number)).collect());
        let sizes: Vec<_> = source
            .disks
            .iter()
            .map(|disk| disk.size / 100 * (20 + random.below(200)))
            .collect();
        let wishes = Wishes::default();
        match derive(&source, &target(&sizes), &wishes) {
            Ok(plan) => {
                made += 1;
                check_layout(&source, &plan);
                assert_eq!(plan, derive(&source, &target(&sizes), &wishes).unwrap());
                // All is either moved or named.
                let areas: usize = source.disks.iter().map(|disk| disk.areas.len()).sum();
                let named = plan.volumes().filter(|(_, volume)| !volume.was.is_empty());
                assert_eq!(named.count() + plan.left_out.len(), areas);
            }
            Err(error) => {
                refused += 1;
                assert!(format!("{error:#}").contains("at least"), "{error:#}");
            }
        }
    }
    assert!(made > 50 && refused > 5, "{made} made, {refused} refused");
}
