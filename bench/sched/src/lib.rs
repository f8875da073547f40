//! The scheduler rows, written once.
//!
//! A peer implements [`Scheduler`]: the loops that must be written in its own terms (`.await` or
//! not). Sizes, warm-up, clocks and the meaning of each number are here. `../go/sched.go` does
//! the same for Go.

mod handover;
mod monitor;
mod ticks;
mod waiting;

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::thread;
use std::time::Duration;

use harness::Request;

pub use handover::{Select, VALUES, select};
pub use monitor::{Costs, HandOff, Monitored, entry, hand_off, monitor, preempt};
pub use ticks::Ticks;
pub use waiting::{Announce, Futures, announced, parked_futures, spawn_futures};

/// The workers of every row whose name does not say otherwise.
const WORKERS: usize = 2;
/// Tasks that are spawned before any of them is joined.
const BATCH: usize = 1000;
/// A complete binary tree of tasks has 2^(depth+1) − 1 of them.
const TREE_DEPTH: u32 = 14;
/// That of `spawn-tree-2m`; in a quick run an eighth.
const LARGE_DEPTH: u32 = 20;
const QUICK_DEPTH: u32 = 17;
/// Tasks that compute for ever beside the ticker of `ticker-hogs` and `ticker-slept`.
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

    /// `pairs` senders and as many receivers share one channel of capacity 128, over which `values` numbers
    /// go in all. Returns their sum.
    fn channel(&self, pairs: usize, values: usize) -> usize;

    /// A task with the number 0 sends to its parent's channel the sum of what its ten children send to its
    /// own, down to `leaves` leaves which send their number. Returns the sum.
    fn skynet(&self, leaves: usize) -> usize;

    /// `tasks` tasks each take one lock `times` times, and add one under it. Returns the sum.
    fn locks(&self, tasks: usize, times: usize) -> usize;

    /// For each number from 0 on below `tasks` a task that sleeps for `span` of it, and tells `late` how late
    /// it woke; returns when all are done.
    fn sleeps(&self, tasks: usize, span: fn(usize) -> Duration, late: &Arc<Vec<AtomicU32>>);

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

    /// Spawns a task that sleeps once, for `span`, and then runs [`hog`].
    fn spawn_late_hog(&self, span: Duration);

    /// Spawns a task that for ever blocks its thread in the kernel for `each`, without telling
    /// the scheduler.
    fn spawn_blocker(&self, each: Duration);
}

/// Computes for ever and calls nothing.
#[expect(clippy::empty_loop, reason = "a scheduler must live with the worst loop there is")]
pub fn hog() -> ! {
    loop {}
}

/// Runs the row that the command line names, with `S` as the peer of this name. `own` runs the rows that not
/// all peers have, and says whether it was one of them.
pub fn main<S: Scheduler>(peer: &str, own: impl FnOnce(&Request) -> bool) {
    let request = Request::from_args(peer);
    if own(&request) {
        return;
    }
    match request.row.as_str() {
        "spawn-join" => spawn_join::<S>(&request),
        "spawn-tree" => spawn_tree::<S>(&request, TREE_DEPTH),
        "spawn-tree-2m" => {
            spawn_tree::<S>(&request, if request.quick { QUICK_DEPTH } else { LARGE_DEPTH });
        }
        "yield-2" => yields::<S>(&request, 2, request.count(200_000)),
        "yield-1000" => yields::<S>(&request, 1000, request.count(400)),
        "ping-pong-1" => ping_pong::<S>(&request, 1),
        "ping-pong-2" => ping_pong::<S>(&request, 2),
        "channel-1" => handover::channel::<S>(&request, 1),
        "channel-4" => handover::channel::<S>(&request, 4),
        "skynet" => handover::skynet::<S>(&request),
        "mutex-1" => handover::mutex::<S>(&request, 1),
        "mutex-2" => handover::mutex::<S>(&request, 2),
        "parked" => waiting::parked::<S>(&request, 100_000),
        "parked-1m" => waiting::parked::<S>(&request, 1_000_000),
        "sleeps" => waiting::sleeps::<S>(&request),
        "idle" => waiting::idle::<S>(&request),
        "blocking" => blocking::<S>(&request),
        "ticker-idle" => ticker(&request, |_: &S| ()),
        "ticker" => ticker(&request, |scheduler: &S| {
            (0..BLOCKERS).for_each(|_| scheduler.spawn_blocker(BLOCK));
            scheduler.spawn_hog();
        }),
        "ticker-hogs" => ticker(&request, |scheduler: &S| {
            (0..HOGS).for_each(|_| scheduler.spawn_hog());
        }),
        "ticker-slept" => ticker(&request, |scheduler: &S| {
            (0..HOGS).for_each(|_| scheduler.spawn_late_hog(PERIOD));
        }),
        _ => request.unknown(),
    }
}

fn spawn_join<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let batches = request.count(200);
    let time = harness::median_time(request.passes(), || scheduler.spawn_join(BATCH, batches));
    request.report_each("per task", time, BATCH * batches);
}

fn spawn_tree<S: Scheduler>(request: &Request, depth: u32) {
    let scheduler = S::start(WORKERS);
    let mut tasks = 0;
    let time = harness::median_time(request.passes(), || tasks = scheduler.spawn_tree(depth));
    assert_eq!(tasks, (2 << depth) - 1, "a task was lost");
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

/// How long it takes until 64 tasks have been blocked for 20 ms each. One worker for each would
/// need 20 ms, two workers 640.
fn blocking<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let time = harness::median_time(request.passes(), || scheduler.block(BLOCKERS, BLOCK));
    request.report("total", "ms", time.as_secs_f64() * 1e3);
}

/// Lateness of a 1 ms ticker beside what `others` spawns: hogs, blockers. The process is exited from: neither can be
/// stopped. So the time is bounded also where the ticker never runs again.
fn ticker<S: Scheduler>(request: &Request, others: impl FnOnce(&S)) {
    let scheduler = S::start(WORKERS);
    let ticks = Arc::new(Ticks::default());
    scheduler.spawn_ticker(PERIOD, ticks.clone());
    others(&scheduler);
    thread::sleep(Duration::from_millis(200));
    let run = Duration::from_millis(if request.quick { 1000 } else { 4000 });
    ticks.record_for(run).report(request, run);
    process::exit(0);
}
