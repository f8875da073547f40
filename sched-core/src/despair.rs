//! At the cap of threads: whether there is hope that one comes to rest.
//!
//! # Problem
//!
//! An order that waits at [`max_threads`](crate::Config::max_threads) means that all threads are taken: by
//! goroutines that block in the kernel, or by such as compute. Mostly one soon gets on, and its thread serves
//! whoever waits. If none ever does, the program hangs without a word.
//!
//! # Signs of life
//!
//! So the looks that find an order without a thread are summed up, until a goroutine shows that it gets on: it
//!
//! * parks, yields or ends;
//! * comes back from the kernel by itself;
//! * is asked to give way with a P in hand: it has computed.
//!
//! That one without a P was made to give way shows nothing. The [`escape`](crate::handoff::escape) does so to all
//! that block, again and again, whether it helps or not.
//!
//! After three seconds without a sign the kernel is asked about the threads. One that computes for so long
//! without coming in gives no other sign of life, and is no reason to end a program. If all of them sleep the
//! process says so and aborts.

use crate::{
    error::say,
    machine::Machine,
    preempt::{KernelState, StatFile},
    shared::Shared,
    sync::now,
};

/// Nanoseconds of refusals at the cap, with orders waiting and no sign of life, after which there is no hope.
const HOPELESS: u64 = 3_000_000_000;

/// What the time between two refusals counts for at most: a machine that does not run this thread does not run those
/// whom it waits for either.
const GAP: u64 = 20_000_000;

/// A row of refusals at the cap of threads.
#[derive(Debug, Default)]
pub(crate) struct Despair {
    /// Signs of life up to the last one.
    signs: u64,
    last: u64,
    /// For how long there was none.
    waited: u64,
}

impl Despair {
    /// An order could not have a thread: aborts if there is no hope that one comes to rest.
    pub(crate) fn grow(&mut self, shared: &Shared) {
        if !self.is_complete(now(), signs(shared)) {
            return;
        }
        if shared.machines().any(runs) {
            self.waited = 0;
            return;
        }
        let max = shared.config.max_threads;
        say(format_args!(
            "all {max} threads are blocked in the kernel and a goroutine waits; \
             raise max_threads, or block in fewer goroutines at once"
        ));
        shared.show_goroutines();
        std::process::abort();
    }

    /// At `now`, when there have been so many signs of life, an order could not have a thread. True if that has gone
    /// on for too long.
    fn is_complete(&mut self, now: u64, signs: u64) -> bool {
        self.waited = match signs == self.signs {
            true => self.waited + (now - self.last).min(GAP),
            false => 0,
        };
        (self.signs, self.last) = (signs, now);
        self.waited >= HOPELESS
    }
}

/// Signs of life so far.
fn signs(shared: &Shared) -> u64 {
    let stats = shared.stats();
    let shown: u64 = shared.machines().map(|m| m.counters.signs.get()).sum();
    stats.parks + stats.yields + stats.finished + stats.futures + shown
}

