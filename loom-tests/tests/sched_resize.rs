//! GOMAXPROCS shrinks while a thief is at the P that goes: each goroutine runs once, and none is left beside
//! sleepers (S2, S5, S6).
//!
//! The queues are those of the default policy, and the P goes by `vacate`'s ways: its part is emptied into the
//! shared one, it leaves through the idle lists, and what it left is submitted anew.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::task::{Ref, end_all};
use sched_core::idle::{Host, Idle, Spinning};
use sched_core::orders::Order;
use sched_core::policy::{Cause, Gmp, GmpLocal, GmpQueues, Moment, Policy, Queues, Seat};
use sched_core::vacate::{self, Crew};

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
                if let Some(wake) = spinning.take().and_then(|spinning| self.idle.found(spinning)) {
                    self.machine(wake.proc, Some(wake.spinning));
                }
                task.run();
            }
            let Some(order) = vacate::retire(self, proc, spinning.take(), || ()) else { return };
            (proc, spinning) = (order.proc, order.spinning);
        }
    }

    fn next(&self, proc: usize) -> Option<Ref> {
        let mine = self.queues.pick(self.seat(proc), &moment()).map(|(task, _)| task);
        let victims = self.locals.iter().enumerate().filter(|(index, _)| *index != proc);
        mine.or_else(|| {
            self.queues.steal(self.seat(proc), &moment(), victims.map(|(_, local)| local), true)
        })
    }

    /// The M that holds `proc` gives it up, as there are Ps too many.
    fn shed(&self, proc: usize) {
        if let Some(order) = vacate::shed(self, proc, None, || ()) {
            self.machine(order.proc, order.spinning);
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

/// A P is in the hands of the thread that names it, and an order is carried out by whoever gives it.
impl Crew for World {
    type Held<'a> = usize;

    fn idle(&self) -> &Idle {
        &self.idle
    }

    fn index(&self, proc: usize) -> usize {
        proc
    }

    fn work_at_hand(&self, proc: usize) -> bool {
        !GmpQueues::<Ref>::is_local_empty(&self.locals[proc]) || !self.queues.is_empty()
    }

    fn any_work(&self) -> bool {
        !self.is_empty()
    }

    fn evict(&self, proc: usize) {
        while let Some(task) = self.queues.evict(self.seat(proc)) {
            self.put(None, task, Cause::Moved);
        }
    }

    fn stand_down(&self, _: usize) {}

    fn host(&self, _: Host, order: Order) {
        self.machine(order.proc, order.spinning);
    }
}

fn moment() -> Moment {
    Moment::real(PROCS, 1, false)
}

/// The P that goes has one in runnext and one in its ring; a thief takes what it can. One that spins looks once more
/// when it has found nothing, another does not.
fn emptied_beside_a_thief(spins: bool, give_up: fn(&World)) {
    let world = World::new();
    let tasks = [Ref::new(), Ref::new()];
    tasks.iter().for_each(|task| world.put(Some(1), *task, Cause::Spawned));
    world.idle.retire_procs(1);
    let thief = {
        let world = world.clone();
        let spinning = if spins { world.idle.try_spin(PROCS) } else { None };
        thread::spawn(move || world.machine(0, spinning))
    };
    give_up(&world);
    thief.join().unwrap();
    world.at_rest(&tasks);
}

#[test]
fn a_proc_is_emptied_beside_a_thief() {
    model("a_proc_is_emptied_beside_a_thief", 2, || {
        emptied_beside_a_thief(true, |world| world.shed(1));
    });
}

#[test]
fn a_proc_is_emptied_beside_one_that_does_not_spin() {
    model("a_proc_is_emptied_beside_one_that_does_not_spin", 2, || {
        emptied_beside_a_thief(false, |world| world.shed(1));
    });
}

#[test]
fn a_proc_that_was_taken_is_emptied() {
    model("a_proc_that_was_taken_is_emptied", 2, || {
        emptied_beside_a_thief(false, |world| vacate::hand_over(world, 1));
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
        world.notify();
        world.idle.retire_procs(1);
        world.put(Some(1), tasks[1], Cause::Yielded);
        match world.idle.surplus() {
            0 => world.machine(1, None),
            _ => world.shed(1),
        }
        thief.join().unwrap();
        world.at_rest(&tasks);
    });
}
