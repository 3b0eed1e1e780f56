//! Passes requests from callers to a thread, and answers back to callers.
//!
//! Each request leaves its reply handle here, and the thread holds a ticket for it. If the thread
//! hangs in the disk, the [watch](super::watch) can answer all waiting callers. This costs nothing
//! in the normal case.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::shared::stalled;
use crate::StoreError;
use crate::log::catalog::lock;

/// How often [`Mailbox::meanwhile`] returns when nothing happens.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Tells a caller the outcome.
pub(crate) type Reply<A> = oneshot::Sender<Result<A, StoreError>>;

/// A queue that is drained all at once, with the reply handles of its items.
#[derive(Debug)]
pub(crate) struct Mailbox<T, A> {
    state: Mutex<State<T, A>>,
    arrived: Condvar,
    /// Whether an item must be processed even if no one waits for it any more.
    must_be_done: fn(&T) -> bool,
}

#[derive(Debug)]
struct State<T, A> {
    waiting: Vec<(T, Ticket)>,
    /// By ticket. `None` if the ticket is free, or if the watch has answered.
    replies: Vec<Option<Reply<A>>>,
    free: Vec<u32>,
    /// The thread sleeps until this many items are queued; 0 while it is awake.
    wanted: usize,
    closed: bool,
    /// Whether the thread is working.
    busy: bool,
    /// How often the watch has looked since the thread's last heartbeat, or since the process was
    /// suspended. Without meaning while the thread is idle.
    looks: u32,
    /// No heartbeat for too long.
    stalled: bool,
    /// Another thread is working for this one, whose heartbeats do not count until that work ends.
    helped: bool,
    /// The other thread has ended its work.
    nudged: bool,
}

/// The right to take a reply handle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u32);

impl<T, A> State<T, A> {
    fn take(&mut self) -> Vec<(T, Ticket)> {
        self.wanted = 0;
        self.sign();
        let as_many = Vec::with_capacity(self.waiting.len());
        std::mem::replace(&mut self.waiting, as_many)
    }

    fn sign(&mut self) {
        if !self.helped {
            (self.busy, self.stalled, self.looks) = (true, false, 0);
        }
    }

    fn keep(&mut self, reply: Option<Reply<A>>) -> Ticket {
        let Some(free) = self.free.pop() else {
            self.replies.push(reply);
            return Ticket(u32::try_from(self.replies.len() - 1).unwrap_or(u32::MAX));
        };
        if let Some(place) = self.replies.get_mut(free as usize) {
            *place = reply;
        }
        Ticket(free)
    }

    fn redeem(&mut self, Ticket(ticket): Ticket) -> Option<Reply<A>> {
        let reply = self.replies.get_mut(ticket as usize)?.take();
        self.free.push(ticket);
        reply
    }

    /// Takes all reply handles. Their tickets are still to be redeemed, for nothing.
    fn take_replies(&mut self) -> Vec<Reply<A>> {
        self.replies.iter_mut().filter_map(Option::take).collect()
    }
}

impl<T, A> Mailbox<T, A> {
    /// A mailbox whose thread is idle.
    pub(crate) fn new(must_be_done: fn(&T) -> bool) -> Self {
        let state = State {
            waiting: Vec::new(),
            replies: Vec::new(),
            free: Vec::new(),
            wanted: 0,
            closed: false,
            busy: false,
            looks: 0,
            stalled: false,
            helped: false,
            nudged: false,
        };
        Self {
            state: Mutex::new(state),
            arrived: Condvar::new(),
            must_be_done,
        }
    }

