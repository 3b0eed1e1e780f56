//! A directory that is only read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::log::catalog::lock;
use crate::log::files::{Disk, DiskFile};

#[derive(Debug)]
pub(super) struct ReadOnlyDisk {
    path: PathBuf,
}

impl ReadOnlyDisk {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

#[derive(Debug)]
struct ReadOnlyFile(Mutex<File>);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let entries = self.path.read_dir()?;
        let name = |entry: io::Result<std::fs::DirEntry>| {
            Ok(entry?.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect()
    }

    fn is_file(&self, name: &str) -> io::Result<bool> {
        Ok(self.path.join(name).symlink_metadata()?.is_file())
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        // Does not follow links or wait on a FIFO.
        if !self.is_file(name)? {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a regular file",
            ));
        }
        let file = File::open(self.path.join(name))?;
        Ok(Arc::new(ReadOnlyFile(Mutex::new(file))))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn make_directory(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove_directory(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }
}

impl DiskFile for ReadOnlyFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.0).metadata()?.len())
    }

    fn read(&self, buffer: &mut Vec<u8>, length: usize, offset: u64) -> io::Result<()> {
        let mut file = lock(&self.0);
        file.seek(SeekFrom::Start(offset))?;
        buffer.clear();
        (&mut *file).take(length as u64).read_to_end(buffer)?;
        Ok(())
    }

    fn write(&self, _: &mut [io::IoSlice<'_>], _: u64) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }
}
