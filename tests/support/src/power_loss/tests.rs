//! Handwritten traces, and the states that they may leave.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Calls, Disk, Fate, Image, Places, Plan, Rules, States, Timeline};

/// The arena of the traces. Only its name matters.
const ARENA: &str = "/arena";

fn timeline(log: &str) -> Timeline {
    let places = Places::pretended(Path::new(ARENA), Path::new("/marks"));
    let mut timeline = Timeline::starting_from(Image::empty());
    let calls = Calls::parse(unindented(log).as_bytes()).unwrap();
    timeline.record(&calls, &places).unwrap();
    timeline
}

fn at_the_end(log: &str, rules: Rules) -> Disk {
    let timeline = timeline(log);
    timeline.disk_at(timeline.events().len(), rules)
}

fn content(image: &Image, path: &str) -> Option<Vec<u8>> {
    let files = image.files();
    files
        .get(Path::new(path))
        .map(|content| content.map(|bytes| bytes.to_vec()).unwrap_or_default())
}

/// The content of a file if no pending change reaches the disk.
fn surely(log: &str, rules: Rules, path: &str) -> Option<Vec<u8>> {
    content(&at_the_end(log, rules).image(&[]), path)
}

/// Checks the content of a file if no pending change reaches the disk, under both rules.
#[track_caller]
fn assert_surely(log: &str, path: &str, content: &[u8]) {
    for rules in [Rules::Strict, Rules::Journal] {
        assert_eq!(
            surely(log, rules, path).as_deref(),
            Some(content),
            "{rules:?}"
        );
    }
}

/// The log as strace writes it, without the indentation here.
fn unindented(log: &str) -> String {
    log.lines()
        .map(|line| line.trim_start().to_owned() + "\n")
        .collect()
}

/// All contents of a file left by a few hundred power losses.
fn possible(log: &str, rules: Rules, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    let timeline = timeline(log);
    States::sample(&timeline, 0, 600, 7, rules, &Plan::EACH)
        .map(|state| content(&state.image(), path))
        .collect()
}

