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
//! that runs the cycle, sweeps, and ends. A driver that has work to share starts *helpers*, one for
//! each four Ps beyond the first four. What sweep finds doomed is served by a goroutine of its own.
//! All are *servants* ([`Scheduler::spawn_servant`]): they do not wait for a slice to end, and a
//! runtime that shuts down lets them in as long as goroutines live that they serve, and waits for
//! them. There is one driver and one destructor at a time; each looks once more after it has said
//! that it is gone, so that no request falls between.
//!
//! # The share
//!
//! With *P* Ps there are *w* = ⌈P/4⌉ workers, each entitled to *P / 4w* of a P: Go's 25 %, of which
//! Go gives the odd part to fractional workers. A worker marks in slices of some ten microseconds. When it
//! has run for [`STRETCH`] and goroutines wait for a P, it sleeps for as long as makes its share true.
//! The timer thread wakes it without regard to slices, so a machine full of computing goroutines
//! does not hold it up; nor does it hold them up by more than a stretch. If its slice ends while it works, it
//! stands with those that were woken ([`self_paced`](sched_core::self_paced)): behind all others, it would
//! leave a whole cycle standing there. Once the heap has outrun its goal the workers do not rest.
//!
//! # Who pays, and who rests
//!
//! Goroutines that allocate pay for marking and for sweep, in pieces of at most some fifty microseconds; a
//! worker on their P holds them up for a stretch. So as long as what they have to pay brings the cycle on at
//! a speed worth [the name](ENOUGH), the worker rests on. It looks after each rest, and goes back to work when
//! they allocate little, since else a cycle would last for ever, and when marking [lags](Progress::lag), since
//! then there is nothing that they could get hold of: a beginning, an end, or what only the driver can do.
//!
//! # Idle Ps
//!
//! A P with nothing to run costs nobody anything if it marks. So once a stretch, a worker looks whether
//! grey objects lie ready, a P is idle and nothing waits to run; if so it starts an *idle marker* there,
//! a servant as well, and each of those that finds work starts the next, up to all Ps but the workers'. It
//! marks slice by slice, each a loan from the crew as an assist's, and between two slices, some 20 µs, looks
//! for anything that waits to run; then it ends, and its P finds that. It also ends when nothing has lain
//! ready for [`LULL`]. So a goroutine that becomes ready waits for a slice at most, no idle P spins for
//! longer than a lull, and cycles shorter than a stretch wake nobody. What idle markers mark is paid for by
//! nobody, and their time is no part of the share: [`Stats::idle`](gc_core::stats::Stats::idle).
//!
//! # Waiting for a handshake
//!
//! A few looks at once; then the driver parks between them, longer from time to time, and has
//! goroutines that hold guards run before all others ([`Scheduler::hurry_holders`]). Such a goroutine
//! gives its P on as soon as it has left its guard ([`released`](super::world)).
//!
//! # Without a runtime
//!
//! Threads may use the heap while there is no runtime. Then nobody collects unless
//! [`gc::collect`](crate::gc::collect) is called, which drives the cycle where it is called. A
//! request is kept for the runtime that comes next.

use std::hint;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use gc_core::HeapError;
use gc_core::cycle::Pause;
use gc_core::mark::Helpers;
use gc_core::pacer::Progress;
use gc_core::world::Nesting;
use sched_core::monitor::{Holder, Load};
use sched_core::{Goroutine, Scheduler, SelfPaced};

use crate::gc::{self, Heap};
use crate::{current, time};

/// How long a worker works while others wait. Each stretch holds one operation of somebody's up: shorter
/// ones are felt by more, longer ones for longer.
const STRETCH: Duration = Duration::from_micros(400);

/// How often as long as its share asks for a worker rests at a time, if mutators bring the cycle on.
const RESTS: [u32; 3] = [1, 2, 4];

/// That is, if they do at least this part of what the worker would do.
const ENOUGH: u64 = 8;

/// How long an idle marker waits for grey objects before it ends: until a worker has marked a slice and
/// shared what came of it.
const LULL: Duration = Duration::from_micros(50);

/// How often one looks at once for what is probably about to happen.
const PATIENCE: u32 = 4;

/// The first sleep of one who waits; it doubles every four looks, four times: a cycle that is late
/// by a millisecond costs megabytes, and a look costs microseconds.
const NAP: Duration = Duration::from_micros(50);

/// The runtimes of the process, and which servants of theirs are at work.
#[derive(Debug)]
pub(crate) struct Collectors {
    homes: Mutex<Vec<Scheduler>>,
    driver: Post,
    destructor: Post,
    helpers: Helpers,
    idle: Helpers,
}

