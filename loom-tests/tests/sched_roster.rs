//! The records of goroutines: each is in one hand, and a walk over all of them meets each that is there,
//! while others end and begin.
#![cfg(loom)]

use core::panic::Location;
use core::ptr::NonNull;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::roster::{Chunk, Record, Roster};
use sched_core::task::about::{About, Birth};
use sched_core::task::state::{Phase, State};

/// A record, as far as spawns, ends and dumps use it.
struct Goroutine {
    about: About,
    state: State,
    /// Written by whoever has the record: loom checks that it is alone.
    hand: UnsafeCell<u64>,
    next_free: AtomicPtr<Goroutine>,
}

// SAFETY: a word of its own.
unsafe impl Record for Goroutine {
    fn next_free(&self) -> *mut Self {
        self.next_free.load(Ordering::Relaxed)
    }

    fn set_next_free(&self, next: *mut Self) {
        self.next_free.store(next, Ordering::Relaxed);
    }
}

impl Goroutine {
    fn new() -> Self {
        let next_free = AtomicPtr::new(core::ptr::null_mut());
        let hand = UnsafeCell::new(0);
        Goroutine { about: About::new(), state: State::new(), hand, next_free }
    }

    /// What a dump says of it, which must be of one life.
    fn look(&self) -> Option<(u64, Phase)> {
        let (birth, _, phase) = self.about.read(|| self.state.phase())?;
        assert_eq!(birth.creator, 10 * birth.id, "the origin of another life");
        Some((birth.id, phase))
    }
}

struct World {
    roster: Roster<Goroutine>,
    /// The scheduler's count: the handle's, and the registry's while a record is out.
    count: AtomicUsize,
}

// SAFETY: a model; loom itself checks the accesses of the cells.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World { roster: Roster::new(), count: AtomicUsize::new(1) })
    }

    /// A goroutine begins.
    fn spawn(&self, id: u64) -> NonNull<Goroutine> {
        let (record, first) = loop {
            match self.roster.take() {
                Some(taken) => break taken,
                None => self.roster.add(Chunk::new(Goroutine::new).expect("there is memory")),
            }
        };
        if first {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: records live as long as the roster.
        let goroutine = unsafe { record.as_ref() };
        // SAFETY: ours since it was taken, as loom checks.
        goroutine.hand.with_mut(|hand| unsafe { *hand = id });
        let birth = Birth { id, creator: 10 * id, origin: Location::caller() };
        goroutine.about.begin(birth, || goroutine.state.reset());
        record
    }

    /// It runs to its end.
    fn end(&self, record: NonNull<Goroutine>, id: u64) {
        // SAFETY: as in `spawn`.
        let goroutine = unsafe { record.as_ref() };
        goroutine.state.resume();
        let _ = goroutine.state.complete();
        let _ = goroutine.state.finish();
        // SAFETY: ours until it is given back.
        goroutine.hand.with(|hand| assert_eq!(unsafe { *hand }, id, "in two hands"));
        // SAFETY: taken in `spawn`, and not used any more.
        if unsafe { self.roster.give(record) } {
            let before = self.count.fetch_sub(1, Ordering::Relaxed);
            assert!(before > 1, "the handle's own count is gone");
        }
    }

    /// Those that are there and have not ended, by number.
    fn walk(&self) -> Vec<u64> {
        let looks = self.roster.records().filter_map(Goroutine::look);
        let mut all: Vec<_> =
            looks.filter(|(_, phase)| *phase != Phase::Done).map(|(id, _)| id).collect();
        all.sort_unstable();
        all
    }
}

/// Two goroutines begin, live and end, each on a record of its own; who takes the first record out and who
/// brings the last one back are told by turns.
#[test]
fn a_record_is_in_one_hand() {
    model("a_record_is_in_one_hand", 3, || {
        let world = World::new();
        let other = {
            let world = world.clone();
            thread::spawn(move || {
                let record = world.spawn(2);
                world.end(record, 2);
            })
        };
        let record = world.spawn(1);
        world.end(record, 1);
        other.join().unwrap();
        assert_eq!(world.count.load(Ordering::Relaxed), 1, "no record is out");
        assert_eq!(world.walk(), []);
    });
}

/// One goroutine is there all the time. Another ends under the walk, and its record is used again.
#[test]
fn a_walk_meets_who_is_there() {
    model("a_walk_meets_who_is_there", 2, || {
        let world = World::new();
        let (stays, ends) = (world.spawn(1), world.spawn(2));
        let walk = {
            let world = world.clone();
            thread::spawn(move || world.walk())
        };
        world.end(ends, 2);
        let begins = world.spawn(3);
        let seen = walk.join().unwrap();
        assert!(matches!(seen[..], [1] | [1, 2] | [1, 3]), "{seen:?}");
        assert_eq!(world.walk(), [1, 3]);
        world.end(stays, 1);
        world.end(begins, 3);
    });
}

/// Records are made under the walk.
#[test]
fn a_walk_meets_who_is_there_while_others_come() {
    model("a_walk_meets_who_is_there_while_others_come", 2, || {
        let world = World::new();
        let stays = world.spawn(1);
        let walk = {
            let world = world.clone();
            thread::spawn(move || world.walk())
        };
        let begins = [2, 3].map(|id| world.spawn(id));
        let seen = walk.join().unwrap();
        assert!(matches!(seen[..], [1] | [1, 2] | [1, 3] | [1, 2, 3]), "{seen:?}");
        assert_eq!(world.walk(), [1, 2, 3]);
        world.end(stays, 1);
        begins.into_iter().zip([2, 3]).for_each(|(record, id)| world.end(record, id));
        assert_eq!(world.count.load(Ordering::Relaxed), 1);
    });
}
