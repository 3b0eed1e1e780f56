//! Taking records in.

use std::collections::BTreeMap;

use super::codec::{ChunkBuilder, Codec, Name, Stored, fragments};
use super::generation::Changes;
use super::index::{Index, Stream};
use super::keys::{self, Place, StreamId};
use crate::{NewRecord, StoreError};

/// The records of one commit, on their way into chunks.
#[derive(Debug, Default)]
pub(super) struct Appends {
    open: BTreeMap<StreamId, ChunkBuilder>,
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
        self.push_to(stream, codec, &Stored::of(record), changes)
    }

    /// Gives the record the stream's next sequence.
    pub(super) fn push_to(
        &mut self,
        stream: &mut Stream,
        codec: &Codec,
        record: &Stored,
        changes: &mut Changes,
    ) -> Result<(), StoreError> {
        let fits = ChunkBuilder::takes(codec, record);
        if let Some(builder) = self.open.get(&stream.id)
            && !(fits && builder.has_room(codec, record))
        {
            self.finish_chunk(stream.id, codec, changes);
        }
        if fits {
            let (next, bytes) = (stream.next, stream.next_bytes);
            let builder = self.open.entry(stream.id);
            builder
                .or_insert_with(|| ChunkBuilder::new(stream.id, next, bytes))
                .push(record);
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
        }
        stream.next += 1;
        stream.next_bytes += record.size();
        stream.records += 1;
        stream.bytes += record.size();
        Ok(())
    }

    /// Ends the chunk of a stream, so that its next record begins another.
    pub(super) fn finish_chunk(&mut self, stream: StreamId, codec: &Codec, changes: &mut Changes) {
        if let Some(builder) = self.open.remove(&stream) {
            let (place, value) = builder.finish(codec);
            changes.insert(&place.key(), value);
        }
    }

    pub(super) fn finish(mut self, codec: &Codec, changes: &mut Changes) {
        while let Some((&stream, _)) = self.open.first_key_value() {
            self.finish_chunk(stream, codec, changes);
        }
    }
}
