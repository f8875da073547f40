//! A dump shows where goroutines are: those that wait, those that have their turn, and those that will.

use std::iter::repeat_with;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use runtime::dump::Dump;
use runtime::{Builder, Runtime, Status, chan};

#[inline(never)]
fn waits_here(rx: &chan::Receiver<u64>) -> u64 {
    let value = rx.recv().unwrap();
    std::hint::black_box(value)
}

#[inline(never)]
fn waits_deeper(rx: &chan::Receiver<u64>, depth: u32) -> u64 {
    let value = if depth == 0 { waits_here(rx) } else { waits_deeper(rx, depth - 1) };
    std::hint::black_box(value)
}

#[inline(never)]
fn computes_here(stop: &AtomicBool) -> u64 {
    let mut turns = 0;
    while !stop.load(Ordering::Relaxed) {
        turns = std::hint::black_box(turns + 1);
    }
    turns
}

#[inline(never)]
fn blocks_here(reader: &mut std::io::PipeReader) -> usize {
    let read = std::io::Read::read(reader, &mut [0]).unwrap();
    std::hint::black_box(read)
}

/// With own stacks, and with a kernel thread for each goroutine.
fn in_both_modes(procs: usize, test: impl Fn(&Runtime)) {
    for threads in [false, true] {
        test(&Builder::new().procs(procs).kernel_threads(threads).build().unwrap());
    }
}

/// Dumps until the goroutine has `status` and a backtrace: its functions.
fn functions(rt: &Runtime, status: impl Fn(Status) -> bool) -> Vec<String> {
    loop {
        let Dump { goroutines, .. } = rt.dump();
        for one in goroutines {
            if status(one.goroutine.status) && !one.frames.is_empty() {
                return one.frames.into_iter().map(|frame| frame.function).collect();
            }
        }
        std::thread::yield_now();
    }
}

fn count(functions: &[String], name: &str) -> usize {
    functions.iter().filter(|function| function.contains(name)).count()
}

/// Dumps until one that has `status` is in the function, once. (It may not have come there yet, and one that was
/// interrupted between two functions may show neither.)
fn until_shown(rt: &Runtime, status: fn(Status) -> bool, function: &str) {
    while count(&functions(rt, status), function) != 1 {}
}

#[test]
fn a_parked_goroutine_shows_its_calls_and_is_not_disturbed() {
    in_both_modes(2, |rt| {
        let (tx, rx) = chan::rendezvous();
        let waits = rt.go(move || waits_deeper(&rx, 4));
        let seen = functions(rt, |status| matches!(status, Status::Waiting { .. }));
        assert_eq!((count(&seen, "waits_here"), count(&seen, "waits_deeper")), (1, 5), "{seen:#?}");
        let outermost = seen.last().unwrap();
        assert!(outermost.contains("a_parked_goroutine_shows_its_calls"), "{seen:#?}");
        tx.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), 7);
    });
}

/// Its state, what it waits for and for how long, who started it and where, and its calls.
#[test]
fn the_text_says_what_a_goroutine_does_and_where_it_comes_from() {
    in_both_modes(2, |rt| {
        let (tx, rx) = chan::rendezvous();
        let (parent, line) = (rt.go(move || runtime::go(move || waits_here(&rx))), line!());
        let creator = parent.id();
        let waits = parent.join().unwrap();
        let begins = format!("goroutine {} [receive, ", waits.id());
        let text = loop {
            let text = rt.dump().to_string();
            if text.starts_with(&begins) && text.contains("waits_here") {
                break text;
            }
            std::thread::yield_now();
        };
        let (head, calls) = text.split_once('\n').unwrap();
        let (time, origin) = head[begins.len()..].split_once("] ").unwrap();
        assert!(time.starts_with(|c: char| c.is_ascii_digit()) && time.ends_with('s'), "{text}");
        let place = format!("started by {creator} at runtime/tests/dump.rs:{line}:");
        assert!(origin.starts_with(&place), "{text}");
        assert!(calls.contains("waits_here") && calls.contains("runtime/tests/dump.rs:"), "{text}");
        assert!(!calls.contains("catch_unwind") && !calls.contains("sched-core/src"), "{text}");
        tx.send(7).unwrap();
        assert_eq!(waits.join().unwrap(), 7);
    });
}

#[test]
fn dumps_lose_no_wake_up() {
    in_both_modes(2, |rt| {
        let (tx, rx) = chan::rendezvous();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let sum =
            rt.go(move || repeat_with(|| waits_here(&rx)).take_while(|&n| n != 0).sum::<u64>());
        let sender = rt.go(move || {
            let numbers = (1..).take_while(|_| !seen.load(Ordering::Relaxed));
            let sent = numbers.inspect(|&n| tx.send(n).unwrap()).sum::<u64>();
            tx.send(0).unwrap();
            sent
        });
        for _ in 0..200 {
            assert!(rt.dump().goroutines.len() <= 2);
        }
        stop.store(true, Ordering::Relaxed);
        assert_eq!(sum.join().unwrap(), sender.join().unwrap());
    });
}

#[test]
fn a_goroutine_that_computes_shows_what() {
    in_both_modes(2, |rt| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let computes = rt.go(move || computes_here(&seen));
        until_shown(rt, |status| matches!(status, Status::Running { .. }), "computes_here");
        stop.store(true, Ordering::Relaxed);
        assert!(computes.join().unwrap() > 0);
    });
}

/// Gives way until it is told to stop. Its stack is right if this returns.
#[inline(never)]
fn yields_here(stop: &AtomicBool) -> u64 {
    let (mut turns, mut sum) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        (turns, sum) = std::hint::black_box((turns + 1, sum + turns));
        runtime::yield_now();
    }
    assert_eq!(2 * sum + turns, turns * turns);
    turns
}

