//! A store in the browser's database.
//!
//! `store` and `builder` are the public interface. The store sends its calls to the actor, which
//! owns the connection: JavaScript values cannot leave their thread, and `RecordStore` is `Send`.
//! The actor commits queued appends together, and runs the operations of `contents` one after the
//! other, each in one transaction. `schema` and `frame` define what is stored in the database,
//! `slots` and `lock` control who uses it, and `database` and `js` wrap the browser's interfaces.
//!
//! Invariants:
//! - Every writer of a slot holds its lock. A browser may take a lock away, so each call asks for it,
//!   and an append also checks in its transaction that nobody else has given ids.
//! - Only the database says what is stored: the counters are computed from its keys when it is
//!   opened, and change after a transaction is complete.
//! - Settling and clearing write nothing that a full quota would prevent, except attempt counts.

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
