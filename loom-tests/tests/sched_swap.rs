//! Another policy under load: each goroutine comes out of one of the two policies' queues once, and none is left
//! beside sleepers.
//!
//! Queues, puts, picks, thefts and the moves from the old queues to the new are production code, of the default
//! policy and of one with a single queue; one model brings a policy of its own. A P is a number and a chair.
#![cfg(loom)]

use core::cell::UnsafeCell;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use loom_tests::task::{self, Ref};
use sched_core::dispatch::{Chair, Dispatch, Installed, Seated, install};
use sched_core::idle::{Idle, Release};
use sched_core::policy::{
    Cause, GlobalFifo, Gmp, Item, Moment, Policy, Queues, Ready, Seat, Slice,
};
use sched_core::queue::inject::Inject;
use sched_core::queue::lanes::Lane;
use sched_core::succession::{InUse, Succession};

const PROCS: usize = 2;

/// A P: where it sits.
#[derive(Default)]
struct Proc(UnsafeCell<Option<Chair>>);

/// Evidence of a P: the thread of the model that plays its holder has it.
#[derive(Clone, Copy)]
struct Held<'a>(usize, &'a Proc);

// SAFETY: each P is played by one thread, or by one after the other.
unsafe impl<'a> Seated<'a> for Held<'a> {
    fn index(self) -> usize {
        self.0
    }

    fn chair(self) -> Option<&'a Chair> {
        // SAFETY: the holder alone uses the chair.
        unsafe { &*self.1.0.get() }.as_ref()
    }

    fn sit(self, chair: Option<Chair>) -> Option<Chair> {
        // SAFETY: as above.
        core::mem::replace(unsafe { &mut *self.1.0.get() }, chair)
    }

    fn random(self) -> u32 {
        1
    }

    fn next_slice(self) {}
}

struct World {
    queues: Succession<Installed<Ref>>,
    idle: Idle,
    procs: [Proc; PROCS],
    /// How often work was told of, and how often somebody was woken for it.
    told: AtomicUsize,
    woken: AtomicUsize,
}

// SAFETY: a chair is used by the thread that plays the P's holder.
unsafe impl Send for World {}
// SAFETY: as above.
unsafe impl Sync for World {}

fn with_procs(queues: Installed<Ref>) -> Installed<Ref> {
    (0..PROCS).for_each(|_| queues.add_proc());
    queues
}

impl World {
    /// Under the default policy, all Ps are held, and nobody spins.
    fn new() -> Arc<Self> {
        Self::under(&Gmp)
    }

    fn under(policy: &impl Policy) -> Arc<Self> {
        Arc::new(Self {
            queues: Succession::new(with_procs(install(policy, PROCS))),
            idle: Idle::new(PROCS, 4),
            procs: Default::default(),
            told: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
        })
    }

    fn held(&self, proc: usize) -> Held<'_> {
        Held(proc, &self.procs[proc])
    }

    /// Another policy, of one queue for all.
    fn succeed(&self) {
        let queues = with_procs(install(&GlobalFifo, PROCS));
        // SAFETY: the thread that runs the model changes and buries, nobody else.
        assert!(unsafe { self.queues.succeed(queues) }.is_ok());
    }

    fn bury(&self) -> Result<Option<Installed<Ref>>, InUse> {
        // SAFETY: as in `succeed`.
        unsafe { Dispatch::bury(self) }
    }

    /// From a thread without a P.
    fn submit(&self, task: Ref) {
        self.enqueue(None, task, Cause::Spawned.into());
    }

    fn put(&self, proc: usize, task: Ref) {
        self.enqueue(Some(self.held(proc)), task, Cause::Spawned.into());
    }

    /// What an M finds with P `proc`.
    fn find(&self, proc: usize) -> Option<Ref> {
        self.pick(self.held(proc)).or_else(|| self.steal(self.held(proc), true))
    }

    /// The M with P `proc` runs what it finds, and the P goes idle.
    fn run_all(&self, proc: usize) {
        while let Some(task) = self.find(proc) {
            task.run();
        }
        self.stand_up(self.held(proc));
    }

    /// Runs all that is left, and sees that each ran once.
    fn end_all(&self, tasks: &[Ref]) {
        self.run_all(0);
        assert!(self.bury().is_ok(), "nobody uses the old queues any more");
        self.run_all(0);
        assert!(!self.any_work(), "a goroutine is left behind");
        task::end_all(tasks);
    }
}

