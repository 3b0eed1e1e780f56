//! Everything known about one record.

/// What is known of one record.
#[derive(Debug, Clone, Default)]
pub struct Account {
    pub story: Story,
    pub presence: Presence,
    pub delivered: u16,
    /// The child that delivered it last, and the exchange in which it did.
    pub delivered_by: Option<(usize, u32)>,
    pub discarded: u16,
    /// Its child was killed before it may have deleted what it had discarded.
    pub discard_undone: bool,
    /// How often the endpoint blamed it, or its request, in an answer.
    pub charges: u16,
    /// The first exchange that did.
    pub sent_back: Option<u32>,
    /// Its future was dropped, but its process has ended since: it cannot come in any more.
    pub cannot_come_in: bool,
    /// A clear that it did not survive for sure ran meanwhile.
    pub maybe_cleared: bool,
    /// Why its last delivery may not be known to the client.
    pub doubt: Doubt,
}

/// What its writer told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Story {
    /// Nothing more: it was killed, or has not come back yet.
    #[default]
    Begun,
    Stored,
    Refused,
    Dropped,
    /// The future was dropped.
    Left,
}

/// Whether it is in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// If it was stored.
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
    /// This child was killed before it told.
    Kill(usize),
}

impl Account {
    /// Whether it may be stored at any moment, though nobody waits for it.
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

    /// A count has told that all that may be here are, or none but those that must be.
    pub fn resolve(&mut self, all: bool) {
        match (self.presence, all) {
            (Presence::Unsure | Presence::Begun, true) => self.presence = Presence::Here,
            // It may come in yet, if its future was dropped.
            (Presence::Unsure | Presence::Begun, false) if !self.may_come_in() => {
                self.presence = Presence::Gone;
            }
            _ => {}
        }
    }

    /// Whether it was stored, as far as can be seen from outside.
    pub fn was_there(&self) -> bool {
        self.delivered > 0 || self.discarded > 0
    }

    /// Whether it was acknowledged and came to no known end.
    pub fn is_lost(&self) -> bool {
        let known = self.story == Story::Stored || self.presence == Presence::Here;
        known && !self.was_there() && !self.maybe_cleared
    }
}
