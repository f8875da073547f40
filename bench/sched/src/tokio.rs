//! tokio, with flume's zero-capacity channel for the rendezvous: tokio has none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_sched::{Announce, Futures, Scheduler, Select, Ticks};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::yield_now;

fn main() {
    bench_sched::main::<Tokio>("tokio", |request| {
        match request.row.as_str() {
            "spawn-future" => bench_sched::spawn_futures::<Tokio>(request),
            "parked-future" => bench_sched::parked_futures::<Tokio>(request),
            "select-4" => bench_sched::select::<Tokio>(request, 128),
            "select-4-tight" => bench_sched::select::<Tokio>(request, 0),
            "announced" => bench_sched::announced::<Tokio>(request),
            _ => return false,
        }
        true
    });
}

struct Tokio(Runtime);

impl Tokio {
    /// Runs `body` as a task on a worker; `block_on` alone would run it on this thread.
    fn run<T: Send + 'static>(&self, body: impl Future<Output = T> + Send + 'static) -> T {
        self.0.block_on(self.0.spawn(body)).unwrap()
    }
}

impl Scheduler for Tokio {
    fn start(workers: usize) -> Self {
        Self(Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap())
    }

    fn spawn_join(&self, batch: usize, batches: usize) {
        self.run(async move {
            let mut tasks = Vec::with_capacity(batch);
            for _ in 0..batches {
                tasks.extend((0..batch).map(|_| tokio::spawn(async {})));
                for task in tasks.drain(..) {
                    task.await.unwrap();
                }
            }
        });
    }

    fn spawn_tree(&self, depth: u32) -> usize {
        self.run(tree(depth))
    }

    fn yields(&self, tasks: usize, times: usize) {
        self.run(async move {
            let all: Vec<_> = (0..tasks).map(|_| tokio::spawn(yield_times(times))).collect();
            for task in all {
                task.await.unwrap();
            }
        });
    }

    fn ping_pong(&self, round_trips: usize) {
        let (to, from_here) = flume::bounded(0);
        let (back, from_there) = flume::bounded(0);
        self.run(async move {
            let echo = tokio::spawn(async move {
                while let Ok(ball) = from_here.recv_async().await {
                    back.send_async(ball).await.unwrap();
                }
            });
            for ball in 0..round_trips {
                to.send_async(ball).await.unwrap();
                assert_eq!(from_there.recv_async().await, Ok(ball));
            }
            drop(to);
            echo.await.unwrap();
        });
    }

    /// One receiver: tokio's own channel. Several: flume's.
    fn channel(&self, pairs: usize, values: usize) -> usize {
        if pairs == 1 {
            self.run(one_to_one(values))
        } else {
            self.run(many_to_many(pairs, values))
        }
    }

    fn skynet(&self, leaves: usize) -> usize {
        self.run(async move {
            let (tx, mut rx) = mpsc::channel(1);
            tokio::spawn(skynet(tx, 0, leaves));
            rx.recv().await.unwrap()
        })
    }

