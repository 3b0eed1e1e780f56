//! A store's files, as its format describes them, and ways to damage them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use record_cache::{RecordStore, Settlement};
use tempfile::TempDir;

use super::{Numbers, stream};

/// Offset of the first frame in a segment.
pub(crate) const SEGMENT_HEADER: usize = 64;

pub(crate) const MARK: &str = "journal-mark";

/// A temporary directory, in memory where possible, for tests that need no real disk.
pub(crate) fn in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    TempDir::new_in(memory).unwrap_or_else(|_| TempDir::new().unwrap())
}

/// The log's segments, in order.
pub(crate) fn segments(path: &Path) -> Vec<PathBuf> {
    entries(path, |name| name.ends_with(".journal"))
}

/// The directories of the index databases.
pub(crate) fn indexes(path: &Path) -> Vec<PathBuf> {
    entries(path, |name| name.starts_with("index-"))
}

/// Deletes the index databases and leaves the log alone.
pub(crate) fn remove_indexes(path: &Path) {
    for index in indexes(path) {
        fs::remove_dir_all(index).unwrap();
    }
}

/// Damaged files that were set aside.
pub(crate) fn copies(path: &Path) -> Vec<PathBuf> {
    entries(path, |name| name.starts_with("corrupt-"))
}

/// The entries of a directory whose names are wanted, in order.
pub(crate) fn entries(path: &Path, which: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if which(path.file_name().unwrap().to_str().unwrap()) {
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

/// Every file below a directory.
pub(crate) fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in entries(path, |_| true) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Checks that sled puts no value into a separate file, which would be one more file to sync.
pub(crate) fn assert_no_blobs(path: &Path) {
    for index in indexes(path) {
        let blobs = fs::read_dir(index.join("blobs")).into_iter().flatten();
        assert_eq!(blobs.count(), 0, "values outside sled's log");
    }
}

/// Offset of a segment's outline, if it has one. Its last 48 bytes give it.
pub(crate) fn outline_at(bytes: &[u8]) -> Option<usize> {
    let trailer = bytes.len().checked_sub(48).map(|at| &bytes[at..])?;
    trailer.starts_with(b"\x89rc-idx\n").then(|| {
        let end: [u8; 8] = trailer[24..32].try_into().unwrap();
        usize::try_from(u64::from_le_bytes(end)).unwrap()
    })
}

/// Computed bit by bit, to share no arithmetic with the store.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
        })
    })
}

/// Returns once the store has finished all work caused by earlier calls.
pub(crate) async fn settled_down(store: &dyn RecordStore) {
    // The work behind an answer is done before the next call starts.
    for _ in 0..2 {
        let nothing = Settlement::new(stream("nothing"));
        store.settle(nothing).await.unwrap();
    }
}

/// Copies the files of an open store, as a process crash would leave them.
pub(crate) async fn crash(store: &dyn RecordStore, from: &Path, to: &Path) {
    settled_down(store).await;
    copy(from, to);
}

/// Copies a directory without the reserve for a full disk, which holds no data.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_name() != "journal-reserve" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Disk usage of a directory tree.
pub(crate) fn disk_usage(path: &Path) -> u64 {
    // Files come and go during the walk.
    let entries = fs::read_dir(path).into_iter().flatten();
    let usage_of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_usage(&entry.path()),
        Ok(metadata) => taken(&metadata),
        Err(_) => 0,
    };
    entries.filter_map(Result::ok).map(usage_of).sum()
}

/// Sparse files take less than their length. In std, only Unix reports it.
#[cfg(unix)]
fn taken(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(metadata) * 512
}

#[cfg(not(unix))]
fn taken(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// A way to damage a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    FlippedBit,
    Garbage,
    ZeroedPage,
    Truncated,
    Emptied,
    Longer,
    Missing,
}

impl Damage {
    pub(crate) const ALL: [Self; 7] = [
        Self::FlippedBit,
        Self::Garbage,
        Self::ZeroedPage,
        Self::Truncated,
        Self::Emptied,
        Self::Longer,
        Self::Missing,
    ];

    /// Damages the file. An empty file only gets the kinds of damage that apply to it.
    ///
    /// Returns the range of bytes that may differ: the first, and one past the last.
    pub(crate) fn is_done_to(self, path: &Path, random: &mut Numbers) -> (u64, u64) {
        if self == Self::Missing {
            let length = fs::metadata(path).unwrap().len();
            fs::remove_file(path).unwrap();
            return (0, length);
        }
        let file = OpenOptions::new().read(true).write(true).open(path);
        let mut file = file.unwrap();
        let length = file.metadata().unwrap().len();
        if length == 0 && self != Self::Longer {
            return (0, 0);
        }
        let at = random.below(usize::try_from(length).unwrap()) as u64;
        match self {
            Self::FlippedBit => {
                let mut byte = [0];
                file.seek(SeekFrom::Start(at)).unwrap();
                file.read_exact(&mut byte).unwrap();
                overwrite(&mut file, at, &[byte[0] ^ (1 << random.below(8))]);
                (at, at + 1)
            }
            Self::Garbage => {
                overwrite(&mut file, at, &[0xa6; 64]);
                (at, at + 64)
            }
            Self::ZeroedPage => {
                let start = at / 4096 * 4096;
                let bytes = usize::try_from((length - start).min(4096)).unwrap();
                overwrite(&mut file, start, &vec![0; bytes]);
                (start, start + bytes as u64)
            }
            Self::Truncated => {
                file.set_len(at).unwrap();
                (at, length)
            }
            Self::Longer => {
                overwrite(&mut file, length, &[0x5a; 5_000]);
                (length, length + 5_000)
            }
            Self::Emptied | Self::Missing => {
                file.set_len(0).unwrap();
                (0, length)
            }
        }
    }
}

pub(crate) fn overwrite(file: &mut File, at: u64, bytes: &[u8]) {
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Disk usage of the index databases.
pub(crate) fn index_bytes(path: &Path) -> u64 {
    indexes(path).iter().map(|index| disk_usage(index)).sum()
}
