//! The reader interface that both response formats share.

use std::borrow::Cow;

/// Maximum nesting depth of values.
pub(super) const MAX_DEPTH: usize = 32;

/// Malformed or unexpected bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be read: {0}")]
pub(super) struct Unreadable(pub(super) &'static str);

/// Reads values one by one, each of them once. A claimed length never causes an allocation.
pub(super) trait Source<'a>: Sized {
    /// Reads a map. `member` is called with each name and must read the value.
    fn map(
        &mut self,
        member: impl FnMut(&str, &mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable>;

    /// Reads a list. `item` is called for each item and must read it.
    fn list(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable>;

    /// Whether the next value is text.
    fn is_text(&mut self) -> bool;

    /// Reads text; null becomes `None`.
    fn text(&mut self) -> Result<Option<Cow<'a, str>>, Unreadable>;

    /// Skips a value, and returns whether it was not null.
    fn skip(&mut self) -> Result<bool, Unreadable>;

    /// Checks that no bytes are left.
    fn end(&mut self) -> Result<(), Unreadable>;
}
