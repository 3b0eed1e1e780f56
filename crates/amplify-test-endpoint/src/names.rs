//! Names that no other test uses.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock::unix_nanos;

/// A stream name that no other test of this or any other process uses.
///
/// `prefix` may have up to 28 characters of `[A-Za-z0-9_.-]`; the name then fits the rules of both
/// services.
///
/// ```
/// use amplify_test_endpoint::unique_name;
///
/// // Tests side by side, in one LocalStack.
/// let (first, second) = (unique_name("orders"), unique_name("orders"));
/// assert!(first.starts_with("orders-"));
/// assert_ne!(first, second);
/// ```
pub fn unique_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let nanos = unix_nanos();
    format!("{prefix}-{:x}-{nanos:x}-{number:x}", process::id())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_differ_and_fit_both_services() {
        let names: HashSet<String> = (0..1000).map(|_| unique_name(&"p".repeat(28))).collect();
        assert_eq!(names.len(), 1000);
        for name in names {
            assert!(name.len() <= 64, "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)),
                "{name}"
            );
        }
    }
}