/// Whether the kernel says that the thread of `m` runs, or would if it had a processor.
fn runs(m: &Machine) -> bool {
    StatFile::open(m.thread()).is_ok_and(|file| file.state() == KernelState::Running)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
            mpsc,
        },
        thread,
    };

    use super::*;
    use crate::{
        Config, JoinHandle, NoHooks, Preemption, Scheduler,
        monitor::{MachineView, Monitor},
    };

    /// A scheduler with one P.
    fn scheduler(preemption: Preemption) -> Scheduler {
        let config = Config { procs: 1, preemption, ..Config::default() };
        Scheduler::new(config, Arc::new(NoHooks)).expect("the system gives a few threads")
    }

    /// Calls `deed` with Ms that run goroutines, with a P or without one, until all is `done`.
    fn until(
        scheduler: &Scheduler,
        done: impl Fn() -> bool,
        with_proc: bool,
        deed: impl Fn(&Monitor, &MachineView),
    ) {
        let (monitor, mut views) = (scheduler.monitor(), Vec::with_capacity(1_000));
        while !done() {
            monitor.snapshot(&mut views);
            let is_meant = |view: &&MachineView| view.running && view.proc.is_some() == with_proc;
            views.iter().filter(is_meant).for_each(|view| deed(&monitor, view));
            thread::yield_now();
        }
    }

    fn interrupt(monitor: &Monitor, view: &MachineView) {
        if monitor.request_preempt(view) {
            monitor.signal(view.id);
        }
    }

    fn take(monitor: &Monitor, view: &MachineView) {
        monitor.try_take(view);
    }

    /// A goroutine that computes until it is told to stop.
    struct Hog {
        begun: Arc<AtomicBool>,
        stop: Arc<AtomicBool>,
        handle: JoinHandle<()>,
    }

    impl Hog {
        fn spawn(scheduler: &Scheduler) -> Hog {
            let (begun, stop) =
                (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let (begins, stopped) = (Arc::clone(&begun), Arc::clone(&stop));
            let body = move || {
                begins.store(true, Ordering::Relaxed);
                while !stopped.load(Ordering::Relaxed) {}
            };
            Hog { begun, stop, handle: scheduler.spawn(body).expect("open") }
        }

        /// One that has the P.
        fn running(scheduler: &Scheduler) -> Hog {
            let hog = Hog::spawn(scheduler);
            while !hog.begun.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            hog
        }

        fn stop(&self) {
            self.stop.store(true, Ordering::Relaxed);
        }

        fn join(self) {
            self.handle.join().expect("no panic");
        }
    }

    #[test]
    fn who_uses_slices_up_shows_life() {
        let scheduler = scheduler(Preemption::Inject);
        let hogs = [(); 2].map(|()| Hog::spawn(&scheduler));
        until(&scheduler, || scheduler.stats().preemptions >= 10, true, interrupt);
        assert!(signs(&scheduler.shared) >= 10);
        hogs.iter().for_each(Hog::stop);
        hogs.into_iter().for_each(Hog::join);
        assert_eq!(scheduler.shutdown(None).left, []);
    }

    /// A goroutine that blocks until it is sent something, and has lost its P.
    fn blocked(scheduler: &Scheduler) -> (mpsc::Sender<()>, JoinHandle<()>) {
        let (send, receive) = mpsc::channel();
        let body = move || {
            receive.recv().expect("it is sent");
            let _ = crate::stint();
        };
        let blocked = scheduler.spawn(body).expect("open");
        until(scheduler, || scheduler.stats().handoffs == 1, true, take);
        while scheduler.shared.machines().any(runs) {
            thread::yield_now();
        }
        (send, blocked)
    }

    #[test]
    fn who_is_taken_out_of_the_kernel_shows_nothing() {
        let scheduler = scheduler(Preemption::Inject);
        let (send, blocked) = blocked(&scheduler);
        let (hog, before) = (Hog::running(&scheduler), signs(&scheduler.shared));
        until(&scheduler, || scheduler.stats().displaced == 1, false, interrupt);
        assert_eq!(signs(&scheduler.shared), before);
        assert!(scheduler.shared.machines().any(runs), "the hog computes");
        hog.stop();
        send.send(()).expect("it listens");
        hog.join();
        blocked.join().expect("no panic");
        assert_eq!(scheduler.shutdown(None).left, []);
    }

    #[test]
    fn who_comes_back_from_the_kernel_by_itself_shows_life() {
        // The hog shall not be asked to make room.
        let scheduler = scheduler(Preemption::Cooperative);
        let (send, blocked) = blocked(&scheduler);
        let (hog, before) = (Hog::running(&scheduler), signs(&scheduler.shared));
        send.send(()).expect("it listens");
        while scheduler.stats().displaced == 0 {
            thread::yield_now();
        }
        assert_eq!(signs(&scheduler.shared), before + 1);
        hog.stop();
        hog.join();
        blocked.join().expect("no panic");
        assert_eq!(scheduler.shutdown(None).left, []);
    }

    /// Looks that are as far apart as the service thread's.
    fn looks(from: u64, to: u64) -> impl Iterator<Item = u64> {
        (from..to).step_by(2_000_000)
    }

    #[test]
    fn hope_is_lost_after_a_row_of_refusals_in_which_nothing_happens() {
        let mut despair = Despair::default();
        assert!(!looks(5 * HOPELESS, 6 * HOPELESS).any(|now| despair.is_complete(now, 7)));
        assert!(!despair.is_complete(6 * HOPELESS, 8), "a goroutine ended");
        assert!(!despair.is_complete(9 * HOPELESS, 8), "the machine stood still");
        assert!(looks(9 * HOPELESS, 11 * HOPELESS).any(|now| despair.is_complete(now, 8)));
    }

    #[test]
    fn hope_is_lost_also_where_the_looks_are_far_apart() {
        let mut despair = Despair::default();
        let mut looks = (1..).map(|look| look * 10 * GAP);
        let lost = looks.position(|now| despair.is_complete(now, 7));
        assert_eq!(lost, Some((HOPELESS / GAP) as usize));
    }
}
