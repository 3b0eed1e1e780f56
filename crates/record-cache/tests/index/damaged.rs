//! Index databases that are damaged, missing or replaced by something else.

use std::fs;
use std::path::Path;

use crate::sample;
use crate::support::subject::for_each_store;
use crate::support::{
    Damage, End, Numbers, STREAMS, Subject, copy, delete, files_below, in_memory, indexes,
    number_of, overwrite, read_all, stream, times,
};

for_each_store!(
    a_file_of_an_index_that_is_damaged_costs_nothing,
    an_index_that_is_gone_or_rubbish_costs_nothing,
    something_else_in_the_place_of_an_index_costs_nothing,
    names_of_indexes_that_are_taken_cost_nothing,
    damage_to_an_index_in_use_costs_nothing,
    entries_that_a_database_lost_or_changed_cost_nothing,
);

async fn a_file_of_an_index_that_is_damaged_costs_nothing(opener: Subject) {
    for end in End::ALL {
        let sample = sample(opener, end).await;
        sample.is_untouched().await;
        let mut random = Numbers::new(11);
        for case in 0..times("INDEX_CASES", 15) {
            for kind in Damage::ALL {
                let context = format!("{end:?} {case}: {kind:?}");
                let outcome = sample.survives(&context, |path| {
                    for index in indexes(path) {
                        let files = files_below(&index);
                        // Usually the file that holds the blocks.
                        let database = index.join("db");
                        let file = match random.below(4) {
                            0 => &files[random.below(files.len())],
                            _ => &database,
                        };
                        kind.is_done_to(file, &mut random);
                    }
                });
                outcome.await.is_harmless(&context);
            }
        }
    }
}

async fn an_index_that_is_gone_or_rubbish_costs_nothing(opener: Subject) {
    for end in End::ALL {
        let sample = sample(opener, end).await;
        for kind in [
            "gone",
            "empty",
            "all zeros",
            "all rubbish",
            "another database",
            "a text",
        ] {
            let context = format!("{end:?}: {kind}");
            let outcome = sample.survives(&context, |path| {
                for index in indexes(path) {
                    spoil(&index, kind);
                }
            });
            outcome.await.is_harmless(&context);
        }
    }
}

fn spoil(index: &Path, kind: &str) {
    let fill = |byte: u8| {
        for file in files_below(index) {
            let length = usize::try_from(fs::metadata(&file).unwrap().len()).unwrap();
            fs::write(file, vec![byte; length]).unwrap();
        }
    };
    match kind {
        "all zeros" => return fill(0),
        "all rubbish" => return fill(0xa6),
        _ => fs::remove_dir_all(index).unwrap(),
    }
    match kind {
        "empty" => fs::create_dir(index).unwrap(),
        "another database" => {
            let database = ::sled::open(index).unwrap();
            database.insert("anything", "else").unwrap();
            database.flush().unwrap();
        }
        "a text" => {
            fs::create_dir(index).unwrap();
            fs::write(index.join("readme.txt"), "not a database").unwrap();
        }
        _ => {}
    }
}

async fn something_else_in_the_place_of_an_index_costs_nothing(opener: Subject) {
    let sample = sample(opener, End::Killed).await;
    for kind in [
        "a file",
        "a directory for a file",
        "links",
        "dangling links",
        "FIFOs",
    ] {
        for of_the_directory in [true, false] {
            let context = format!("{kind}, of the directory: {of_the_directory}");
            let beside = in_memory();
            let outcome = sample.survives(&context, |path| {
                for index in indexes(path) {
                    let file = index.join("db");
                    let place = if of_the_directory { &index } else { &file };
                    replace(place, kind, beside.path());
                }
            });
            outcome.await.is_harmless(&context);
        }
    }
}

/// Replaces a file or directory with something else.
fn replace(place: &Path, kind: &str, beside: &Path) {
    let moved = beside.join("moved");
    fs::rename(place, &moved)
        .or_else(|_| {
            // The target is on another file system.
            if place.is_dir() {
                copy(place, &moved);
                fs::remove_dir_all(place)
            } else {
                fs::copy(place, &moved)?;
                fs::remove_file(place)
            }
        })
        .unwrap();
    match kind {
        "a file" => fs::write(place, "something else").unwrap(),
        "a directory for a file" => fs::create_dir_all(place.join("below")).unwrap(),
        // Only Unix has the calls that make links and FIFOs.
        #[cfg(unix)]
        "links" => std::os::unix::fs::symlink(&moved, place).unwrap(),
        #[cfg(unix)]
        "dangling links" => std::os::unix::fs::symlink("nowhere", place).unwrap(),
        #[cfg(unix)]
        "FIFOs" => {
            let made = std::process::Command::new("mkfifo").arg(place).status();
            assert!(made.unwrap().success());
        }
        _ => {}
    }
}

