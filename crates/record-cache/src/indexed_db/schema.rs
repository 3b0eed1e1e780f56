//! The layout of the database and its keys.
//!
//! | object store | key | value |
//! |---|---|---|
//! | `records` | `[slot, stream, id, size]` | a frame, see `frame.rs` |
//! | `attempts` | `[slot, stream, id]` | `[id, attempts]`, once an attempt was counted |
//! | `slots` | `slot` | the next id |
//!
//! The size is part of the key, so records can be counted without reading them. Attempts are stored
//! separately, so a payload is never written twice.

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::IdbKeyRange;

use super::js::BrowserError;
use crate::{RecordId, StreamName};

/// Increment this with each change of the layout, and add the step to `database::upgrade`.
pub(super) const VERSION: u32 = 1;

pub(super) const RECORDS: &str = "records";
pub(super) const ATTEMPTS: &str = "attempts";
pub(super) const SLOTS: &str = "slots";
pub(super) const ALL: [&str; 3] = [RECORDS, ATTEMPTS, SLOTS];

/// Numbers from here on are not exact in JavaScript. No id reaches this: at a million records a
/// second it would take 285 years.
pub(super) const END_OF_IDS: u64 = 1 << 53;

/// The key of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordKey {
    pub(super) stream: StreamName,
    pub(super) id: u64,
    pub(super) size: u64,
}

impl RecordKey {
    /// `None` if this is not the key of a record.
    pub(super) fn read(key: &JsValue) -> Option<Self> {
        let key: &Array = key.dyn_ref()?;
        Some(Self {
            stream: StreamName::new(key.get(1).as_string()?).ok()?,
            id: integer(&key.get(2))?,
            size: integer(&key.get(3))?,
        })
    }

    /// Reads only the id and the size, where the stream is known.
    pub(super) fn read_place(key: &JsValue) -> Option<(u64, u64)> {
        let key: &Array = key.dyn_ref()?;
        Some((integer(&key.get(2))?, integer(&key.get(3))?))
    }
}

/// The keys of one slot of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(pub(super) u32);

impl Slot {
    pub(super) fn key(self) -> JsValue {
        self.0.into()
    }

    /// The keys of a stream within the slot.
    pub(super) fn stream(self, stream: &StreamName) -> StreamKeys {
        StreamKeys {
            slot: self.key(),
            name: stream.as_str().into(),
        }
    }

    /// The range of all keys in the slot.
    pub(super) fn whole(self) -> Result<JsValue, BrowserError> {
        let end = Array::of1(&(self.0 + 1).into());
        Ok(range(&Array::of1(&self.key()), &end, Bounds::Half)?)
    }

    /// The range of keys after this one within the slot.
    pub(super) fn behind(self, key: &JsValue) -> Result<JsValue, BrowserError> {
        let end = Array::of1(&(self.0 + 1).into());
        Ok(range(key, &end, Bounds::Open)?)
    }
}

/// The keys of one stream of a slot.
#[derive(Debug)]
pub(super) struct StreamKeys {
    slot: JsValue,
    name: JsValue,
}

impl StreamKeys {
    pub(super) fn record(&self, id: u64, size: u64) -> JsValue {
        Array::of4(&self.slot, &self.name, &number(id), &number(size)).into()
    }

    pub(super) fn attempts(&self, id: u64) -> JsValue {
        Array::of3(&self.slot, &self.name, &number(id)).into()
    }

    /// The range of records after an id, or of all records.
    pub(super) fn behind(&self, id: Option<u64>) -> Result<JsValue, BrowserError> {
        let first = id.map_or(0, |id| id + 1);
        let end = Array::of3(&self.slot, &self.name, &f64::INFINITY.into());
        Ok(range(&self.attempts(first), &end, Bounds::Half)?)
    }

    /// The range from the first id to the last, inclusive, for records and for attempts.
    pub(super) fn between(&self, first: u64, last: u64) -> Result<JsValue, BrowserError> {
        let end = self.attempts(last + 1);
        Ok(range(&self.attempts(first), &end, Bounds::Half)?)
    }
}

/// Which ends a range includes.
#[derive(Debug, Clone, Copy)]
enum Bounds {
    /// The first only.
    Half,
    /// Neither.
    Open,
}

fn range(first: &JsValue, end: &JsValue, bounds: Bounds) -> Result<JsValue, JsValue> {
    let without_first = matches!(bounds, Bounds::Open);
    let range = IdbKeyRange::bound_with_lower_open_and_upper_open(first, end, without_first, true);
    Ok(range?.into())
}

/// The range from the first key to the last, inclusive.
pub(super) fn inclusive(first: &JsValue, last: &JsValue) -> Result<JsValue, BrowserError> {
    Ok(IdbKeyRange::bound(first, last)?.into())
}

/// The key for the attempts of the record with this key.
pub(super) fn place_of(record: &JsValue) -> JsValue {
    let record: &Array = record.unchecked_ref();
    record.slice(0, 3).into()
}

/// Decodes the key of a record's attempts.
pub(super) fn stream_and_id(key: &JsValue) -> Option<(StreamName, u64)> {
    let key: &Array = key.dyn_ref()?;
    let stream = StreamName::new(key.get(1).as_string()?).ok()?;
    Some((stream, integer(&key.get(2))?))
}

/// The value that stores a number of attempts.
pub(super) fn counted(id: u64, attempts: u32) -> JsValue {
    Array::of2(&number(id), &attempts.into()).into()
}

pub(super) fn read_counted(value: &JsValue) -> Option<(u64, u32)> {
    let value: &Array = value.dyn_ref()?;
    let attempts = u32::try_from(integer(&value.get(1))?).ok()?;
    Some((integer(&value.get(0))?, attempts))
}

/// The id, if a record in the database can have it.
pub(super) fn known(id: RecordId) -> Option<u64> {
    Some(id.get()).filter(|&id| id < END_OF_IDS)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "ids and sizes stay below the end of exact numbers"
)]
pub(super) fn number(value: u64) -> JsValue {
    (value as f64).into()
}

/// Converts a JavaScript number that is an exact integer.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked before"
)]
pub(super) fn integer(value: &JsValue) -> Option<u64> {
    let value = value.as_f64()?;
    let is_exact = value.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&value);
    is_exact.then_some(value as u64)
}
