//! Moments of a timeline, and what a power loss would leave at each.

use fastrand::Rng;

use super::{Action, Change, Disk, Event, Fate, Image, Plan, Rules, Timeline};

/// One power loss.
#[derive(Debug, Clone)]
pub struct State {
    /// The number of events that had happened.
    pub moment: usize,
    /// The plan that decided the fates of the pending changes.
    pub plan: Plan,
    /// The fates of the pending changes.
    pub fates: Vec<Fate>,
    /// The disk at the moment of the power loss.
    pub disk: Disk,
}

impl State {
    /// The files that the power loss leaves.
    #[must_use]
    pub fn image(&self) -> Image {
        self.disk.image(&self.fates)
    }
}

/// Power losses, ordered by moment.
#[derive(Debug)]
pub struct States<'a> {
    events: &'a [Event],
    disk: Disk,
    at: usize,
    moments: std::vec::IntoIter<usize>,
    plans: std::iter::Cycle<std::vec::IntoIter<Plan>>,
    rng: Rng,
}

impl<'a> States<'a> {
    /// Samples `count` power losses from the event number `from` on, using these plans in turn. The
    /// same seed gives the same losses.
    #[must_use]
    pub fn sample(
        timeline: &'a Timeline,
        from: usize,
        count: usize,
        seed: u64,
        rules: Rules,
        plans: &[Plan],
    ) -> Self {
        let mut rng = Rng::with_seed(seed);
        let events = timeline.events();
        let mut moments: Vec<_> = (0..count).map(|_| moment(events, from, &mut rng)).collect();
        moments.sort_unstable();
        let mut plans = plans.to_vec();
        rng.shuffle(&mut plans);
        Self {
            events,
            disk: timeline.disk_at(0, rules),
            at: 0,
            moments: moments.into_iter(),
            plans: plans.into_iter().cycle(),
            rng,
        }
    }
}

impl Iterator for States<'_> {
    type Item = State;

    fn next(&mut self) -> Option<State> {
        let moment = self.moments.next()?;
        for event in &self.events[self.at..moment] {
            self.disk.advance(event);
        }
        self.at = moment;
        let plan = self.plans.next()?;
        Some(State {
            moment,
            plan,
            fates: plan.fates(self.disk.pending(), &mut self.rng),
            disk: self.disk.clone(),
        })
    }
}

/// Any moment, with a preference for those at which something is promised or half done.
fn moment(events: &[Event], from: usize, rng: &mut Rng) -> usize {
    let wanted = rng.u8(..100);
    let telling = |event: &Event| match event {
        Event::Mark(_) => wanted < 30,
        Event::Begin(_, Action::Change(Change::Write { .. })) => false,
        Event::Begin(_, Action::Change(_)) => (30..55).contains(&wanted),
        Event::Begin(..) => (55..70).contains(&wanted),
        _ => false,
    };
    let from = from.min(events.len());
    let found: Vec<usize> = (from..events.len())
        .filter(|index| telling(&events[*index]))
        .collect();
    match rng.choice(found) {
        // Usually directly after the event, or a little later.
        Some(index) => (index + 1 + rng.usize(..3) * rng.usize(..3)).min(events.len()),
        None => rng.usize(from..=events.len()),
    }
}
