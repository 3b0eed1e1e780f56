//! A client's default directory: its path, and the rule that no two clients of a process share it.

#[cfg(any(feature = "sled", feature = "journal"))]
use std::collections::BTreeSet;
#[cfg(any(feature = "sled", feature = "journal"))]
use std::ffi::OsString;
#[cfg(any(feature = "sled", feature = "journal"))]
use std::path::Path;
#[cfg(any(feature = "sled", feature = "journal"))]
use std::path::PathBuf;
#[cfg(any(feature = "sled", feature = "journal"))]
use std::sync::{Mutex, PoisonError};

#[cfg(any(feature = "sled", feature = "journal"))]
use record_cache::StoreError;

#[cfg(any(feature = "sled", feature = "journal"))]
use crate::api::InvalidSetting;

/// What makes a client's default directory unique.
///
/// ```
/// use flush_engine::DefaultDirectory;
///
/// // `shop/shelf_records_eu-west-1`, below the platform's directory for local data.
/// let default = DefaultDirectory {
///     name: Some("shop".to_owned()),
///     records: "shelf_records_eu-west-1".to_owned(),
/// };
/// ```
#[derive(Debug, Clone)]
pub struct DefaultDirectory {
    /// The name of the program, or another name that tells clients apart. Defaults to the
    /// executable's name.
    pub name: Option<String>,
    /// The subdirectory for the client's records.
    pub records: String,
}

/// Default directories in use by clients of this process.
#[cfg(any(feature = "sled", feature = "journal"))]
static CLAIMED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Reserves a default directory for one client of this process until dropped. Clients of other
/// processes may share it.
#[cfg(any(feature = "sled", feature = "journal"))]
#[derive(Debug)]
pub(super) struct Claim(PathBuf);

#[cfg(any(feature = "sled", feature = "journal"))]
impl DefaultDirectory {
    /// Finds the directory and claims it for one client.
    ///
    /// # Errors
    /// If the platform does not say where it is, or another client of this process uses it.
    pub(super) fn claim(&self) -> Result<(PathBuf, Claim), InvalidSetting> {
        self.claim_below(local_data())
    }

    fn claim_below(&self, data: Option<PathBuf>) -> Result<(PathBuf, Claim), InvalidSetting> {
        let unknown = |what: &str| {
            InvalidSetting::new(
                "storage_path",
                format!("there is no default, because {what} is not known"),
                "set storage_path, or call in_memory",
            )
        };
        let data = data.ok_or_else(|| unknown("the local data directory"))?;
        let program = match &self.name {
            Some(name) => name.into(),
            None => executable().ok_or_else(|| unknown("the name of the executable"))?,
        };
        let directory = data.join(program).join(&self.records);
        let directory = absolute(directory).map_err(|_| unknown("the working directory"))?;
        let claim = Claim::new(directory.clone()).ok_or_else(|| {
            InvalidSetting::new(
                "name",
                "another client of this process has the same default directory",
                "give each client a name or a storage_path of its own, or share one client",
            )
        })?;
        Ok((directory, claim))
    }
}

#[cfg(any(feature = "sled", feature = "journal"))]
impl Claim {
    /// `None` if another client has the directory.
    fn new(directory: PathBuf) -> Option<Self> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(directory.clone()).then(|| Self(directory))
    }
}

#[cfg(any(feature = "sled", feature = "journal"))]
impl Drop for Claim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.remove(&self.0);
    }
}

#[cfg(any(feature = "sled", feature = "journal"))]
fn local_data() -> Option<PathBuf> {
    // Android apps have none there, whatever HOME says.
    let has_one = !cfg!(target_os = "android");
    has_one.then(dirs::data_local_dir).flatten()
}

/// The name of the executable, even if its file was replaced while running.
#[cfg(any(feature = "sled", feature = "journal"))]
fn executable() -> Option<OsString> {
    let path = std::env::current_exe().ok()?;
    // Linux appends this to the path of a deleted file.
    let name = path.file_name()?.to_string_lossy();
    match name.strip_suffix(" (deleted)") {
        Some(replaced) if !path.exists() => Path::new(replaced).file_stem().map(Into::into),
        _ => path.file_stem().map(Into::into),
    }
}

/// Makes a path independent of the working directory.
#[cfg(any(feature = "sled", feature = "journal"))]
pub(super) fn absolute(path: PathBuf) -> Result<PathBuf, StoreError> {
    if path.is_absolute() {
        return Ok(path);
    }
    let here = std::env::current_dir()
        .map_err(|error| StoreError::unavailable("finding the working directory", error))?;
    Ok(here.join(path))
}

#[cfg(all(test, any(feature = "sled", feature = "journal")))]
mod tests {
    use super::*;

    #[test]
    fn where_no_local_data_directory_is_known_the_error_names_what_to_set() {
        let default = DefaultDirectory {
            name: Some("program".to_owned()),
            records: "records".to_owned(),
        };
        let error = default.claim_below(None).unwrap_err().to_string();
        assert!(error.contains("storage_path"), "{error}");
    }
}
