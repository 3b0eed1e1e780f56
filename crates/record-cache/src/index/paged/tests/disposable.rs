//! Whatever happens to a database, it restores its last checkpoint or nothing, never anything else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{State, checkpoint, entry, filled, held, settings, stats, stream};
use crate::index::paged::block::{self, Key};
use crate::index::paged::{PagedIndex, database};
use crate::index::{Broken, Checkpoint, Index};

/// A database with two checkpoints in its own directory, and what each of them held.
struct Original {
    home: tempfile::TempDir,
    checkpoints: Vec<(Checkpoint, State)>,
}

impl Original {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (mut index, mut state) = filled(home.path(), settings(64));
        let mut checkpoints = vec![(checkpoint(1), state.clone())];
        index.checkpoint(&checkpoint(1)).unwrap();
        let goes = (100..900).step_by(3).collect();
        index.remove(&stream(1), &goes, &mut |_| ()).unwrap();
        let left = state.get_mut(&stream(1)).unwrap();
        left.retain(|number, _| goes.numbers().all(|n| n != *number));
        let more = state.get_mut(&stream(2)).unwrap();
        for number in 3_000..4_000 {
            index.put_one(&stream(2), entry(number, 0)).unwrap();
            more.insert(number, entry(number, 0));
        }
        checkpoints.push((checkpoint(2), state));
        index.close(&checkpoint(2)).unwrap();
        Self { home, checkpoints }
    }

    /// Copies the database, and opens the copy once if sled should have a snapshot.
    fn copy(&self, opened: bool) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_files(self.home.path(), copy.path());
        if opened {
            let (index, restored) = PagedIndex::open(copy.path(), settings(64));
            assert_eq!(restored.unwrap().0, self.checkpoints[1].0);
            close(index);
        }
        copy
    }

    /// Damages the file of a copy that holds the blocks. Returns what was found then.
    fn judge_damaged(&self, opened: bool, damage: impl FnOnce(&mut Vec<u8>)) -> Found {
        let copy = self.copy(opened);
        let file = directory(copy.path()).join("db");
        let mut bytes = fs::read(&file).unwrap();
        damage(&mut bytes);
        fs::write(&file, bytes).unwrap();
        self.judge(copy.path())
    }

    /// Opens a damaged database. Returns what was found.
    fn judge(&self, home: &Path) -> Found {
        let (mut index, restored) = PagedIndex::open(home, settings(64));
        let Some((at, counted)) = restored else {
            let nothing = held(&mut index, self.checkpoints[0].1.keys());
            assert!(nothing.values().all(BTreeMap::is_empty));
            // The index is as good as new.
            assert_eq!(database::numbers(home), []);
            index.put_one(&stream(0), entry(1, 0)).unwrap();
            return Found::Nothing;
        };
        let mut checkpoints = self.checkpoints.iter();
        let (_, state) = checkpoints.find(|(of, _)| *of == at).unwrap();
        assert_eq!(counted, stats(state));
        for (name, entries) in state {
            // Only now may a block turn out to be unreadable.
            match index.after(name, None, super::ALL) {
                Ok(found) => assert!(found.iter().eq(entries.values()), "{name}"),
                Err(Broken(_)) => {
                    assert!(index.after(name, None, super::ALL).is_err());
                    return Found::Broken;
                }
            }
        }
        close(index);
        Found::Checkpoint
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Checkpoint,
    Nothing,
    Broken,
}

/// Closes the files as they are, without another checkpoint.
fn close(mut index: PagedIndex) {
    let mut worker = index.pages.worker.take().unwrap();
    let closed = worker.run(|database, _| {
        database.take().unwrap().close();
        Ok(())
    });
    closed.unwrap();
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&to).unwrap();
            copy_files(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn directory(home: &Path) -> PathBuf {
    database::path(home, database::numbers(home)[0])
}

fn snapshot(home: &Path) -> PathBuf {
    let files = fs::read_dir(directory(home)).unwrap().map(Result::unwrap);
    let is_snapshot = |file: &fs::DirEntry| file.file_name().to_str().unwrap().starts_with("snap.");
    let mut snapshots = files.filter(is_snapshot);
    snapshots.next().unwrap().path()
}

#[test]
fn a_database_that_is_sound_gives_its_last_checkpoint() {
    let original = Original::new();
    for opened in [false, true] {
        let copy = original.copy(opened);
        assert_eq!(original.judge(copy.path()), Found::Checkpoint);
    }
}

#[test]
fn flipped_bits_give_a_checkpoint_or_nothing() {
    let original = Original::new();
    let mut met = BTreeMap::new();
    for opened in [false, true] {
        for n in 0..150 {
            let found = original.judge_damaged(opened, |bytes| {
                let bit = n * 8 * bytes.len() / 150 + n;
                bytes[bit / 8] ^= 1 << (bit % 8);
            });
            *met.entry(found).or_insert(0) += 1;
        }
    }
    // The damage hit places that matter, and was detected.
    let enough = met[&Found::Nothing] > 20 && met[&Found::Checkpoint] > 20;
    assert!(enough, "{met:?}");
}

#[test]
fn a_truncated_database_gives_a_checkpoint_or_nothing() {
    let original = Original::new();
    let mut met = BTreeMap::new();
    for opened in [false, true] {
        for n in 0..40 {
            let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() * n / 40);
            let found = original.judge_damaged(opened, cut);
            *met.entry(found).or_insert(0) += 1;
        }
    }
    assert!(met[&Found::Nothing] > 10, "{met:?}");
}

