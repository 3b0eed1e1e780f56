//! The public types of all clients, and the methods that they share.
//!
//! Each client has its own types, so its docs and errors can name its service. What does not depend
//! on the service is written once, here.

mod builder;
mod client;
mod example;
mod stream;
