//! Outlines of segments: they match the frames, and nothing else is accepted as one.

use std::io::IoSlice;
use std::sync::Arc;

use super::history::{History, OTHER, SEGMENT_BYTES, open, some};
use super::sim::{Numbers, SimDisk};
use crate::index::paged::PlainIndex;
use crate::log::catalog::Catalog;
use crate::log::files::{Disk, DiskFile};
use crate::log::format::{Found, SegmentHeader, segment_name, segment_number};
use crate::log::frame::{GroupBody, Header, Seal, length};
use crate::log::group::Encoder;
use crate::log::outline::Outline;
use crate::log::replay::Replay;
use crate::log::scan::Scanner;
use crate::{Durability, NewRecord, RecordStore, Settlement, StreamName};

const DURABILITY: Durability = Durability::PowerLoss;

/// A segment of a closed store.
struct Segment {
    number: u32,
    salt: u64,
    file: Arc<dyn DiskFile>,
}

impl Segment {
    fn outline(&self) -> Option<Outline> {
        let seal = Seal::new(self.salt, self.number);
        Outline::read(&*self.file, &seal).unwrap()
    }

    /// The outline computed from the frames.
    fn scanned(&self, end: u64) -> Option<Outline> {
        let seal = Seal::new(self.salt, self.number);
        let mut scanner = Scanner::new(&*self.file, seal, end).unwrap();
        let catalog = Catalog::new(Box::new(PlainIndex::default()));
        let mut replay = Replay::new(None, catalog);
        let tail = replay.segment(self.number, &mut scanner, end).unwrap();
        tail.outline
    }
}

fn bytes_of(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read(&mut bytes, usize::MAX >> 1, 0).unwrap();
    bytes
}

fn segments(disk: &SimDisk) -> Vec<Segment> {
    let names = disk.names().unwrap();
    let numbers = names.iter().filter_map(|name| segment_number(name));
    let segment = |number| {
        let file = disk.open(&segment_name(number)).unwrap();
        let Found::Sound(header) = SegmentHeader::decode(&bytes_of(&*file)[..64]) else {
            panic!("segment {number} has no header");
        };
        Segment {
            number,
            salt: header.salt,
            file,
        }
    };
    numbers.map(segment).collect()
}

/// Does work of all kinds until the store is closed.
async fn a_run(seed: u64, durability: Durability) -> (SimDisk, History) {
    let disk = SimDisk::default();
    let mut numbers = Numbers::new(seed);
    let mut history = History::default();
    let moved = StreamName::new("moved").unwrap();
    for round in 0..4_u8 {
        let store = open(&disk, durability).await.unwrap();
        history.work(&store, &disk, &mut numbers, 40).await;
        let record = NewRecord::new(moved.clone(), None, vec![round; 50]);
        store.append(vec![record; 3]).await.unwrap();
        let held = store.oldest(&moved, None, some(9)).await.unwrap().records;
        let ids = held.iter().map(|record| record.id);
        let settled = Settlement::new(moved.clone()).delete(ids);
        store.settle(settled).await.unwrap();
        // Long enough that the last segment gets an outline.
        let long = NewRecord::new(StreamName::new(OTHER).unwrap(), None, vec![round; 3000]);
        store.append(vec![long]).await.unwrap();
        store.close().await.unwrap();
    }
    (disk, history)
}

#[tokio::test]
async fn an_outline_says_what_a_scan_of_the_frames_finds() {
    let mut compared = 0;
    for seed in 0..20 {
        let durability = match seed % 2 {
            0 => Durability::PowerLoss,
            _ => Durability::ProcessCrash,
        };
        let (disk, _) = a_run(seed, durability).await;
        for segment in segments(&disk) {
            let context = format!("seed {seed}, segment {}", segment.number);
            let outline = segment.outline().expect(&context);
            let scanned = segment.scanned(outline.end()).expect(&context);
            assert_eq!(outline, scanned, "{context}");
            compared += 1;
        }
    }
    assert!(compared > 60, "only {compared} segments");
}

/// A file with an outline from a closed store, its bytes, and where its frames end.
async fn one_segment() -> (Segment, Vec<u8>, usize) {
    let (disk, _) = a_run(3, DURABILITY).await;
    let segment = segments(&disk).pop().unwrap();
    let bytes = bytes_of(&*segment.file);
    let end = usize::try_from(segment.outline().unwrap().end()).unwrap();
    (segment, bytes, end)
}