#[test]
fn zeros_and_rubbish_give_a_checkpoint_or_nothing() {
    let original = Original::new();
    let mut met = BTreeMap::new();
    for opened in [false, true] {
        for n in 0..40 {
            let found = original.judge_damaged(opened, |bytes| {
                let at = bytes.len() * n / 40;
                let end = (at + 4_096 * (1 + n % 5)).min(bytes.len());
                for (n, byte) in bytes[at..end].iter_mut().enumerate() {
                    *byte = if opened { 0 } else { (n * n) as u8 };
                }
            });
            *met.entry(found).or_insert(0) += 1;
        }
    }
    assert!(met[&Found::Nothing] > 10, "{met:?}");
}

#[test]
fn a_database_of_other_files_gives_nothing() {
    let original = Original::new();
    let damages: [fn(&Path); 9] = [
        |path| fs::remove_dir_all(path).unwrap(),
        |path| fs::remove_file(path.join("db")).unwrap(),
        |path| fs::write(path.join("db"), "").unwrap(),
        |path| fs::write(path.join("db"), vec![0xa5; 300_000]).unwrap(),
        |path| {
            let mut conf = fs::read(path.join("conf")).unwrap();
            conf[0] ^= 1;
            fs::write(path.join("conf"), conf).unwrap();
        },
        |path| fs::create_dir(path.join("snap.0000000000000001")).unwrap(),
        |path| {
            fs::remove_dir_all(path).unwrap();
            fs::create_dir(path).unwrap();
        },
        |path| {
            fs::remove_dir_all(path).unwrap();
            fs::write(path, "a file").unwrap();
        },
        |path| {
            fs::remove_dir_all(path).unwrap();
            sled::open(path).unwrap();
        },
    ];
    for (n, damage) in damages.into_iter().enumerate() {
        let copy = original.copy(false);
        damage(&directory(copy.path()));
        assert_eq!(original.judge(copy.path()), Found::Nothing, "{n}");
    }
    for damage in [
        |path| fs::remove_file(path),
        |path: PathBuf| fs::write(path, "x"),
    ] {
        let copy = original.copy(true);
        damage(snapshot(copy.path())).unwrap();
        assert!(original.judge(copy.path()) <= Found::Nothing);
    }
}

#[cfg(unix)]
#[test]
fn a_link_in_the_place_of_a_database_is_removed_and_not_followed() {
    let original = Original::new();
    let copy = original.copy(false);
    let path = directory(copy.path());
    let elsewhere = copy.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(original.judge(copy.path()), Found::Nothing);
    assert!(elsewhere.join("db").exists());
}

#[test]
fn what_sled_makes_again_is_not_missed() {
    let original = Original::new();
    for opened in [false, true] {
        let copy = original.copy(opened);
        let path = directory(copy.path());
        fs::write(path.join("snap.0000000000ffffff.generating"), "").unwrap();
        assert_eq!(original.judge(copy.path()), Found::Checkpoint);
        let copy = original.copy(opened);
        fs::remove_file(directory(copy.path()).join("conf")).unwrap();
        assert_eq!(original.judge(copy.path()), Found::Checkpoint);
    }
}

/// Opens only the sled instance of a database.
fn with_sled(home: &Path, work: impl FnOnce(&sled::Db)) {
    let database = database::Database::open(home, database::numbers(home)[0], &Default::default());
    let database = database.unwrap();
    work(&database.sled);
    database.close();
}

#[test]
fn a_sled_that_lost_or_found_something_gives_nothing() {
    let original = Original::new();
    let mut keys = Vec::new();
    let copy = original.copy(false);
    with_sled(copy.path(), |sled| {
        keys.extend(sled.iter().keys().map(Result::unwrap))
    });
    for (n, key) in keys.iter().enumerate() {
        let [lost, stale, strange] = [0; 3].map(|_| original.copy(false));
        with_sled(lost.path(), |sled| {
            sled.remove(key).unwrap().unwrap();
        });
        assert_eq!(original.judge(lost.path()), Found::Nothing, "{key:?}");
        with_sled(stale.path(), |sled| {
            let other = sled.get(&keys[(n + 1) % keys.len()]).unwrap().unwrap();
            sled.insert(key, other).unwrap();
        });
        assert_eq!(original.judge(stale.path()), Found::Nothing, "{key:?}");
        with_sled(strange.path(), |sled| {
            let value = sled.get(key).unwrap().unwrap();
            let mut key = key.to_vec();
            key.push(0);
            sled.insert(key, value).unwrap();
        });
        assert_eq!(original.judge(strange.path()), Found::Nothing, "{key:?}");
    }
    assert!(keys.len() > 9, "there were {}", keys.len());
}

