//! A small kernel's indexes, with every oddity that the real ones show.

use super::IndexTexts;

/// Modules with hard and soft dependencies, dashes, compression, an alias
/// with two providers, and soft dependencies that go in a circle.
pub(crate) fn texts() -> IndexTexts {
    IndexTexts {
        dep: "\
kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko.xz:
kernel/arch/x86/crypto/crc32c-intel.ko:
kernel/crypto/crc32c_generic.ko.zst:
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/block/xen-blkfront.ko.gz:
kernel/one.ko:
kernel/two.ko: kernel/three.ko
kernel/three.ko:
updates/dkms/one.ko:
"
        .to_owned(),
        alias: "\
# Aliases extracted from modules themselves.
alias fs-ext4 ext4
alias crypto-crc32c crc32c_intel
alias crypto-crc32c crc32c_generic
alias virtio:d00000002v* virtio_blk
alias xen:vbd xen_blkfront
alias dmi:*:svnSome Vendor:* one
alias ghost-[a-c]-* nowhere
"
        .to_owned(),
        softdep: "\
# Soft dependencies extracted from modules themselves.
softdep ext4 pre: crypto-crc32c
softdep jbd2 pre: crypto-crc32c
softdep one pre: two post: virtio_blk
softdep two pre: one
softdep virtio-ring gcm
softdep one pre: crc16
"
        .to_owned(),
        builtin: "\
kernel/drivers/tty/serial/8250/8250.ko
kernel/arch/x86/crypto/libblake2s-x86_64.ko
"
        .to_owned(),
    }
}
