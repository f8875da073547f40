//! A global queue of several shards beside the last spinner: whatever shard a goroutine is put into, somebody runs it
//! (S5).
//!
//! The queues are those of the default policy, which have a shard for two Ps in a model. The protocol is that of
//! `sched_idle`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::task::{Ref, end_all};
use sched_core::idle::{Idle, Release, Spinning, Wake};
use sched_core::policy::{Cause, Gmp, GmpLocal, GmpQueues, Moment, Policy, Queues, Seat};

/// In use. A third is made later.
const PROCS: usize = 2;

/// More searches than there are goroutines to find: who sees one each time and takes none has not looked everywhere.
const SEARCHES: usize = 5;

struct World {
    idle: Idle,
    queues: GmpQueues<Ref>,
    locals: [GmpLocal<Ref>; PROCS],
}

impl World {
    /// Both Ps are held, and nobody spins. There is one shard.
    fn new() -> Arc<Self> {
        let queues = Gmp.queues();
        let locals = [queues.local(), queues.local()];
        Arc::new(Self { idle: Idle::new(PROCS, 4), queues, locals })
    }

    /// The same with a second shard, which is the home of P 1.
    fn of_two_shards() -> Arc<Self> {
        let world = Self::new();
        drop(world.queues.local());
        world
    }

    /// Evidence of the P: the thread that plays its holder passes `proc`.
    fn seat(&self, proc: usize) -> Seat<'_, GmpLocal<Ref>> {
        // SAFETY: each P of the model is played by one thread at a time; loom checks what the tasks show.
        unsafe { Seat::new(&self.locals[proc]) }
    }

    /// Makes a goroutine runnable: into the shard of this P.
    fn submit(&self, proc: usize, task: Ref) {
        self.queues.put(Some(self.seat(proc)), &moment(), task, Cause::Woken.into());
        self.obey(self.idle.notify());
    }

    /// The same from outside: into the shard whose turn it is.
    fn submit_from_outside(&self, task: Ref) {
        self.queues.put(None, &moment(), task, Cause::Woken.into());
        self.obey(self.idle.notify());
    }

    /// An M that is woken runs to its end before this returns.
    fn obey(&self, wake: Option<Wake>) {
        if let Some(wake) = wake {
            self.machine(wake.proc, Some(wake.spinning));
        }
    }

    /// The last look.
    fn any_work(&self) -> bool {
        !self.queues.is_empty()
    }

    /// An M that holds `proc`: runs what it finds, until there is nothing.
    fn machine(&self, mut proc: usize, mut spinning: Option<Spinning>) {
        for _ in 0..SEARCHES {
            while let Some((task, _)) = self.queues.pick(self.seat(proc), &moment()) {
                if let Some(spinning) = spinning.take() {
                    self.obey(self.idle.found(spinning));
                }
                task.run();
            }
            match self.idle.release(proc, spinning.take(), || self.any_work()) {
                Release::Idle => return,
                Release::Search { proc: held, spinning: evidence } => {
                    (proc, spinning) = (held, Some(evidence));
                }
            }
        }
        panic!("it sees a goroutine, and does not find it");
    }

    /// An M that spins with P 0, whose home is the first shard.
    fn spinner(world: &Arc<Self>) -> thread::JoinHandle<()> {
        let spinning = world.idle.try_spin(PROCS).expect("both are busy");
        let world = world.clone();
        thread::spawn(move || world.machine(0, Some(spinning)))
    }

    /// Everybody sleeps, but for the M that holds P 1 and never gives it up.
    fn at_rest(&self, tasks: &[Ref]) {
        assert_eq!(self.queues.len(), 0, "a goroutine is left behind");
        let census = self.idle.census();
        assert_eq!((census.spinning, census.idle_procs), (0, PROCS - 1));
        end_all(tasks);
    }
}

/// Three Ps are wanted: two shards are put into, once they are made.
fn moment() -> Moment {
    Moment::real(PROCS + 1, 1, false)
}

/// The last spinner is at home in the other shard.
#[test]
fn the_last_spinner_sees_what_lies_in_another_shard() {
    model("the_last_spinner_sees_what_lies_in_another_shard", 4, || {
        let world = World::of_two_shards();
        let task = Ref::new();
        let spinner = World::spinner(&world);
        world.submit(1, task);
        spinner.join().unwrap();
        world.at_rest(&[task]);
    });
}

/// The last spinner is at home there.
#[test]
fn the_last_spinner_sees_what_lies_in_the_first_shard() {
    model("the_last_spinner_sees_what_lies_in_the_first_shard", 4, || {
        let world = World::of_two_shards();
        let task = Ref::new();
        let spinner = World::spinner(&world);
        world.submit_from_outside(task);
        spinner.join().unwrap();
        world.at_rest(&[task]);
    });
}

/// Two submitters, one of each shard: what the spinner finds in one hides nothing in the other.
#[test]
fn two_submitters_of_two_shards_and_a_spinner() {
    model("two_submitters_of_two_shards_and_a_spinner", 2, || {
        let world = World::of_two_shards();
        let tasks = [Ref::new(), Ref::new()];
        let spinner = World::spinner(&world);
        let outside = {
            let (world, task) = (world.clone(), tasks[0]);
            thread::spawn(move || world.submit_from_outside(task))
        };
        world.submit(1, tasks[1]);
        spinner.join().unwrap();
        outside.join().unwrap();
        world.at_rest(&tasks);
    });
}

/// The number of Ps grows: the shard is made beside the spinner that must not miss it.
#[test]
fn the_last_spinner_sees_a_shard_that_has_just_been_made() {
    model("the_last_spinner_sees_a_shard_that_has_just_been_made", 4, || {
        let world = World::new();
        let task = Ref::new();
        let spinner = World::spinner(&world);
        drop(world.queues.local());
        world.submit(1, task);
        spinner.join().unwrap();
        world.at_rest(&[task]);
    });
}
