//! The lock-free signals, under all interleavings of a few threads.

#[path = "../src/delivery/signals.rs"]
mod signals;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

use loom::sync::{Arc, Mutex};
use loom::thread;

use self::signals::{Signals, Turns};

#[test]
fn a_delivery_that_somebody_has_heard_of_is_progress() {
    loom::model(|| {
        let signals = Arc::new(Signals::new());
        let reported = Arc::new(Mutex::new(false));
        let other = {
            let (signals, reported) = (Arc::clone(&signals), Arc::clone(&reported));
            thread::spawn(move || {
                signals.note_progress();
                *reported.lock().unwrap() = true;
            })
        };
        let before = signals.progress();
        let heard = *reported.lock().unwrap();
        let stalled = signals.progress() == before;
        assert!(!(heard && stalled && before == 0), "it was overlooked");
        other.join().unwrap();
    });
}

#[test]
fn no_delivery_is_lost_among_others() {
    loom::model(|| {
        let signals = Arc::new(Signals::new());
        let others = [(); 2].map(|()| {
            let signals = Arc::clone(&signals);
            thread::spawn(move || {
                let before = signals.progress();
                signals.note_progress();
                assert!(signals.progress() > before, "its own is not there");
            })
        });
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(signals.progress(), 2);
    });
}

#[test]
fn whoever_hears_of_an_error_sends_no_more() {
    loom::model(|| {
        let signals = Arc::new(Signals::new());
        let reported = Arc::new(Mutex::new(false));
        let other = {
            let (signals, reported) = (Arc::clone(&signals), Arc::clone(&reported));
            thread::spawn(move || {
                signals.abort();
                *reported.lock().unwrap() = true;
            })
        };
        // The task that assigns slots runs meanwhile.
        signals.set_queued(1);
        assert!(signals.is_slot_wanted());
        signals.set_queued(0);
        let heard = *reported.lock().unwrap();
        assert!(!heard || signals.is_aborted());
        other.join().unwrap();
        assert!(signals.is_aborted() && !signals.is_slot_wanted());
    });
}

#[test]
fn a_turn_is_wanted_for_as_long_as_somebody_waits_for_it() {
    loom::model(|| {
        let turns = Arc::new(Turns::new());
        let others = [(); 2].map(|()| {
            let turns = Arc::clone(&turns);
            thread::spawn(move || {
                let wanted = turns.want();
                assert!(turns.are_wanted(), "another one took it back");
                drop(wanted);
            })
        });
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(
            !turns.are_wanted(),
            "a turn is wanted that nobody waits for"
        );
    });
}
