//! Taking records in.

use std::collections::BTreeMap;

use super::codec::{ChunkBuilder, Codec, Name, Partial, Stored, fragments};
use super::generation::Changes;
use super::index::{Index, ProgressStep, Stream};
use super::keys::{self, Place, StreamId};
use crate::{NewRecord, StoreError};

/// The records of one commit, on their way into chunks.
#[derive(Debug, Default)]
pub(super) struct Appends {
    open: BTreeMap<StreamId, OpenChunk>,
}

#[derive(Debug)]
struct OpenChunk {
    builder: ChunkBuilder,
    /// Attempts on its records, counted where they come from.
    attempts: Vec<u32>,
}

impl Appends {
    pub(super) fn push(
        &mut self,
        index: &mut Index,
        codec: &Codec,
        record: &NewRecord,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let stream = index.find_or_begin(&record.stream);
        if !stream.named {
            let name = Name {
                stream: stream.id,
                start: stream.start,
                name: stream.name.to_string(),
            };
            changes.insert(&keys::name(stream.id), name.encode(codec));
            stream.named = true;
        }
        self.push_to(stream, codec, &Stored::of(record), record.attempts, changes)
    }

    /// Gives the record the stream's next sequence.
    fn push_to(
        &mut self,
        stream: &mut Stream,
        codec: &Codec,
        record: &Stored,
        attempts: u32,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let fits = ChunkBuilder::takes(record);
        if let Some(chunk) = self.open.get(&stream.id)
            && !(fits && chunk.builder.has_room(record))
        {
            self.finish_chunk(stream, codec, changes);
        }
        if fits {
            let (next, bytes) = (stream.next, stream.next_bytes);
            let chunk = self.open.entry(stream.id).or_insert_with(|| OpenChunk {
                builder: ChunkBuilder::new(stream.id, next, bytes),
                attempts: Vec::new(),
            });
            chunk.builder.push(record);
            chunk.attempts.push(attempts);
        } else {
            let place = Place {
                stream: stream.id,
                sequence: stream.next,
                fragment: 0,
            };
            let parts = fragments(codec, place, stream.next_bytes, record)
                .ok_or_else(|| StoreError::unavailable_because("the record is too large"))?;
            for (place, value) in parts {
                changes.insert(&place.key(), value);
            }
            note_attempts(stream, place.sequence, &[attempts], codec, changes);
        }
        stream.next += 1;
        stream.next_bytes += record.size();
        stream.records += 1;
        stream.bytes += record.size();
        Ok(())
    }

    /// Ends the chunk of a stream, so that its next record begins another.
    fn finish_chunk(&mut self, stream: &mut Stream, codec: &Codec, changes: &mut Changes) {
        if let Some(chunk) = self.open.remove(&stream.id) {
            let (place, value) = chunk.builder.finish(codec);
            changes.insert(&place.key(), value);
            note_attempts(stream, place.sequence, &chunk.attempts, codec, changes);
        }
    }

    pub(super) fn finish(mut self, index: &mut Index, codec: &Codec, changes: &mut Changes) {
        let open: Vec<StreamId> = self.open.keys().copied().collect();
        for stream in open {
            if let Some(stream) = index.by_id_mut(stream) {
                self.finish_chunk(stream, codec, changes);
            }
        }
    }
}

/// Writes down what was counted before, where anything was.
fn note_attempts(
    stream: &mut Stream,
    first: u64,
    attempts: &[u32],
    codec: &Codec,
    changes: &mut Changes,
) {
    if let Some(partial) = Partial::counted(attempts) {
        let mut step = ProgressStep::default();
        step.partial(stream, first, partial);
        step.write(stream, codec, changes);
    }
}