    fn locks(&self, tasks: usize, times: usize) -> usize {
        let sum = Arc::new(tokio::sync::Mutex::new(0));
        let theirs = sum.clone();
        self.run(async move {
            let one = |_| {
                let sum = theirs.clone();
                tokio::spawn(async move {
                    for _ in 0..times {
                        *sum.lock().await += 1;
                    }
                })
            };
            for task in (0..tasks).map(one).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
        *sum.blocking_lock()
    }

    fn sleeps(&self, tasks: usize, span: fn(usize) -> Duration, late: &Arc<Vec<AtomicU32>>) {
        let late = late.clone();
        self.run(async move {
            let one = |number: usize| {
                let late = late.clone();
                tokio::spawn(async move {
                    let deadline = Instant::now() + span(number);
                    tokio::time::sleep_until(deadline.into()).await;
                    let micros = deadline.elapsed().as_micros() as u32;
                    late[number].store(micros, Ordering::Relaxed);
                })
            };
            for task in (0..tasks).map(one).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
    }

    fn park(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce() {
        let gate = Arc::new(Semaphore::new(0));
        let spawn = |_| self.0.spawn(wait(gate.clone(), arrived.clone()));
        let all: Vec<_> = (0..tasks).map(spawn).collect();
        move || {
            gate.close();
            self.run(async {
                for task in all {
                    task.await.unwrap();
                }
            });
        }
    }

    fn block(&self, tasks: usize, each: Duration) {
        self.run(async move {
            let sleep = |_| tokio::spawn(async move { thread::sleep(each) });
            for task in (0..tasks).map(sleep).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
    }

    fn spawn_ticker(&self, period: Duration, ticks: Arc<Ticks>) {
        self.0.spawn(async move {
            loop {
                let deadline = Instant::now() + period;
                ticks.expect(deadline);
                tokio::time::sleep_until(deadline.into()).await;
                ticks.woke();
            }
        });
    }

    fn spawn_hog(&self) {
        self.0.spawn(async { bench_sched::hog() });
    }

    fn spawn_late_hog(&self, span: Duration) {
        self.0.spawn(async move {
            tokio::time::sleep(span).await;
            bench_sched::hog()
        });
    }

    /// Lets others run after each sleep, as a task that serves requests would.
    fn spawn_blocker(&self, each: Duration) {
        self.0.spawn(async move {
            loop {
                thread::sleep(each);
                yield_now().await;
            }
        });
    }
}

impl Futures for Tokio {
    fn park_futures(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce() {
        self.park(tasks, arrived)
    }

    fn spawn_join_futures(&self, batch: usize, batches: usize) {
        self.spawn_join(batch, batches);
    }
}

impl Select for Tokio {
    /// flume where nothing is to be kept: tokio has no rendezvous.
    fn select(&self, capacity: usize, values: usize) -> usize {
        if capacity == 0 {
            self.run(select_tight(values))
        } else {
            self.run(select_buffered(capacity, values))
        }
    }
}

impl Announce for Tokio {
    fn block_announced(&self, tasks: usize, each: Duration) {
        self.run(async move {
            let one = |_| tokio::task::spawn_blocking(move || thread::sleep(each));
            for task in (0..tasks).map(one).collect::<Vec<_>>() {
                task.await.unwrap();
            }
        });
    }
}

async fn one_to_one(values: usize) -> usize {
    let (tx, mut rx) = mpsc::channel(128);
    tokio::spawn(async move {
        for n in 0..values {
            tx.send(n).await.unwrap();
        }
    });
    let receiver = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(n) = rx.recv().await {
            sum += n;
        }
        sum
    });
    receiver.await.unwrap()
}

async fn many_to_many(pairs: usize, values: usize) -> usize {
    let (tx, rx) = flume::bounded(128);
    for _ in 0..pairs {
        let tx = tx.clone();
        tokio::spawn(async move {
            for n in 0..values / pairs {
                tx.send_async(n).await.unwrap();
            }
        });
    }
    drop(tx);
    let one = |_| {
        let rx = rx.clone();
        tokio::spawn(async move {
            let mut sum = 0;
            while let Ok(n) = rx.recv_async().await {
                sum += n;
            }
            sum
        })
    };
    let mut sum = 0;
    for receiver in (0..pairs).map(one).collect::<Vec<_>>() {
        sum += receiver.await.unwrap();
    }
    sum
}

async fn select_buffered(capacity: usize, values: usize) -> usize {
    let mut channels: [_; 4] = std::array::from_fn(|_| mpsc::channel(capacity));
    for (tx, _) in &channels {
        let tx = tx.clone();
        tokio::spawn(async move {
            for n in 0..values / 4 {
                tx.send(n).await.unwrap();
            }
        });
    }
    let [(_, a), (_, b), (_, c), (_, d)] = &mut channels;
    let mut sum = 0;
    for _ in 0..values / 4 * 4 {
        sum += tokio::select! {
            n = a.recv() => n.unwrap(),
            n = b.recv() => n.unwrap(),
            n = c.recv() => n.unwrap(),
            n = d.recv() => n.unwrap(),
        };
    }
    sum
}

async fn select_tight(values: usize) -> usize {
    let channels: [_; 4] = std::array::from_fn(|_| flume::bounded(0));
    for (tx, _) in &channels {
        let tx = tx.clone();
        tokio::spawn(async move {
            for n in 0..values / 4 {
                tx.send_async(n).await.unwrap();
            }
        });
    }
    let [(_, a), (_, b), (_, c), (_, d)] = &channels;
    let mut sum = 0;
    for _ in 0..values / 4 * 4 {
        sum += tokio::select! {
            n = a.recv_async() => n.unwrap(),
            n = b.recv_async() => n.unwrap(),
            n = c.recv_async() => n.unwrap(),
            n = d.recv_async() => n.unwrap(),
        };
    }
    sum
}

/// Boxed, as `tree`.
fn skynet(
    to: mpsc::Sender<usize>,
    number: usize,
    leaves: usize,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if leaves == 1 {
            return to.send(number).await.unwrap();
        }
        let (tx, mut rx) = mpsc::channel(10);
        for child in 0..10 {
            let leaves = leaves / 10;
            tokio::spawn(skynet(tx.clone(), number + child * leaves, leaves));
        }
        drop(tx);
        let mut sum = 0;
        while let Some(n) = rx.recv().await {
            sum += n;
        }
        to.send(sum).await.unwrap();
    })
}

/// Boxed, since the future of a recursive function would contain itself.
fn tree(depth: u32) -> Pin<Box<dyn Future<Output = usize> + Send>> {
    Box::pin(async move {
        if depth == 0 {
            return 1;
        }
        let left = tokio::spawn(tree(depth - 1));
        let right = tokio::spawn(tree(depth - 1));
        left.await.unwrap() + right.await.unwrap() + 1
    })
}

async fn yield_times(times: usize) {
    for _ in 0..times {
        yield_now().await;
    }
}

async fn wait(gate: Arc<Semaphore>, arrived: Arc<AtomicUsize>) {
    // Release: pairs with the Acquire load of the one that waits for all to arrive.
    arrived.fetch_add(1, Ordering::Release);
    assert!(gate.acquire().await.is_err(), "the gate opens by closing");
}
