//! LocalStack as processes on this machine, with all private files in its slot.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{SERVICES, installation::HostEngine, slot::Slot};

const LAUNCHER: &str = include_str!("launch.py");

pub(super) fn command(
    engine: &HostEngine,
    slot: &Slot,
    port: u16,
    settings: &[(String, String)],
) -> io::Result<Command> {
    let root = slot.directory();
    let file_system = file_system(slot);
    for directory in ["tmp", "home", "cache"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let version = provide_kinesis_local(&engine.kinesis_local, &file_system)?;

    let mut command = Command::new(&engine.python);
    command
        // The argument is for `kill_processes` only.
        .args([
            OsStr::new("-c"),
            OsStr::new(LAUNCHER),
            file_system.as_os_str(),
        ])
        .current_dir(root)
        .env_clear()
        .env("PATH", search_path(&engine.node))
        .env("LANG", "C.UTF-8")
        .env("HOME", root.join("home"))
        .env("TMPDIR", root.join("tmp"))
        .env("XDG_CACHE_HOME", root.join("cache"))
        .env("FILESYSTEM_ROOT", &file_system)
        .env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"))
        .env("SERVICES", SERVICES)
        // In a container, LocalStack would otherwise write to /var/lib/localstack.
        .env("OVERRIDE_IN_DOCKER", "0")
        .env("SKIP_SSL_CERT_DOWNLOAD", "1")
        .env("DISABLE_EVENTS", "1")
        .env("DNS_ADDRESS", "0")
        // Otherwise all data is rewritten as JSON every 5 s, which soon takes longer than that.
        .env("KINESIS_PERSISTENCE", "0")
        .env("KINESIS_LATENCY", "0")
        .env("KINESIS_MOCK_VERSION", version)
        .env("PYTHONUNBUFFERED", "1")
        .envs(settings.iter().map(|(name, value)| (name, value)));
    Ok(command)
}

/// Kills every process that was started for this slot and still runs.
///
/// The Kinesis back end has its own process group and survives a killed LocalStack, so processes
/// are identified by their arguments. On systems without `/proc` they keep running.
pub(super) fn kill_processes(slot: &Slot) -> io::Result<()> {
    let file_system = file_system(slot);
    for pid in processes_with_argument_in(&file_system) {
        kill(pid)?;
    }
    Ok(())
}

#[cfg(unix)]
fn kill(pid: i32) -> io::Result<()> {
    use rustix::process::{Pid, Signal, kill_process};

    match Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL)) {
        Some(Err(error)) if error != rustix::io::Errno::SRCH => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn kill(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// LocalStack itself needs Unix.
#[cfg(not(unix))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn file_system(slot: &Slot) -> PathBuf {
    slot.directory().join("fs")
}

/// Puts the installed back end where LocalStack looks before downloading one.
fn provide_kinesis_local(installed: &Path, file_system: &Path) -> io::Result<OsString> {
    let version = installed.file_name().unwrap_or_default();
    let versions = file_system.join("var/lib/localstack/lib/kinesis-local");
    fs::create_dir_all(&versions)?;
    let link = versions.join(version);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => symlink(installed, &link)?,
    }
    Ok(version.to_owned())
}

fn search_path(node: &Path) -> OsString {
    let mut path = node
        .parent()
        .unwrap_or(Path::new("/usr/bin"))
        .as_os_str()
        .to_owned();
    path.push(":/usr/bin:/bin");
    path
}

fn processes_with_argument_in(directory: &Path) -> Vec<i32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let directory = directory.as_os_str().as_encoded_bytes();
    let is_in_it = |argument: &[u8]| {
        argument
            .strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    processes
        .flatten()
        .filter(|process| {
            let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
            arguments.split(|byte| *byte == 0).any(is_in_it)
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}
