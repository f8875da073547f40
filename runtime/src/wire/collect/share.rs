//! How much of the machine a worker takes, when it rests, and how it waits.
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
//! Goroutines that allocate pay for sweep, mostly a few spans at a time, and for marking, in turns that end some
//! objects after 25 µs ([`Guard::try_alloc`](gc_core::Guard::try_alloc)); a worker on their P holds them up for
//! a stretch. So as long as what they have to pay brings the cycle on at a speed worth [the name](ENOUGH), the
//! worker rests on. It looks after each rest, and goes back to work when they allocate little, since else a
//! cycle would last for ever, and when marking [lags](Progress::lag), since then there is nothing that they could
//! get hold of: a beginning, an end, or what only the driver can do.
//!
//! Who allocates takes spans that wait for their sweep. Whoever sweeps beside him takes them away,
//! through the locks of the class and of the page heap, and he asks the page heap for fresh ones. So
//! a driver with a P to itself leaves sweep to allocation at first
//! ([`leave_sweep`](Share::leave_sweep)), and a small heap never needs it for that. A driver that
//! stands on somebody's P sweeps at once, and is gone.
//!
//! # Waiting for a handshake
//!
//! A few looks at once, and some more if nobody wants the P; then the driver parks between them,
//! longer from time to time, and has goroutines that hold guards run before all others
//! ([`Scheduler::hurry_holders`]). Such a goroutine gives its P on as soon as it has left its guard
//! ([`released`](crate::wire::world)).

use std::hint;
use std::iter;
use std::time::{Duration, Instant};

use gc_core::cycle::Pause;
use gc_core::pacer::Progress;
use sched_core::{Scheduler, SelfPaced};

use super::Hurry;
use crate::{current, gc, time};

/// How long a worker works while others wait. Each stretch holds one operation of somebody's up: shorter
/// ones are felt by more, longer ones for longer.
const STRETCH: Duration = Duration::from_micros(400);

/// How often as long as its share asks for a worker rests at a time, if mutators bring the cycle on.
const RESTS: [u32; 3] = [1, 2, 4];

/// That is, if they do at least this part of what the worker would do.
const ENOUGH: u64 = 8;

/// How long a driver with a P to itself leaves sweep to them at a time; then they must have done that
/// part of it.
const LEAVE: Duration = Duration::from_millis(1);

/// How often one looks at once for what is probably about to happen.
const PATIENCE: u32 = 4;

/// How often if nobody else wants the P: for some 30 µs, as long as a guard often lasts, and no
/// longer than it takes to fall asleep and be woken.
const LOOKS: u32 = 16;

/// The first sleep of one who waits; it doubles every four looks, four times: a cycle that is late
/// by a millisecond costs megabytes, and a look costs microseconds.
const NAP: Duration = Duration::from_micros(50);

/// How many may mark at once.
pub(super) fn workers(procs: usize) -> usize {
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
    /// How often it looked at once in the wait under way, before it slept.
    looks: u32,
    hurrying: bool,
    _pace: SelfPaced,
}

impl Share {
    /// The caller begins to work.
    pub(crate) fn begin() -> Self {
        let (home, begun) = (sched_core::current(), Instant::now());
        Share {
            home,
            begun,
            stage: Stage::now(),
            looks: 0,
            hurrying: false,
            _pace: sched_core::self_paced(),
        }
    }

    /// Waits or rests, as the pause asks.
    pub(crate) fn pause(&mut self, pause: Pause) {
        match pause {
            Pause::Slice => {
                self.hurry(Hurry::No);
                self.slice();
            }
            Pause::Handshake(asked) => self.wait(asked, Hurry::Handshake),
            // A mutator that assists may have been preempted. It holds a guard.
            Pause::Starved(asked) => self.wait(asked, Hurry::All),
            // Whoever is in the middle of an operation has a P and runs, or soon does.
            Pause::Busy(asked) | Pause::Operation(asked) => self.wait(asked, Hurry::No),
            _ => spin(),
        }
    }

    /// Waits for what it has asked for so often: looks again at once, or hurries those who are waited
    /// for, and sleeps.
    fn wait(&mut self, asked: u32, hurry: Hurry) {
        if asked < PATIENCE || asked < LOOKS && self.is_alone() {
            self.looks = asked + 1;
            return spin();
        }
        self.hurry(hurry);
        let naps = asked.saturating_sub(self.looks);
        time::sleep(NAP * (1 << (naps / 4).min(4)));
    }

