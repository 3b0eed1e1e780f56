//! What both formats of answers have in common.

use std::borrow::Cow;

/// How deep values may lie in one another.
pub(super) const MAX_DEPTH: usize = 32;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be read: {0}")]
pub(super) struct Unreadable(pub(super) &'static str);

/// Reads values one by one, each of them once. Nothing is allocated by a claimed length.
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

    /// Reads text, or null as none.
    fn text(&mut self) -> Result<Option<Cow<'a, str>>, Unreadable>;

    /// Passes over a value, and says whether it is other than null.
    fn skip(&mut self) -> Result<bool, Unreadable>;

    /// Checks that nothing follows.
    fn end(&mut self) -> Result<(), Unreadable>;
}
