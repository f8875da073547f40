//! A dump of goroutines: what is read of a record is of one life of it.
#![cfg(loom)]

use core::panic::Location;

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use sched_core::task::about::{About, Birth};
use sched_core::task::state::{Phase, State};

/// A record, as far as a dump reads it.
struct Record {
    about: About,
    state: State,
}

/// What does not change in the life with this number. The creator tells which life it is.
fn birth(id: u64) -> Birth {
    Birth { id, creator: 10 * id, origin: Location::caller() }
}

impl Record {
    fn begin(&self, id: u64) {
        self.about.begin(birth(id), || self.state.reset());
    }

    /// From its first run to its end.
    fn live(&self) {
        self.state.resume();
        let _ = self.state.complete();
        let _ = self.state.finish();
    }

    /// A dump's look: all that it says must be of one life.
    fn look(&self) -> Option<(u64, Phase)> {
        let (birth, _, phase) = self.about.read(|| self.state.phase())?;
        assert_eq!(birth.creator, 10 * birth.id, "the origin of another life");
        Some((birth.id, phase))
    }
}

/// The record ends one life and begins the next one under the reader, who must not tell of a
/// goroutine that has ended as of one that is there.
#[test]
fn a_look_is_of_one_life() {
    model("a_look_is_of_one_life", 3, || {
        let record = Arc::new(Record { about: About::new(), state: State::new() });
        record.begin(1);
        record.live();
        let reader = {
            let record = record.clone();
            thread::spawn(move || record.look())
        };
        record.begin(2);
        let seen = reader.join().unwrap();
        let fits = matches!(seen, None | Some((1, Phase::Done)) | Some((2, Phase::Runnable)));
        assert!(fits, "{seen:?}");
        assert_eq!(record.look(), Some((2, Phase::Runnable)));
    });
}

/// A goroutine that is there all the time is told of.
#[test]
fn who_is_there_is_told() {
    model("who_is_there_is_told", 3, || {
        let record = Arc::new(Record { about: About::new(), state: State::new() });
        record.begin(1);
        let reader = {
            let record = record.clone();
            thread::spawn(move || record.look())
        };
        record.state.resume();
        let seen = reader.join().unwrap();
        assert!(matches!(seen, Some((1, Phase::Runnable | Phase::Running))), "{seen:?}");
    });
}