    /// Whether nobody wants the worker's P.
    fn is_alone(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.monitor().load().runnable == 0)
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
        self.begin_stretch();
    }

    fn begin_stretch(&mut self) {
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

    /// Leaves sweep to those who allocate, if they have a P beside the caller's, for as long as they
    /// bring it on and `rest`, which waits until a time, says that it may go on.
    pub(super) fn leave_sweep(&mut self, rest: impl Fn(Instant) -> bool) {
        self.hurry(Hurry::No);
        let unswept = || gc::heap().space().unswept();
        let mut before = unswept();
        while before != 0 && self.is_alone() && rest(Instant::now() + LEAVE) {
            let now = unswept();
            if before.saturating_sub(now) < before.div_ceil(ENOUGH as usize) {
                break;
            }
            before = now;
        }
        self.begin_stretch();
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

/// A microsecond or a few.
pub(super) fn spin() {
    (0..100).for_each(|_| hint::spin_loop());
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::wire::collect::tests::alone;

    #[test]
    fn the_workers_share_is_a_quarter() {
        for procs in 1..=64 {
            let on = STRETCH.as_secs_f64();
            let each = on / (on + rest(procs).as_secs_f64());
            let share = each * workers(procs) as f64 / procs as f64;
            assert!((share - 0.25).abs() < 0.001, "{procs} Ps: {share}");
        }
    }

    /// On one P: whether a worker that waits keeps its P. Hangs if it always does.
    #[test]
    fn a_worker_looks_on_if_nobody_wants_its_p() {
        let _alone = alone();
        let rt =
            crate::Runtime::builder().procs(1).preempt_after(Duration::from_secs(3600)).build();
        rt.expect("threads and stacks").run(|| {
            let mut share = Share::begin();
            let mut gives_way = |asked| {
                let before = sched_core::stint();
                share.pause(Pause::Operation(asked));
                sched_core::stint() != before
            };
            assert!(!gives_way(LOOKS - 1), "nobody waits");
            // At last: a sleep does not give way if the thread loses its processor until it would be over.
            while !gives_way(LOOKS) {}
            let other = crate::go(|| ());
            assert!(!gives_way(PATIENCE - 1), "it has not looked for long");
            // Somebody waits.
            while !gives_way(PATIENCE) {}
            other.join().expect("no panic");
        });
    }

    #[test]
    fn sweep_is_left_to_those_who_bring_it_on() {
        let _alone = alone();
        let rt = crate::Runtime::builder().procs(1).build().expect("threads and stacks");
        rt.run(|| {
            let rests_while_they_sweep = |part: fn(usize) -> usize| {
                let guard = gc::enter();
                (0..256u64).for_each(|n| _ = guard.alloc([n; 512]));
                drop(guard);
                let mut share = Share::begin();
                gc::heap().cycle(|pause| share.pause(pause)).expect("no guard is held");
                share.hurry(Hurry::All);
                let (before, rests) = (share.begun, Cell::new(0));
                share.leave_sweep(|_| {
                    rests.set(rests.get() + 1);
                    gc::heap().sweep(part(gc::heap().space().unswept()));
                    true
                });
                assert!(!share.hurrying && share.begun > before, "it waits for nobody");
                rests.get()
            };
            assert_eq!(rests_while_they_sweep(|_| 1), 1, "they hardly sweep");
            assert_eq!(rests_while_they_sweep(|all| all), 1, "nothing is left");
            assert!(rests_while_they_sweep(|all| all.div_ceil(4)) > 1, "they bring it on");
        });
    }

    /// On one P, where nobody else ends slices: who is ready has a turn if the worker rests, and else not. Hangs if it
    /// does not rest.
    #[test]
    fn a_worker_rests_after_a_stretch_if_others_wait() {
        let _alone = alone();
        let hour = Duration::from_secs(3600);
        let rt = crate::Runtime::builder().procs(1).preempt_after(hour).build();
        rt.expect("threads and stacks").run(|| {
            let turn = Arc::new(AtomicBool::new(false));
            let other = crate::go({
                let turn = turn.clone();
                move || turn.store(true, Ordering::Relaxed)
            });
            let mut share = Share::begin();
            share.begun = Instant::now() + hour;
            share.pause(Pause::Slice);
            assert!(!turn.load(Ordering::Relaxed), "a stretch is not over yet");
            // At last: see above.
            while !turn.load(Ordering::Relaxed) {
                let now = Instant::now();
                share.begun = now.checked_sub(STRETCH).expect("the machine is older");
                share.pause(Pause::Slice);
                // A sleep is never shorter, and the next stretch begins after it.
                assert!(share.begun - now >= rest(1));
            }
            other.join().expect("no panic");
        });
    }
}