// SAFETY: the queues are a field, and the Ps are the world's.
unsafe impl Dispatch for World {
    type Item = Ref;
    type Held<'a> = Held<'a>;

    fn queues(&self) -> &Succession<Installed<Ref>> {
        &self.queues
    }

    fn procs(&self) -> usize {
        PROCS
    }

    fn moment(&self, _: Option<Held<'_>>) -> Moment {
        Moment::real(PROCS, 1, false)
    }

    fn notify(&self) {
        // Relaxed, both: read when all threads are joined.
        self.told.fetch_add(1, Ordering::Relaxed);
        self.woken.fetch_add(self.idle.notify().is_some().into(), Ordering::Relaxed);
    }
}

/// A thread without a P submits while the queues change and the old ones are buried.
#[test]
fn a_visitor_is_waited_for() {
    model("a_visitor_is_waited_for", 3, || {
        let world = World::new();
        let task = Ref::new();
        let visitor = {
            let world = world.clone();
            thread::spawn(move || world.submit(task))
        };
        world.succeed();
        let _ = world.bury();
        let _ = world.bury();
        visitor.join().unwrap();
        world.end_all(&[task]);
    });
}

/// A P puts before and after the change, and goes idle, while the old queues are buried.
#[test]
fn a_proc_moves_over() {
    model("a_proc_moves_over", 2, || {
        let world = World::new();
        let tasks = [Ref::new(), Ref::new()];
        let busy = {
            let world = world.clone();
            thread::spawn(move || {
                world.put(0, tasks[0]);
                world.put(0, tasks[1]);
                world.run_all(0);
            })
        };
        world.succeed();
        let _ = world.bury();
        busy.join().unwrap();
        world.end_all(&tasks);
    });
}

/// What a P takes along is in neither queue for a moment: who looked just then is told.
#[test]
fn what_is_moved_is_told_of() {
    model("what_is_moved_is_told_of", 3, || {
        let world = World::new();
        let task = Ref::new();
        world.put(0, task);
        world.succeed();
        let busy = {
            let world = world.clone();
            thread::spawn(move || world.work_at_hand(world.held(0)))
        };
        world.run_all(1);
        busy.join().unwrap();
        // Relaxed: all threads are joined.
        let told = world.told.load(Ordering::Relaxed) != 0;
        assert!(told || !world.any_work(), "it lies there beside sleepers");
        world.end_all(&[task]);
    });
}

/// A P that is busy for long does not move: what lies in its part of the old queues is found by others.
#[test]
fn who_does_not_move_is_stolen_from() {
    model("who_does_not_move_is_stolen_from", 2, || {
        let world = World::new();
        let tasks = [Ref::new(), Ref::new()];
        tasks.iter().for_each(|task| world.put(0, *task));
        let thief = {
            let world = world.clone();
            thread::spawn(move || world.run_all(1))
        };
        world.succeed();
        assert!(world.bury().is_err(), "P 0 sits there");
        thief.join().unwrap();
        assert!(!world.any_work(), "a thief looks into both queues");
        world.end_all(&tasks);
    });
}

/// A slot is used a second time while somebody who came too late still looks at its door.
#[test]
fn a_second_change_uses_the_slot_again() {
    model("a_second_change_uses_the_slot_again", 2, || {
        let world = World::new();
        let tasks = [Ref::new(), Ref::new()];
        let visitor = {
            let world = world.clone();
            thread::spawn(move || {
                world.submit(tasks[0]);
                if let Some(task) = world.find(1) {
                    world.submit(task);
                }
                world.stand_up(world.held(1));
                world.submit(tasks[1]);
            })
        };
        world.succeed();
        if world.bury().is_ok() {
            world.succeed();
        }
        visitor.join().unwrap();
        world.end_all(&tasks);
    });
}