const CREATED: &str = r#"
    1 openat(AT_FDCWD, "/arena/f", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3
    1 openat(AT_FDCWD, "/arena", O_RDONLY|O_CLOEXEC) = 4
    1 fsync(4) = 0
"#;

fn after_creation(log: &str) -> String {
    CREATED.to_owned() + log
}

#[test]
fn a_write_is_lost_unless_it_is_synced() {
    let written = after_creation(r#"1 pwrite64(3, "abc", 3, 0) = 3"#);
    let ranged = written.clone() + "\n1 sync_file_range(3, 0, 3, SYNC_FILE_RANGE_WAIT_AFTER) = 0";
    let synced = written.clone() + "\n1 fdatasync(3) = 0";
    assert_surely(&written, "f", b"");
    // `sync_file_range` does not wait for the device.
    assert_surely(&ranged, "f", b"");
    assert_surely(&synced, "f", b"abc");
    for rules in [Rules::Strict, Rules::Journal] {
        let expected = [None, Some(vec![]), Some(vec![0; 3]), Some(b"abc".to_vec())];
        assert_eq!(possible(&written, rules, "f"), BTreeSet::from(expected));
    }
}

#[test]
fn a_sync_covers_what_had_returned_before_it() {
    let overlapping = after_creation(
        r#"1 write(3, "ab", 2) = 2
        1 write(3, "cd", 2 <unfinished ...>
        2 fsync(3 <unfinished ...>
        1 <... write resumed>) = 2
        1 write(3, "ef", 2) = 2
        2 <... fsync resumed>) = 0"#,
    );
    let disk = at_the_end(&overlapping, Rules::Strict);
    assert_eq!(content(&disk.image(&[]), "f"), Some(b"ab".to_vec()));
    assert_eq!(content(&disk.volatile(), "f"), Some(b"abcdef".to_vec()));
    assert_eq!(disk.pending().len(), 2);

    let never_returned = after_creation("1 write(3, \"ab\", 2) = 2\n2 fsync(3 <unfinished ...>");
    assert_eq!(surely(&never_returned, Rules::Strict, "f"), Some(vec![]));
}

#[test]
fn a_write_that_waits_for_the_disk_needs_no_sync() {
    let log = r#"
        1 openat(AT_FDCWD, "/arena/f", O_WRONLY|O_CREAT|O_APPEND|O_DSYNC, 0600) = 3
        1 openat(AT_FDCWD, "/arena", O_RDONLY) = 4
        1 fsync(4) = 0
        1 write(3, "ab", 2) = 2
        1 write(3, "cd", 2 <unfinished ...>"#;
    assert_eq!(surely(log, Rules::Strict, "f"), Some(b"ab".to_vec()));
}

/// Opens the file again as descriptor 7, with writes that wait for the disk.
const WAITING: &str = "1 openat(AT_FDCWD, \"/arena/f\", O_RDWR|O_DSYNC) = 7\n";

#[test]
fn a_descriptor_waits_for_the_disk_by_itself() {
    let log = after_creation(WAITING)
        + r#"1 pwrite64(7, "abcd", 4, 0) = 4
        1 pwrite64(3, "XY", 2, 1) = 2
        1 pwrite64(7, "Z", 1, 600) = 1"#;
    assert_surely(&log, "f", &[&b"abcd"[..], &[0; 596], b"Z"].concat());
}

#[test]
fn an_attribute_makes_nothing_durable() {
    let log = after_creation("1 ioctl(3, FS_IOC_SETFLAGS, [FS_SYNC_FL|FS_EXTENT_FL]) = 0\n")
        + r#"1 pwrite64(3, "abcd", 4, 0) = 4"#;
    assert_eq!(surely(&log, Rules::Strict, "f"), Some(vec![]));
}

#[test]
fn what_is_durable_is_not_undone_by_what_came_before() {
    let old = "o".repeat(1024);
    let log = after_creation(&format!(
        "1 pwrite64(3, \"{old}\", 1024, 0) = 1024\n{WAITING}1 pwrite64(7, \"new\", 3, 0) = 3"
    ));
    // A sector is written whole.
    let sector = surely(&log, Rules::Strict, "f").unwrap();
    assert_eq!(sector, ("new".to_owned() + &old[..509]).as_bytes());
    let found = possible(
        &(log + "\n1 pwrite64(3, \"end\", 3, 2048) = 3"),
        Rules::Strict,
        "f",
    );
    let is_found = |is: &dyn Fn(&[u8]) -> bool| found.iter().flatten().any(|found| is(found));
    assert!(is_found(&|found| found.len() == 2051));
    assert!(is_found(&|found| found.len() == 1024));
    let old = &old.as_bytes()[512..];
    assert!(is_found(
        &|found| found.len() >= 1024 && found[512..1024] == *old
    ));
    assert!(is_found(
        &|found| found.len() == 2051 && found[512..1024] == [0; 512]
    ));

    let cut = after_creation("1 pwrite64(3, \"abcdef\", 6, 0) = 6\n1 ftruncate(3, 2) = 0\n")
        + WAITING
        + "1 pwrite64(7, \"XY\", 2, 2) = 2";
    for rules in [Rules::Strict, Rules::Journal] {
        let found = possible(&cut, rules, "f");
        assert!(
            found.iter().flatten().any(|found| found.len() == 4),
            "{found:?}"
        );
    }
    assert_eq!(surely(&cut, Rules::Strict, "f"), Some(b"abXY".to_vec()));
}

#[test]
fn calls_at_the_same_time_are_read_so_that_they_explain_what_is_there() {
    // The truncation was made first, although it returned last.
    let log = after_creation(
        r#"1 pwrite64(3, "abcdef", 6, 0) = 6
        1 ftruncate(3, 1 <unfinished ...>
        2 pwrite64(3, "XYZ", 3, 4) = 3
        1 <... ftruncate resumed>) = 0"#,
    );
    let calls = Calls::parse(unindented(&log).as_bytes()).unwrap();
    let places = Places::pretended(Path::new(ARENA), Path::new("/marks"));
    let directory = tempfile::tempdir().unwrap();
    let record = |left: &[u8]| {
        std::fs::write(directory.path().join("f"), left).unwrap();
        let found = Image::read_from(directory.path()).unwrap();
        let mut timeline = Timeline::starting_from(Image::empty());
        let recorded = timeline.record_until(&calls, &places, &found);
        recorded.map(|()| timeline.disk_at(usize::MAX, Rules::Strict).volatile())
    };
    for left in [&b"a"[..], b"a\0\0\0XYZ"] {
        let seen = record(left).unwrap();
        assert_eq!(content(&seen, "f").as_deref(), Some(left));
    }
    let told = record(b"ab");
    assert!(told.unwrap_err().to_string().contains("does not explain"));
}

#[test]
fn a_large_write_is_torn_between_sectors_and_pages() {
    let text = |byte: u8| char::from(byte).to_string().repeat(8192);
    let log = after_creation(&format!(
        "1 write(3, \"{}\", 8192) = 8192\n1 fsync(3) = 0\n1 pwrite64(3, \"{}\", 8192, 0) = 8192",
        text(b'a'),
        text(b'b')
    ));
    let found = possible(&log, Rules::Strict, "f");
    let whole = found
        .iter()
        .flatten()
        .filter(|content| content.len() == 8192);
    let runs = |content: &Vec<u8>| content.chunk_by(|a, b| a == b).map(<[u8]>::len).collect();
    let runs: BTreeSet<Vec<usize>> = whole.map(runs).collect();
    assert!(
        runs.iter().flatten().all(|run| run % 512 == 0),
        "a sector is torn"
    );
    // Writes are torn between pages, and within them.
    assert!(runs.contains(&vec![4096, 4096]) && runs.contains(&vec![8192]));
    assert!(runs.iter().any(|runs| runs.len() > 4));
}

#[test]
fn a_sector_holds_what_some_moment_had_put_there() {
    let log = after_creation(
        r#"1 pwrite64(3, "abcdef", 6, 0) = 6
        1 fsync(3) = 0
        1 pwrite64(3, "AB", 2, 0) = 2
        1 pwrite64(3, "EF", 2, 4) = 2"#,
    );
    let found = possible(&log, Rules::Strict, "f");
    assert!(found.contains(&Some(b"ABcdef".to_vec())));
    assert!(found.contains(&Some(b"ABcdEF".to_vec())));
    // The later half must not arrive without the earlier.
    assert!(!found.contains(&Some(b"abcdEF".to_vec())));
}

#[test]
fn a_rename_is_undone_unless_its_directory_is_synced() {
    let renamed = after_creation(
        r#"1 write(3, "old", 3) = 3
        1 fsync(3) = 0
        1 openat(AT_FDCWD, "/arena/t", O_WRONLY|O_CREAT|O_EXCL, 0600) = 5
        1 write(5, "new", 3) = 3
        1 fsync(5) = 0
        1 renameat(4, "t", AT_FDCWD, "/arena/f") = 0"#,
    );
    let synced = renamed.clone() + "\n1 fsync(4) = 0";
    assert_surely(&renamed, "f", b"old");
    assert_surely(&synced, "f", b"new");
    for rules in [Rules::Strict, Rules::Journal] {
        assert_eq!(surely(&synced, rules, "t"), None);
    }
    // Nobody synced the name.
    assert_eq!(surely(&renamed, Rules::Strict, "t"), None);
    assert_eq!(surely(&renamed, Rules::Journal, "t"), Some(b"new".to_vec()));
}

#[test]
fn a_rename_before_its_data_leaves_an_empty_file() {
    let log = after_creation(
        r#"1 openat(AT_FDCWD, "/arena/t", O_WRONLY|O_CREAT, 0600) = 5
        1 write(5, "new", 3) = 3
        1 rename("/arena/t", "/arena/f") = 0
        1 fsync(4) = 0"#,
    );
    assert_eq!(surely(&log, Rules::Strict, "f"), Some(vec![]));
}

#[test]
fn names_arrive_in_order() {
    let log = after_creation(
        r#"1 openat(AT_FDCWD, "/arena/a", O_WRONLY|O_CREAT, 0600) = 5
        1 openat(AT_FDCWD, "/arena/b", O_WRONLY|O_CREAT, 0600) = 6
        1 unlinkat(4, "f", 0) = 0"#,
    );
    let timeline = timeline(&log);
    for rules in [Rules::Strict, Rules::Journal] {
        let mut seen = BTreeSet::new();
        for state in States::sample(&timeline, 0, 400, 3, rules, &Plan::EACH) {
            let image = state.image();
            seen.insert(["f", "a", "b"].map(|name| content(&image, name).is_some()));
        }
        let in_order = [
            [false, false, false],
            [true, false, false],
            [true, true, false],
            [true, true, true],
            [false, true, true],
        ];
        assert_eq!(seen, BTreeSet::from(in_order));
    }
}

#[test]
fn strict_rules_know_no_order_between_directories() {
    let log = r#"
        1 mkdir("/arena/d", 0700) = 0
        1 mkdir("/arena/e", 0700) = 0
        1 openat(AT_FDCWD, "/arena", O_RDONLY) = 4
        1 fsync(4) = 0
        1 openat(AT_FDCWD, "/arena/d/a", O_WRONLY|O_CREAT, 0600) = 5
        1 openat(AT_FDCWD, "/arena/e/b", O_WRONLY|O_CREAT, 0600) = 6"#;
    let only_the_later = |rules| {
        let timeline = timeline(log);
        States::sample(&timeline, 0, 400, 5, rules, &Plan::EACH).any(|state| {
            let image = state.image();
            content(&image, "d/a").is_none() && content(&image, "e/b").is_some()
        })
    };
    assert!(only_the_later(Rules::Strict));
    assert!(!only_the_later(Rules::Journal));
}

#[test]
fn a_synced_file_has_its_name_only_by_the_journal() {
    let log = r#"
        1 mkdir("/arena/d", 0700) = 0
        1 openat(AT_FDCWD, "/arena/d/f", O_WRONLY|O_CREAT, 0600) = 5
        1 write(5, "abc", 3) = 3
        1 fsync(5) = 0"#;
    assert_eq!(surely(log, Rules::Strict, "d/f"), None);
    assert_eq!(surely(log, Rules::Journal, "d/f"), Some(b"abc".to_vec()));
    let synced = log.to_owned()
        + r#"
        1 openat(AT_FDCWD, "/arena/d", O_RDONLY|O_DIRECTORY) = 6
        1 fsync(6) = 0"#;
    // The directory has no name yet.
    assert_eq!(surely(&synced, Rules::Strict, "d/f"), None);
    let all_synced = synced
        + r#"
        1 openat(AT_FDCWD, "/arena", O_RDONLY|O_DIRECTORY) = 7
        1 fsync(7) = 0"#;
    assert_surely(&all_synced, "d/f", b"abc");
}

#[test]
fn a_rename_between_directories_is_whole() {
    let log = r#"
        1 mkdir("/arena/d", 0700) = 0
        1 openat(AT_FDCWD, "/arena", O_RDONLY) = 4
        1 openat(AT_FDCWD, "/arena/a", O_WRONLY|O_CREAT, 0600) = 5
        1 fsync(4) = 0
        1 rename("/arena/a", "/arena/d/b") = 0
        1 openat(AT_FDCWD, "/arena/d", O_RDONLY) = 6
        1 fsync(6) = 0"#;
    let image = at_the_end(log, Rules::Strict).image(&[]);
    assert_eq!(content(&image, "a"), None);
    assert_eq!(content(&image, "d/b"), Some(vec![]));
    let timeline = timeline(log);
    for state in States::sample(&timeline, 0, 200, 9, Rules::Strict, &Plan::EACH) {
        let image = state.image();
        assert!(content(&image, "a").is_none() || content(&image, "d/b").is_none());
    }
}

#[test]
fn what_follows_a_cut_needs_the_cut() {
    let log = after_creation(
        r#"1 write(3, "abcd", 4) = 4
        1 fsync(3) = 0
        1 ftruncate(3, 1) = 0
        1 pwrite64(3, "XY", 2, 1) = 2"#,
    );
    let found = possible(&log, Rules::Strict, "f");
    assert!(found.contains(&Some(b"abcd".to_vec())));
    assert!(found.contains(&Some(b"a".to_vec())));
    assert!(found.contains(&Some(b"aXY".to_vec())));
    // The space was not free yet.
    assert!(!found.contains(&Some(b"aXYd".to_vec())));
}

#[test]
fn positions_copies_and_descriptors_are_followed() {
    let log = r#"
        1 openat(AT_FDCWD, "/arena/f", O_RDWR|O_CREAT, 0600) = 3
        1 writev(3, [{iov_base="ab", iov_len=2}, {iov_base="cdef", iov_len=4}], 2) = 6
        1 lseek(3, 1, SEEK_SET) = 1
        1 read(0x3, 0x7ffd, 0x2) = 0x2
        1 fcntl(3, F_DUPFD_CLOEXEC, 0) = 5
        1 write(5, "X", 1) = 1
        1 openat(AT_FDCWD, "/arena/g", O_WRONLY|O_CREAT, 0600) = 6
        1 lseek(3, 0, SEEK_SET) = 0
        1 copy_file_range(3, NULL, 6, NULL, 100, 0) = 6
        1 fallocate(6, 0, 0, 8) = 0
        1 close(3) = 0
        1 openat(AT_FDCWD, "/elsewhere/h", O_WRONLY|O_CREAT, 0600) = 3
        1 write(3, "no", 2) = 2
        1 openat(AT_FDCWD, "/arena/g", O_WRONLY|O_APPEND) = 8
        1 write(8, "Z", 1) = 1
        1 unlink("/arena/none") = -1 ENOENT (No such file or directory)
        1 openat(AT_FDCWD, "/marks", O_WRONLY|O_APPEND) = 9
        1 write(9, "one\ntwo\n", 8) = 8"#;
    let timeline = timeline(log);
    let files = timeline.files();
    assert_eq!(content(files, "f"), Some(b"abcXef".to_vec()));
    assert_eq!(content(files, "g"), Some(b"abcXef\0\0Z".to_vec()));
    assert_eq!(files.files().len(), 2);
    let end = timeline.events().len();
    let seen = timeline.disk_at(end, Rules::Strict).volatile();
    assert!(seen.differences(files).is_empty());
    let marks = timeline.events().iter().filter_map(|event| match event {
        super::Event::Mark(text) => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(marks.collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn what_is_not_modelled_is_refused() {
    let refused = [
        r#"1 symlink("/x", "/arena/s") = 0"#,
        r#"1 renameat2(AT_FDCWD, "/arena/a", AT_FDCWD, "/arena/b", RENAME_EXCHANGE) = 0"#,
        "1 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f0000000000",
        "1 fallocate(3, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE, 0, 1) = 0",
    ];
    let places = Places::pretended(Path::new(ARENA), Path::new("/marks"));
    for call in refused {
        let log = after_creation(call);
        let calls = Calls::parse(log.replace("\n    ", "\n").as_bytes()).unwrap();
        let recorded = Timeline::starting_from(Image::empty()).record(&calls, &places);
        let error = recorded.unwrap_err().to_string();
        assert!(error.contains("not modelled"), "{call}: {error}");
    }
}

#[test]
fn a_killed_process_leaves_what_is_pending_and_a_loss_of_power_does_not() {
    let log = after_creation(
        r#"1 write(3, "ab", 2) = 2
        1 write(3, "cd", 2) = 2"#,
    );
    let timeline = timeline(&log);
    let end = timeline.events().len();

    let killed = timeline.killed_at(end);
    let disk = killed.disk_at(usize::MAX, Rules::Strict);
    assert_eq!(content(killed.files(), "f"), Some(b"abcd".to_vec()));
    assert_eq!(content(&disk.image(&[]), "f"), Some(vec![]));

    let left = timeline
        .disk_at(end, Rules::Strict)
        .image(&[Fate::Kept, Fate::Dropped]);
    let lost = timeline.power_lost_at(end, left);
    let disk = lost.disk_at(usize::MAX, Rules::Strict);
    assert_eq!(content(lost.files(), "f"), Some(b"ab".to_vec()));
    assert_eq!(content(&disk.image(&[]), "f"), Some(b"ab".to_vec()));
}

#[test]
fn the_same_seed_gives_the_same_states() {
    let log = after_creation("1 write(3, \"ab\", 2) = 2\n1 write(3, \"cd\", 2) = 2");
    let timeline = timeline(&log);
    let sample = |seed| -> Vec<_> {
        States::sample(&timeline, 0, 50, seed, Rules::Strict, &Plan::EACH)
            .map(|state| (state.moment, state.plan, state.fates))
            .collect()
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
    let plans = sample(1)
        .into_iter()
        .map(|(_, plan, _)| format!("{plan:?}"));
    assert_eq!(
        plans.collect::<BTreeSet<_>>().len(),
        Plan::EACH.len(),
        "a plan is left out"
    );
}

#[test]
fn an_image_is_written_and_read_back() {
    let timeline = timeline(&after_creation(
        r#"1 mkdir("/arena/d", 0700) = 0
        1 openat(AT_FDCWD, "/arena/d/g", O_WRONLY|O_CREAT, 0600) = 6
        1 pwrite64(6, "x", 1, 1000) = 1"#,
    ));
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("written");
    timeline.files().write_to(&place).unwrap();
    timeline.must_end_with(&place).unwrap();
    std::fs::write(place.join("d/g"), "y").unwrap();
    let told = timeline.must_end_with(&place).unwrap_err().to_string();
    assert!(told.contains("d/g") && !told.contains("\"f\""), "{told}");
}

#[test]
fn a_directory_is_opened_by_its_own_name() {
    let log = r#"
        1 mkdir("/arena/d", 0700) = 0
        1 openat(AT_FDCWD, "/arena/d", O_RDONLY|O_DIRECTORY) = 3
        1 openat(3, ".", O_RDONLY|O_DIRECTORY) = 4
        1 openat(4, "f", O_WRONLY|O_CREAT, 0600) = 5
        1 fsync(4) = 0
        1 openat(AT_FDCWD, "/arena", O_RDONLY) = 6
        1 fsync(6) = 0"#;
    assert_eq!(surely(log, Rules::Strict, "d/f"), Some(vec![]));
}
