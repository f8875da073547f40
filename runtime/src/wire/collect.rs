//! Who collects: goroutines of whichever runtime is at hand.
//!
//! # Problem
//!
//! The collected heap is the process's, and runtimes come and go. Its cycles wait (for guards, for
//! other workers), its work should take a quarter of the machine, and the destructors of dead objects
//! are user code, which may block.
//!
//! # How
//!
//! Nobody stands by. A mutator that finds the heap at its trigger starts the *driver*, a goroutine
//! that runs the cycle, sweeps what allocation leaves, and ends. A driver that has work to share
//! starts *helpers*, one for each four Ps beyond the first four. What sweep finds doomed is served by
//! a goroutine of its own. All are *servants* ([`Scheduler::spawn_servant`]): they do not wait for a
//! slice to end, and a runtime that shuts down lets them in as long as goroutines live that they
//! serve, and waits for them. There is one driver and one destructor at a time ([`post`](crate::post)).
//!
//! A servant may be refused, for want of a stack or of memory. Then the request is
//! [declined](gc_core::Heap::decline), and the next mutator that finds the heap at its trigger starts a driver, or
//! whoever asks for a cycle. Destructors for which none could be started are run by the driver when it is done.
//!
//! What a worker may take, when it rests, and how a driver waits for guards: [`share`].
//! Ps with nothing to run mark as well: [`idle`].
//!
//! # Without a runtime
//!
//! Threads may use the heap while there is no runtime. Then nobody collects unless
//! [`gc::collect`](crate::gc::collect) is called, which drives the cycle where it is called. A
//! request is kept for the runtime that comes next.

mod idle;
mod share;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use gc_core::HeapError;
use gc_core::cycle::Pause;
use gc_core::mark::Helpers;
use gc_core::world::Nesting;
use sched_core::monitor::{Holder, Load};
use sched_core::{Goroutine, Scheduler};

pub(crate) use self::share::Share;
use self::share::workers;
use crate::current;
use crate::gc::{self, Heap};
use crate::post::{Post, Resting};

/// Spans that are swept between two pauses.
const LOT: usize = 16;

/// How long a driver without memory waits before it asks again.
const SCARCE: Duration = Duration::from_millis(1);

/// The runtimes of the process, and which servants of theirs are at work.
#[derive(Debug)]
pub(crate) struct Collectors {
    homes: Mutex<Vec<Scheduler>>,
    driver: Post,
    resting: Resting,
    destructor: Post,
    helpers: Helpers,
    idle: Helpers,
}

impl Collectors {
    pub(crate) const fn new() -> Self {
        Collectors {
            homes: Mutex::new(Vec::new()),
            driver: Post::new(),
            resting: Resting::new(),
            destructor: Post::new(),
            helpers: Helpers::new(),
            idle: Helpers::new(),
        }
    }

    fn homes(&self) -> MutexGuard<'_, Vec<Scheduler>> {
        // Handles are whole between any two statements; poison carries no news.
        self.homes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Room for one runtime to [join](Self::join). One is made at a time ([`Limit`](crate::wire::Limit)), so nobody
    /// else takes it.
    pub(crate) fn make_room(&self) -> Result<(), HeapError> {
        self.homes().try_reserve(1).map_err(|_| HeapError::Memory)
    }

    /// Servants may run on `scheduler` from now on. There is [room](Self::make_room).
    pub(crate) fn join(&self, scheduler: &Scheduler) {
        self.homes().push(scheduler.clone());
        if current::HEAP.get().is_some_and(Heap::is_requested) {
            self.request();
        }
    }

    /// No goroutine of `scheduler` is left.
    pub(crate) fn leave(&self, scheduler: &Scheduler) {
        let mut homes = self.homes();
        let left = homes.iter().position(|home| home.same(scheduler));
        let left = left.map(|place| homes.swap_remove(place));
        drop(homes);
        drop(left);
    }

    /// A cycle is asked for.
    pub(crate) fn request(&self) {
        if !self.man(&self.driver, drive) {
            gc::heap().decline();
        }
        self.resting.wake();
    }

    /// There is marking to share.
    pub(crate) fn share(&self) {
        let most = workers(procs()) - 1;
        if self.helpers.come(most) && !start(&self.homes(), help) {
            self.helpers.go();
        }
    }

    /// A P of `home` marks if it has nothing else to do and there is something to mark.
    fn use_idle(&self, home: &Scheduler, load: Load) {
        let most = load.procs.saturating_sub(workers(load.procs));
        if load.runnable == 0
            && load.idle_procs != 0
            && gc::heap().is_work_ready()
            && self.idle.come(most)
            && home.spawn_servant(mark_idle).is_err()
        {
            self.idle.go();
        }
    }

    /// There may be destructors to run. If nobody can be started for them, the driver looks again when it is done.
    fn bury(&self) {
        if gc::heap().usage().doomed != 0 {
            self.man(&self.destructor, destruct);
        }
    }

