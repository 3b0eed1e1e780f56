//! Which part of a refused batch to send next: pure policy.

use std::ops::Range;

/// Halves a refused batch until the refusal is pinned to single records.
///
/// The whole batch is the first part. If it is refused, the records charged least come next. A
/// record that was refused alone before will be refused again. Tried first, it would be pinned in
/// each pass, and two such records would put the blame on the stream. After that, the left half
/// goes before the right one, to keep records in order.
#[derive(Debug)]
pub(super) struct Bisection {
    parts: Vec<Range<usize>>,
    records: usize,
    least_charged: usize,
    jitter: f64,
    requests: u32,
    accepted_any: bool,
    refused_alone: u32,
}

/// What the refusal of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The part must be halved.
    Halved,
    /// The only record of the part is at fault.
    Pinned,
    /// The stream is at fault, not the records: stop.
    StreamAtFault,
}

impl Bisection {
    /// Requests for one batch, including the first.
    pub(super) const MAX_REQUESTS: u32 = 32;

    /// Starts a bisection. `least_charged` records were charged least. They come first once the
    /// whole batch is refused. `jitter` is from 0 to 1.
    pub(super) fn new(records: usize, least_charged: usize, jitter: f64) -> Self {
        let whole = 0..records;
        Self {
            parts: vec![whole],
            records,
            least_charged,
            jitter,
            requests: 0,
            accepted_any: false,
            refused_alone: 0,
        }
    }

    /// The next part to send, if any part and any requests are left.
    pub(super) fn next_part(&mut self) -> Option<Range<usize>> {
        if self.requests == Self::MAX_REQUESTS {
            return None;
        }
        let part = self.parts.pop()?;
        self.requests += 1;
        Some(part)
    }

    /// Notes a part that was answered record by record.
    pub(super) fn answered(&mut self, accepted: usize) {
        self.accepted_any |= accepted > 0;
    }

    /// Notes a part that was refused as a whole.
    pub(super) fn refused(&mut self, part: Range<usize>) -> Refusal {
        if part.len() > 1 {
            let middle = if (part.start + 1..part.end).contains(&self.least_charged) {
                self.least_charged
            } else {
                part.start + part.len() / 2
            };
            self.parts.push(middle..part.end);
            self.parts.push(part.start..middle);
            return Refusal::Halved;
        }
        self.refused_alone += 1;
        if !self.accepted_any {
            if self.refused_alone >= 2 {
                self.parts.clear();
                return Refusal::StreamAtFault;
            }
            self.single_out_a_witness(part.end);
        }
        Refusal::Pinned
    }

    /// Sends a single record of the rest next, on its own. Bad records come in bursts, so a
    /// neighbor of the refused record says nothing about the stream.
    fn single_out_a_witness(&mut self, rest: usize) {
        let end = if rest < self.least_charged {
            self.least_charged
        } else {
            self.records
        };
        let witness = rest + share(self.jitter, end - rest);
        let Some(at) = self.parts.iter().position(|part| part.contains(&witness)) else {
            return;
        };
        let part = self.parts.remove(at);
        let around = [witness + 1..part.end, part.start..witness];
        let around = around.into_iter().filter(|part| !part.is_empty());
        self.parts.splice(at..at, around);
        self.parts.push(witness..witness + 1);
    }
}

