//! Slots, one per tab, and the takeover of records from closed tabs.

use std::collections::BTreeMap;
use std::time::Duration;

use js_sys::Array;
use wasm_bindgen::JsCast;

use super::database::{Database, Mode, answer};
use super::js::BrowserError;
use super::lock::Lock;
use super::schema::{self, ATTEMPTS, RECORDS, RecordKey, SLOTS, Slot};
use crate::{Amount, Durability, StoreError};

/// The most tabs that can hold a slot at the same time.
const MAX_SLOTS: u32 = 256;

/// How long to wait for the first slot. The browser may release a page's lock only after it has
/// begun to reload the page.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many records to move in one step.
const STEP: u32 = 500;
/// The most bytes to move in one step, unless one record is larger.
const STEP_BYTES: u64 = 8 << 20;

/// Takes the first slot or, with `several`, the first free one.
///
/// # Errors
/// [`StoreError::InUse`] if no slot is free, [`StoreError::Refused`] if this page may not hold
/// locks.
pub(super) async fn take(name: &str, several: bool) -> Result<(Slot, Lock), StoreError> {
    let slots = if several { 0..MAX_SLOTS } else { 0..1 };
    for slot in slots.map(Slot) {
        let patience = (slot.0 == 0).then_some(PATIENCE);
        let taken = Lock::take(&lock_of(name, slot), patience).await;
        if let Some(lock) = taken.map_err(refused)? {
            return Ok((slot, lock));
        }
    }
    Err(StoreError::in_use(name))
}

/// A page that may not hold a lock could not keep others away from its records.
fn refused(error: BrowserError) -> StoreError {
    StoreError::refused("taking the lock of the database", error)
}

fn lock_of(name: &str, slot: Slot) -> String {
    format!("record-cache/{name}/{}", slot.0)
}

/// Moves the records of slots that no one holds to the end of this one, in order.
///
/// Records that cannot be moved now, for example because there is no space for a copy, stay where
/// they are for a later open. They must not keep this store from opening, as only that frees
/// space. Returns how many records were found damaged and deleted.
pub(super) async fn adopt(database: &Database, name: &str, own: Slot) -> Result<u64, StoreError> {
    let failed = |error: BrowserError| error.during("looking for the records of closed tabs");
    let mut taken = Taken::default();
    for slot in used(database).await.map_err(failed)? {
        if slot == own {
            continue;
        }
        if let Err(error) = adopt_slot(database, name, slot, own, &mut taken).await {
            tracing::warn!(
                target: "record_cache",
                database = name,
                slot = slot.0,
                %error,
                "the records of a closed tab could not be taken over"
            );
        }
    }
    if taken.moved.records > 0 {
        tracing::info!(
            target: "record_cache",
            database = name,
            records = taken.moved.records,
            bytes = taken.moved.bytes,
            "took over the records of closed tabs"
        );
    }
    if taken.damaged > 0 {
        tracing::warn!(
            target: "record_cache",
            database = name,
            records = taken.damaged,
            "the browser has lost records of closed tabs"
        );
    }
    Ok(taken.damaged)
}

/// What a takeover has done, also before a failure.
#[derive(Debug, Default)]
struct Taken {
    moved: Amount,
    damaged: u64,
}

/// Moves the records of a slot unless someone holds it.
async fn adopt_slot(
    database: &Database,
    name: &str,
    from: Slot,
    own: Slot,
    taken: &mut Taken,
) -> Result<(), BrowserError> {
    let Some(lock) = Lock::take(&lock_of(name, from), None).await? else {
        return Ok(());
    };
    let outcome = move_all(database, from, own, taken).await;
    lock.release().await;
    outcome
}

/// All slots ever used.
async fn used(database: &Database) -> Result<Vec<Slot>, BrowserError> {
    let transaction = database.begin(Mode::Read)?;
    let keys = answer(&transaction.store(SLOTS)?.get_all_keys()?).await?;
    transaction.commit().await?;
    let keys: Array = keys.unchecked_into();
    let numbers = keys.iter().filter_map(|key| schema::integer(&key));
    let numbers = numbers.filter_map(|number| u32::try_from(number).ok());
    Ok(numbers.map(Slot).collect())
}