/// A policy whose thieves take all that a victim has, and keep what they do not run at once.
#[derive(Debug)]
struct Hoard;

/// What was put without a P.
struct Hoards<H: Item>(Inject<H>);

impl Policy for Hoard {
    type Queues<H: Item> = Hoards<H>;

    fn queues<H: Item>(&self) -> Hoards<H> {
        Hoards(Inject::new())
    }
}

impl<H: Item> Queues<H> for Hoards<H> {
    type Local = Inject<H>;

    fn local(&self) -> Inject<H> {
        Inject::new()
    }

    fn put(&self, seat: Option<Seat<'_, Inject<H>>>, _: &Moment, item: H, _: Ready) {
        seat.map_or(&self.0, |seat| seat.local()).push(item, Lane::Plain);
    }

    fn pick(&self, seat: Seat<'_, Inject<H>>, _: &Moment) -> Option<(H, Slice)> {
        Some((seat.local().pop(false).or_else(|| self.0.pop(false))?, Slice::Fresh))
    }

    fn steal<'a>(
        &self,
        seat: Seat<'_, Inject<H>>,
        _: &Moment,
        mut victims: impl Iterator<Item = &'a Inject<H>>,
        _: bool,
    ) -> Option<H> {
        victims.find_map(|victim| {
            let first = victim.pop(false)?;
            while let Some(more) = victim.pop(false) {
                seat.local().push(more, Lane::Plain);
            }
            Some(first)
        })
    }

    fn evict(&self, seat: Seat<'_, Inject<H>>) -> Option<H> {
        seat.local().pop(false)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_local_empty(local: &Inject<H>) -> bool {
        local.is_empty()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn local_len(local: &Inject<H>) -> usize {
        local.len()
    }
}

/// The queues of which a thief has seen that there is nothing are leaving when it looks for such as are: it sits
/// there, and what it found there would be put there again, for ever.
#[test]
fn who_sits_in_the_queues_that_are_leaving_rescues_nobody() {
    model("who_sits_in_the_queues_that_are_leaving_rescues_nobody", 1, || {
        let world = World::under(&Hoard);
        let tasks = [Ref::new(), Ref::new()];
        let thief = {
            let world = world.clone();
            thread::spawn(move || world.run_all(1))
        };
        tasks.iter().for_each(|task| world.put(0, *task));
        world.succeed();
        thief.join().unwrap();
        world.end_all(&tasks);
    });
}

/// S5 over a change: a submitter relies on a spinner, whose last look sees the queue that is leaving, or
/// whoever changes the queues wakes somebody.
#[test]
fn the_last_look_sees_both_queues() {
    model("the_last_look_sees_both_queues", 2, || {
        let world = World::under(&GlobalFifo);
        let task = Ref::new();
        let spinning = world.idle.try_spin(PROCS).expect("both are busy");
        let spinner = {
            let world = world.clone();
            thread::spawn(move || world.idle.release(1, Some(spinning), || world.any_work()))
        };
        let submitter = {
            let world = world.clone();
            thread::spawn(move || {
                world.submit(task);
                world.notify();
            })
        };
        world.succeed();
        let _ = world.bury();
        let searched = matches!(spinner.join().unwrap(), Release::Search { .. });
        submitter.join().unwrap();
        // Relaxed: all threads are joined.
        let woken = world.woken.load(Ordering::Relaxed) != 0;
        assert!(searched || woken, "left beside sleepers");
        world.end_all(&[task]);
    });
}

/// Who finds the new queues in office finds the old ones leaving, until they are buried.
#[test]
fn what_waits_is_seen_all_the_time() {
    model("what_waits_is_seen_all_the_time", 3, || {
        let world = World::new();
        let task = Ref::new();
        world.submit(task);
        let looker = {
            let world = world.clone();
            thread::spawn(move || assert!(world.any_work(), "it lies there all the time"))
        };
        world.succeed();
        looker.join().unwrap();
        world.end_all(&[task]);
    });
}