/// Whether these bytes are accepted as a segment with its outline.
fn passes(bytes: &[u8], number: u32, salt: u64) -> bool {
    let disk = SimDisk::default();
    let file = disk.create("file").unwrap();
    file.write(&mut [IoSlice::new(bytes)], 0).unwrap();
    let seal = Seal::new(salt, number);
    Outline::read(&*file, &seal).unwrap().is_some()
}

#[tokio::test]
async fn an_outline_with_any_bit_flipped_or_any_byte_missing_is_none() {
    let (Segment { number, salt, .. }, bytes, end) = one_segment().await;
    assert!(passes(&bytes, number, salt));
    for bit in end * 8..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(!passes(&flipped, number, salt), "bit {bit}");
    }
    for length in end..bytes.len() {
        assert!(!passes(&bytes[..length], number, salt), "cut at {length}");
        let mut zeros = bytes[..length].to_vec();
        zeros.resize(bytes.len(), 0);
        // The checksum may itself end in zeros.
        assert!(
            zeros == bytes || !passes(&zeros, number, salt),
            "zeros from {length}"
        );
    }
    let (outline, trailer) = bytes.split_at(bytes.len() - 48);
    let apart = [outline, &[0; 8], trailer].concat();
    assert!(!passes(&apart, number, salt), "something is in it");
    let longer = [&bytes[..], &[0]].concat();
    assert!(!passes(&longer, number, salt), "something is behind it");
    assert!(!passes(&bytes, number + 1, salt), "of another segment");
    assert!(!passes(&bytes, number, salt + 1), "of another store");
}

#[tokio::test]
async fn an_outline_of_other_frames_is_none() {
    let (Segment { number, salt, .. }, bytes, end) = one_segment().await;
    let (frames, outline) = bytes.split_at(end);
    // The segment was cut and then continued with different data up to the same place.
    let seal = Seal::new(salt, number);
    let last = end - usize::try_from(length(OTHER.len(), false, 3000)).unwrap();
    let offset = u64::try_from(last).unwrap();
    let (mut header, name) = Header::decode(&frames[last..], &seal, offset).unwrap();
    header.sequence += 1;
    let mut other = frames[..last].to_vec();
    header.encode(name, &seal, offset, &mut other);
    other.extend(&frames[other.len()..]);
    assert!(
        !passes(&[&other[..], outline].concat(), number, salt),
        "rewritten"
    );
    for moved in [8, 64, 512] {
        let shorter = [&frames[..end - moved], outline].concat();
        assert!(!passes(&shorter, number, salt), "{moved} bytes less");
        let longer = [frames, &vec![0; moved][..], outline].concat();
        assert!(!passes(&longer, number, salt), "{moved} bytes more");
    }
}

#[tokio::test]
async fn an_outline_is_bound_to_its_segment_whatever_the_last_frame_is() {
    let disk = SimDisk::default();
    let file = disk.create("file").unwrap();
    let group = GroupBody {
        salt: 5,
        count: 0,
        stable: 0,
        oldest: 3,
        oldest_base: 0,
    };
    let mut encoder = Encoder::default();
    let seal = Seal::new(5, 3);
    encoder.begin(seal, 64, 0, Some(Outline::new()));
    encoder.group(&group);
    encoder.write(&*file).unwrap();
    let outline = encoder.outline.take().unwrap();
    outline.write(&*file, &seal).unwrap();
    let bytes = bytes_of(&*file);
    assert!(passes(&bytes, 3, 5));
    assert!(!passes(&bytes, 3, 6), "of another store");
    assert!(!passes(&bytes, 4, 5), "of another segment");
}

