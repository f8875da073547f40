//! The scheduler rows, written once.
//!
//! A peer implements [`Scheduler`]: the loops that must be written in its own terms (`.await` or
//! not). Sizes, warm-up, clocks and the meaning of each number are here. `../go/sched.go` does
//! the same for Go.

mod ticks;

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Request, process as memory};

pub use ticks::Ticks;

/// The workers of every row whose name does not say otherwise.
const WORKERS: usize = 2;
/// Tasks that are spawned before any of them is joined.
const BATCH: usize = 1000;
/// A complete binary tree of tasks has 2^(depth+1) − 1 of them.
const TREE_DEPTH: u32 = 14;
/// Tasks that compute for ever beside the ticker of `ticker-hogs`.
const HOGS: usize = 8;
/// Tasks that sleep in the kernel beside the ticker, and for how long each time.
const BLOCKERS: usize = 64;
const BLOCK: Duration = Duration::from_millis(20);
/// What the ticker sleeps.
const PERIOD: Duration = Duration::from_millis(1);

/// A scheduler under test. All methods are called from the main thread, which is no task.
pub trait Scheduler: Sized {
    /// Starts it with this many workers.
    fn start(workers: usize) -> Self;

    /// One task spawns `batch` empty tasks and joins them all; `batches` times.
    fn spawn_join(&self, batch: usize, batches: usize);

    /// A task spawns two tasks, each of which does the same, down to `depth` 0; each joins its
    /// children. Returns the number of tasks.
    fn spawn_tree(&self, depth: u32) -> usize;

    /// `tasks` tasks yield `times` times each; returns when all are done.
    fn yields(&self, tasks: usize, times: usize);

    /// Two tasks pass a number to and fro over two rendezvous channels.
    fn ping_pong(&self, round_trips: usize);

    /// Spawns `tasks` tasks that add one to `arrived` and wait at one gate. What is returned
    /// opens the gate and joins them.
    fn park(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce();

    /// `tasks` tasks block their thread in the kernel for `each`, once, without telling the
    /// scheduler; returns when all are done.
    fn block(&self, tasks: usize, each: Duration);

    /// Spawns a task that for ever sleeps for `period` and hands each lateness to `ticks`.
    fn spawn_ticker(&self, period: Duration, ticks: Arc<Ticks>);

    /// Spawns a task that runs [`hog`].
    fn spawn_hog(&self);

    /// Spawns a task that for ever blocks its thread in the kernel for `each`, without telling
    /// the scheduler.
    fn spawn_blocker(&self, each: Duration);
}

/// Computes for ever and calls nothing.
#[expect(clippy::empty_loop, reason = "a scheduler must live with the worst loop there is")]
pub fn hog() -> ! {
    loop {}
}

/// Runs the row that the command line names, with `S` as the peer of this name.
pub fn main<S: Scheduler>(peer: &str) {
    let request = Request::from_args(peer);
    match request.row.as_str() {
        "spawn-join" => spawn_join::<S>(&request),
        "spawn-tree" => spawn_tree::<S>(&request),
        "yield-2" => yields::<S>(&request, 2, request.count(200_000)),
        "yield-1000" => yields::<S>(&request, 1000, request.count(400)),
        "ping-pong-1" => ping_pong::<S>(&request, 1),
        "ping-pong-2" => ping_pong::<S>(&request, 2),
        "parked" => parked::<S>(&request),
        "blocking" => blocking::<S>(&request),
        "ticker-idle" => ticker::<S>(&request, 0, 0),
        "ticker" => ticker::<S>(&request, 1, BLOCKERS),
        "ticker-hogs" => ticker::<S>(&request, HOGS, 0),
        _ => request.unknown(),
    }
}

fn spawn_join<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let batches = request.count(200);
    let time = harness::median_time(request.passes(), || scheduler.spawn_join(BATCH, batches));
    request.report_each("per task", time, BATCH * batches);
}

fn spawn_tree<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let mut tasks = 0;
    let time = harness::median_time(request.passes(), || tasks = scheduler.spawn_tree(TREE_DEPTH));
    assert_eq!(tasks, (2 << TREE_DEPTH) - 1, "a task was lost");
    request.report_each("per task", time, tasks);
}

fn yields<S: Scheduler>(request: &Request, tasks: usize, times: usize) {
    let scheduler = S::start(1);
    let time = harness::median_time(request.passes(), || scheduler.yields(tasks, times));
    request.report_each("per switch", time, tasks * times);
}

fn ping_pong<S: Scheduler>(request: &Request, workers: usize) {
    let scheduler = S::start(workers);
    let trips = request.count(200_000);
    let time = harness::median_time(request.passes(), || scheduler.ping_pong(trips));
    request.report_each("round trip", time, trips);
}

/// Memory, and what it takes to create the tasks and to wake, run and join them. Both times
/// include the first touch of every page: this row has no warm-up.
fn parked<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    scheduler.spawn_join(BATCH, 1);
    let tasks = request.count(100_000);
    let arrived = Arc::new(AtomicUsize::new(0));
    let before = memory::resident_bytes();
    let began = Instant::now();
    let open = scheduler.park(tasks, arrived.clone());
    // Acquire: all that the tasks touched before they arrived is resident; pairs with the
    // increment in each peer.
    while arrived.load(Ordering::Acquire) < tasks {
        thread::sleep(Duration::from_micros(200));
    }
    let created = began.elapsed();
    let resident = memory::resident_bytes().saturating_sub(before);
    request.report("resident each", "bytes", resident as f64 / tasks as f64);
    request.report_each("create", created, tasks);
    let began = Instant::now();
    open();
    request.report_each("wake and join", began.elapsed(), tasks);
    process::exit(0);
}

/// How long it takes until 64 tasks have been blocked for 20 ms each. One worker for each would
/// need 20 ms, two workers 640.
fn blocking<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let time = harness::median_time(request.passes(), || scheduler.block(BLOCKERS, BLOCK));
    request.report("total", "ms", time.as_secs_f64() * 1e3);
}

/// Lateness of a 1 ms ticker beside hogs and blockers. The process is exited from: neither can be
/// stopped.
fn ticker<S: Scheduler>(request: &Request, hogs: usize, blockers: usize) {
    let scheduler = S::start(WORKERS);
    let ticks = Arc::new(Ticks::default());
    scheduler.spawn_ticker(PERIOD, ticks.clone());
    (0..blockers).for_each(|_| scheduler.spawn_blocker(BLOCK));
    (0..hogs).for_each(|_| scheduler.spawn_hog());
    thread::sleep(Duration::from_millis(200));
    let run = Duration::from_millis(if request.quick { 1000 } else { 4000 });
    ticks.record_for(run).report(request, run);
    process::exit(0);
}
