//! Attacks by another user below a world-writable directory: planted directories, files, links and
//! FIFOs, at the cache's path and at every name in it, before the first open and before later ones.
//! The victim runs as a separate user, so the tests need root.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use record_cache::{Durability, StoreError};
use tempfile::TempDir;

use super::set_mode;
use crate::support::process::{command, is_child, say};
use crate::support::subject::for_each_store;
use crate::support::{MARK, Subject, append, numbers, read_all, stream};

for_each_store!(
    what_stands_where_the_cache_is_to_be_is_refused,
    what_stands_at_a_name_of_the_cache_is_refused,
    what_stands_in_an_index_is_thrown_away_with_it,
);

const VICTIM: u32 = 54_321;
const ATTACKER: u32 = 12_345;
const RECORDS: u64 = 300;
/// Longest open allowed, whatever is planted.
const LIMIT: Duration = Duration::from_secs(60);

/// A world-writable directory that holds the victim's files.
struct Scene {
    place: TempDir,
    program: PathBuf,
    test: String,
}

/// Plays the victim in a process of the test, and sets the scene in the test itself. Returns
/// `None` when the play is over, or if the test may not switch users.
async fn scene(subject: Subject, test: &str) -> Option<Scene> {
    if let Some((path, task)) = is_child() {
        play_victim(subject, &path, &task).await;
        return None;
    }
    let place = TempDir::new().unwrap();
    if chown(place.path(), Some(0), Some(0)).is_err() {
        println!("only root can play two users");
        return None;
    }
    set_mode(place.path(), 0o777);
    let program = place.path().join("program");
    let this = std::env::current_exe().unwrap();
    // Puts the program where the victim can run it, wherever this one is.
    if fs::hard_link(&this, &program).is_err() {
        fs::copy(&this, &program).unwrap();
    }
    let test = format!("planted::{}", subject.test(test));
    let scene = Scene {
        place,
        program,
        test,
    };
    scene.restore();
    Some(scene)
}

impl Scene {
    fn cache(&self) -> PathBuf {
        self.place.path().join("cache")
    }

    fn precious(&self) -> PathBuf {
        self.place.path().join("precious")
    }

    fn treasury(&self) -> PathBuf {
        self.place.path().join("treasury")
    }

    /// The state before the attack: no cache, and files of the victim that nobody else may write.
    fn restore(&self) {
        remove(&self.cache());
        remove(&self.treasury());
        fs::write(self.precious(), "precious").unwrap();
        fs::create_dir(self.treasury()).unwrap();
        fs::write(self.treasury().join("db"), "precious").unwrap();
        for path in [self.precious(), self.treasury().join("db")] {
            set_mode(&path, 0o644);
            chown(&path, Some(VICTIM), Some(VICTIM)).unwrap();
        }
        set_mode(&self.treasury(), 0o755);
        chown(self.treasury(), Some(VICTIM), Some(VICTIM)).unwrap();
    }

    fn is_unharmed(&self, context: &str) {
        for (path, mode) in [
            (self.precious(), 0o644),
            (self.treasury().join("db"), 0o644),
            (self.treasury(), 0o755),
        ] {
            let found = fs::metadata(&path).unwrap();
            assert_eq!(found.mode() & 0o777, mode, "{context}: {}", path.display());
            let is_the_same = found.is_dir() || fs::read(&path).unwrap() == b"precious";
            assert!(is_the_same, "{context}");
        }
        let treasures = fs::read_dir(self.treasury()).unwrap().count();
        assert_eq!(treasures, 1, "{context}");
        assert!(!self.place.path().join("nowhere").exists(), "{context}");
    }

    /// Opens the cache in a process of the victim and returns what it printed.
    fn victim(&self, task: &str) -> String {
        let mut command: Command = command(&self.program, &self.test, &self.cache(), task);
        command.uid(VICTIM).gid(VICTIM).current_dir("/");
        let output = loop {
            match command.output() {
                // A child of another test briefly has the copy open.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {}
                output => break output.unwrap(),
            }
        };
        let said = String::from_utf8(output.stdout).unwrap();
        let line = said.lines().find_map(|line| line.strip_prefix("victim: "));
        line.unwrap_or_else(|| unreachable!("{said}")).to_owned()
    }