impl Collectors {
    pub(crate) const fn new() -> Self {
        Collectors {
            homes: Mutex::new(Vec::new()),
            driver: Post::new(),
            destructor: Post::new(),
            helpers: Helpers::new(),
            idle: Helpers::new(),
        }
    }

    fn homes(&self) -> MutexGuard<'_, Vec<Scheduler>> {
        // Handles are whole between any two statements; poison carries no news.
        self.homes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Servants may run on `scheduler` from now on.
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
        self.man(&self.driver, drive);
    }

    /// There is marking to share.
    pub(crate) fn share(&self) {
        let most = workers(procs()) - 1;
        if self.helpers.come(most) && !self.serve(help) {
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

    /// There may be destructors to run.
    fn bury(&self) {
        if gc::heap().usage().doomed != 0 {
            self.man(&self.destructor, destruct);
        }
    }

    fn man(&self, post: &Post, life: fn()) {
        if post.take() && !self.serve(life) {
            post.leave();
        }
    }

    /// Starts a servant, at the caller's own runtime if it has one.
    fn serve(&self, life: fn()) -> bool {
        let starts = |scheduler: &Scheduler| scheduler.spawn_servant(life).is_ok();
        sched_core::current().as_ref().is_some_and(starts) || self.homes().iter().any(starts)
    }

    /// The goroutines of all runtimes that hold guards.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        self.homes().iter().flat_map(|home| home.monitor().holders()).collect()
    }

    /// Goroutines run first whose guards are waited for.
    fn hurry(&self, hurry: Hurry) {
        let below = match hurry {
            Hurry::No => 0,
            // A guard's word begins with its epoch.
            Hurry::Handshake => {
                gc::heap().waiting().map_or(u64::MAX, |waiting| Nesting::after(waiting.epoch))
            }
            Hurry::All => u64::MAX,
        };
        self.homes().iter().for_each(|home| home.hurry_holders(below));
    }
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

/// A place for one servant at a time.
#[derive(Debug)]
struct Post(AtomicBool);

impl Post {
    const fn new() -> Self {
        Post(AtomicBool::new(false))
    }

    /// True if it was free.
    fn take(&self) -> bool {
        // SeqCst: whoever has asked for something and finds the post taken relies on its holder's
        // last look, which comes after `leave`.
        !self.0.swap(true, Ordering::SeqCst)
    }

    fn leave(&self) {
        // SeqCst: a read-modify-write, so that the look that follows comes after it; partner of `take`.
        self.0.swap(false, Ordering::SeqCst);
    }
}

/// The driver's life.
fn drive() {
    let (heap, posts) = (gc::heap(), &current::COLLECTORS);
    loop {
        while heap.is_requested() {
            let mut share = Share::begin();
            let outcome = heap.collect_with(|pause| share.pause(pause));
            drop(share);
            posts.bury();
            if outcome == Err(HeapError::Broken) {
                // A driver has panicked, and said so. Nobody can go on, and this post stays taken.
                return;
            }
        }
        posts.driver.leave();
        if !heap.is_requested() || !posts.driver.take() {
            return;
        }
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
        mark_while_idle(&home);
    }
    current::COLLECTORS.idle.go();
}

fn mark_while_idle(home: &Scheduler) {
    let (heap, monitor) = (gc::heap(), home.monitor());
    let (mut last, mut followed) = (Instant::now(), false);
    loop {
        let load = monitor.load();
        if load.runnable != 0 {
            return;
        }
        if heap.is_work_ready() && heap.mark_idle() {
            last = Instant::now();
            if !followed {
                followed = true;
                current::COLLECTORS.use_idle(home, load);
            }
        } else if last.elapsed() < LULL {
            spin();
        } else {
            return;
        }
    }
}

/// The life of the one who runs destructors.
fn destruct() {
    let (heap, posts) = (gc::heap(), &current::COLLECTORS);
    loop {
        heap.run_destructors(usize::MAX);
        posts.destructor.leave();
        if heap.usage().doomed == 0 || !posts.destructor.take() {
            return;
        }
    }
}

/// The Ps of the runtime that the caller is a goroutine of.
fn procs() -> usize {
    sched_core::current().map_or(1, |scheduler| scheduler.procs())
}

/// How many may mark at once.
fn workers(procs: usize) -> usize {
    procs.div_ceil(4).max(1)
}

/// How long one of the workers rests after a stretch.
fn rest(procs: usize) -> Duration {
    let (procs, entitled) = (procs as u32, 4 * workers(procs) as u32);
    STRETCH * (entitled - procs) / procs
}

/// One worker's way to wait and to rest.
#[derive(Debug)]
pub(crate) struct Share {
    /// The runtime that the worker is a goroutine of; `None` on a plain thread, which need not rest.
    home: Option<Scheduler>,
    begun: Instant,
    /// How far the cycle was then.
    stage: Stage,
    hurrying: bool,
    _pace: SelfPaced,
}

impl Share {
    /// The caller begins to work.
    pub(crate) fn begin() -> Self {
        let (home, begun) = (sched_core::current(), Instant::now());
        Share { home, begun, stage: Stage::now(), hurrying: false, _pace: sched_core::self_paced() }
    }

    /// Waits or rests, as the pause asks.
    pub(crate) fn pause(&mut self, pause: Pause) {
        match pause {
            Pause::Slice => {
                self.hurry(Hurry::No);
                return self.slice();
            }
            Pause::Handshake(asked) => {
                if asked >= PATIENCE {
                    self.hurry(Hurry::Handshake);
                }
                return nap(asked);
            }
            // A mutator that assists may have been preempted. It holds a guard.
            Pause::Starved(asked) => {
                self.hurry(if asked >= PATIENCE { Hurry::All } else { Hurry::No });
                return nap(asked);
            }
            // Whoever is in the middle of an operation has a P and runs, or soon does.
            Pause::Busy(asked) | Pause::Operation(asked) => nap(asked),
        }
        self.hurry(Hurry::No);
    }

    fn slice(&mut self) {
        let Some(home) = &self.home else { return };
        if self.begun.elapsed() < STRETCH {
            return;
        }
        let load = home.monitor().load();
        if load.runnable != 0 && load.idle_procs == 0 && !gc::heap().is_outrun() {
            self.rest(load.procs);
        } else {
            current::COLLECTORS.use_idle(home, load);
        }
        self.stage = Stage::now();
        self.begun = Instant::now();
    }

    /// Rests for as long as makes the share true; and on for as long as mutators bring the cycle on, since they
    /// pay as they allocate.
    fn rest(&self, procs: usize) {
        let own = self.stage.done_until(Stage::now());
        for rests in RESTS.into_iter().chain(iter::repeat(RESTS[2])) {
            let before = Stage::now();
            time::sleep((rest(procs) * rests).max(NAP));
            if !before.goes_on(Stage::now(), own, rests) || gc::heap().is_outrun() {
                return;
            }
        }
    }

    fn hurry(&mut self, hurry: Hurry) {
        // Again at each wait: a holder may have been queued since.
        if hurry != Hurry::No || self.hurrying {
            current::COLLECTORS.hurry(hurry);
            self.hurrying = hurry != Hurry::No;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hurry(Hurry::No);
    }
}

/// How far a cycle is.
#[derive(Clone, Copy, Debug)]
struct Stage {
    marking: Progress,
    /// Spans; none waits before marking has ended.
    unswept: usize,
}

impl Stage {
    fn now() -> Self {
        let heap = gc::heap();
        Stage { marking: heap.progress(), unswept: heap.space().unswept() }
    }

    /// What was done meanwhile: bytes marked, or spans swept.
    fn done_until(self, now: Stage) -> u64 {
        match self.unswept {
            0 => now.marking.marked.saturating_sub(self.marking.marked),
            unswept => unswept.saturating_sub(now.unswept) as u64,
        }
    }

    /// Whether mutators have brought the cycle on while the worker, who does `own` in a stretch, has had so
    /// many rests. Of marking it counts what they had to pay for: that they pay, the lag says.
    fn goes_on(self, now: Stage, own: u64, rests: u32) -> bool {
        let done = match self.unswept {
            0 => now.marking.due.saturating_sub(self.marking.due),
            _ => self.done_until(now),
        };
        done > own * u64::from(rests) / ENOUGH && now.marking.lag() <= own
    }
}

/// Waits for what one has asked for so often.
fn nap(asked: u32) {
    match asked.checked_sub(PATIENCE) {
        None => spin(),
        Some(more) => time::sleep(NAP * (1 << (more / 4).min(4))),
    }
}

/// A microsecond or a few.
fn spin() {
    (0..100).for_each(|_| hint::spin_loop());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workers_share_is_a_quarter() {
        for procs in 1..=64 {
            let on = STRETCH.as_secs_f64();
            let each = on / (on + rest(procs).as_secs_f64());
            let share = each * workers(procs) as f64 / procs as f64;
            assert!((share - 0.25).abs() < 0.001, "{procs} Ps: {share}");
        }
    }

    #[test]
    fn a_post_has_one_holder() {
        let post = Post::new();
        assert!(post.take() && !post.take());
        post.leave();
        assert!(post.take());
    }
}
