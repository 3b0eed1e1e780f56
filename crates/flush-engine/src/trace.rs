//! The name under which the engine logs.

/// Stream names, codes, counts and sizes only: never a payload, a key, a credential
/// or what a service said.
pub(crate) const TARGET: &str = "flush_engine";
