//! A store in the browser's database.
//!
//! `store` and `builder` are what users see. The store sends its calls to the actor, which owns the
//! connection: JavaScript's values cannot leave their thread, and `RecordStore` is `Send`. The
//! actor commits appends that wait together, and calls one operation of `contents` after the other,
//! each of them one transaction. `schema` and `frame` say what lies in the database, `slots` and
//! `lock` who uses it, `database` and `js` are what the browser offers.
//!
//! Invariants:
//! - Who writes to a slot holds its lock.
//! - Nothing but the database says what is stored: the counters are made of its keys at opening,
//!   and change after a transaction is complete.
//! - Settling and clearing write nothing that a full quota forbids, except counts of attempts.

mod actor;
mod builder;
mod contents;
mod counters;
mod database;
mod frame;
mod js;
mod lock;
mod schema;
mod slots;
mod store;

pub use self::builder::IndexedDbStoreBuilder;
pub use self::store::IndexedDbStore;