#[test]
fn a_sled_that_has_gone_back_in_part_gives_nothing() {
    let original = Original::new();
    let copy = original.copy(false);
    let (mut index, restored) = PagedIndex::open(copy.path(), settings(64));
    restored.unwrap();
    index.count_attempts(&stream(0), &(0..9).collect()).unwrap();
    index.checkpoint(&checkpoint(3)).unwrap();
    index.pages.worker().unwrap().await_posted().unwrap();
    close(index);
    let mut old = BTreeMap::new();
    with_sled(original.copy(false).path(), |sled| {
        old.extend(sled.iter().map(Result::unwrap));
    });
    let mut differ = 0;
    for (key, value) in old {
        let other = tempfile::tempdir().unwrap();
        copy_files(copy.path(), other.path());
        let mut is_old = false;
        with_sled(other.path(), |sled| {
            is_old = sled.insert(&key, &value).unwrap().unwrap() == value;
        });
        if !is_old {
            differ += 1;
            assert_eq!(original.judge(other.path()), Found::Nothing, "{key:?}");
        }
    }
    assert_eq!(differ, 2, "a block and the checkpoint");
}

#[test]
fn a_block_that_changes_while_it_is_out_breaks_the_index() {
    let original = Original::new();
    for change in 0..3 {
        let copy = original.copy(false);
        let (mut index, restored) = PagedIndex::open(copy.path(), settings(64));
        restored.unwrap();
        let changed = index.pages.worker().unwrap().run(move |database, _| {
            let database = database.as_mut().unwrap();
            let mut blocks = database.sled.scan_prefix("b").map(Result::unwrap);
            let (first, _) = blocks.next().unwrap();
            let key = Key::parse(&first).unwrap();
            let changed = match change {
                0 => None,
                1 => Some(blocks.next().unwrap().1),
                // An intact value, which might have been there before.
                _ => {
                    let value = block::encode(key, &stream(0), 900, &[entry(key.start, 0)]);
                    Some(value.unwrap().0.into())
                }
            };
            match changed {
                None => database.sled.remove(first).unwrap(),
                Some(value) => database.sled.insert(first, value).unwrap(),
            };
            Ok(())
        });
        changed.unwrap();
        let Err(Broken(reason)) = index.find(&stream(0), &[0].into_iter().collect()) else {
            panic!("it was not noticed");
        };
        assert!(reason.contains("block"), "{reason}");
        assert_eq!(index.clear(), Err(Broken(reason)));
    }
}

#[test]
fn the_newest_database_that_is_whole_counts() {
    let original = Original::new();
    let copy = original.copy(false);
    let number = database::numbers(copy.path())[0];
    let old = database::path(copy.path(), number);
    // A database begun but not finished, and obstacles to creating more.
    fs::create_dir(database::path(copy.path(), number + 1)).unwrap();
    fs::write(database::path(copy.path(), number + 2), "").unwrap();
    fs::write(copy.path().join("index-old"), "not ours").unwrap();
    assert_eq!(original.judge(copy.path()), Found::Checkpoint);
    assert!(copy.path().join("index-old").exists());
    let left = database::numbers(copy.path());
    assert_eq!(left, [number], "others are deleted");
    assert!(old.exists());
}

#[test]
fn a_database_that_takes_much_more_than_its_blocks_is_copied() {
    let home = tempfile::tempdir().unwrap();
    let (mut index, mut state) = filled(home.path(), settings(64));
    index.checkpoint(&checkpoint(0)).unwrap();
    let first = database::numbers(home.path());
    let mut takes = 0;
    let mut round = 0;
    // Most entries come and go next to those that stay.
    while database::numbers(home.path()) == first {
        round += 1;
        for n in 10_000 * round..10_000 * round + 1_000 {
            index.put_one(&stream(3), entry(n, 0)).unwrap();
        }
        index.checkpoint(&checkpoint(round)).unwrap();
        let goes = (10_000 * round..10_000 * round + 990).collect();
        index.remove(&stream(3), &goes, &mut |_| ()).unwrap();
        let kept = state.entry(stream(3)).or_default();
        let stays = 10_000 * round + 990..10_000 * round + 1_000;
        kept.extend(stays.map(|n| (n, entry(n, 0))));
        let db = fs::metadata(directory(home.path()).join("db")).map_or(0, |db| db.len());
        takes = takes.max(db);
        assert!(takes < 12 << 20, "{takes} bytes after {round} rounds");
    }
    assert!(takes > 4 << 20, "it was small: {takes}");
    index.checkpoint(&checkpoint(1)).unwrap();
    index.pages.worker().unwrap().await_posted().unwrap();
    let left = database::numbers(home.path());
    assert_eq!(left.len(), 1, "the old one is deleted");
    let db = fs::metadata(directory(home.path()).join("db")).unwrap();
    assert!(db.len() < 4 << 20);
    index.check();
    assert_eq!(held(&mut index, state.keys()), state);
    close(index);
    let (mut index, restored) = PagedIndex::open(home.path(), settings(64));
    assert_eq!(restored.unwrap(), (checkpoint(1), stats(&state)));
    assert_eq!(held(&mut index, state.keys()), state);
}
