//! CPU time and memory of this process.

use std::fs;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

const STATUS: &str = "/proc/self/status";

/// CPU seconds used so far by all threads of this process.
///
/// `/proc/self/stat` has them too, but in ticks of 10 ms, too coarse for a short measurement.
pub(crate) fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Resident memory of this process, in bytes.
pub(crate) fn resident_bytes() -> Result<u64> {
    bytes_in(STATUS, "VmRSS:")
}

/// Peak resident memory since [`forget_peak`], in bytes.
pub(crate) fn peak_bytes() -> Result<u64> {
    bytes_in(STATUS, "VmHWM:")
}

/// Resets the peak.
pub(crate) fn forget_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

/// A field of a file below `/proc`, in bytes.
pub(crate) fn bytes_in(file: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = value.and_then(|value| value.trim().strip_suffix("kB"));
    let kib: u64 = kib.with_context(|| format!("no {field}"))?.trim().parse()?;
    Ok(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::cpu_seconds;

    #[test]
    fn cpu_time_is_finer_than_a_tick() {
        let step = || {
            let before = cpu_seconds();
            loop {
                let step = cpu_seconds() - before;
                if step > 0.0 {
                    return step;
                }
            }
        };
        // The minimum of several, because other threads and processes get turns in between.
        let least = (0..50).map(|_| step()).fold(f64::INFINITY, f64::min);
        assert!(least < 0.001, "{least}");
    }
}
