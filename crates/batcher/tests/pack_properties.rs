//! No item is lost, repeated or reordered, and no limit is exceeded.

use std::num::{NonZeroU64, NonZeroUsize};

use batcher::{BatchLimits, pack};
use proptest::prelude::*;

fn any_limits() -> impl Strategy<Value = BatchLimits> {
    (0_usize..20, 0_u64..200).prop_map(|(items, bytes)| {
        BatchLimits::new(
            NonZeroUsize::MIN.saturating_add(items),
            NonZeroU64::MIN.saturating_add(bytes),
        )
    })
}

/// Items are identified by index. Sizes go beyond every limit.
fn any_items() -> impl Strategy<Value = Vec<(usize, u64)>> {
    prop::collection::vec(prop_oneof![8 => 0_u64..60, 1 => 0_u64..400], 0..200)
        .prop_map(|sizes| sizes.into_iter().enumerate().collect())
}

fn packed(items: &[(usize, u64)], limits: BatchLimits) -> Vec<Vec<(usize, u64)>> {
    pack(items.iter().copied(), limits, |&(_, size)| size).collect()
}

fn bytes(batch: &[(usize, u64)]) -> u64 {
    batch.iter().map(|&(_, size)| size).sum()
}

proptest! {
    #[test]
    fn batches_joined_are_the_items(items in any_items(), limits in any_limits()) {
        prop_assert_eq!(packed(&items, limits).concat(), items);
    }

    #[test]
    fn no_batch_is_empty_or_over_a_limit(items in any_items(), limits in any_limits()) {
        for batch in packed(&items, limits) {
            prop_assert!(!batch.is_empty());
            prop_assert!(batch.len() <= limits.max_items.get());
            prop_assert!(bytes(&batch) <= limits.max_bytes.get() || batch.len() == 1);
        }
    }

    #[test]
    fn no_batch_could_have_taken_the_next_item(items in any_items(), limits in any_limits()) {
        let batches = packed(&items, limits);
        for pair in batches.windows(2) {
            let full = pair[0].len() == limits.max_items.get();
            let next = bytes(&pair[0]) + pair[1][0].1;
            prop_assert!(full || next > limits.max_bytes.get());
        }
    }
}

#[test]
fn sizes_near_the_top_of_the_range_do_not_overflow() {
    let limits = BatchLimits::new(
        NonZeroUsize::new(10).unwrap(),
        NonZeroU64::new(u64::MAX).unwrap(),
    );
    let batches: Vec<_> = pack([u64::MAX, u64::MAX, 1, 0], limits, |&size| size).collect();
    assert_eq!(batches, [vec![u64::MAX], vec![u64::MAX], vec![1, 0]]);
}
