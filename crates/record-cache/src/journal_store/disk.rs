//! The file operations that a journal is made of, and no others.
//!
//! Everything that changes the disk passes through here, so that tests can make
//! single operations fail and can write down what a loss of power may leave behind.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the system takes in one vectored write at most.
const PARTS_AT_ONCE: usize = 1024;

/// One directory.
pub(super) trait Disk: Debug + Send + Sync + 'static {
    fn path(&self) -> &Path;

    /// The names of all entries.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes a file that is not there yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    fn make_directory(&self, name: &str) -> io::Result<()>;

    fn remove_directory(&self, name: &str) -> io::Result<()>;

    /// Makes the entries of the directory durable.
    fn sync(&self) -> io::Result<()>;
}

/// One file.
pub(super) trait DiskFile: Debug + Send + Sync + 'static {
    fn length(&self) -> io::Result<u64>;

    /// Reads `length` bytes or, at the end of the file, fewer.
    ///
    /// They replace what the buffer held.
    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()>;

    /// Writes all parts, one behind the other.
    fn write(&self, parts: &mut [IoSlice<'_>], offset: u64) -> io::Result<()>;

    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;

    /// Says that all of it is about to be read, which is a hint.
    fn will_be_read(&self) {}
}

/// A directory of the system.
#[derive(Debug)]
pub(super) struct SystemDisk {
    path: PathBuf,
}

impl SystemDisk {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }
}

impl Disk for SystemDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Arc::new(SystemFile(options.open(self.path.join(name))?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(SystemFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn make_directory(&self, name: &str) -> io::Result<()> {
        private_directory().create(self.path.join(name))
    }

    fn remove_directory(&self, name: &str) -> io::Result<()> {
        fs::remove_dir_all(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }
}

/// A file of the system.
#[derive(Debug)]
struct SystemFile(File);

impl DiskFile for SystemFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        buffer.clear();
        buffer.reserve_exact(length);
        while buffer.len() < length {
            let at = offset + buffer.len() as u64;
            let spare = rustix::buffer::spare_capacity(buffer);
            match rustix::io::pread(&self.0, spare, at) {
                Ok(0) => break,
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        buffer.truncate(length);
        Ok(())
    }

    fn write(&self, mut parts: &mut [IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let now = parts.get(..PARTS_AT_ONCE).unwrap_or(parts);
            match rustix::io::pwritev(&self.0, now, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    #[cfg(target_os = "linux")]
    fn will_be_read(&self) {
        use rustix::fs::{Advice, fadvise};
        let _ = fadvise(&self.0, 0, None, Advice::WillNeed);
    }
}

/// Makes a directory, and those above it, that nobody but its owner may enter.
pub(super) fn create_directories(path: &Path) -> io::Result<()> {
    let above = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    let missing: Vec<&Path> = above.take_while(|path| !path.exists()).collect();
    if missing.is_empty() && !path.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    private_directory().recursive(true).create(path)?;
    // The last one also where it is there from a process that ended before it had synced.
    for made in missing.into_iter().chain([path]) {
        let parent = made
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        // Not every parent may be read; what was made there is used all the same.
        let _ = sync_directory(parent.unwrap_or(Path::new(".")));
    }
    Ok(())
}

fn private_directory() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
