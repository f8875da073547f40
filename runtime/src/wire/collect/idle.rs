//! Idle Ps mark.
//!
//! A P with nothing to run costs nobody anything if it marks. So once a stretch, a worker looks whether
//! grey objects lie ready, a P is idle and nothing waits to run; if so it starts an *idle marker* there,
//! a servant as well, and each of those that finds work starts the next, up to all Ps but the workers'. It
//! marks slice by slice, each a loan from the crew as an assist's, and between two slices, some 20 µs, looks
//! for anything that waits to run; then it ends, and its P finds that. It also ends when nothing has lain
//! ready for [`LULL`]. So a goroutine that becomes ready waits for a slice at most, no idle P spins for
//! longer than a lull, and cycles shorter than a stretch wake nobody. What idle markers mark is paid for by
//! nobody, and their time is no part of the share: [`Stats::idle`](gc_core::stats::Stats::idle).

use std::time::{Duration, Instant};

use sched_core::Scheduler;

use super::share::spin;
use crate::{current, gc};

/// How long an idle marker waits for grey objects before it ends: until a worker has marked a slice and
/// shared what came of it.
const LULL: Duration = Duration::from_micros(50);

/// Marks until something waits to run on `home`, or nothing is to be had.
pub(super) fn mark(home: &Scheduler) {
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

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::thread;

    use gc_core::cycle::Pause;
    use gc_core::trace::{Rebind, Trace, Tracer};

    use super::*;
    use crate::chan;
    use crate::gc::{Gc, Root, RuntimeHeap};
    use crate::wire::collect::tests::alone;

    thread_local! {
        /// Objects that the caller, a goroutine or a thread, has looked into as a marker.
        static LOOKS: Cell<usize> = const { Cell::new(0) };
        /// What it does in the middle of the next look.
        static BELL: RefCell<Option<chan::Sender<()>>> = const { RefCell::new(None) };
    }

    struct Node<'g>(Option<Gc<'g, Node<'g>>>);

    // SAFETY: the only edge is reported; what else is done has to do with no object, and does not unwind.
    unsafe impl Trace<RuntimeHeap> for Node<'_> {
        fn trace(&self, tracer: &mut Tracer) {
            LOOKS.set(LOOKS.get() + 1);
            drop(BELL.take());
            self.0.trace(tracer);
        }
    }

    // SAFETY: the lifetime is that of the edge.
    unsafe impl Rebind for Node<'_> {
        type At<'a> = Node<'a>;
    }

    /// Lists, of some slices of objects each batch that a worker shares.
    fn lists() -> Vec<Root<Node<'static>>> {
        let guard = gc::enter();
        let list = |_| (0..500).fold(None, |next, _| Some(guard.alloc(Node(next))));
        (0..64).filter_map(list).map(|list| guard.root(list)).collect()
    }

    /// Runs a cycle whose driver, a thread, stands while `f` runs, with grey objects ready.
    fn while_the_driver_stands<R>(f: impl FnOnce() -> R) -> R {
        // 0: the driver is on its way; 1: it stands; 2: it may go on.
        let stage = AtomicU32::new(0);
        let stand = |pause| {
            let stands = pause == Pause::Slice && gc::heap().is_work_ready();
            if stands && stage.load(Ordering::Acquire) == 0 {
                stage.store(1, Ordering::Release);
                while stage.load(Ordering::Acquire) == 1 {
                    thread::yield_now();
                }
            }
        };
        thread::scope(|scope| {
            let driver = scope.spawn(|| gc::heap().collect_with(stand));
            while stage.load(Ordering::Acquire) == 0 {
                thread::yield_now();
            }
            let result = f();
            stage.store(2, Ordering::Release);
            driver.join().expect("no panic").expect("no guard is held");
            result
        })
    }

    /// On one P, where nobody else ends slices. The second goroutine waits for a bell that rings in the
    /// middle of the idle marker's first slice.
    #[test]
    fn an_idle_marker_ends_when_something_becomes_ready() {
        let _alone = alone();
        let rt = crate::Runtime::builder().procs(1).preempt_after(Duration::from_secs(3600));
        rt.build().expect("threads and stacks").run(|| {
            let lists = lists();
            let home = sched_core::current().expect("a goroutine");
            let (bell, ringing) = chan::rendezvous();
            let (waits, waiting) = chan::rendezvous();
            let turn = Arc::new(AtomicBool::new(false));
            let woken = crate::go({
                let turn = turn.clone();
                move || {
                    waits.send(()).expect("the test waits");
                    let _ = ringing.recv();
                    turn.store(true, Ordering::Relaxed);
                }
            });
            waiting.recv().expect("it waits");
            let (looks, more, early) = while_the_driver_stands(|| {
                LOOKS.set(0);
                BELL.set(Some(bell));
                mark(&home);
                (LOOKS.get(), gc::heap().is_work_ready(), turn.load(Ordering::Relaxed))
            });
            assert!((1..=1024).contains(&looks), "{looks} objects and not a slice");
            assert!(more, "there was nothing more to mark");
            assert!(!early, "the P is the marker's until it is gone");
            woken.join().expect("no panic");
            drop(lists);
        });
    }
}
