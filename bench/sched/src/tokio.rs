//! tokio, with flume's zero-capacity channel for the rendezvous: tokio has none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_sched::{Scheduler, Ticks};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::yield_now;

fn main() {
    bench_sched::main::<Tokio>("tokio");
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
