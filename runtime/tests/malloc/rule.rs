//! [`Witness`]: libc's malloc, with an eye on who calls it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use runtime::gc::{self, GcCell, Trace};
use runtime::sync::{Mutex, WaitGroup};
use runtime::{Runtime, chan, go, select};
use sched_core::{entry, tls};

/// libc's malloc; counts calls by those who may not.
pub(crate) struct Witness;

static WITH_A_P: AtomicUsize = AtomicUsize::new(0);
static ON_A_RESCUER: AtomicUsize = AtomicUsize::new(0);
/// Threads that must not allocate, by the kernel's number. 0: none.
static RESCUERS: [AtomicI32; 2] = [AtomicI32::new(0), AtomicI32::new(0)];

impl Witness {
    fn look() {
        let inside = tls::with_words(tls::Words::is_inside);
        // Nested, so that it never meets the slow path.
        if inside && entry::enter().proc_index().is_some() {
            WITH_A_P.fetch_add(1, Ordering::Relaxed);
        }
        if RESCUERS[0].load(Ordering::Relaxed) != 0 {
            // SAFETY: no preconditions.
            let own = unsafe { libc::gettid() };
            if RESCUERS.iter().any(|tid| tid.load(Ordering::Relaxed) == own) {
                ON_A_RESCUER.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

// SAFETY: `System` does all the work.
unsafe impl GlobalAlloc for Witness {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Witness::look();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Witness::look();
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Witness::look();
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Witness::look();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// The thread of this process with this name.
fn thread_named(name: &str) -> i32 {
    let tasks = fs::read_dir("/proc/self/task").expect("there is /proc");
    tasks
        .map(|task| task.expect("it can be read").path())
        .find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .and_then(|task| task.file_name()?.to_str()?.parse().ok())
        .expect("the runtime has such a thread")
}

#[derive(Trace)]
struct Link<'g> {
    number: u64,
    next: GcCell<'g, Link<'g>>,
}

/// A bit of everything that the runtime offers.
fn everything(rounds: u64) -> u64 {
    let (numbers, drain) = chan::bounded(4);
    let (done, last) = chan::bounded::<()>(1);
    let (total, group) = (Arc::new(Mutex::new(0)), Arc::new(WaitGroup::new()));
    group.add(3);
    for _ in 0..3 {
        let (drain, last, total, group) =
            (drain.clone(), last.clone(), total.clone(), group.clone());
        go(move || {
            loop {
                select! {
                    recv(&drain) -> number => match number {
                        Ok(number) => *total.lock() += number,
                        Err(_) => break,
                    },
                    recv(&last) -> _ => {},
                    default(Duration::from_secs(3600)) => unreachable!("somebody sends"),
                }
            }
            group.done();
        });
    }
    for number in 0..rounds {
        let text = format!("{number}");
        numbers.send(text.parse::<u64>().expect("a number")).expect("it is received");
        let guard = gc::enter();
        let link = guard.alloc(Link { number, next: GcCell::null() });
        link.next.set(&guard, Some(link));
        assert_eq!(link.next.load().expect("set above").number, number);
    }
    gc::collect().expect("outside a guard");
    runtime::sleep(Duration::from_millis(1));
    drop((done, numbers, drain));
    group.wait();
    *total.lock()
}

/// So many goroutines block in the kernel at the same time: as many threads, and as many to watch.
fn block(goroutines: usize) {
    runtime::scope(|scope| {
        let mut writers = Vec::new();
        for _ in 0..goroutines {
            let (mut reader, writer) = UnixStream::pair().expect("two sockets");
            scope.go(move || reader.read_exact(&mut [0]).expect("it is written"));
            writers.push(writer);
        }
        for mut writer in writers {
            writer.write_all(&[1]).expect("it is read");
        }
    });
}

/// A goroutine in `read` until it has lost its P.
fn lose_a_processor(rt: &Runtime) {
    let (mut reader, mut writer) = UnixStream::pair().expect("two sockets");
    let blocked = rt.go(move || reader.read_exact(&mut [0]));
    while rt.stats().handoffs == 0 {
        std::thread::yield_now();
    }
    writer.write_all(&[1]).expect("the reader waits");
    blocked.join().expect("no panic").expect("it is written");
}

fn watch(kernel_threads: bool) {
    let slice = Duration::from_micros(200);
    let builder = Runtime::builder().procs(2).preempt_after(slice).kernel_threads(kernel_threads);
    let rt = builder.build().expect("it starts");
    let rounds = 300;
    // Both rescuers have begun when a goroutine has slept and one has lost its P in the kernel.
    rt.run(|| runtime::sleep(Duration::from_millis(1)));
    lose_a_processor(&rt);
    for (place, name) in RESCUERS.iter().zip(["sched-timer", "sysmon"]) {
        place.store(thread_named(name), Ordering::Relaxed);
    }
    let sums = rt.run(move || {
        block(60);
        let all: Vec<_> = (0..6).map(|_| go(move || everything(rounds))).collect();
        all.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    RESCUERS.iter().for_each(|place| place.store(0, Ordering::Relaxed));
    assert_eq!(sums, [rounds * (rounds - 1) / 2; 6]);
    assert_eq!(WITH_A_P.load(Ordering::Relaxed), 0, "calls inside the runtime, with a P");
    assert_eq!(ON_A_RESCUER.load(Ordering::Relaxed), 0, "calls by the monitor or the timers");
    assert_eq!(rt.shutdown(None).left.len(), 0);
}

#[test]
fn nobody_who_frees_others_calls_malloc() {
    [false, true].into_iter().for_each(watch);
}
