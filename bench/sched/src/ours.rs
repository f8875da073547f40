//! Ours: goroutines of `runtime`, with its allocator.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_sched::{Scheduler, Ticks};
use runtime::sync::WaitGroup;
use runtime::{JoinHandle, Runtime, chan, go, yield_now};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

fn main() {
    bench_sched::main::<Ours>("ours");
}

struct Ours(Runtime);

impl Scheduler for Ours {
    fn start(workers: usize) -> Self {
        Self(Runtime::builder().procs(workers).build().expect("a runtime can be made"))
    }

    fn spawn_join(&self, batch: usize, batches: usize) {
        self.0.run(|| {
            let mut tasks = Vec::with_capacity(batch);
            for _ in 0..batches {
                tasks.extend((0..batch).map(|_| go(|| ())));
                tasks.drain(..).for_each(join);
            }
        });
    }

    fn spawn_tree(&self, depth: u32) -> usize {
        self.0.run(|| tree(depth))
    }

    fn yields(&self, tasks: usize, times: usize) {
        self.0.run(|| {
            let all: Vec<_> = (0..tasks).map(|_| go(move || yield_times(times))).collect();
            all.into_iter().for_each(join);
        });
    }

    fn ping_pong(&self, round_trips: usize) {
        let (to, from_here) = chan::rendezvous();
        let (back, from_there) = chan::rendezvous();
        self.0.run(move || {
            let echo = go(move || from_here.iter().for_each(|ball| back.send(ball).unwrap()));
            for ball in 0..round_trips {
                to.send(ball).unwrap();
                assert_eq!(from_there.recv(), Ok(ball));
            }
            drop(to);
            join(echo);
        });
    }

    fn park(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce() {
        let gate = Arc::new(WaitGroup::new());
        gate.add(1);
        let one = |_| {
            let (gate, arrived) = (gate.clone(), arrived.clone());
            self.0.go(move || {
                // Release: pairs with the Acquire load of the one that waits for all to arrive.
                arrived.fetch_add(1, Ordering::Release);
                gate.wait();
            })
        };
        let all: Vec<_> = (0..tasks).map(one).collect();
        move || {
            gate.done();
            self.0.run(|| all.into_iter().for_each(join));
        }
    }

    fn block(&self, tasks: usize, each: Duration) {
        self.0.run(|| {
            let all: Vec<_> = (0..tasks).map(|_| go(move || thread::sleep(each))).collect();
            all.into_iter().for_each(join);
        });
    }

    fn spawn_ticker(&self, period: Duration, ticks: Arc<Ticks>) {
        self.0.go(move || {
            loop {
                let deadline = Instant::now() + period;
                ticks.expect(deadline);
                runtime::sleep_until(deadline);
                ticks.woke();
            }
        });
    }

    fn spawn_hog(&self) {
        self.0.go(|| bench_sched::hog());
    }

    fn spawn_blocker(&self, each: Duration) {
        self.0.go(move || {
            loop {
                thread::sleep(each);
            }
        });
    }
}

fn join<T>(task: JoinHandle<T>) -> T {
    task.join().expect("no task panics")
}

fn tree(depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let left = go(move || tree(depth - 1));
    let right = go(move || tree(depth - 1));
    join(left) + join(right) + 1
}

fn yield_times(times: usize) {
    for _ in 0..times {
        yield_now();
    }
}