async fn names_of_indexes_that_are_taken_cost_nothing(opener: Subject) {
    for end in End::ALL {
        let sample = sample(opener, end).await;
        for kind in ["files", "directories"] {
            let context = format!("{end:?}: {kind}");
            let outcome = sample.survives(&context, |path| {
                for number in 0..20 {
                    let place = path.join(format!("index-{number}"));
                    if place.exists() {
                        continue;
                    }
                    match kind {
                        "files" => fs::write(place, "taken").unwrap(),
                        _ => fs::create_dir_all(place.join("db")).unwrap(),
                    }
                }
            });
            outcome.await.is_harmless(&context);
        }
    }
}

async fn damage_to_an_index_in_use_costs_nothing(opener: Subject) {
    let sample = sample(opener, End::Closed).await;
    let mut random = Numbers::new(12);
    for case in 0..times("INDEX_CASES", 15) {
        let place = in_memory();
        copy(sample.place.path(), place.path());
        let store = opener.open_fast(place.path()).await;
        for index in indexes(place.path()) {
            for file in files_below(&index) {
                // sled keeps its files open, and may lock them on systems that enforce locks.
                let Ok(mut file) = fs::File::options().write(true).open(file) else {
                    continue;
                };
                let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
                for _ in 0..1 + case {
                    overwrite(&mut file, random.below(length) as u64, &[0xa6; 90]);
                }
            }
        }
        let mut found = Vec::new();
        for name in STREAMS {
            let batch = read_all(&*store, &stream(name)).await;
            assert_eq!(batch.damaged.records, 0, "case {case}");
            found.extend(batch.records.iter().map(number_of));
        }
        found.sort_unstable();
        assert!(found.iter().eq(&sample.live), "case {case}");
        assert_eq!(store.stats().records(), found.len(), "case {case}");
        // Half of the records are settled, and stay settled.
        for name in STREAMS {
            let held = read_all(&*store, &stream(name)).await.records;
            delete(&*store, &stream(name), &held[..held.len() / 2]).await;
        }
        let stats = store.stats();
        store.close().await.unwrap();
        let store = opener.open_fast(place.path()).await;
        assert_eq!(store.stats(), stats, "case {case}");
        store.close().await.unwrap();
    }
}

/// sled loses pages silently, and others may change its database.
async fn entries_that_a_database_lost_or_changed_cost_nothing(opener: Subject) {
    for end in [End::Closed, End::Killed] {
        let sample = sample(opener, end).await;
        let mut random = Numbers::new(13);
        for case in 0..times("INDEX_CASES", 15) * 2 {
            let kind = ["lost", "changed", "cut", "exchanged", "added"][case % 5];
            let context = format!("{end:?} {case}: an entry is {kind}");
            let outcome = sample.survives(&context, |path| {
                for index in indexes(path) {
                    change_an_entry(&index, kind, &mut random);
                }
            });
            outcome.await.is_harmless(&context);
        }
    }
}

fn change_an_entry(index: &Path, kind: &str, random: &mut Numbers) {
    // The database only opens with the segment size it was created with.
    let config = ::sled::Config::new().path(index).segment_size(256 * 1024);
    let database = config.open().unwrap();
    let keys: Vec<_> = database.iter().keys().map(Result::unwrap).collect();
    assert!(keys.len() > 10, "{} entries", keys.len());
    let [key, other] = [(); 2].map(|()| &keys[random.below(keys.len())]);
    let mut value = database.get(key).unwrap().unwrap().to_vec();
    let at = random.below(value.len());
    match kind {
        "lost" => drop(database.remove(key).unwrap()),
        "changed" => {
            value[at] ^= 1 << random.below(8);
            database.insert(key, value).unwrap();
        }
        "cut" => drop(database.insert(key, &value[..at]).unwrap()),
        "exchanged" => {
            let before = database.insert(other, value).unwrap().unwrap();
            database.insert(key, before).unwrap();
        }
        _ => {
            let mut new = key.to_vec();
            if let Some(last) = new.last_mut() {
                *last ^= 1;
            }
            database.insert(new, value).unwrap();
        }
    }
    database.flush().unwrap();
}
