//! Operations on one slot, each in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbObjectStore;

use super::counters::Held;
use super::database::{Database, Mode, Transaction, answer};
use super::frame::{self, Content};
use super::js::BrowserError;
use super::schema::{self, ATTEMPTS, END_OF_IDS, RECORDS, RecordKey, SLOTS, Slot, StreamKeys};
use crate::{Amount, Durability, NewRecord, ReadLimits, Record, RecordId, StreamName};

/// How many keys to request at a time.
const PAGE: u32 = 1_000;
/// The most bytes of records to read at a time, unless one record is larger.
const PAGE_BYTES: u64 = 8 << 20;
/// Ids further apart than this are looked up separately.
const NEAR: u64 = 64;

/// Attempts by id.
pub(super) type Counts = BTreeMap<u64, u32>;

/// The contents of a slot.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) held: Held,
    pub(super) ids: Ids,
}

/// Where the ids of a slot continue.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ids {
    /// The next id.
    next: u64,
    /// The number in the database. It is lower after damage.
    stored: u64,
}

impl Ids {
    /// Continues behind the ids that were given before, too.
    pub(super) fn not_before(self, before: Self) -> Self {
        Self {
            next: self.next.max(before.next),
            ..self
        }
    }
}

/// The name of the error of a slot that somebody else has written to.
const SHARED: &str = "SharedSlot";

/// Whether somebody else has written to the slot.
pub(super) fn is_shared(error: &BrowserError) -> bool {
    error.is(SHARED)
}

/// Counts the records of a slot from their keys.
pub(super) async fn count(database: &Database, slot: Slot) -> Result<Found, BrowserError> {
    let transaction = database.begin(Mode::Read)?;
    let stored = answer(&transaction.store(SLOTS)?.get(&slot.key())?).await?;
    let stored = schema::integer(&stored).unwrap_or(0);
    let mut found = Found {
        held: Held::new(),
        ids: Ids {
            next: stored,
            stored,
        },
    };
    let records = transaction.store(RECORDS)?;
    let mut range = slot.whole()?;
    loop {
        let request = records.get_all_keys_with_key_and_limit(&range, PAGE)?;
        let keys: Array = answer(&request).await?.unchecked_into();
        for key in keys.iter().filter_map(|key| RecordKey::read(&key)) {
            found.ids.next = found.ids.next.max(key.id + 1);
            let amount = Amount::new(1, key.size);
            match found.held.get_mut(&key.stream) {
                Some(held) => *held += amount,
                None => drop(found.held.insert(key.stream, amount)),
            }
        }
        if keys.length() < PAGE {
            break;
        }
        range = slot.behind(&keys.get(PAGE - 1))?;
    }
    transaction.commit().await?;
    Ok(found)
}

/// Adds all records or none, with the next ids. Returns where the ids continue.
///
/// # Errors
/// One that [`is_shared`], if somebody else has given ids since they were read. A lock may be lost
/// without a word, and an id that is used twice would let one record delete the other.
pub(super) async fn append(
    database: &Database,
    slot: Slot,
    ids: Ids,
    records: &[NewRecord],
    durability: Durability,
) -> Result<Ids, BrowserError> {
    let transaction = database.begin(Mode::Write(durability))?;
    let stored = transaction.store(SLOTS)?.get(&slot.key())?;
    let next = add(&transaction, slot, ids.next, records)?;
    // If the request fails, the transaction is undone and says why.
    if let Ok(stored) = answer(&stored).await
        && schema::integer(&stored).unwrap_or(0) != ids.stored
    {
        let message = "another tab has written to this slot";
        return Err(BrowserError::named(SHARED, message));
    }
    transaction.commit().await?;
    Ok(Ids { next, stored: next })
}

fn add(
    transaction: &Transaction,
    slot: Slot,
    mut next: u64,
    records: &[NewRecord],
) -> Result<u64, BrowserError> {
    let store = transaction.store(RECORDS)?;
    let mut last: Option<(&StreamName, StreamKeys)> = None;
    for record in records {
        if next >= END_OF_IDS - 1 {
            return Err(BrowserError::unnamed("no ids are left"));
        }
        let keys = match last.take() {
            Some(last) if *last.0 == record.stream => last,
            _ => (&record.stream, slot.stream(&record.stream)),
        };
        let frame = Uint8Array::from(&*frame::encode(record));
        store.add_with_key(&frame, &keys.1.record(next, record.size()))?;
        last = Some(keys);
        next += 1;
    }
    let slots = transaction.store(SLOTS)?;
    slots.put_with_key(&schema::number(next), &slot.key())?;
    Ok(next)
}