    /// Queues an item and waits for the outcome.
    pub(crate) async fn ask(&self, item: T) -> Result<A, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.push(item, reply)?;
        outcome.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Queues an item. If the thread hangs, only an item that must be processed is queued.
    pub(crate) fn push(&self, item: T, reply: Reply<A>) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(StoreError::Closed);
        }
        if state.stalled {
            if (self.must_be_done)(&item) {
                let ticket = state.keep(None);
                state.waiting.push((item, ticket));
            }
            return Err(stalled());
        }
        let ticket = state.keep(Some(reply));
        state.waiting.push((item, ticket));
        let enough = state.wanted > 0 && state.waiting.len() >= state.wanted;
        if enough {
            // One wake-up will do. Each is a system call, and others push before the thread runs.
            state.wanted = 0;
        }
        drop(state);
        if enough {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Registers a reply handle for what the thread does first.
    pub(crate) fn expect(&self, reply: Reply<A>) -> Ticket {
        let mut state = lock(&self.state);
        state.sign();
        state.keep(Some(reply))
    }

    /// Waits for items and takes them all. Empty once the mailbox is closed and drained.
    pub(crate) fn next(&self) -> Vec<(T, Ticket)> {
        self.next_within(Duration::MAX).unwrap_or_default()
    }

    /// Like [`next`](Self::next), but `None` if nothing arrives in time.
    pub(crate) fn next_within(&self, patience: Duration) -> Option<Vec<(T, Ticket)>> {
        let mut state = lock(&self.state);
        (state.busy, state.stalled) = (false, false);
        let (taken, in_time) = self.wait(state, 1, patience, |state| state.closed);
        in_time.then_some(taken)
    }

    /// Waits until this many items are queued or the time is up, and takes those that have arrived.
    pub(crate) fn more(&self, wanted: usize, patience: Duration) -> Vec<(T, Ticket)> {
        let closed = |state: &State<T, A>| state.closed;
        self.wait(lock(&self.state), wanted, patience, closed).0
    }

    /// Says whether another thread is working for this one. While it is, nothing that this one does
    /// counts as a heartbeat.
    pub(crate) fn help(&self, helped: bool) {
        let mut state = lock(&self.state);
        (state.helped, state.nudged) = (helped, false);
        state.sign();
    }

    /// Waits for items, or for the end of the other thread's work.
    pub(crate) fn meanwhile(&self) -> Vec<(T, Ticket)> {
        let nudged = |state: &State<T, A>| state.nudged;
        self.wait(lock(&self.state), 1, LOOK_AGAIN, nudged).0
    }

    /// Waits until this many items are queued, something else ends the wait, or the time is up.
    /// Takes the items, and returns whether the wait ended in time.
    fn wait(
        &self,
        mut state: MutexGuard<'_, State<T, A>>,
        wanted: usize,
        patience: Duration,
        ends: fn(&State<T, A>) -> bool,
    ) -> (Vec<(T, Ticket)>, bool) {
        state.wanted = wanted;
        let few = |state: &mut State<T, A>| state.waiting.len() < wanted && !ends(state);
        let waited = self.arrived.wait_timeout_while(state, patience, few);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.nudged = false;
        (state.take(), !waited.timed_out())
    }

    /// Wakes [`meanwhile`](Self::meanwhile).
    pub(crate) fn nudge(&self) {
        lock(&self.state).nudged = true;
        self.arrived.notify_one();
    }

    /// Answers the caller who has this ticket, unless the watch has.
    pub(crate) fn answer(&self, ticket: Ticket, outcome: Result<A, StoreError>) {
        drop(self.offer(ticket, outcome));
    }

    /// Answers a caller, and returns the answer if nobody waits for it any more.
    pub(crate) fn offer(&self, ticket: Ticket, outcome: Result<A, StoreError>) -> Option<A> {
        let reply = lock(&self.state).redeem(ticket);
        let left = match reply {
            Some(reply) => reply.send(outcome).err()?,
            None => outcome,
        };
        left.ok()
    }

    /// The reply handles for these tickets, and the number of queued items.
    pub(crate) fn replies(
        &self,
        tickets: impl Iterator<Item = Ticket>,
    ) -> (Vec<Option<Reply<A>>>, usize) {
        let mut state = lock(&self.state);
        state.sign();
        let replies = tickets.map(|ticket| state.redeem(ticket)).collect();
        (replies, state.waiting.len())
    }

    /// Records a heartbeat.
    pub(crate) fn sign(&self) {
        lock(&self.state).sign();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Refuses new items from now on, and returns those queued.
    pub(crate) fn close(&self) -> Vec<(T, Ticket)> {
        let mut state = lock(&self.state);
        state.closed = true;
        let left = std::mem::take(&mut state.waiting);
        drop(state);
        self.arrived.notify_all();
        left
    }

    /// Refuses new items from now on, drops those queued, and fails all calls still waiting.
    pub(crate) fn abandon(&self, error: &StoreError) {
        drop(self.close());
        let replies = lock(&self.state).take_replies();
        refuse(replies, error);
    }

    /// If the thread has sent no heartbeat since this many looks, fails all waiting calls and
    /// drops their requests.
    pub(crate) fn look(&self, patience: u32) {
        let mut state = lock(&self.state);
        if !state.busy || state.looks < patience {
            state.looks = state.looks.saturating_add(1);
            return;
        }
        state.stalled = true;
        let replies = state.take_replies();
        for (item, ticket) in std::mem::take(&mut state.waiting) {
            if (self.must_be_done)(&item) {
                state.waiting.push((item, ticket));
            } else {
                state.redeem(ticket);
            }
        }
        drop(state);
        refuse(replies, &stalled());
    }

    /// Gives the thread its time again.
    pub(crate) fn look_afresh(&self) {
        lock(&self.state).looks = 0;
    }
}

fn refuse<A>(replies: Vec<Reply<A>>, error: &StoreError) {
    for reply in replies {
        let _ = reply.send(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::{LOOK_AGAIN, Mailbox};
    use crate::clock;

    #[test]
    fn a_nudge_ends_one_wait() {
        let mailbox: Mailbox<(), ()> = Mailbox::new(|()| false);
        mailbox.help(true);
        // Late: the work that it announces has been noticed, and other work has begun.
        mailbox.nudge();
        let start = clock::monotonic();
        assert!(mailbox.meanwhile().is_empty());
        assert!(start.elapsed() < LOOK_AGAIN, "it is not noticed");
        assert!(mailbox.meanwhile().is_empty());
        assert!(start.elapsed() >= LOOK_AGAIN, "it spins");
    }
}
