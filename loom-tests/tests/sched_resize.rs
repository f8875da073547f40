//! GOMAXPROCS shrinks while a thief is at the P that goes: each goroutine runs once, and none is left beside
//! sleepers (S2, S5, S6).
//!
//! The queues are those of the default policy, and the P goes by the steps of `Shared::evict` and
//! `handoff::hand_over`: it empties its part into the shared one, leaves through the idle lists, and notifies on
//! behalf of what it left.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::task::{Ref, end_all};
use sched_core::idle::{Idle, Release, Spinning, Wake};
use sched_core::policy::{Cause, Gmp, GmpLocal, GmpQueues, Moment, Policy, Queues, Seat};

const PROCS: usize = 2;

struct World {
    idle: Idle,
    queues: GmpQueues<Ref>,
    locals: [GmpLocal<Ref>; PROCS],
}

impl World {
    /// Both Ps are held, and nobody spins.
    fn new() -> Arc<Self> {
        let queues = Gmp.queues();
        let locals = [queues.local(), queues.local()];
        Arc::new(Self { idle: Idle::new(PROCS, 4), queues, locals })
    }

    /// Evidence of the P: the thread that plays its holder passes `proc`.
    fn seat(&self, proc: usize) -> Seat<'_, GmpLocal<Ref>> {
        // SAFETY: each P of the model is played by one thread at a time; loom checks what the tasks show.
        unsafe { Seat::new(&self.locals[proc]) }
    }

    fn put(&self, proc: Option<usize>, task: Ref, cause: Cause) {
        let seat = proc.map(|proc| self.seat(proc));
        self.queues.put(seat, &moment(), task, cause.into());
    }

    fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.locals.iter().all(GmpQueues::<Ref>::is_local_empty)
    }

    /// The holder of `proc`: runs what it finds, and steals, until there is nothing and the P is idle or gone.
    fn machine(&self, mut proc: usize, mut spinning: Option<Spinning>) {
        loop {
            while let Some(task) = self.next(proc) {
                if let Some(spinning) = spinning.take() {
                    self.obey(self.idle.found(spinning));
                }
                task.run();
            }
            match self.idle.release(proc, spinning.take(), || !self.is_empty()) {
                Release::Idle => return,
                Release::Search { proc: held, spinning: evidence } => {
                    (proc, spinning) = (held, Some(evidence));
                }
            }
        }
    }

    fn next(&self, proc: usize) -> Option<Ref> {
        let mine = self.queues.pick(self.seat(proc), &moment()).map(|(task, _)| task);
        let victims = self.locals.iter().enumerate().filter(|(index, _)| *index != proc);
        mine.or_else(|| {
            self.queues.steal(self.seat(proc), &moment(), victims.map(|(_, local)| local), true)
        })
    }

    /// The holder of `proc` gives it up, as there are Ps too many.
    fn give_up(&self, proc: usize) {
        while let Some(task) = self.queues.evict(self.seat(proc)) {
            self.put(None, task, Cause::Moved);
        }
        if let Release::Search { proc, spinning } = self.idle.release(proc, None, || false) {
            self.machine(proc, Some(spinning));
        }
        self.obey(self.idle.notify());
    }

    fn obey(&self, wake: Option<Wake>) {
        if let Some(wake) = wake {
            self.machine(wake.proc, Some(wake.spinning));
        }
    }

    /// Nobody works: one P is idle, and the other retired.
    fn at_rest(&self, tasks: &[Ref]) {
        assert!(self.is_empty(), "a goroutine is left behind");
        let census = self.idle.census();
        assert_eq!((census.spinning, census.idle_procs), (0, PROCS - 1));
        end_all(tasks);
    }
}

fn moment() -> Moment {
    Moment::real(PROCS, 1, false)
}

/// The P that goes has one in runnext and one in its ring; a thief takes what it can.
#[test]
fn a_proc_is_emptied_beside_a_thief() {
    model("a_proc_is_emptied_beside_a_thief", 2, || {
        let world = World::new();
        let tasks = [Ref::new(), Ref::new()];
        tasks.iter().for_each(|task| world.put(Some(1), *task, Cause::Spawned));
        world.idle.retire_procs(1);
        let thief = {
            let world = world.clone();
            let spinning = world.idle.try_spin(PROCS);
            thread::spawn(move || world.machine(0, spinning))
        };
        world.give_up(1);
        thief.join().unwrap();
        world.at_rest(&tasks);
    });
}

/// The number falls while the P that is to go still puts: whichever P is released first is retired.
#[test]
fn the_number_falls_while_a_proc_is_busy() {
    model("the_number_falls_while_a_proc_is_busy", 2, || {
        let world = World::new();
        let tasks = [Ref::new(), Ref::new()];
        let thief = {
            let world = world.clone();
            thread::spawn(move || world.machine(0, None))
        };
        world.put(Some(1), tasks[0], Cause::Spawned);
        world.obey(world.idle.notify());
        world.idle.retire_procs(1);
        world.put(Some(1), tasks[1], Cause::Yielded);
        match world.idle.surplus() {
            0 => world.machine(1, None),
            _ => world.give_up(1),
        }
        thief.join().unwrap();
        world.at_rest(&tasks);
    });
}
