//! Writing a new generation from the records of another.

use std::mem;

use super::codec::{CHUNK_RECORDS, ChunkBuilder, Head, Name, Partial, Seal, Stored, fragments};
use super::fault::{Fault, Outcome};
use super::generation::{Changes, Generation};
use super::index::{ProgressStep, Stream};
use super::keys::{self, Place, StreamId};
use crate::{StoreError, StreamName};

/// So much is handed over to the new database at a time.
const STEP_BYTES: u64 = 1024 * 1024;

/// Takes records over, a stream at a time.
pub(super) trait Taker {
    /// Begins a stream whose records follow, with sequences from `head` on.
    fn begin(&mut self, name: &StreamName, head: u64) -> Outcome<()>;

    /// Takes a record over under its own sequence; those left out are gone.
    fn push(&mut self, sequence: u64, record: &Stored, attempts: u32) -> Outcome<()>;

    /// Ends the stream, whose next record will get this sequence.
    fn end(&mut self, next: u64) -> Outcome<()>;
}

/// A generation that is being filled, a stream at a time.
#[derive(Debug)]
pub(super) struct Copy {
    generation: Generation,
    changes: Changes,
    staged_bytes: u64,
    next_id: StreamId,
    stream: Option<StreamCopy>,
}

#[derive(Debug)]
struct StreamCopy {
    stream: Stream,
    chunk: Option<ChunkBuilder>,
    /// Of the records in the chunk.
    attempts: Vec<u32>,
    progress: ProgressStep,
}

impl Copy {
    pub(super) fn into_new(generation: Generation) -> Self {
        Self {
            generation,
            changes: Changes::default(),
            staged_bytes: 0,
            next_id: 0,
            stream: None,
        }
    }

    /// Seals the generation; all of it is on stable storage then.
    pub(super) fn finish(mut self, floor: u64) -> Outcome<Generation> {
        let seal = Seal { floor }.encode(self.generation.codec());
        self.changes.insert(&keys::SEAL, seal);
        self.hand_over()?;
        self.generation.flush()?;
        self.generation.sync_all()?;
        Ok(self.generation)
    }

    fn hand_over(&mut self) -> Outcome<()> {
        self.staged_bytes = 0;
        self.generation.make_places(&self.changes)?;
        self.generation.apply(mem::take(&mut self.changes))
    }
}

impl Taker for Copy {
    fn begin(&mut self, name: &StreamName, head: u64) -> Outcome<()> {
        let id = self.next_id;
        self.next_id += 1;
        let record = Name {
            stream: id,
            start: head,
            name: name.to_string(),
        };
        self.changes
            .insert(&keys::name(id), record.encode(self.generation.codec()));
        self.stream = Some(StreamCopy {
            stream: Stream::new(id, name.clone(), head),
            chunk: None,
            attempts: Vec::new(),
            progress: ProgressStep::default(),
        });
        Ok(())
    }

    fn push(&mut self, sequence: u64, record: &Stored, attempts: u32) -> Outcome<()> {
        let codec = *self.generation.codec();
        let Some(copy) = &mut self.stream else {
            return Ok(());
        };
        copy.skip_to(sequence, &codec, &mut self.changes);
        let fits = ChunkBuilder::takes(record);
        if copy
            .chunk
            .as_ref()
            .is_some_and(|chunk| !fits || !chunk.has_room(record))
        {
            copy.finish_chunk(&codec, &mut self.changes);
        }
        let (id, bytes_before) = (copy.stream.id, copy.stream.next_bytes);
        if fits {
            let chunk = &mut copy.chunk;
            chunk
                .get_or_insert_with(|| ChunkBuilder::new(id, sequence, bytes_before))
                .push(record);
            copy.attempts.push(attempts);
        } else {
            let place = Place {
                stream: id,
                sequence,
                fragment: 0,
            };
            let parts = fragments(&codec, place, bytes_before, record).ok_or_else(|| {
                Fault::Untouched(StoreError::unavailable_because("the record is too large"))
            })?;
            for (place, value) in parts {
                self.changes.insert(&place.key(), value);
            }
            copy.note_attempts(sequence, &[attempts]);
        }
        copy.stream.next = sequence + 1;
        copy.stream.next_bytes += record.size();
        self.staged_bytes += record.size();
        if self.staged_bytes >= STEP_BYTES || self.changes.len() >= 4 * CHUNK_RECORDS {
            self.hand_over()?;
        }
        Ok(())
    }

    fn end(&mut self, next: u64) -> Outcome<()> {
        let codec = *self.generation.codec();
        let Some(mut copy) = self.stream.take() else {
            return Ok(());
        };
        copy.skip_to(next, &codec, &mut self.changes);
        copy.finish_chunk(&codec, &mut self.changes);
        let StreamCopy {
            mut stream,
            progress,
            ..
        } = copy;
        progress.write(&mut stream, &codec, &mut self.changes);
        let head = Head {
            stream: stream.id,
            sequence: stream.head,
            bytes_before: stream.head_bytes,
        };
        self.changes
            .insert(&keys::head(stream.id), head.encode(&codec));
        self.hand_over()
    }
}

/// Keeps records in memory on their way from one generation to another.
#[derive(Debug, Default)]
pub(super) struct Carried {
    streams: Vec<CarriedStream>,
}

#[derive(Debug)]
struct CarriedStream {
    name: StreamName,
    head: u64,
    next: u64,
    records: Vec<(u64, Stored, u32)>,
}

impl Carried {
    pub(super) fn hand_to(self, taker: &mut impl Taker) -> Outcome<()> {
        for stream in self.streams {
            taker.begin(&stream.name, stream.head)?;
            for (sequence, record, attempts) in stream.records {
                taker.push(sequence, &record, attempts)?;
            }
            taker.end(stream.next)?;
        }
        Ok(())
    }
}

impl Taker for Carried {
    fn begin(&mut self, name: &StreamName, head: u64) -> Outcome<()> {
        self.streams.push(CarriedStream {
            name: name.clone(),
            head,
            next: head,
            records: Vec::new(),
        });
        Ok(())
    }

    fn push(&mut self, sequence: u64, record: &Stored, attempts: u32) -> Outcome<()> {
        if let Some(stream) = self.streams.last_mut() {
            stream.records.push((sequence, record.clone(), attempts));
        }
        Ok(())
    }

    fn end(&mut self, next: u64) -> Outcome<()> {
        if let Some(stream) = self.streams.last_mut() {
            stream.next = next;
        }
        Ok(())
    }
}

impl StreamCopy {
    fn skip_to(&mut self, sequence: u64, codec: &super::codec::Codec, changes: &mut Changes) {
        let next = self.stream.next;
        if next < sequence {
            self.finish_chunk(codec, changes);
            self.stream.next = sequence;
            self.progress.done(&mut self.stream, next, sequence, 0);
        }
    }

    fn finish_chunk(&mut self, codec: &super::codec::Codec, changes: &mut Changes) {
        let Some(chunk) = self.chunk.take() else {
            return;
        };
        let (place, value) = chunk.finish(codec);
        changes.insert(&place.key(), value);
        let attempts = mem::take(&mut self.attempts);
        self.note_attempts(place.sequence, &attempts);
    }

    fn note_attempts(&mut self, first: u64, attempts: &[u32]) {
        if let Some(partial) = Partial::counted(attempts) {
            self.progress.partial(&mut self.stream, first, partial);
        }
    }
}