/// The result of one read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// Ids and sizes of damaged records.
    pub(super) damaged: Vec<(u64, u64)>,
}

/// Reads the oldest records of a stream after an id.
pub(super) async fn oldest(
    database: &Database,
    slot: Slot,
    stream: &StreamName,
    after: Option<u64>,
    limits: ReadLimits,
) -> Result<Batch, BrowserError> {
    let mut transaction = database.begin(Mode::Read)?;
    let keys = slot.stream(stream);
    let mut batch = Batch::default();
    let mut place = after;
    let mut room = limits.max_bytes.get();
    loop {
        let wanted = limits.max_records.get() - batch.records.len();
        let page = PAGE.min(u32::try_from(wanted).unwrap_or(PAGE));
        let records = transaction.store(RECORDS)?;
        let request = records.get_all_keys_with_key_and_limit(&keys.behind(place)?, page)?;
        let found: Array = answer(&request).await?.unchecked_into();
        let places: Vec<_> = found
            .iter()
            .filter_map(|key| RecordKey::read_place(&key))
            .collect();
        let mut rest = &*places;
        while !rest.is_empty() {
            let fitting = fit(rest, room, batch.records.is_empty());
            let Some((now, later)) = rest.split_at_checked(fitting).filter(|_| fitting > 0) else {
                break;
            };
            let read = match read(&transaction, &keys, now).await {
                Err(error) if error.is_lost_value() => {
                    // The error does not say which value it was, and ends the transaction.
                    let read = read_each(database, &keys, now).await?;
                    transaction = database.begin(Mode::Read)?;
                    read
                }
                read => read?,
            };
            let bytes: u64 = read.records.iter().map(Record::size).sum();
            room = room.saturating_sub(bytes);
            batch.records.extend(read.records);
            batch.damaged.extend(read.damaged);
            rest = later;
        }
        place = places.last().map(|(id, _)| *id);
        let is_all = found.length() < page;
        if is_all || !rest.is_empty() || batch.records.len() == limits.max_records.get() {
            break;
        }
    }
    transaction.commit().await?;
    Ok(batch)
}

/// How many of these records to read at once.
fn fit(places: &[(u64, u64)], room: u64, is_first: bool) -> usize {
    let mut bytes = 0;
    let most = room.min(PAGE_BYTES);
    let fitting = places.iter().take_while(|(_, size)| {
        bytes += size;
        bytes <= most
    });
    match fitting.count() {
        // The first record always fits, and a record larger than a page is read alone.
        0 if is_first || places.first().is_some_and(|(_, size)| *size <= room) => 1,
        fitting => fitting,
    }
}

/// Reads records one by one, because the values of some are lost.
async fn read_each(
    database: &Database,
    keys: &StreamKeys,
    places: &[(u64, u64)],
) -> Result<Batch, BrowserError> {
    let mut batch = Batch::default();
    for place in places {
        let transaction = database.begin(Mode::Read)?;
        match read(&transaction, keys, std::slice::from_ref(place)).await {
            Ok(read) => {
                transaction.commit().await?;
                batch.records.extend(read.records);
                batch.damaged.extend(read.damaged);
            }
            Err(error) if error.is_lost_value() => batch.damaged.push(*place),
            Err(error) => return Err(error),
        }
    }
    Ok(batch)
}