/// Two that give way to each other until they are told to stop, so that one of them waits for its turn at any
/// time. A goroutine that the monitor took for blocked computes on without a processor while nobody waits.
fn who_waits(rt: &Runtime, stop: &Arc<AtomicBool>) -> [runtime::JoinHandle<u64>; 2] {
    std::array::from_fn(|_| {
        let stop = Arc::clone(stop);
        rt.go(move || yields_here(&stop))
    })
}

/// Two do this on one processor, so that one is runnable at any time: dumps until it shows `name`.
fn one_of_two_shows(name: &str, does: fn(&AtomicBool) -> u64) {
    in_both_modes(1, |rt| {
        let stop = Arc::new(AtomicBool::new(false));
        let go = |stop: Arc<AtomicBool>| rt.go(move || does(&stop));
        let both = [go(Arc::clone(&stop)), go(Arc::clone(&stop))];
        let others = who_waits(rt, &stop);
        until_shown(rt, |status| status == Status::Runnable, name);
        stop.store(true, Ordering::Relaxed);
        both.into_iter().chain(others).for_each(|one| _ = one.join().unwrap());
    });
}

#[test]
fn a_goroutine_that_gave_way_shows_where() {
    one_of_two_shows("yields_here", yields_here);
}

#[test]
fn a_goroutine_that_was_preempted_shows_where() {
    one_of_two_shows("computes_here", computes_here);
}

/// Copies `count` bytes by its first instruction, which goes on after an interruption.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn copies_at_once(to: *mut u8, from: *const u8, _: usize, count: usize) {
    core::arch::naked_asm!(".cfi_startproc", "rep movsb", "ret", ".cfi_endproc");
}

#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn copies_here(stop: &AtomicBool) -> u64 {
    let (from, mut to) = (vec![1; 1 << 20], vec![0; 1 << 20]);
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: both are so long.
        unsafe { copies_at_once(to.as_mut_ptr(), from.as_ptr(), 0, to.len()) };
    }
    std::hint::black_box(to[0].into())
}

/// The address at which it was interrupted is that of a function, and none of a call's return.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_goroutine_that_was_preempted_at_a_functions_beginning_shows_its_calls() {
    in_both_modes(1, |rt| {
        let stop = Arc::new(AtomicBool::new(false));
        let go = |stop: Arc<AtomicBool>| rt.go(move || copies_here(&stop));
        let both = [go(Arc::clone(&stop)), go(Arc::clone(&stop))];
        let others = who_waits(rt, &stop);
        let mut seen = 0;
        while seen < 20 {
            let functions = functions(rt, |status| status == Status::Runnable);
            if count(&functions, "copies_at_once") == 1 {
                assert_eq!(count(&functions, "copies_here"), 1, "{functions:#?}");
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        both.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 1));
        others.into_iter().for_each(|one| _ = one.join().unwrap());
    });
}

/// Whoever takes a goroutine from its queue while it is looked at waits, and finds its stack as it was.
#[test]
fn dumps_disturb_nobody_who_gives_way() {
    in_both_modes(2, |rt| {
        let stop = Arc::new(AtomicBool::new(false));
        let go = |stop: Arc<AtomicBool>| rt.go(move || yields_here(&stop));
        let yielding: Vec<_> = (0..4).map(|_| go(Arc::clone(&stop))).collect();
        let mut seen = 0;
        while seen < 100 {
            let Dump { goroutines, .. } = rt.dump();
            let runnable = goroutines.iter().filter(|one| one.goroutine.status == Status::Runnable);
            seen += runnable.filter(|one| !one.frames.is_empty()).count();
        }
        stop.store(true, Ordering::Relaxed);
        yielding.into_iter().for_each(|one| assert!(one.join().unwrap() > 0));
    });
}

/// Stacks and threads are used again, and threads end, under the dump.
#[test]
fn dumps_disturb_nobody_who_ends() {
    in_both_modes(2, |rt| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let parent = rt.go(move || {
            let mut children = 0;
            while !seen.load(Ordering::Relaxed) {
                let child = runtime::go(|| (0..1000).map(std::hint::black_box).sum::<u64>());
                assert_eq!(child.join().unwrap(), 1000 * 999 / 2);
                children += 1;
            }
            children
        });
        let mut seen = 0;
        while seen < 100 {
            let all = rt.dump().goroutines;
            seen += all.iter().filter(|one| !one.frames.is_empty()).count();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(parent.join().unwrap() > 0);
    });
}

#[test]
fn a_goroutine_that_blocks_in_the_kernel_shows_where() {
    in_both_modes(1, |rt| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let blocks = rt.go(move || blocks_here(&mut reader));
        until_shown(rt, |status| matches!(status, Status::Blocked { .. }), "blocks_here");
        drop(writer);
        assert_eq!(blocks.join().unwrap(), 0);
    });
}

#[test]
fn a_goroutine_dumps_itself_and_others() {
    in_both_modes(2, |rt| {
        let (tx, rx) = chan::rendezvous();
        let waits = rt.go(move || waits_here(&rx));
        let text = rt.run(|| {
            loop {
                let text = dumps_here(rt);
                if text.contains("waits_here") {
                    return text;
                }
                runtime::yield_now();
            }
        });
        // A dump reads files: its caller may lose its P meanwhile.
        let itself = ["[running, ", "[blocked in the kernel, "];
        assert!(itself.iter().any(|is| text.contains(is)) && text.contains("dumps_here"), "{text}");
        tx.send(1).unwrap();
        assert_eq!(waits.join().unwrap(), 1);
    });
}

#[inline(never)]
fn dumps_here(rt: &Runtime) -> String {
    let text = rt.dump().to_string();
    std::hint::black_box(text)
}