    /// Sees to it that the post is taken; false if nobody can be started.
    fn man(&self, post: &Post, life: fn()) -> bool {
        // Held meanwhile: one at a time, and a runtime that joins is among the homes, or finds the post as it is after
        // this.
        let homes = self.homes();
        post.man(|| start(&homes, life))
    }

    /// The goroutines of all runtimes that hold guards.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.homes().iter().flat_map(|home| home.monitor().holders()).collect()
    }

    /// Goroutines run first whose guards are waited for.
    fn hurry(&self, hurry: Hurry) {
        let below = hurry.below();
        self.homes().iter().for_each(|home| home.hurry_holders(below));
    }
}

/// Starts a servant, at the caller's own runtime if it has one, else at one of `homes`.
fn start(homes: &[Scheduler], life: fn()) -> bool {
    let own = sched_core::current();
    own.iter().chain(homes).any(|home| home.spawn_servant(life).is_ok())
}

/// Whether it is a goroutine of the collector's: all those are started here.
pub(crate) fn is_servant(goroutine: &Goroutine) -> bool {
    goroutine.origin.file() == file!()
}

/// Whose guards are waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hurry {
    No,
    /// Those from before the handshake under way.
    Handshake,
    All,
}

impl Hurry {
    /// Words of guards that are waited for are below it.
    fn below(self) -> u64 {
        match self {
            Hurry::No => 0,
            // A guard's word begins with its epoch.
            Hurry::Handshake => {
                gc::heap().waiting().map_or(u64::MAX, |waiting| Nesting::after(waiting.epoch))
            }
            Hurry::All => u64::MAX,
        }
    }
}

/// The driver's life.
fn drive() {
    let (heap, posts) = (gc::heap(), &current::COLLECTORS);
    let ended = posts.driver.hold(|| heap.is_requested(), || collect(heap));
    // For which nobody could be started.
    if ended && heap.usage().doomed != 0 && posts.destructor.take() {
        destruct();
    }
}

/// One cycle, with its sweep. False if a driver has panicked, which has said so: nobody can go on.
fn collect(heap: &Heap) -> bool {
    let mut share = Share::begin();
    let outcome = heap.cycle(|pause| share.pause(pause));
    if outcome.is_ok() {
        sweep(heap, &mut share);
    }
    drop(share);
    current::COLLECTORS.bury();
    if outcome == Err(HeapError::Memory) {
        // For the P's part in the heap. Who has some may give it back.
        crate::sleep(SCARCE);
    }
    outcome != Err(HeapError::Broken)
}

/// Sweeps what allocation leaves. All of it: what is found doomed does not wait for the guards that
/// the next cycle waits for.
fn sweep(heap: &Heap, share: &mut Share) {
    share.leave_sweep(|until| {
        current::COLLECTORS.resting.rest(until, || !heap.is_requested());
        !heap.is_requested()
    });
    while !heap.sweep(LOT) {
        share.pause(Pause::Slice);
    }
}

/// A helper's life.
fn help() {
    let mut share = Share::begin();
    gc::heap().help(|pause| share.pause(pause));
    current::COLLECTORS.helpers.go();
}

/// The life of an idle marker.
fn mark_idle() {
    if let Some(home) = sched_core::current() {
        idle::mark(&home);
    }
    current::COLLECTORS.idle.go();
}

/// The life of the one who runs destructors.
fn destruct() {
    let heap = gc::heap();
    let serve = || {
        heap.run_destructors(usize::MAX);
        true
    };
    current::COLLECTORS.destructor.hold(|| heap.usage().doomed != 0, serve);
}

/// The Ps of the runtime that the caller is a goroutine of.
fn procs() -> usize {
    sched_core::current().map_or(1, |scheduler| scheduler.procs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chan;

    /// The heap is the process's: tests of its cycles take turns.
    pub(super) fn alone() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A goroutine that holds a guard until the sender is gone.
    fn holder() -> (crate::JoinHandle<()>, chan::Sender<()>) {
        let (enters, entered) = chan::rendezvous();
        let (end, ends) = chan::rendezvous::<()>();
        let holder = crate::go(move || {
            let _guard = gc::enter();
            enters.send(()).expect("the test waits");
            let _ = ends.recv();
        });
        entered.recv().expect("the holder enters");
        (holder, end)
    }

    #[test]
    fn only_holders_from_before_the_handshake_are_hurried() {
        let _alone = alone();
        let rt = crate::Runtime::builder().procs(2).build().expect("threads and stacks");
        rt.run(|| {
            let (older, end_older) = holder();
            gc::heap().request();
            while gc::heap().waiting().is_none() {
                crate::yield_now();
            }
            let (newer, end_newer) = holder();
            let hurried = |goroutine: &crate::JoinHandle<()>| {
                let holders = current::COLLECTORS.holders();
                let holder = holders.iter().find(|holder| holder.goroutine.id == goroutine.id());
                holder.expect("it holds a guard").holds < Hurry::Handshake.below()
            };
            assert!(hurried(&older) && !hurried(&newer));
            drop((end_older, end_newer));
            for holder in [older, newer] {
                holder.join().expect("no panic");
            }
        });
    }
}