    /// The attacker plants one of [`KINDS`].
    fn plant(&self, kind: &str, at: &Path) {
        match kind {
            "a directory" => fs::create_dir(at).unwrap(),
            "a file" => fs::write(at, [0x61; 5_000]).unwrap(),
            "a link to a file" => symlink(self.precious(), at).unwrap(),
            "a link to a directory" => symlink(self.treasury(), at).unwrap(),
            "a dangling link" => symlink(self.place.path().join("nowhere"), at).unwrap(),
            _ => assert!(Command::new("mkfifo").arg(at).status().unwrap().success()),
        }
        if !fs::symlink_metadata(at).unwrap().is_symlink() {
            set_mode(at, 0o777);
        }
        lchown(at, Some(ATTACKER), Some(ATTACKER)).unwrap();
    }
}

const KINDS: [&str; 6] = [
    "a directory",
    "a file",
    "a link to a file",
    "a link to a directory",
    "a dangling link",
    "a FIFO",
];

fn remove(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

/// Everything below a directory: owner, mode and content.
fn listing(path: &Path) -> BTreeMap<PathBuf, (u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let entry = fs::symlink_metadata(path).unwrap();
    let content = match entry.file_type() {
        kind if kind.is_symlink() => {
            let target = fs::read_link(path).unwrap();
            target.into_os_string().into_encoded_bytes()
        }
        kind if kind.is_file() => fs::read(path).unwrap(),
        kind if kind.is_fifo() => b"FIFO".to_vec(),
        _ => Vec::new(),
    };
    found.insert(path.to_owned(), (entry.uid(), entry.mode(), content));
    if entry.is_dir() {
        for below in fs::read_dir(path).unwrap() {
            found.extend(listing(&below.unwrap().path()));
        }
    }
    found
}

/// Runs in the victim's process.
async fn play_victim(subject: Subject, path: &Path, task: &str) {
    let opening = subject.try_open(path, Durability::ProcessCrash, None);
    let said = match tokio::time::timeout(LIMIT, opening).await {
        Err(_) => "hangs".to_owned(),
        Ok(Err(error @ (StoreError::Unavailable { .. } | StoreError::Incompatible { .. }))) => {
            format!("refused: {error}")
        }
        Ok(Err(error)) => format!("another error: {error}"),
        Ok(Ok(store)) => {
            let name = stream("a");
            let held = numbers(&read_all(&*store, &name).await);
            let new = match task {
                "fill" => 0..RECORDS,
                _ => RECORDS..RECORDS + 1,
            };
            append(&*store, &name, new, 10).await;
            store.close().await.unwrap();
            format!("held {}", held.len())
        }
    };
    say(&format!("victim: {said}"));
}

async fn what_stands_where_the_cache_is_to_be_is_refused(subject: Subject) {
    const TEST: &str = "what_stands_where_the_cache_is_to_be_is_refused";
    let Some(scene) = scene(subject, TEST).await else {
        return;
    };
    for kind in KINDS {
        let is_directory = kind == "a directory";
        let modes: &[u32] = match is_directory {
            true => &[0o700, 0o755, 0o777],
            false => &[0],
        };
        for &mode in modes {
            scene.restore();
            scene.plant(kind, &scene.cache());
            if is_directory {
                set_mode(&scene.cache(), mode);
            }
            let before = listing(&scene.cache());
            let said = scene.victim("try");
            assert!(said.starts_with("refused: "), "{kind}: {said}");
            let is_named = said.contains(scene.cache().to_str().unwrap());
            assert!(is_named, "{kind}: {said}");
            assert_eq!(listing(&scene.cache()), before, "{kind}: untouched");
            scene.is_unharmed(kind);
        }
    }
    // A cache that belongs to the victim, behind a link planted by the attacker.
    scene.restore();
    assert_eq!(scene.victim("fill"), "held 0");
    fs::rename(scene.cache(), scene.place.path().join("moved")).unwrap();
    symlink(scene.place.path().join("moved"), scene.cache()).unwrap();
    lchown(scene.cache(), Some(ATTACKER), Some(ATTACKER)).unwrap();
    let said = scene.victim("try");
    assert!(said.contains("is a link of another user"), "{said}");
    // A link owned by the victim is followed.
    lchown(scene.cache(), Some(VICTIM), Some(VICTIM)).unwrap();
    assert_eq!(scene.victim("try"), format!("held {RECORDS}"));
}

/// File names in a cache directory.
const NAMES: [&str; 8] = [
    "lock",
    MARK,
    "journal-mark.tmp",
    "journal-reserve",
    "0000000000.journal",
    "index-0",
    "index-1",
    "corrupt-1",
];

async fn what_stands_at_a_name_of_the_cache_is_refused(subject: Subject) {
    const TEST: &str = "what_stands_at_a_name_of_the_cache_is_refused";
    let Some(scene) = scene(subject, TEST).await else {
        return;
    };
    for kind in KINDS {
        for name in NAMES {
            for later in [false, true] {
                let context = format!("{kind} at {name}, later: {later}");
                scene.restore();
                if later {
                    assert_eq!(scene.victim("fill"), "held 0");
                } else {
                    fs::create_dir(scene.cache()).unwrap();
                    chown(scene.cache(), Some(VICTIM), Some(VICTIM)).unwrap();
                }
                set_mode(&scene.cache(), 0o777);
                let at = scene.cache().join(name);
                let kept = scene.place.path().join("kept");
                let was_there = fs::rename(&at, &kept).is_ok();
                scene.plant(kind, &at);
                let before = listing(&scene.cache());
                if name != NAMES[0] {
                    set_mode(&scene.cache(), 0o755);
                }
                for advice in ["chmod go-w", "of another user"] {
                    let is_writable = fs::metadata(scene.cache()).unwrap().mode() & 0o22 != 0;
                    if !is_writable && advice.contains("chmod") {
                        continue;
                    }
                    let said = scene.victim("try");
                    assert!(said.starts_with("refused: "), "{context}: {said}");
                    assert!(said.contains(advice), "{context}: {said}");
                    let mut after = listing(&scene.cache());
                    after.insert(scene.cache(), before[&scene.cache()].clone());
                    assert_eq!(after, before, "{context}: untouched");
                    scene.is_unharmed(&context);
                    set_mode(&scene.cache(), 0o755);
                }
                // Follow the advice in the error message.
                remove(&at);
                if was_there {
                    fs::rename(&kept, &at).unwrap();
                }
                let held = if later { RECORDS } else { 0 };
                assert_eq!(scene.victim("try"), format!("held {held}"), "{context}");
                for (path, (owner, mode, _)) in listing(&scene.cache()) {
                    assert_eq!(owner, VICTIM, "{context}: {}", path.display());
                    let above = path.strip_prefix(scene.cache()).unwrap();
                    let is_in_index = above.components().count() > 1;
                    let is_private = mode & 0o077 == 0 || above == Path::new("") || is_in_index;
                    assert!(is_private, "{context}: {}", path.display());
                }
            }
        }
    }
}

async fn what_stands_in_an_index_is_thrown_away_with_it(subject: Subject) {
    const TEST: &str = "what_stands_in_an_index_is_thrown_away_with_it";
    let Some(scene) = scene(subject, TEST).await else {
        return;
    };
    for kind in KINDS {
        for name in ["db", "conf", "blobs", "other"] {
            let context = format!("{kind} at {name}");
            scene.restore();
            assert_eq!(scene.victim("fill"), "held 0");
            let index = scene.cache().join("index-1");
            if !index.exists() {
                // This store keeps its index in memory and ignores the directory.
                fs::create_dir(&index).unwrap();
                chown(&index, Some(VICTIM), Some(VICTIM)).unwrap();
            }
            set_mode(&index, 0o777);
            remove(&index.join(name));
            scene.plant(kind, &index.join(name));
            assert_eq!(scene.victim("try"), format!("held {RECORDS}"), "{context}");
            scene.is_unharmed(&context);
            let held = RECORDS + 1;
            assert_eq!(scene.victim("try"), format!("held {held}"), "{context}");
            scene.is_unharmed(&context);
        }
    }
}
