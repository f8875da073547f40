//! Rows in which tasks wait: at a gate, for a time, in the kernel, for nothing at all.

use std::fs;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Request, clock, process as memory, stats};

use crate::{BATCH, BLOCK, BLOCKERS, Scheduler, WORKERS};

/// Tasks of `sleeps`.
const SLEEPERS: usize = 200_000;
/// How long `idle` looks.
const IDLE: Duration = Duration::from_secs(10);

/// A peer whose tasks may be futures, without a stack.
pub trait Futures: Scheduler {
    /// As [`Scheduler::park`], with futures.
    fn park_futures(&self, tasks: usize, arrived: Arc<AtomicUsize>) -> impl FnOnce();

    /// As [`Scheduler::spawn_join`], with futures.
    fn spawn_join_futures(&self, batch: usize, batches: usize);
}

/// A peer that can be told of a call that will block.
pub trait Announce: Scheduler {
    /// As [`Scheduler::block`], but the scheduler is told.
    fn block_announced(&self, tasks: usize, each: Duration);
}

/// Memory, and what it takes to create the tasks and to wake, run and join them: with the first touch of every
/// page, as this row has no warm-up, and once more on what the first ones left.
pub(crate) fn parked<S: Scheduler>(request: &Request, tasks: usize) {
    let scheduler = S::start(WORKERS);
    scheduler.spawn_join(BATCH, 1);
    at_a_gate(request, tasks, |tasks, arrived| scheduler.park(tasks, arrived));
}

/// The same with a million futures.
pub fn parked_futures<S: Futures>(request: &Request) {
    let scheduler = S::start(WORKERS);
    scheduler.spawn_join_futures(BATCH, 1);
    at_a_gate(request, 1_000_000, |tasks, arrived| scheduler.park_futures(tasks, arrived));
}

fn at_a_gate<F: FnOnce()>(
    request: &Request,
    tasks: usize,
    park: impl Fn(usize, Arc<AtomicUsize>) -> F,
) {
    let tasks = request.count(tasks);
    let before = (memory::resident_bytes(), memory::page_table_bytes());
    let open = created(request, "create", tasks, &park);
    let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / tasks as f64;
    request.report("resident each", "bytes", each(memory::resident_bytes(), before.0));
    request.report("page table each", "bytes", each(memory::page_table_bytes(), before.1));
    woken(request, "wake and join", tasks, open);
    let open = created(request, "create again", tasks, &park);
    woken(request, "wake and join again", tasks, open);
    process::exit(0);
}

/// Creates the tasks, and returns when all have arrived at the gate.
fn created<F>(
    request: &Request,
    metric: &str,
    tasks: usize,
    park: impl Fn(usize, Arc<AtomicUsize>) -> F,
) -> F {
    let arrived = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let open = park(tasks, arrived.clone());
    // Acquire: all that the tasks touched before they arrived is resident; pairs with the
    // increment in each peer.
    while arrived.load(Ordering::Acquire) < tasks {
        thread::sleep(Duration::from_micros(200));
    }
    request.report_each(metric, began.elapsed(), tasks);
    open
}

/// Opens the gate and joins them.
fn woken(request: &Request, metric: &str, tasks: usize, open: impl FnOnce()) {
    let time = clock::timed(open);
    request.report_each(metric, time, tasks);
}

/// One task spawns empty futures and joins them.
pub fn spawn_futures<S: Futures>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let batches = request.count(200);
    let passes = request.passes();
    let time = harness::median_time(passes, || scheduler.spawn_join_futures(BATCH, batches));
    request.report_each("per task", time, BATCH * batches);
}

/// 64 calls of 20 ms that the scheduler is told of: the first time, and the median of later ones.
pub fn announced<S: Announce>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let pass = || {
        let time = clock::timed(|| scheduler.block_announced(BLOCKERS, BLOCK));
        time.as_secs_f64() * 1e3
    };
    request.report("first", "ms", pass());
    let later: Vec<f64> = (0..request.passes()).map(|_| pass()).collect();
    let later = stats::Summary::of(&later).expect("at least one pass").median;
    request.report("later", "ms", later);
}

/// 200,000 tasks sleep for 1 to 100 ms each. The median pass, and the lateness in it.
pub(crate) fn sleeps<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    let tasks = request.count(SLEEPERS);
    let late: Arc<Vec<_>> = Arc::new((0..tasks).map(|_| AtomicU32::new(0)).collect());
    let span = |number: usize| Duration::from_millis(number as u64 * 37 % 100 + 1);
    let mut passes: Vec<(Duration, Duration)> = (0..=request.passes())
        .map(|_| {
            let total = clock::timed(|| scheduler.sleeps(tasks, span, &late));
            // Relaxed: the tasks are joined.
            let lateness = late.iter().map(|late| late.load(Ordering::Relaxed));
            let mut sorted: Vec<_> =
                lateness.map(|micros| Duration::from_micros(micros.into())).collect();
            sorted.sort();
            (total, stats::quantile(&sorted, 0.99).expect("somebody slept"))
        })
        .skip(1)
        .collect();
    passes.sort();
    let (total, p99) = passes[passes.len() / 2];
    request.report("total", "ms", total.as_secs_f64() * 1e3);
    request.report("late p99", "ms", p99.as_secs_f64() * 1e3);
}

/// What a scheduler does that has nothing to do: processor time, and how often one of its threads woke.
pub(crate) fn idle<S: Scheduler>(request: &Request) {
    let scheduler = S::start(WORKERS);
    scheduler.spawn_join(BATCH, 10);
    scheduler.block(4, Duration::from_millis(1));
    // Until what follows work has ended: spinning, trimming of pools, memory that goes back.
    thread::sleep(Duration::from_secs(5));
    let time = if request.quick { IDLE / 10 } else { IDLE };
    let (switches, cpu) = (switches_of_others(), clock::process_cpu());
    thread::sleep(time);
    let (more, spent) = (switches_of_others() - switches, clock::process_cpu() - cpu);
    request.report("wake-ups", "count", more as f64);
    request.report("CPU", "µs", spent.as_secs_f64() * 1e6);
    process::exit(0);
}

/// Context switches so far of all threads but this one. A thread that sleeps all the time has none, and
/// makes no system call.
fn switches_of_others() -> u64 {
    let own = fs::read_link("/proc/thread-self").expect("/proc is mounted");
    let threads = fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let others = threads.filter(|thread| Some(thread.file_name().as_os_str()) != own.file_name());
    others
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(|status| {
            let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
            let numbers = counts.filter_map(|line| line.split_whitespace().last());
            numbers.filter_map(|number| number.parse::<u64>().ok()).sum::<u64>()
        })
        .sum()
}
