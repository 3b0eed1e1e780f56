//! Describes the measured machine in general terms.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use tokio::time::Instant;

use super::amount::{GIB, bytes, duration};
use super::process;
use super::series::Series;

/// Cores, memory, file system and the cost of a durable write.
pub(crate) fn describe(directory: &Path) -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    // In whole GiB, rounded up, because the system reserves some memory.
    let memory = process::bytes_in("/proc/meminfo", "MemTotal:");
    let memory = memory.map_or_else(
        |_| String::new(),
        |memory| format!(", {} of memory", bytes(memory.next_multiple_of(GIB))),
    );
    let file_system = file_system(directory).unwrap_or_else(|| "unknown".to_owned());
    let small = duration(sync_time(directory, 4 * 1024)?);
    let large = duration(sync_time(directory, 1024 * 1024)?);
    Ok(format!(
        "{cores} cores{memory}; a local disk with the file system {file_system}, on which appending \
         and syncing 4 KiB takes {small}, 1 MiB {large}"
    ))
}

fn file_system(directory: &Path) -> Option<String> {
    let directory = fs::canonicalize(directory).ok()?;
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let of_directory = mounts.filter(|(place, _)| directory.starts_with(place));
    let deepest = of_directory.max_by_key(|(place, _)| place.len())?;
    Some(deepest.1.to_owned())
}

fn sync_time(directory: &Path, bytes: usize) -> Result<f64> {
    let mut file = File::create(directory.join("sync"))?;
    let block = vec![1; bytes];
    let mut series = Series::default();
    for _ in 0..50 {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        series.push(start.elapsed().as_secs_f64());
    }
    Ok(series.median())
}
