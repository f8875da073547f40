//! What things cost that two threads do to each other: a wake, a signal, a look, a timer. The simulator's
//! [`Costs`](sched_core::sim::Costs) come from here.
//!
//! ```text
//! cargo bench -p sched-core --bench costs
//! ```

use std::{
    hint::{black_box, spin_loop},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use sched_core::{
    driver::Driver,
    parker::Parker,
    queue::local::{LocalQueue, Next},
    succession::Succession,
    sync::now,
    timer::{Storage, Timed},
};

#[allow(dead_code, reason = "a bench needs no classes")]
#[path = "../tests/common/item.rs"]
mod item;
use item::Ref;

/// Deadlines that stand beside those that come and go.
const SLEEPERS: u64 = 1_000;
/// An hour.
const LATER: u64 = 3_600_000_000_000;

/// Runs `one` while another thread runs `other` again and again.
fn beside<R>(other: impl Fn() + Sync, one: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                other();
            }
        });
        let result = one();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

/// A thread that sleeps, and says when it was woken.
fn wake(criterion: &mut Criterion) {
    let rounds = |turns: u64, of: fn(call: Duration, whole: Duration) -> Duration| {
        let (parker, woken, origin) = (Parker::new(), AtomicU64::new(0), Instant::now());
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..turns {
                    parker.park();
                    woken.store(origin.elapsed().as_nanos() as u64, Ordering::Release);
                }
            });
            let mut sum = Duration::ZERO;
            for _ in 0..turns {
                while !parker.is_asleep() {
                    spin_loop();
                }
                // Its word says that it sleeps before the kernel does.
                let asleep = Instant::now();
                while asleep.elapsed() < Duration::from_micros(50) {
                    spin_loop();
                }
                woken.store(0, Ordering::Relaxed);
                let start = origin.elapsed();
                parker.unpark();
                let call = origin.elapsed() - start;
                let at = loop {
                    match woken.load(Ordering::Acquire) {
                        0 => spin_loop(),
                        at => break Duration::from_nanos(at),
                    }
                };
                sum += of(call, at.saturating_sub(start));
            }
            sum
        })
    };
    criterion.bench_function("wake a thread, for the one who wakes", |bencher| {
        bencher.iter_custom(|turns| rounds(turns, |call, _| call));
    });
    criterion.bench_function("wake a thread, until it runs", |bencher| {
        bencher.iter_custom(|turns| rounds(turns, |_, whole| whole));
    });
}

/// Set by the handler of [`signal`].
static HANDLED: AtomicBool = AtomicBool::new(false);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.store(true, Ordering::Release);
}

/// What no preemption can do without: a signal to a thread that computes on another processor, until its handler
/// runs. The rest of a preemption is what row `preempt` of `bench/` takes more.
fn signal(criterion: &mut Criterion) {
    // SAFETY: zeroes are a valid action, of which the handler is set; it does nothing but a store.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = handle as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, core::ptr::null_mut()), 0);
    }
    let (stop, thread) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: asks for the caller's own name.
            thread.store(unsafe { libc::pthread_self() }, Ordering::Release);
            while !stop.load(Ordering::Relaxed) {
                spin_loop();
            }
        });
        let target = loop {
            match thread.load(Ordering::Acquire) {
                0 => spin_loop(),
                target => break target,
            }
        };
        criterion.bench_function("signal a thread, until its handler runs", |bencher| {
            bencher.iter(|| {
                HANDLED.store(false, Ordering::Relaxed);
                // SAFETY: the thread runs until `stop`.
                assert_eq!(unsafe { libc::pthread_kill(target, libc::SIGUSR1) }, 0);
                while !HANDLED.load(Ordering::Acquire) {
                    spin_loop();
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
}

/// A look at an empty queue whose owner has not used it since the last look.
fn look(criterion: &mut Criterion) {
    let (queue, own) = (LocalQueue::<Ref>::new(), LocalQueue::<Ref>::new());
    // SAFETY: this thread alone uses this owner.
    let thief = unsafe { own.owner() };
    let look = |bencher: &mut Bencher<'_>| {
        bencher.iter(|| black_box(queue.steal_into(&thief, Next::Leave)).is_some());
    };
    criterion.bench_function("look at a queue at rest", look);
}

struct Alarm(AtomicUsize);

impl Timed for Alarm {
    fn set_place(&self, place: Option<usize>) {
        self.0.store(place.unwrap_or(usize::MAX), Ordering::Relaxed);
    }
}

/// A deadline that is set and taken back, as most are, among a thousand others: by one thread, and by two at once.
fn timers(criterion: &mut Criterion) {
    let alarm = || Arc::new(Alarm(AtomicUsize::new(usize::MAX)));
    let driver = Driver::new(Storage::new(2 * SLEEPERS as usize));
    for n in 0..SLEEPERS {
        assert!(driver.add(now() + LATER + n, alarm()).is_ok());
    }
    let turn = |alarm: &Arc<Alarm>| {
        assert!(driver.add(now() + 2 * LATER, alarm.clone()).is_ok());
        driver.cancel(|| Some(alarm.0.load(Ordering::Relaxed))).is_some()
    };
    let (mine, others) = (alarm(), alarm());
    let one = |bencher: &mut Bencher<'_>| bencher.iter(|| turn(&mine));
    criterion.bench_function("add and cancel a deadline", one);
    let other = || assert!(turn(&others));
    beside(other, || criterion.bench_function("add and cancel a deadline, two at once", one));
}

/// What a P pays at each use of its queues for the right to exchange them, and what a thread without a P does.
fn succession(criterion: &mut Criterion) {
    let office = Succession::new(7);
    let stay = office.stay();
    criterion.bench_function("succession, a use within a stay", |bencher| {
        bencher.iter(|| black_box(&office).is_in_office(black_box(&stay)));
    });
    criterion.bench_function("succession, a visit", |bencher| {
        bencher.iter(|| *black_box(&office).visit());
    });
    // SAFETY: it was begun there.
    unsafe { office.end(stay) };
}

criterion_group! {
    name = costs;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = succession, timers, look, wake, signal
}
criterion_main!(costs);
