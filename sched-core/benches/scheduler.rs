//! What a spawn with its join, a yield and a ping-pong cost, on one P and on all.
//!
//! ```text
//! cargo bench -p sched-core --bench scheduler
//! ```

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use sched_core::{
    Config, NoHooks, Scheduler, current,
    park::{self, WaitReason, Waiter},
    queue::{inject::Inject, lanes::Lane},
    yield_now,
};

#[allow(dead_code, reason = "a bench needs no classes")]
#[path = "../tests/common/item.rs"]
mod item;
use item::{Ref, item};

/// What is measured, and under which name.
type Row = (&'static str, fn(u64));

/// Runs `work(turns)` in a goroutine and says how long it took there.
fn timed(scheduler: &Scheduler, turns: u64, work: impl FnOnce(u64) + Send + 'static) -> Duration {
    let run = move || {
        let start = Instant::now();
        work(turns);
        start.elapsed()
    };
    scheduler.spawn(run).expect("it is open").join().expect("no panic")
}

fn spawn_join(turns: u64) {
    let scheduler = current().expect("on a goroutine");
    for n in 0..turns {
        let handle = scheduler.spawn(move || black_box(n)).expect("it is open");
        black_box(handle.join().expect("no panic"));
    }
}

/// Two goroutines that yield to each other; a turn is one yield.
fn yields(turns: u64) {
    let scheduler = current().expect("on a goroutine");
    let done = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&done);
    let other = scheduler.spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            yield_now();
        }
    });
    for _ in 0..turns / 2 {
        yield_now();
    }
    done.store(true, Ordering::Relaxed);
    other.expect("it is open").join().expect("no panic");
}

/// A token that goes to and fro; a turn is there and back.
fn ping_pong(turns: u64) {
    fn play(token: &AtomicU64, mine: u64, other: &Waiter, turns: u64) {
        for turn in 0..turns {
            while token.load(Ordering::Acquire) != 2 * turn + mine {
                park::park(WaitReason::Park);
            }
            token.store(2 * turn + mine + 1, Ordering::Release);
            other.unpark();
        }
    }
    let scheduler = current().expect("on a goroutine");
    let token = Arc::new(AtomicU64::new(0));
    let (theirs, first) = (Arc::clone(&token), park::current());
    let place = Arc::new(std::sync::OnceLock::new());
    let told = Arc::clone(&place);
    let second = scheduler.spawn(move || {
        let _ = told.set(park::current());
        first.unpark();
        play(&theirs, 1, &first, turns);
    });
    let other = loop {
        match place.get() {
            Some(waiter) => break waiter,
            None => park::park(WaitReason::Park),
        }
    };
    play(&token, 0, other, turns);
    second.expect("it is open").join().expect("no panic");
}

/// What a push and a pop of the global queue cost one thread. The simulator's costs come from here.
fn global_queue(criterion: &mut Criterion) {
    let queue: Inject<Ref> = Inject::new();
    queue.push(item(0), Lane::Plain);
    criterion.bench_function("global queue, pop and push", |bencher| {
        bencher.iter(|| {
            let item = queue.pop(false).expect("it is put back each time");
            queue.push(item, Lane::Plain);
        });
    });
}

fn benches(criterion: &mut Criterion) {
    for procs in [1, 2] {
        let config = Config { procs, ..Config::default() };
        let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("threads and stacks");
        let mut group = criterion.benchmark_group(format!("procs {procs}"));
        let rows: [Row; 3] =
            [("spawn+join", spawn_join), ("yield", yields), ("ping-pong", ping_pong)];
        for (name, work) in rows {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|turns| timed(&scheduler, turns, work));
            });
        }
        group.finish();
        assert_eq!(scheduler.shutdown(None).left, []);
    }
    global_queue(criterion);
}

criterion_group! {
    name = scheduler;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20);
    targets = benches
}
criterion_main!(scheduler);
