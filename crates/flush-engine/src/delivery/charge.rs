//! The retry budget of a record: pure policy.

/// What becomes of a record that was charged a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// It is kept, with its count raised.
    Retry,
    /// The budget is used up.
    Discard,
}

/// Charges a failure to a record that was charged `attempts` before.
pub(super) const fn charge(attempts: u32, max_retries: u32) -> Charge {
    if attempts >= max_retries {
        Charge::Discard
    } else {
        Charge::Retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_charged_one_attempt_more_than_it_may_be_retried() {
        for max_retries in [0, 1, 5] {
            let charged = (0..)
                .take_while(|&n| charge(n, max_retries) == Charge::Retry)
                .count();
            assert_eq!(charged, max_retries as usize);
            assert_eq!(charge(max_retries, max_retries), Charge::Discard);
        }
    }

    #[test]
    fn a_lowered_budget_discards_at_the_next_failure() {
        assert_eq!(charge(9, 2), Charge::Discard);
    }
}