async fn move_all(
    database: &Database,
    from: Slot,
    to: Slot,
    taken: &mut Taken,
) -> Result<(), BrowserError> {
    loop {
        match move_some(database, from, to).await {
            Ok(step) if step.records == 0 => return Ok(()),
            Ok(step) => taken.moved += step,
            Err(error) if error.is_lost_value() => {
                let deleted = delete_lost(database, from).await?;
                if deleted == 0 {
                    return Err(error);
                }
                taken.damaged += deleted;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Deletes those of the next records whose values are lost. Returns how many.
async fn delete_lost(database: &Database, from: Slot) -> Result<u64, BrowserError> {
    let transaction = database.begin(Mode::Read)?;
    let records = transaction.store(RECORDS)?;
    let keys = records.get_all_keys_with_key_and_limit(&from.whole()?, STEP)?;
    let keys: Array = answer(&keys).await?.unchecked_into();
    transaction.commit().await?;
    let mut lost = Vec::new();
    for key in keys.iter() {
        let transaction = database.begin(Mode::Read)?;
        match answer(&transaction.store(RECORDS)?.get(&key)?).await {
            Ok(_) => transaction.commit().await?,
            Err(error) if error.is_lost_value() => lost.push(key),
            Err(error) => return Err(error),
        }
    }
    let transaction = database.begin(Mode::Write(Durability::ProcessCrash))?;
    let (records, attempts) = (transaction.store(RECORDS)?, transaction.store(ATTEMPTS)?);
    for key in &lost {
        records.delete(key)?;
        attempts.delete(&schema::place_of(key))?;
    }
    transaction.commit().await?;
    Ok(lost.len() as u64)
}

/// One step of a move, in one transaction, so a crash leaves each record in exactly one slot.
async fn move_some(database: &Database, from: Slot, to: Slot) -> Result<Amount, BrowserError> {
    // If a power loss undoes it, the records are back where they were.
    let transaction = database.begin(Mode::Write(Durability::ProcessCrash))?;
    let (records, attempts) = (transaction.store(RECORDS)?, transaction.store(ATTEMPTS)?);
    let slots = transaction.store(SLOTS)?;
    let request = records.get_all_keys_with_key_and_limit(&from.whole()?, STEP)?;
    let next = slots.get(&to.key())?;
    let found: Array = answer(&request).await?.unchecked_into();
    let mut next = schema::integer(&answer(&next).await?).unwrap_or(0);
    let mut moved = Amount::default();
    let mut places = Vec::new();
    for key in found.iter() {
        let Some(place) = RecordKey::read(&key) else {
            // The key is not one of ours, so this is not a record.
            records.delete(&key)?;
            continue;
        };
        if moved.records > 0 && moved.bytes + place.size > STEP_BYTES {
            break;
        }
        moved += Amount::new(1, place.size);
        places.push((key, place));
    }
    let (Some((first, _)), Some((last, _))) = (places.first(), places.last()) else {
        transaction.commit().await?;
        return Ok(moved);
    };
    let values = records.get_all_with_key(&schema::inclusive(first, last)?)?;
    let counted = schema::inclusive(&schema::place_of(first), &schema::place_of(last))?;
    let tried = attempts.get_all_keys_with_key(&counted)?;
    let counts = attempts.get_all_with_key(&counted)?;
    let values: Array = answer(&values).await?.unchecked_into();
    let tried: Array = answer(&tried).await?.unchecked_into();
    let counts: Array = answer(&counts).await?.unchecked_into();
    let tried = tried.iter().filter_map(|key| schema::stream_and_id(&key));
    let counts: BTreeMap<_, _> = tried.zip(counts.iter()).collect();
    for ((_, place), value) in places.iter().zip(values.iter()) {
        let keys = to.stream(&place.stream);
        records.add_with_key(&value, &keys.record(next, place.size))?;
        let count = counts.get(&(place.stream.clone(), place.id));
        if let Some((_, count)) = count.and_then(schema::read_counted) {
            attempts.put_with_key(&schema::counted(next, count), &keys.attempts(next))?;
        }
        next += 1;
    }
    records.delete(&schema::inclusive(first, last)?)?;
    attempts.delete(&counted)?;
    slots.put_with_key(&schema::number(next), &to.key())?;
    transaction.commit().await?;
    Ok(moved)
}