#[tokio::test]
async fn the_end_that_the_next_segment_says_stands_above_an_outline() {
    let disk = SimDisk::default();
    let store = open(&disk, DURABILITY).await.unwrap();
    let name = StreamName::new(OTHER).unwrap();
    let record = NewRecord::new(name, None, vec![1; 1000]);
    for _ in 0..20 {
        store.append(vec![record.clone()]).await.unwrap();
    }
    store.close().await.unwrap();
    // As after a failed sync: the last record of a segment was refused.
    let segments = segments(&disk);
    let (first, next) = (&segments[0], &segments[1]);
    let Found::Sound(mut header) = SegmentHeader::decode(&bytes_of(&*next.file)[..64]) else {
        panic!("no header");
    };
    let previous = header.previous.as_mut().unwrap();
    assert_eq!(previous.end, first.outline().unwrap().end());
    previous.end -= length(OTHER.len(), false, 1000);
    next.file
        .write(&mut [IoSlice::new(&header.encode())], 0)
        .unwrap();
    let store = open(&disk, DURABILITY).await.unwrap();
    assert_eq!(store.stats().records(), 19);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_segment_is_no_longer_than_it_should_be_with_its_outline() {
    for durability in [Durability::PowerLoss, Durability::ProcessCrash] {
        let disk = SimDisk::default();
        let store = open(&disk, durability).await.unwrap();
        for round in 0..200 {
            let name = StreamName::new(format!("stream {}", round % 70)).unwrap();
            let record = NewRecord::new(name, None, vec![1; round % 40]);
            store.append(vec![record]).await.unwrap();
        }
        store.close().await.unwrap();
        let mut segments = segments(&disk);
        segments.pop();
        assert!(segments.len() > 2, "only {} segments", segments.len());
        for segment in segments {
            let length = segment.file.length().unwrap();
            assert!(segment.outline().is_some());
            assert!(length <= SEGMENT_BYTES, "{length} bytes");
        }
    }
}

#[tokio::test]
async fn an_opening_reads_outlines_and_no_frames() {
    let (disk, history) = a_run(8, DURABILITY).await;
    let frames: u64 = segments(&disk)
        .iter()
        .map(|s| s.outline().unwrap().end())
        .sum();
    assert!(frames > 2 * SEGMENT_BYTES, "only {frames} bytes");
    let before = disk.bytes_read();
    let store = open(&disk, DURABILITY).await.unwrap();
    let with = disk.bytes_read() - before;
    history.assert_kept(&store, "opened").await;
    drop(store);

    let (disk, history) = a_run(8, DURABILITY).await;
    for segment in segments(&disk) {
        let end = segment.outline().unwrap().end();
        segment.file.truncate(end).unwrap();
    }
    let before = disk.bytes_read();
    let store = open(&disk, DURABILITY).await.unwrap();
    let without = disk.bytes_read() - before;
    history.assert_kept(&store, "opened").await;
    assert!(without >= frames, "{without} of {frames}");
    assert!(
        2 * with < without,
        "{with} bytes with outlines, {without} without"
    );
}

#[tokio::test]
async fn a_complete_segment_without_an_outline_gets_one() {
    let (disk, _) = a_run(8, DURABILITY).await;
    let mut complete = segments(&disk);
    complete.pop();
    for segment in &complete {
        let end = segment.outline().unwrap().end();
        segment.file.truncate(end).unwrap();
        assert!(segment.outline().is_none());
    }
    let store = open(&disk, DURABILITY).await.unwrap();
    store.close().await.unwrap();
    assert!(complete.len() > 1);
    assert!(complete.iter().all(|segment| segment.outline().is_some()));

    // Anything may lie after the end of an abandoned segment.
    let end = complete[0].outline().unwrap().end();
    let file = &*complete[0].file;
    file.truncate(end).unwrap();
    file.write(&mut [IoSlice::new(&[7; 5000])], end).unwrap();
    let before = bytes_of(file);
    let store = open(&disk, DURABILITY).await.unwrap();
    store.close().await.unwrap();
    assert!(bytes_of(file) == before, "it is left alone");
}

#[tokio::test]
async fn a_segment_that_goes_on_has_no_outline() {
    let (disk, mut history) = a_run(8, DURABILITY).await;
    let last = segments(&disk).pop().unwrap();
    assert!(last.outline().is_some());
    let store = open(&disk, DURABILITY).await.unwrap();
    assert!(
        last.outline().is_none(),
        "it is cut off before anything is written"
    );
    history.work(&store, &disk, &mut Numbers::new(1), 2).await;
    history.assert_kept(&store, "opened").await;
    store.close().await.unwrap();
}
