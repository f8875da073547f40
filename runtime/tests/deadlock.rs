//! A deadlock ends the process with a list of those who wait; whatever may still be woken does not.
//!
//! It has no harness: the harness's own threads could wake a goroutine, for all that the runtime knows.
//! The program runs itself once for each case, all at the same time.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Waker};
use std::time::Duration;

use runtime::{Builder, JoinHandle, Runtime, chan};

const CASE: &str = "DEADLOCK_CASE";
/// Longer than the monitor takes to find everything idle.
const WHILE: Duration = Duration::from_millis(300);
/// Longer than it asks then whether all wait for ever.
const LONG: Duration = Duration::from_millis(1_400);

/// Whether goroutines are kernel threads.
const THREADS: &str = "DEADLOCK_THREADS";

fn runtime() -> Runtime {
    Builder::new().procs(2).kernel_threads(std::env::var_os(THREADS).is_some()).build().unwrap()
}

/// Two goroutines, each of which waits for the other to send first; then `wait` with both.
fn cycle_of(rt: &Runtime, wait: impl FnOnce([JoinHandle<()>; 2])) {
    let ((to_a, at_a), (to_b, at_b)) = (chan::rendezvous::<()>(), chan::rendezvous::<()>());
    let turn = |at: chan::Receiver<()>, to: chan::Sender<()>| {
        rt.go(move || {
            let _ = at.recv().map(|()| to.send(()));
        })
    };
    wait([turn(at_a, to_b), turn(at_b, to_a)]);
}

fn join(goroutines: [JoinHandle<()>; 2]) {
    goroutines.into_iter().for_each(|one| drop(one.join()));
}

fn cycle() {
    cycle_of(&runtime(), join);
}

/// The main thread is awake for long, and then waits.
fn late() {
    cycle_of(&runtime(), |both| {
        std::thread::sleep(LONG);
        join(both);
    });
}

/// A thread that has waited for the runtime is awake for long, and ends.
fn helper() {
    let rt = runtime();
    std::thread::spawn(|| {
        runtime::sleep(Duration::from_millis(1));
        std::thread::sleep(LONG);
    });
    cycle_of(&rt, join);
}

/// The last deadline goes when the main thread drops a future that sleeps.
fn dropped() {
    let rt = runtime();
    let polled = rt.run(|| {
        let mut sleep = Box::pin(runtime::time::sleep_async(Duration::from_secs(3600)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        sleep
    });
    cycle_of(&rt, |both| {
        std::thread::sleep(LONG);
        drop(polled);
        join(both);
    });
}

/// The same when the main thread is done, and waits for the end of the runtime.
fn end() {
    let rt = runtime();
    let (tx, rx) = chan::rendezvous::<()>();
    rt.go(move || (rx.recv(), drop(tx)));
}

/// A goroutine that waits for `wakes`.
fn woken_by(wakes: impl FnOnce(chan::Sender<()>, &Runtime)) {
    let rt = runtime();
    let (tx, rx) = chan::rendezvous();
    let waits = rt.go(move || rx.recv());
    wakes(tx, &rt);
    waits.join().unwrap().unwrap();
}

fn thread() {
    woken_by(|tx, _| {
        std::thread::spawn(move || {
            std::thread::sleep(WHILE);
            tx.send(()).unwrap();
        });
    });
}

fn main_thread() {
    woken_by(|tx, _| {
        std::thread::sleep(WHILE);
        tx.send(()).unwrap();
    });
}

fn timer() {
    woken_by(|tx, rt| {
        rt.go(move || {
            runtime::sleep(WHILE);
            tx.send(()).unwrap();
        });
    });
}

fn kernel() {
    woken_by(|tx, rt| {
        rt.go(move || {
            std::thread::sleep(WHILE);
            tx.send(()).unwrap();
        });
    });
}

fn other_runtime() {
    let other = runtime();
    woken_by(|tx, _| {
        other.go(move || {
            runtime::sleep(WHILE);
            tx.send(()).unwrap();
        });
    });
}

fn not_asked() {
    let rt = Builder::new().detect_deadlocks(false).build().unwrap();
    let (tx, rx) = chan::rendezvous::<()>();
    rt.go(move || (rx.recv(), drop(tx)));
    assert_eq!(rt.shutdown(Some(WHILE)).left.len(), 1);
}

/// As `cycle`, with futures, which are in no list.
fn futures() {
    let rt = runtime();
    let ((to_a, at_a), (to_b, at_b)) = (chan::rendezvous::<()>(), chan::rendezvous::<()>());
    let a = rt.spawn_future(async move {
        at_a.recv_async().await.unwrap();
        to_b.send_async(()).await.unwrap();
    });
    let b = rt.spawn_future(async move {
        at_b.recv_async().await.unwrap();
        to_a.send_async(()).await.unwrap();
    });
    a.join().unwrap();
    b.join().unwrap();
}

/// A timeout beyond the end of the clock is none.
fn never() {
    let (tx, rx) = chan::rendezvous::<()>();
    let _ = runtime().run(|| rx.recv_timeout(Duration::MAX));
    drop(tx);
}

/// A future sleeps, and nobody else does anything.
fn sleeping_future() {
    let rt = runtime();
    rt.spawn_future(runtime::time::sleep_async(WHILE)).join().unwrap();
}

const DEADLOCKS: [(&str, fn(), usize); 7] = [
    ("cycle", cycle, 2),
    ("late", late, 2),
    ("helper", helper, 2),
    ("dropped", dropped, 2),
    ("end", end, 1),
    ("futures", futures, 0),
    ("never", never, 1),
];
const HEALTHY: [(&str, fn()); 7] = [
    ("sleeping future", sleeping_future),
    ("thread", thread),
    ("main thread", main_thread),
    ("timer", timer),
    ("kernel", kernel),
    ("other runtime", other_runtime),
    ("not asked", not_asked),
];

fn run(case: &str, threads: bool) -> Child {
    let mut again = Command::new(std::env::current_exe().unwrap());
    if threads {
        again.env(THREADS, "1");
    }
    again.env(CASE, case).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn main() {
    if let Ok(case) = std::env::var(CASE) {
        let deadlocks = DEADLOCKS.iter().map(|(name, body, _)| (*name, *body));
        let (_, body) = deadlocks.chain(HEALTHY).find(|(name, _)| *name == case).unwrap();
        // A deadlock that nobody sees ends by this signal, and the test with it.
        // SAFETY: the call has no preconditions.
        unsafe { libc::alarm(60) };
        return body();
    }
    let in_both_modes = |case: &str| [false, true].map(|threads| run(case, threads));
    let deadlocks = DEADLOCKS.map(|(case, _, waiting)| (case, waiting, in_both_modes(case)));
    let healthy = HEALTHY.map(|(case, _)| (case, in_both_modes(case)));
    for (case, waiting, children) in deadlocks {
        for child in children.map(|child| child.wait_with_output().unwrap()) {
            let said = String::from_utf8_lossy(&child.stderr);
            assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{case}: {said}");
            assert!(said.contains("all goroutines are asleep"), "{case}: {said}");
            let lines = said.lines().filter(|line| line.contains("[receive, ")).count();
            assert_eq!(lines, waiting, "{case}: {said}");
        }
    }
    for (case, children) in healthy {
        for child in children.map(|child| child.wait_with_output().unwrap()) {
            let said = String::from_utf8_lossy(&child.stderr);
            assert!(child.status.success() && said.is_empty(), "{case}: {said}");
        }
    }
    println!("{} passed, 0 failed", 2 * (DEADLOCKS.len() + HEALTHY.len()));
}
