//! Making settlements again that the tree has not taken in.

use std::collections::BTreeMap;

use super::codec::{Codec, Head, Kind, Progress};
use super::index::Stream;
use super::keys::{self, StreamId};
use super::notes::Noted;

/// One change that a note tells of.
enum Change {
    Head(Head),
    Progress(StreamId, u64, Option<Progress>),
}

/// Takes in what was noted after the note that the tree has reached; returns the number of
/// the last one that there is.
///
/// After a loss of power notes may be missing, or the tree may be older than they are.
/// From there on they are passed over, and records are delivered again.
pub(super) fn replay(
    codec: &Codec,
    streams: &mut BTreeMap<StreamId, Stream>,
    reached: u64,
    notes: Vec<Noted>,
) -> u64 {
    let counted = streams.values().map(|stream| stream.next - stream.start);
    let appended: u64 = counted.sum();
    let mut last = reached;
    let mut next = Some(reached + 1);
    for note in notes {
        last = last.max(note.number);
        if next.is_none_or(|next| note.number < next) {
            continue;
        }
        let follows = next == Some(note.number) && note.appended <= appended;
        let changes = note
            .changes
            .iter()
            .map(|(key, value)| change(codec, key, value));
        let changes: Option<Vec<Change>> = changes.collect();
        next = match changes {
            Some(changes) if follows && changes.iter().all(|change| change.fits(streams)) => {
                for change in changes {
                    change.apply(streams);
                }
                Some(note.number + 1)
            }
            _ => None,
        };
    }
    last
}

fn change(codec: &Codec, key: &[u8], value: &[u8]) -> Option<Change> {
    if value.is_empty() {
        let (stream, first) = keys::of_progress(key)?;
        return Some(Change::Progress(stream, first, None));
    }
    match codec.unwrap(value)? {
        (Kind::Head, body) => Some(Change::Head(Head::decode(body)?)),
        (Kind::Progress, body) => {
            let (stream, first, progress) = Progress::decode(body)?;
            Some(Change::Progress(stream, first, Some(progress)))
        }
        _ => None,
    }
}

impl Change {
    /// Whether it is about records that are there.
    fn fits(&self, streams: &BTreeMap<StreamId, Stream>) -> bool {
        match self {
            Self::Head(head) => streams
                .get(&head.stream)
                .is_some_and(|stream| (stream.head..=stream.next).contains(&head.sequence)),
            Self::Progress(id, first, _) => streams
                .get(id)
                .is_some_and(|stream| (stream.head..stream.next).contains(first)),
        }
    }

    fn apply(self, streams: &mut BTreeMap<StreamId, Stream>) {
        match self {
            Self::Head(head) => {
                if let Some(stream) = streams.get_mut(&head.stream) {
                    (stream.head, stream.head_bytes) = (head.sequence, head.bytes_before);
                    stream.head_unsaved = true;
                }
            }
            Self::Progress(id, first, progress) => {
                if let Some(stream) = streams.get_mut(&id) {
                    match progress {
                        Some(progress) => drop(stream.progress.insert(first, progress)),
                        None => drop(stream.progress.remove(&first)),
                    }
                    stream.unsaved.insert(first);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::replay;
    use crate::StreamName;
    use crate::sled_store::codec::{Codec, Head};
    use crate::sled_store::index::Stream;
    use crate::sled_store::keys;
    use crate::sled_store::notes::Noted;

    const CODEC: Codec = Codec::new(3);

    /// Says that all before a sequence are gone.
    fn note(number: u64, appended: u64, stream: u32, sequence: u64) -> Noted {
        let head = Head {
            stream,
            sequence,
            bytes_before: sequence,
        };
        let changes = vec![(keys::head(stream).to_vec(), head.encode(&CODEC))];
        Noted {
            number,
            appended,
            changes,
        }
    }

    /// The head of a stream of 100 records after the notes, and the number of the last note.
    fn replayed(reached: u64, notes: Vec<Noted>) -> (u64, u64) {
        let mut stream = Stream::new(0, StreamName::new("a").unwrap(), 0);
        (stream.head, stream.next) = (10, 100);
        let mut streams = BTreeMap::from([(0, stream)]);
        let last = replay(&CODEC, &mut streams, reached, notes);
        (streams[&0].head, last)
    }

    #[test]
    fn notes_that_follow_what_the_tree_has_reached_are_taken_in() {
        let notes = vec![note(5, 100, 0, 20), note(6, 100, 0, 30)];
        assert_eq!(replayed(4, notes), (30, 6));
        assert_eq!(replayed(4, Vec::new()), (10, 4));
    }

    #[test]
    fn notes_that_the_tree_has_reached_are_not_taken_in_again() {
        let notes = vec![note(3, 90, 0, 40), note(4, 90, 0, 50), note(5, 100, 0, 20)];
        assert_eq!(replayed(4, notes), (20, 5));
    }

    #[test]
    fn nothing_is_taken_in_behind_a_gap() {
        let notes = vec![
            note(5, 100, 0, 20),
            note(7, 100, 0, 30),
            note(8, 100, 0, 40),
        ];
        assert_eq!(replayed(4, notes), (20, 8), "nor is a number used again");
    }

    #[test]
    fn nothing_is_taken_in_about_records_that_are_not_there() {
        let notes = vec![
            note(5, 100, 0, 20),
            note(6, 101, 0, 30),
            note(7, 100, 0, 40),
        ];
        assert_eq!(replayed(4, notes), (20, 7));
        let of_unknown = vec![note(5, 100, 1, 20), note(6, 100, 0, 30)];
        assert_eq!(replayed(4, of_unknown), (10, 6));
        let beyond = vec![note(5, 100, 0, 101)];
        assert_eq!(replayed(4, beyond), (10, 5));
    }
}
