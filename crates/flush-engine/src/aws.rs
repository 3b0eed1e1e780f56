//! What the AWS front ends share: none of it knows a particular service.

mod connection;
mod sdk_error;
mod user_agent;
pub mod wire;

pub use self::connection::{
    Connection, ResolvedConnection, checked_endpoint, checked_region, with_request_timeout,
};
pub use self::sdk_error::send_error;
pub use self::user_agent::UserAgent;
