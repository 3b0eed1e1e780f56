//! Everything known about one record.

/// What is known about one record.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub story: Story,
    pub presence: Presence,
    pub delivered: u16,
    /// The child that delivered the record last, and the exchange.
    pub delivered_by: Option<(usize, u32)>,
    pub discarded: u16,
    /// The child was killed, perhaps before it deleted the discarded record.
    pub discard_undone: bool,
    /// How many answers of the endpoint blamed the record or its request.
    pub charges: u16,
    /// The first exchange that blamed it.
    pub sent_back: Option<u32>,
    /// The future was dropped, and the process has ended since. The record can no longer be stored.
    pub cannot_come_in: bool,
    /// A clear ran that may have deleted the record.
    pub maybe_cleared: bool,
    /// Why the client may not know of the last delivery.
    pub doubt: Doubt,
}

/// What the writer reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Story {
    /// Nothing more: the writer was killed, or its call has not returned yet.
    #[default]
    Begun,
    Stored,
    Refused,
    Dropped,
    /// The future was dropped.
    Left,
}

/// Whether the record is in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// In the cache if it was stored.
    #[default]
    Begun,
    Here,
    Unsure,
    Gone,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Doubt {
    #[default]
    None,
    /// The answer was lost.
    Answer,
    /// This child was killed before it reported.
    Kill(usize),
}

impl Account {
    /// Whether the record may be stored at any moment, though nobody waits for it.
    pub fn may_come_in(&self) -> bool {
        self.story == Story::Left && !self.cannot_come_in
    }

    pub fn must_be_here(&self) -> bool {
        self.presence == Presence::Here
    }

    pub fn may_be_here(&self) -> bool {
        self.presence != Presence::Gone
    }

    pub fn in_short(&self) -> String {
        format!(
            "{:?} {:?}, delivered {}, discarded {}, cleared perhaps: {}, {:?}",
            self.story,
            self.presence,
            self.delivered,
            self.discarded,
            self.maybe_cleared,
            self.doubt
        )
    }

    /// Applies a count that matched either all possible records or only the certain ones.
    pub fn resolve(&mut self, all: bool) {
        match (self.presence, all) {
            (Presence::Unsure | Presence::Begun, true) => self.presence = Presence::Here,
            // The record may still be stored if its future was dropped.
            (Presence::Unsure | Presence::Begun, false) if !self.may_come_in() => {
                self.presence = Presence::Gone;
            }
            _ => {}
        }
    }

    /// Whether the record was stored, as far as an outsider can see.
    pub fn was_there(&self) -> bool {
        self.delivered > 0 || self.discarded > 0
    }

    /// Whether the record was acknowledged and came to no known end.
    pub fn is_lost(&self) -> bool {
        let known = self.story == Story::Stored || self.presence == Presence::Here;
        known && !self.was_there() && !self.maybe_cleared
    }
}
