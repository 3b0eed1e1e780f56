//! The records to send.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bytes::Bytes;
use memchr::{memchr, memrchr};
use serde::{Deserialize, Serialize};

use crate::bench::contender::data_of_record;

/// Bytes read from a file at a time.
const CHUNK_BYTES: usize = 1024 * 1024;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Source {
    /// The same record again and again.
    Generated { records: usize, record_bytes: u64 },
    /// The lines of a file.
    Lines(PathBuf),
}

impl Source {
    /// Loads all records into memory.
    pub(crate) fn load(&self) -> Result<Vec<Bytes>> {
        let mut all = Vec::new();
        self.each_group(1, |group| {
            all.extend(group);
            Ok(())
        })?;
        Ok(all)
    }

    /// Hands out groups of this many records as they are read.
    pub(crate) fn each_group(
        &self,
        size: usize,
        mut take: impl FnMut(Vec<Bytes>) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Generated {
                records,
                record_bytes,
            } => {
                let data = data_of_record(*record_bytes)?;
                let mut left = *records;
                while left > 0 {
                    let now = size.min(left);
                    take(vec![data.clone(); now])?;
                    left -= now;
                }
                Ok(())
            }
            Self::Lines(path) => each_group_of_lines(path, size, take),
        }
    }
}

/// The lines share the memory of the chunk they were read in.
fn each_group_of_lines(
    path: &Path,
    size: usize,
    mut take: impl FnMut(Vec<Bytes>) -> Result<()>,
) -> Result<()> {
    let mut file = File::open(path)?;
    let mut rest = Vec::new();
    let mut group = Vec::with_capacity(size);
    loop {
        let mut chunk = Vec::with_capacity(rest.len() + CHUNK_BYTES);
        chunk.append(&mut rest);
        let read = (&mut file)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut chunk)?;
        if read > 0 {
            let whole = memrchr(b'\n', &chunk).map_or(0, |at| at + 1);
            rest = chunk.split_off(whole);
        }
        let chunk = Bytes::from(chunk);
        let mut start = 0;
        while start < chunk.len() {
            let end = memchr(b'\n', &chunk[start..]).map_or(chunk.len(), |at| start + at);
            group.push(chunk.slice(start..end));
            start = end + 1;
            if group.len() == size {
                take(std::mem::replace(&mut group, Vec::with_capacity(size)))?;
            }
        }
        if read == 0 {
            break;
        }
    }
    if !group.is_empty() {
        take(group)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_across_chunks_stay_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let lines: Vec<String> = (0..5000)
            .map(|n| format!("{n}{}", "x".repeat(n % 700)))
            .collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        let mut groups = Vec::new();
        let source = Source::Lines(path);
        source
            .each_group(300, |group| {
                groups.push(group.len());
                Ok(())
            })
            .unwrap();
        assert_eq!(groups.len(), 17);
        assert_eq!(groups.iter().sum::<usize>(), 5000);
        assert_eq!(source.load().unwrap(), lines);
    }

    #[test]
    fn empty_and_long_lines_are_lines_and_a_final_line_end_adds_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let long = "y".repeat(3 * CHUNK_BYTES);
        let lines = ["", "one", "", &long, "two"];
        std::fs::write(&path, format!("{}\n", lines.join("\n"))).unwrap();
        assert_eq!(Source::Lines(path).load().unwrap(), lines);
    }
}
