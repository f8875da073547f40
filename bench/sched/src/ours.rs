//! Ours: goroutines of `runtime`, with its allocator.

mod costs;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_sched::{Announce, Futures, HandOff, Monitored, Scheduler, Select, Ticks};
use runtime::chan::Sender;
use runtime::sync::{Mutex, WaitGroup};
use runtime::{JoinHandle, Runtime, chan, go, select, spawn_future, yield_now};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

fn main() {
    bench_sched::main::<Ours>("ours", |request| {
        match request.row.as_str() {
            "spawn-future" => bench_sched::spawn_futures::<Ours>(request),
            "parked-future" => bench_sched::parked_futures::<Ours>(request),
            "select-4" => bench_sched::select::<Ours>(request, 128),
            "select-4-tight" => bench_sched::select::<Ours>(request, 0),
            "announced" => bench_sched::announced::<Ours>(request),
            "hand-off" => bench_sched::hand_off::<Ours>(request),
            "monitor" => bench_sched::monitor::<Ours>(request),
            "entry" => bench_sched::entry::<Ours>(request),
            "preempt" => bench_sched::preempt::<Ours>(request),
            _ => return false,
        }
        true
    });
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

    fn channel(&self, pairs: usize, values: usize) -> usize {
        let (tx, rx) = chan::bounded(128);
        self.0.run(move || {
            for _ in 0..pairs {
                let tx = tx.clone();
                go(move || (0..values / pairs).for_each(|n| tx.send(n).unwrap()));
            }
            drop(tx);
            let receivers: Vec<_> = (0..pairs)
                .map(|_| {
                    let rx = rx.clone();
                    go(move || rx.iter().sum::<usize>())
                })
                .collect();
            receivers.into_iter().map(join).sum()
        })
    }

    fn skynet(&self, leaves: usize) -> usize {
        self.0.run(move || {
            let (tx, rx) = chan::bounded(1);
            go(move || skynet(&tx, 0, leaves));
            rx.recv().unwrap()
        })
    }

    fn locks(&self, tasks: usize, times: usize) -> usize {
        let sum = Arc::new(Mutex::new(0));
        self.0.run(|| {
            let one = |_| {
                let sum = sum.clone();
                go(move || (0..times).for_each(|_| *sum.lock() += 1))
            };
            (0..tasks).map(one).collect::<Vec<_>>().into_iter().for_each(join);
        });
        *sum.lock()
    }

    fn sleeps(&self, tasks: usize, span: fn(usize) -> Duration, late: &Arc<Vec<AtomicU32>>) {
        self.0.run(|| {
            let one = |number| {
                let late = late.clone();
                go(move || {
                    let deadline = Instant::now() + span(number);
                    runtime::sleep_until(deadline);
                    let micros = deadline.elapsed().as_micros() as u32;
                    late[number].store(micros, Ordering::Relaxed);
                })
            };
            (0..tasks).map(one).collect::<Vec<_>>().into_iter().for_each(join);
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

    fn spawn_late_hog(&self, span: Duration) {
        self.0.go(move || {
            runtime::sleep(span);
            bench_sched::hog()
        });
    }

    fn spawn_blocker(&self, each: Duration) {
        self.0.go(move || {
            loop {
                thread::sleep(each);
            }
        });
    }
}

impl Futures for Ours {
    fn park_futures(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce() {
        let (gate, closed) = chan::rendezvous::<()>();
        let one = |_| {
            let (closed, arrived) = (closed.clone(), arrived.clone());
            self.0.spawn_future(async move {
                // Release: pairs with the Acquire load of the one that waits for all to arrive.
                arrived.fetch_add(1, Ordering::Release);
                closed.recv_async().await.unwrap_err();
            })
        };
        let all: Vec<_> = (0..tasks).map(one).collect();
        move || {
            drop(gate);
            self.0.run(|| all.into_iter().for_each(join));
        }
    }

    fn spawn_join_futures(&self, batch: usize, batches: usize) {
        let producer = self.0.spawn_future(async move {
            let mut tasks = Vec::with_capacity(batch);
            for _ in 0..batches {
                tasks.extend((0..batch).map(|_| spawn_future(async {})));
                for task in tasks.drain(..) {
                    task.await.expect("no task panics");
                }
            }
        });
        join(producer);
    }
}

impl Select for Ours {
    fn select(&self, capacity: usize, values: usize) -> usize {
        self.0.run(|| {
            // The senders stay to the end: a channel without one would be ready for ever.
            let channels: [_; 4] = std::array::from_fn(|_| chan::bounded(capacity));
            for (tx, _) in &channels {
                let tx = tx.clone();
                go(move || (0..values / 4).for_each(|n| tx.send(n).unwrap()));
            }
            let [(_, a), (_, b), (_, c), (_, d)] = &channels;
            let one = |_| {
                select! {
                    recv(a) -> n => n.unwrap(),
                    recv(b) -> n => n.unwrap(),
                    recv(c) -> n => n.unwrap(),
                    recv(d) -> n => n.unwrap(),
                }
            };
            (0..values / 4 * 4).map(one).sum()
        })
    }
}

impl Announce for Ours {
    fn block_announced(&self, tasks: usize, each: Duration) {
        self.0.run(|| {
            let one = |_| go(move || runtime::blocking(|| thread::sleep(each)));
            (0..tasks).map(one).collect::<Vec<_>>().into_iter().for_each(join);
        });
    }
}

impl HandOff for Ours {
    fn hand_off(&self, times: usize, each: Duration) -> Vec<Duration> {
        let one = move || {
            let other = go(Instant::now);
            let began = Instant::now();
            thread::sleep(each);
            join(other) - began
        };
        self.0.run(|| (0..times).map(|_| join(go(one))).collect())
    }
}

impl Monitored for Ours {
    fn awake(&self) -> Duration {
        self.0.stats().monitor.awake
    }
}

fn skynet(to: &Sender<usize>, number: usize, leaves: usize) {
    if leaves == 1 {
        return to.send(number).unwrap();
    }
    let (tx, rx) = chan::bounded(10);
    for child in 0..10 {
        let (tx, leaves) = (tx.clone(), leaves / 10);
        go(move || skynet(&tx, number + child * leaves, leaves));
    }
    drop(tx);
    to.send(rx.iter().sum()).unwrap();
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
