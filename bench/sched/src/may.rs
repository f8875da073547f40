//! may, with its channels of unbounded capacity: it has no rendezvous.
//!
//! Its `spawn` is unsafe: a coroutine must not touch thread-locals across a switch and must not
//! overflow its stack. The tasks here use no thread-locals, and have 64 KiB of stack.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bench_sched::{Scheduler, Ticks};
use may::coroutine::{self, JoinHandle};
use may::sync::{Mutex, SyncFlag, mpmc, mpsc, spsc};

/// In words of 8 bytes.
const STACK_WORDS: usize = 8 << 10;

fn main() {
    bench_sched::main::<May>("may", |_| false);
}

/// Its scheduler is one for the process.
struct May;

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: no task of this program reads a thread-local of its own across a switch, and none
    // calls deeper than 64 KiB.
    unsafe { coroutine::spawn(body) }
}

impl Scheduler for May {
    fn start(workers: usize) -> Self {
        may::config().set_workers(workers).set_stack_size(STACK_WORDS);
        Self
    }

    fn spawn_join(&self, batch: usize, batches: usize) {
        let producer = spawn(move || {
            let mut tasks = Vec::with_capacity(batch);
            for _ in 0..batches {
                tasks.extend((0..batch).map(|_| spawn(|| ())));
                tasks.drain(..).for_each(|task| task.join().unwrap());
            }
        });
        producer.join().unwrap();
    }

    fn spawn_tree(&self, depth: u32) -> usize {
        spawn(move || tree(depth)).join().unwrap()
    }

    fn yields(&self, tasks: usize, times: usize) {
        let all = spawn(move || {
            let all: Vec<_> = (0..tasks).map(|_| spawn(move || yield_times(times))).collect();
            all.into_iter().for_each(|task| task.join().unwrap());
        });
        all.join().unwrap();
    }

    fn ping_pong(&self, round_trips: usize) {
        let (to, from_here) = spsc::channel();
        let (back, from_there) = spsc::channel();
        let echo = spawn(move || {
            while let Ok(ball) = from_here.recv() {
                back.send(ball).unwrap();
            }
        });
        let server = spawn(move || {
            for ball in 0..round_trips {
                to.send(ball).unwrap();
                assert_eq!(from_there.recv(), Ok(ball));
            }
        });
        server.join().unwrap();
        echo.join().unwrap();
    }

    /// Unbounded: it has no other.
    fn channel(&self, pairs: usize, values: usize) -> usize {
        let (tx, rx) = mpmc::channel();
        for _ in 0..pairs {
            let tx = tx.clone();
            spawn(move || (0..values / pairs).for_each(|n| tx.send(n).unwrap()));
        }
        drop(tx);
        let one = |_| {
            let rx = rx.clone();
            spawn(move || {
                let mut sum = 0;
                while let Ok(n) = rx.recv() {
                    sum += n;
                }
                sum
            })
        };
        let receivers: Vec<JoinHandle<usize>> = (0..pairs).map(one).collect();
        receivers.into_iter().map(|receiver| receiver.join().unwrap()).sum()
    }

    fn skynet(&self, leaves: usize) -> usize {
        let (tx, rx) = mpsc::channel();
        spawn(move || skynet(tx, 0, leaves)).join().unwrap();
        rx.recv().unwrap()
    }

    fn locks(&self, tasks: usize, times: usize) -> usize {
        let sum = Arc::new(Mutex::new(0));
        let one = |_| {
            let sum = sum.clone();
            spawn(move || (0..times).for_each(|_| *sum.lock().unwrap() += 1))
        };
        let all: Vec<_> = (0..tasks).map(one).collect();
        all.into_iter().for_each(|task| task.join().unwrap());
        *sum.lock().unwrap()
    }

    fn sleeps(&self, tasks: usize, span: fn(usize) -> Duration, late: &Arc<Vec<AtomicU32>>) {
        let one = |number: usize| {
            let late = late.clone();
            spawn(move || {
                let deadline = Instant::now() + span(number);
                coroutine::sleep(span(number));
                let micros = deadline.elapsed().as_micros() as u32;
                late[number].store(micros, Ordering::Relaxed);
            })
        };
        let all: Vec<_> = (0..tasks).map(one).collect();
        all.into_iter().for_each(|task| task.join().unwrap());
    }

    fn park(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce() {
        let gate = Arc::new(SyncFlag::new());
        let one = |_| {
            let (gate, arrived) = (gate.clone(), arrived.clone());
            spawn(move || {
                // Release: pairs with the Acquire load of the one that waits for all to arrive.
                arrived.fetch_add(1, Ordering::Release);
                gate.wait();
            })
        };
        let all: Vec<_> = (0..tasks).map(one).collect();
        move || {
            gate.fire();
            all.into_iter().for_each(|task| task.join().unwrap());
        }
    }

    fn block(&self, tasks: usize, each: Duration) {
        let all: Vec<_> = (0..tasks).map(|_| spawn(move || thread::sleep(each))).collect();
        all.into_iter().for_each(|task| task.join().unwrap());
    }

    fn spawn_ticker(&self, period: Duration, ticks: Arc<Ticks>) {
        spawn(move || {
            loop {
                ticks.expect(Instant::now() + period);
                coroutine::sleep(period);
                ticks.woke();
            }
        });
    }

    fn spawn_hog(&self) {
        spawn(|| bench_sched::hog());
    }

    fn spawn_late_hog(&self, span: Duration) {
        spawn(move || {
            coroutine::sleep(span);
            bench_sched::hog()
        });
    }

    /// Lets others run after each sleep, as a task that serves requests would.
    fn spawn_blocker(&self, each: Duration) {
        spawn(move || {
            loop {
                thread::sleep(each);
                coroutine::yield_now();
            }
        });
    }
}

fn skynet(to: mpsc::Sender<usize>, number: usize, leaves: usize) {
    if leaves == 1 {
        return to.send(number).unwrap();
    }
    let (tx, rx) = mpsc::channel();
    for child in 0..10 {
        let (tx, leaves) = (tx.clone(), leaves / 10);
        spawn(move || skynet(tx, number + child * leaves, leaves));
    }
    drop(tx);
    to.send((0..10).map(|_| rx.recv().unwrap()).sum()).unwrap();
}

fn tree(depth: u32) -> usize {
    if depth == 0 {
        return 1;
    }
    let left = spawn(move || tree(depth - 1));
    let right = spawn(move || tree(depth - 1));
    left.join().unwrap() + right.join().unwrap() + 1
}

fn yield_times(times: usize) {
    for _ in 0..times {
        coroutine::yield_now();
    }
}
