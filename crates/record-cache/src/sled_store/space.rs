//! Room on the disk.

use std::fs::File;
use std::path::Path;

/// What the file takes on the disk.
pub(super) fn allocated(file: &File) -> u64 {
    let Ok(metadata) = file.metadata() else {
        return 0;
    };
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    #[cfg(not(unix))]
    return metadata.len();
}

/// What may still be written below the path; where the system does not say, plenty.
pub(super) fn free(path: &Path) -> u64 {
    #[cfg(unix)]
    if let Ok(stat) = rustix::fs::statvfs(path) {
        return stat.f_bavail.saturating_mul(stat.f_frsize);
    }
    let _ = path;
    u64::MAX
}
