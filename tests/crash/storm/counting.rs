//! Which records must be in the caches, which may be, and which are missing at the end.

use std::collections::BTreeMap;

use integration_tests::SERVICES;

use super::account::Presence;
use super::ledger::Ledger;
use super::payload::{Id, Lane, STREAMS};
use super::report::Report;
use super::told::Side;

impl Ledger {
    /// Compares the records that a client at rest has cached with those it must and may have.
    pub(super) fn count(&mut self, side: Side, cached: &[usize; STREAMS]) {
        self.report.counts += 1;
        for (stream, &cached) in cached.iter().enumerate() {
            let (mut must, mut may) = (0, 0);
            self.each_of(side, Some(stream), |account| {
                must += usize::from(account.must_be_here());
                may += usize::from(account.may_be_here());
            });
            self.report.exact_counts += usize::from(must == may);
            if !(must..=may).contains(&cached) {
                let mut known = BTreeMap::<String, usize>::new();
                self.each_of(side, Some(stream), |account| {
                    *known.entry(account.in_short()).or_default() += 1;
                });
                self.wrong.push(format!(
                    "{:?} {stream}: {cached} are cached, not {must} to {may}: {known:#?}",
                    SERVICES[side]
                ));
            }
            if cached == must || cached == may {
                let all = cached == may;
                self.each_of(side, Some(stream), |account| account.resolve(all));
            }
        }
        self.quiet[side] = Some(cached.iter().sum());
    }

    pub(super) fn cleared(&mut self, side: Side, records: usize) {
        self.clearing[side] = false;
        self.report.clears += 1;
        self.report.told_cleared += records;
        match self.quiet[side].take() {
            None => self.mark_cleared(side),
            // Nobody recorded and nothing was sent, so the clear deleted exactly the cached
            // records.
            Some(cached) => {
                if cached != records {
                    // Records whose futures were dropped may be stored at any time.
                    let mut left = 0;
                    self.each_of(side, None, |account| {
                        left += usize::from(account.may_come_in());
                    });
                    if !(cached..=cached + left).contains(&records) {
                        self.wrong
                            .push(format!("{records} of {cached} records were cleared"));
                    }
                }
                self.each_of(side, None, |account| {
                    account.maybe_cleared = true;
                    account.presence = match account.may_come_in() {
                        true => Presence::Unsure,
                        false => Presence::Gone,
                    };
                });
                self.quiet[side] = Some(0);
            }
        }
    }

    /// Marks every record that is not gone yet as possibly cleared.
    pub(super) fn mark_cleared(&mut self, side: Side) {
        self.each_of(side, None, |account| {
            if account.may_be_here() {
                account.maybe_cleared = true;
                account.presence = Presence::Unsure;
            }
        });
    }

    /// Closes the ledger once the caches are empty, and returns everything that does not add up.
    pub fn close(mut self) -> (Report, Vec<String>) {
        let mut missing = BTreeMap::<usize, Vec<u32>>::new();
        for lane in Lane::all() {
            for (number, account) in self.lanes[lane.0].accounts.iter().enumerate() {
                self.report.enter(account);
                if account.is_lost() {
                    let lost = missing.entry(lane.0).or_default();
                    lost.push(u32::try_from(number).unwrap());
                }
            }
        }
        if !missing.is_empty() {
            self.wrong.push(format!("lost, by lanes: {missing:?}"));
        }
        for group in std::mem::take(&mut self.groups) {
            let numbers = group.first..group.first + group.count;
            let ids = numbers.map(|number| Id {
                lane: group.lane,
                number,
            });
            let accounts: Vec<_> = ids.map(|id| self.account(id).clone()).collect();
            let stored = accounts
                .iter()
                .filter(|account| account.was_there())
                .count();
            let cleared = accounts.iter().any(|account| account.maybe_cleared);
            if stored > 0 && stored < accounts.len() && !cleared {
                self.wrong
                    .push(format!("{stored} of {group:?} were stored"));
            }
        }
        if self.report.cleared > self.report.told_cleared && self.report.clears_cut_short == 0 {
            self.wrong
                .push("more records were cleared than was told".to_owned());
        }
        (self.report, self.wrong)
    }
}
