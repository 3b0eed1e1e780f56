//! Making sled's writes wait for the device.

use std::fs::File;

/// Has every write to the file wait until it is on stable storage, or no longer; of a
/// directory, every change of its names.
///
/// sled takes the return of `sync_file_range` for stable, writes over what it believes to
/// be superseded, and so may destroy the only durable copy of a page. The attribute
/// `S` of the file (`chattr +S`) makes the belief true. Returns whether it is as asked:
/// ext4, XFS, btrfs and F2FS know the attribute, other file systems may not.
pub(super) fn write_through(file: &File, on: bool) -> bool {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
        let Ok(flags) = ioctl_getflags(file) else {
            return !on;
        };
        let mut wanted = flags;
        wanted.set(IFlags::SYNC, on);
        if wanted == flags {
            return true;
        }
        // Some take what they do not know, and forget it.
        let is_set = |flags: IFlags| flags.contains(IFlags::SYNC) == on;
        let changed = ioctl_setflags(file, wanted).and_then(|()| ioctl_getflags(file));
        if changed.is_ok_and(is_set) {
            return true;
        }
        tracing::debug!(target: "record_cache", on, "cannot change how writes are synced");
        false
    }
    // sled syncs every write there.
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, on);
        true
    }
}