/// Reads records whose keys are known.
async fn read(
    transaction: &Transaction,
    keys: &StreamKeys,
    places: &[(u64, u64)],
) -> Result<Batch, BrowserError> {
    let (records, attempts) = (transaction.store(RECORDS)?, transaction.store(ATTEMPTS)?);
    let mut batch = Batch::default();
    let (Some((first, _)), Some((last, _))) = (places.first(), places.last()) else {
        return Ok(batch);
    };
    let range = keys.between(*first, *last)?;
    let values = records.get_all_with_key(&range)?;
    let counted = attempts.get_all_with_key(&range)?;
    let values: Array = answer(&values).await?.unchecked_into();
    let counted = read_counted(&answer(&counted).await?);
    for (&(id, size), value) in places.iter().zip(values.iter()) {
        let frame = value.dyn_ref().map(Uint8Array::to_vec);
        let content = frame.and_then(Content::decode);
        let record = content.map(|content| {
            let attempts = counted.get(&id).copied().unwrap_or(0);
            Record::new(
                RecordId::new(id),
                content.key,
                content.data,
                content.attempts.saturating_add(attempts),
                content.recorded_at,
            )
            .with_explicit_hash_key(content.explicit_hash_key)
        });
        match record.filter(|record| record.size() == size) {
            Some(record) => batch.records.push(record),
            None => batch.damaged.push((id, size)),
        }
    }
    Ok(batch)
}

fn read_counted(values: &JsValue) -> Counts {
    let values: &Array = values.unchecked_ref();
    let values = values.iter();
    values
        .filter_map(|value| schema::read_counted(&value))
        .collect()
}

/// Deletes some records and counts attempts on others, if they exist.
pub(super) async fn settle(
    database: &Database,
    slot: Slot,
    stream: &StreamName,
    delete: &BTreeSet<u64>,
    count: &Counts,
) -> Result<Amount, BrowserError> {
    // The contract allows a power loss to undo this. The next append also syncs it.
    let transaction = database.begin(Mode::Write(Durability::ProcessCrash))?;
    let (records, attempts) = (transaction.store(RECORDS)?, transaction.store(ATTEMPTS)?);
    let keys = slot.stream(stream);
    let mut spans = Vec::new();
    let named: BTreeSet<u64> = delete.iter().chain(count.keys()).copied().collect();
    for (first, last) in spans_of(named) {
        let range = keys.between(first, last)?;
        let found = records.get_all_keys_with_key(&range)?;
        spans.push((found, attempts.get_all_with_key(&range)?));
    }
    let mut deleted = Amount::default();
    for (found, counted) in spans {
        let found: Array = answer(&found).await?.unchecked_into();
        let counted = read_counted(&answer(&counted).await?);
        let mut run: Option<(u64, u64)> = None;
        for (id, size) in found.iter().filter_map(|key| RecordKey::read_place(&key)) {
            if delete.contains(&id) {
                deleted += Amount::new(1, size);
                run = Some((run.map_or(id, |(first, _)| first), id));
                continue;
            }
            // A record that stays ends the run of deleted ones.
            if let Some(run) = run.take() {
                remove(&records, &attempts, &keys, run, &counted)?;
            }
            if let Some(more) = count.get(&id) {
                let so_far = counted.get(&id).copied().unwrap_or(0);
                let value = schema::counted(id, so_far.saturating_add(*more));
                attempts.put_with_key(&value, &keys.attempts(id))?;
            }
        }
        if let Some(run) = run {
            remove(&records, &attempts, &keys, run, &counted)?;
        }
    }
    transaction.commit().await?;
    Ok(deleted)
}

/// Deletes all records from the first to the last.
fn remove(
    records: &IdbObjectStore,
    attempts: &IdbObjectStore,
    keys: &StreamKeys,
    (first, last): (u64, u64),
    counted: &Counts,
) -> Result<(), BrowserError> {
    let range = keys.between(first, last)?;
    records.delete(&range)?;
    if counted.range(first..=last).next().is_some() {
        attempts.delete(&range)?;
    }
    Ok(())
}

/// Joins nearby ids into spans.
fn spans_of(ids: BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for id in ids {
        match spans.last_mut() {
            Some((_, last)) if id - *last <= NEAR => *last = id,
            _ => spans.push((id, id)),
        }
    }
    spans
}

/// Deletes everything in the slot except its next id.
pub(super) async fn clear(
    database: &Database,
    slot: Slot,
    durability: Durability,
) -> Result<(), BrowserError> {
    let transaction = database.begin(Mode::Write(durability))?;
    let range = slot.whole()?;
    transaction.store(RECORDS)?.delete(&range)?;
    transaction.store(ATTEMPTS)?.delete(&range)?;
    transaction.commit().await
}
