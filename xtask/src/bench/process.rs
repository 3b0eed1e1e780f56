//! What a process takes: CPU time and memory.

use std::fs;

use anyhow::{Context, Result};

/// In which Linux counts CPU time for processes that ask.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds of this process so far, of all its threads.
pub(crate) fn cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may contain anything; what follows it are numbers.
    let numbers = text.rsplit_once(')').map_or("", |(_, numbers)| numbers);
    let mut times = numbers.split_whitespace().skip(11);
    let mut ticks = || -> Result<f64> { Ok(times.next().context("no CPU time")?.parse()?) };
    Ok((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

/// Bytes of memory that this process holds.
pub(crate) fn resident_bytes() -> Result<u64> {
    status("VmRSS:")
}

/// The most bytes of memory that this process has held since [`forget_peak`].
pub(crate) fn peak_bytes() -> Result<u64> {
    status("VmHWM:")
}

/// Begins to look for the peak anew.
pub(crate) fn forget_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

fn status(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = value.and_then(|value| value.trim().strip_suffix("kB"));
    let kib: u64 = kib.with_context(|| format!("no {field}"))?.trim().parse()?;
    Ok(kib * 1024)
}