/// Picks one of `of` items by the jitter.
fn share(jitter: f64, of: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few hundred records, and a share of them"
    )]
    let share = (jitter.clamp(0.0, 1.0) * of as f64) as usize;
    share.min(of.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Played {
        accepted: Vec<usize>,
        pinned: Vec<usize>,
        requests: u32,
        stream_at_fault: bool,
    }

    /// Simulates a service that refuses any request containing a record of `poison`.
    fn play_with(mut bisection: Bisection, poison: &[usize]) -> Played {
        let mut played = Played::default();
        while let Some(part) = bisection.next_part() {
            assert!(!part.is_empty());
            if poison.iter().any(|bad| part.contains(bad)) {
                match bisection.refused(part.clone()) {
                    Refusal::Halved => {}
                    Refusal::Pinned => played.pinned.push(part.start),
                    Refusal::StreamAtFault => played.stream_at_fault = true,
                }
            } else {
                bisection.answered(part.len());
                played.accepted.extend(part);
            }
        }
        played.requests = bisection.requests;
        played
    }

    fn play(records: usize, poison: &[usize]) -> Played {
        play_with(Bisection::new(records, records, 0.5), poison)
    }

    fn all_but(poison: &[usize]) -> Vec<usize> {
        (0..500).filter(|n| !poison.contains(n)).collect()
    }

    fn sorted(mut numbers: Vec<usize>) -> Vec<usize> {
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn an_accepted_batch_takes_one_request() {
        let played = play(500, &[]);
        assert_eq!((played.accepted.len(), played.requests), (500, 1));
    }

    #[test]
    fn one_bad_record_is_pinned_wherever_it_is() {
        for bad in 0..500 {
            let played = play(500, &[bad]);
            assert_eq!(played.pinned, [bad]);
            assert_eq!(sorted(played.accepted), all_but(&[bad]));
            assert!(played.requests <= Bisection::MAX_REQUESTS && !played.stream_at_fault);
        }
    }

    #[test]
    fn records_stay_in_order_but_for_one_witness_against_the_stream() {
        for bad in 1..500 {
            assert_eq!(play(500, &[bad]).accepted, all_but(&[bad]));
        }
        let mut accepted = play(500, &[0]).accepted;
        let witness = accepted.remove(0);
        assert_eq!(witness, 250);
        assert_eq!(accepted, all_but(&[0, witness]));
    }

    #[test]
    fn a_burst_of_bad_records_in_front_does_not_accuse_the_stream() {
        for burst in 2..8 {
            let bad: Vec<_> = (0..burst).collect();
            for jitter in [0.02, 0.3, 0.999, 1.0] {
                let played = play_with(Bisection::new(500, 500, jitter), &bad);
                assert!(!played.stream_at_fault);
                assert_eq!(played.pinned, bad);
                assert_eq!(sorted(played.accepted), all_but(&bad));
            }
        }
    }

    #[test]
    fn records_that_were_refused_before_are_tried_after_the_others() {
        let refused_before: Vec<_> = (480..500).collect();
        let played = play_with(Bisection::new(500, 480, 0.5), &refused_before);
        assert_eq!(played.accepted, (0..480).collect::<Vec<_>>());
        assert!(!played.stream_at_fault && played.pinned.len() > 10);
        let played = play_with(Bisection::new(500, 499, 0.5), &[499]);
        assert_eq!((played.pinned, played.requests), (vec![499], 3));
    }

    #[test]
    fn requests_are_bounded_however_many_records_are_bad() {
        let every_third: Vec<_> = (1..500).step_by(3).collect();
        let played = play(500, &every_third);
        assert_eq!(played.requests, Bisection::MAX_REQUESTS);
        assert!(!played.accepted.is_empty() && !played.pinned.is_empty());
        assert!(played.pinned.iter().all(|n| every_third.contains(n)));
    }

    #[test]
    fn two_records_refused_before_anything_was_accepted_accuse_the_stream() {
        let all: Vec<_> = (0..500).collect();
        let played = play(500, &all);
        assert!(played.accepted.is_empty() && played.stream_at_fault);
        assert_eq!(played.pinned, [0]);
        assert!(played.requests < Bisection::MAX_REQUESTS);
    }

    #[test]
    fn few_records_are_enough() {
        let played = play(1, &[0]);
        assert_eq!((played.pinned, played.requests), (vec![0], 1));
        assert!(!played.stream_at_fault);
        let played = play(2, &[0]);
        assert_eq!((played.accepted, played.pinned), (vec![1], vec![0]));
        let played = play(2, &[0, 1]);
        assert!(played.stream_at_fault);
    }
}
