//! The ledger of every record: what the children reported, what the endpoint accepted, and whether
//! the two are consistent.

use std::collections::{HashMap, HashSet};

use amplify_test_support::Service;
use integration_tests::SERVICES;

use super::account::{Account, Doubt, Presence, Story};
use super::payload::{Id, LANES, Lane, STREAMS};
use super::report::Report;
use super::told::{ClientSettings, Group, Side, Told};
use super::weather::{Exchange, Met};

/// One client in one process, for one stream.
type Way = (usize, Service, usize);

/// What is known about the answer to an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// The client has read the answer, unless it was killed.
    Surely,
    /// The client may not have read the answer.
    Perhaps,
}

/// All records of a run.
#[derive(Debug)]
pub struct Ledger {
    /// The settings of the living child.
    settings: Option<ClientSettings>,
    pub(super) lanes: Vec<LaneBook>,
    /// The children with several requests in flight per stream. Their records may overtake each
    /// other, and none of their answers is certain.
    side_by_side: HashSet<usize>,
    exchanges: u32,
    /// The last exchange of each way that may not be settled yet.
    open: HashMap<Way, Exchange>,
    /// Discards that may not be settled yet, and whether a pass settles them.
    given_up: Vec<(Id, bool)>,
    /// Records of the living child whose futures were dropped.
    left: Vec<Id>,
    /// The records believed settled by the last two requests of each way since the client's last
    /// pause.
    settled: HashMap<Way, Vec<Vec<Id>>>,
    /// Violations, unless the child reports that it had abandoned the request.
    suspect: Vec<(Id, String)>,
    /// All children up to this one are dead.
    dead: Option<usize>,
    pub(super) clearing: [bool; 2],
    /// Cached records of each client at its last pause.
    pub(super) quiet: [Option<usize>; 2],
    pub(super) groups: Vec<Group>,
    pub report: Report,
    pub wrong: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct LaneBook {
    pub(super) accounts: Vec<Account>,
    /// All records before this one are gone for good.
    first_open: usize,
    /// The records that were newer than all delivered before them.
    ahead: Vec<Ahead>,
}

/// A record that arrived before every newer one of its lane.
#[derive(Debug)]
struct Ahead {
    number: u32,
    /// The exchange that delivered the record.
    at: u32,
    side_by_side: bool,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            settings: None,
            side_by_side: HashSet::new(),
            lanes: (0..LANES).map(|_| LaneBook::default()).collect(),
            exchanges: 0,
            open: HashMap::new(),
            given_up: Vec::new(),
            left: Vec::new(),
            settled: HashMap::new(),
            suspect: Vec::new(),
            dead: None,
            clearing: [false; 2],
            quiet: [None; 2],
            groups: Vec::new(),
            report: Report::default(),
            wrong: Vec::new(),
        }
    }

    /// Notes a new child with these settings.
    pub fn started(&mut self, settings: &ClientSettings, incarnation: usize) {
        if settings.max_in_flight_per_stream > 1 {
            self.side_by_side.insert(incarnation);
        }
        self.settings = Some(settings.clone());
    }

    /// The next number of each lane.
    pub fn next_numbers(&self) -> Vec<u32> {
        let lengths = self.lanes.iter().map(|lane| lane.accounts.len());
        lengths
            .map(|length| u32::try_from(length).unwrap())
            .collect()
    }

    // ---- the endpoint's exchanges

    /// Enters an exchange. `heard` judges the previous exchange of the same way.
    pub fn exchanged(&mut self, exchange: Exchange, heard: impl Fn(&Exchange) -> Heard) {
        self.exchanges += 1;
        let at = self.exchanges;
        self.report.exchanges += 1;
        self.wrong.extend(exchange.wrong.iter().cloned());
        let way = (exchange.incarnation, exchange.service, exchange.stream);
        if let Some(last) = self.open.remove(&way) {
            let heard = heard(&last);
            self.settled(&last, heard);
        }
        for &met in &exchange.records {
            self.met(met, at, exchange.incarnation);
        }
        self.open.insert(way, exchange);
        if self.dead.is_some_and(|dead| dead >= way.0) {
            self.in_flight_at_death(way.0);
        }
    }

    /// Whether all records of an exchange were reported.
    pub fn knows(&self, exchange: &Exchange) -> bool {
        let mut ids = exchange.records.iter().map(|met| met.id);
        ids.all(|id| (id.number as usize) < self.lanes[id.lane.0].accounts.len())
    }

    fn met(&mut self, met: Met, at: u32, incarnation: usize) {
        let Met {
            id,
            accepted,
            charged,
        } = met;
        let side_by_side = self.side_by_side.contains(&incarnation);
        let lane = &mut self.lanes[id.lane.0];
        let Some(account) = lane.accounts.get_mut(id.number as usize) else {
            // The child reports a record before recording it, so that report must have arrived.
            self.wrong
                .push(format!("{id:?} was sent but never recorded"));
            return;
        };
        if matches!(account.story, Story::Refused | Story::Dropped) {
            self.wrong.push(format!("{id:?} was sent: {account:?}"));
        }
        if account.presence == Presence::Gone {
            let what = format!("{id:?} was sent again without a cause: {account:?}");
            self.suspect.push((id, what));
        }
        account.charges = account.charges.saturating_add(u16::from(charged));
        if accepted {
            if account.delivered > 0 {
                match account.doubt {
                    Doubt::Answer => self.report.repeated_after_lost_answers += 1,
                    Doubt::Kill(of) => {
                        self.report.repeated_after_kills += 1;
                        *self.report.repeated_by_kill.entry(of).or_default() += 1;
                    }
                    // Accepted twice in one exchange, or before the last one was entered.
                    Doubt::None => {
                        let what = format!(
                            "{id:?} was delivered again by {incarnation} without a cause: {account:?}"
                        );
                        self.suspect.push((id, what));
                    }
                }
            } else if account.story != Story::Left {
                let overtaken = lane.ahead.partition_point(|ahead| ahead.number < id.number);
                match lane.ahead.get(overtaken) {
                    Some(ahead) if account.sent_back.is_none_or(|back| back > ahead.at) => {
                        if side_by_side || ahead.side_by_side {
                            self.report.overtaken_side_by_side += 1;
                        } else {
                            let by = ahead.number;
                            self.wrong.push(format!(
                                "{id:?} was overtaken by {by} and not sent back before: {account:?}"
                            ));
                        }
                    }
                    Some(_) => self.report.overtaken += 1,
                    None => lane.ahead.push(Ahead {
                        number: id.number,
                        at,
                        side_by_side,
                    }),
                }
            }
            account.delivered = account.delivered.saturating_add(1);
            account.delivered_by = Some((incarnation, at));
            account.presence = Presence::Unsure;
            account.doubt = Doubt::None;
        }
        if charged {
            account.sent_back.get_or_insert(at);
        }
    }

    /// Marks the records of an answer that the client has read as settled.
    fn settled(&mut self, exchange: &Exchange, heard: Heard) {
        let way = (exchange.incarnation, exchange.service, exchange.stream);
        let sure = exchange.truthful
            && heard == Heard::Surely
            && !self.side_by_side.contains(&exchange.incarnation);
        let mut settled = Vec::new();
        for met in exchange.records.iter().filter(|met| met.accepted) {
            let account = self.account(met.id);
            if sure {
                account.presence = Presence::Gone;
                settled.push(met.id);
            } else {
                account.doubt = Doubt::Answer;
            }
        }
        let of_way = self.settled.entry(way).or_default();
        // After two more requests the answer was read, or the records would have been sent again.
        if of_way.len() == 2 {
            of_way.remove(0);
        }
        of_way.push(settled);
    }

    /// Notes that a child abandoned a request, though an answer may have arrived in time.
    fn gave_up(&mut self, stream: Option<usize>) {
        self.report.given_up += 1;
        let concerns = |of: usize| stream.is_none_or(|stream| stream == of);
        // It may be the last exchange of its way, which only the next one would settle.
        for exchange in self.open.values_mut() {
            exchange.truthful &= !concerns(exchange.stream);
        }
        self.suspect
            .retain(|(id, _)| !concerns(id.lane.stream_number()));
        let ways = self.settled.extract_if(|way, _| concerns(way.2));
        for id in ways.flat_map(|(_, ids)| ids.concat()).collect::<Vec<_>>() {
            let account = self.account(id);
            account.presence = Presence::Unsure;
            account.doubt = Doubt::Answer;
            let lane = &mut self.lanes[id.lane.0];
            lane.first_open = lane.first_open.min(id.number as usize);
        }
    }

    fn convict(&mut self) {
        let suspect = std::mem::take(&mut self.suspect);
        self.wrong.extend(suspect.into_iter().map(|(_, what)| what));
    }

    // ---- the children's reports

    /// Enters a report. Everything the child had recorded and cleared before is known.
    pub fn told(&mut self, told: &Told, incarnation: usize, heard: impl Fn(&Exchange) -> Heard) {
        match *told {
            Told::Begun(group) => self.begun(group),
            Told::Stored(group) => self.tell(group, Story::Stored),
            Told::Refused(group) => self.tell(group, Story::Refused),
            Told::Dropped(group) => self.tell(group, Story::Dropped),
            Told::Left(group) => self.tell(group, Story::Left),
            Told::Discarded {
                lane,
                number,
                attempts,
                ref reason,
                whole,
            } => self.discarded(Id { lane, number }, attempts, reason, whole),
            Told::Quiet { side, ref cached } => {
                self.rested(side, incarnation, heard);
                self.count(side, cached);
            }
            Told::Clearing { side, at_rest } => {
                self.clearing[side] = true;
                self.quiet[side] = self.quiet[side].filter(|_| at_rest);
            }
            Told::Cleared { side, records } => self.cleared(side, records),
            Told::Ended => {
                for side in 0..SERVICES.len() {
                    self.rested(side, incarnation, &heard);
                }
                self.nothing_comes_in();
            }
            Told::GaveUp { stream } => self.gave_up(stream),
            Told::Wrong(ref what) => self.wrong.push(format!("child {incarnation}: {what}")),
        }
    }

    /// Notes the death of a child. Nobody knows which of the last answers it had read and settled.
    pub fn killed(&mut self, incarnation: usize) {
        self.convict();
        self.settled.clear();
        self.nothing_comes_in();
        self.report.kills += 1;
        self.dead = Some(incarnation);
        self.in_flight_at_death(incarnation);
        for (id, _) in std::mem::take(&mut self.given_up) {
            self.account(id).discard_undone = true;
        }
        for side in 0..SERVICES.len() {
            if std::mem::take(&mut self.clearing[side]) {
                self.report.clears_cut_short += 1;
                self.mark_cleared(side);
            }
        }
        self.quiet = [None; 2];
    }

    fn nothing_comes_in(&mut self) {
        for id in std::mem::take(&mut self.left) {
            self.account(id).cannot_come_in = true;
        }
    }

    fn in_flight_at_death(&mut self, incarnation: usize) {
        let ways = self.open.keys().filter(|way| way.0 == incarnation);
        for way in ways.copied().collect::<Vec<_>>() {
            let Some(exchange) = self.open.remove(&way) else {
                continue;
            };
            for met in exchange.records.iter().filter(|met| met.accepted) {
                self.account(met.id).doubt = Doubt::Kill(incarnation);
                *self
                    .report
                    .in_flight_at_kill
                    .entry(incarnation)
                    .or_default() += 1;
            }
        }
    }

    /// Notes that no request of a client is in progress, so every reported request is settled.
    fn rested(&mut self, side: Side, incarnation: usize, heard: impl Fn(&Exchange) -> Heard) {
        let service = SERVICES[side];
        for stream in 0..STREAMS {
            if let Some(last) = self.open.remove(&(incarnation, service, stream)) {
                let heard = heard(&last);
                self.settled(&last, heard);
            }
        }
        // By now the child has reported every request that it abandoned.
        self.convict();
        self.settled.retain(|way, _| way.1 != service);
        let (here, elsewhere) = std::mem::take(&mut self.given_up)
            .into_iter()
            .partition::<Vec<_>, _>(|(id, _)| id.lane.service() == service);
        self.given_up = elsewhere;
        for (id, by_a_pass) in here {
            if by_a_pass {
                self.account(id).presence = Presence::Gone;
            }
        }
    }

    fn begun(&mut self, group: Group) {
        let lane = &mut self.lanes[group.lane.0];
        if lane.accounts.len() != group.first as usize {
            self.wrong.push(format!("{group:?} was begun out of turn"));
        }
        let more = (0..group.count).map(|_| Account::default());
        lane.accounts.extend(more);
        self.groups.push(group);
    }

    fn tell(&mut self, group: Group, story: Story) {
        for number in group.first..group.first + group.count {
            let id = Id {
                lane: group.lane,
                number,
            };
            let account = self.account(id);
            account.story = story;
            match story {
                Story::Stored if account.presence == Presence::Begun => {
                    account.presence = Presence::Here;
                }
                Story::Refused | Story::Dropped => {
                    account.presence = Presence::Gone;
                    if account.was_there() {
                        let what = format!("{id:?} was sent: {account:?}");
                        self.wrong.push(what);
                    }
                }
                Story::Left => self.left.push(id),
                Story::Begun | Story::Stored => {}
            }
        }
        if !matches!(story, Story::Begun | Story::Left) {
            // The report covers the whole group. Groups without one are checked at the end.
            if let Some(at) = self.groups.iter().rposition(|begun| *begun == group) {
                self.groups.swap_remove(at);
            }
        }
    }

    fn discarded(&mut self, id: Id, attempts: u32, reason: &str, whole: bool) {
        let settings = self.settings.clone().unwrap();
        let account = self.account(id);
        let told = account.clone();
        let charges = u32::from(account.charges);
        let has_a_cause = match reason {
            "RetriesExhausted" => attempts == settings.max_retries + 1,
            "Overflow" => settings.drops_oldest,
            "Expired" => settings.max_record_age_millis.is_some(),
            _ => false,
        };
        let again = told.discarded > 0 && !told.discard_undone;
        account.discarded = account.discarded.saturating_add(1);
        account.discard_undone = false;
        account.presence = Presence::Unsure;
        if !whole || !has_a_cause || charges < attempts || again || told.presence == Presence::Gone
        {
            self.wrong.push(format!(
                "{id:?} was discarded after {attempts} attempts, whole: {whole}, {reason}: {told:?}"
            ));
        }
        *self.report.discards.entry(reason.to_owned()).or_default() += 1;
        // A record discarded for room may be deleted later, if the caller does not wait.
        let by_a_pass = reason != "Overflow";
        self.given_up.push((id, by_a_pass));
    }

    pub(super) fn account(&mut self, id: Id) -> &mut Account {
        &mut self.lanes[id.lane.0].accounts[id.number as usize]
    }

    /// Visits the records of a client, or of one of its streams, that are not gone for good.
    pub(super) fn each_of(
        &mut self,
        side: Side,
        stream: Option<usize>,
        mut visit: impl FnMut(&mut Account),
    ) {
        for lane in Lane::of(side) {
            if stream.is_some_and(|stream| stream != lane.stream_number()) {
                continue;
            }
            let book = &mut self.lanes[lane.0];
            let rest = &book.accounts[book.first_open..];
            let gone = rest
                .iter()
                .take_while(|account| account.presence == Presence::Gone);
            book.first_open += gone.count();
            book.accounts[book.first_open..]
                .iter_mut()
                .filter(|account| account.presence != Presence::Gone)
                .for_each(&mut visit);
        }
    }
}
