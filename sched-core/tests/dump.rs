//! The list of goroutines: everybody who is there is in it, with what he does and where he came from.

mod common;

use std::{
    io::{self, PipeReader, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use common::{in_both_modes, watched};
use sched_core::{
    Goroutine, JoinHandle, Scheduler, Status, current,
    park::{self, WaitReason, Waiter},
};

/// Looks until the list is as `wanted`.
fn until(scheduler: &Scheduler, wanted: impl Fn(&[Goroutine]) -> bool) -> Vec<Goroutine> {
    loop {
        let all = scheduler.goroutines();
        if wanted(&all) {
            return all;
        }
        thread::yield_now();
    }
}

fn blocked(status: Status) -> bool {
    matches!(status, Status::Blocked { .. })
}

/// A goroutine that says who it is and parks for `reason`.
fn parks(tell: &mpsc::Sender<Waiter>, reason: WaitReason) -> impl FnOnce() + Send + 'static {
    let tell = tell.clone();
    move || {
        tell.send(park::current()).expect("the test listens");
        park::park(reason);
    }
}

#[test]
fn a_parked_goroutine_tells_why_and_since_when() {
    in_both_modes(2, |scheduler| {
        let (tell, told) = mpsc::channel();
        let before = Instant::now();
        let handle = scheduler.spawn(parks(&tell, WaitReason::Group)).expect("open");
        let waits = |time: Duration| {
            move |all: &[Goroutine]| match all {
                [one] => matches!(
                    one.status,
                    Status::Waiting { reason: WaitReason::Group, time: so_far } if so_far >= time
                ),
                _ => false,
            }
        };
        until(scheduler, waits(Duration::ZERO));
        let all = until(scheduler, waits(Duration::from_millis(3)));
        let Status::Waiting { time, .. } = all[0].status else { unreachable!() };
        // The slice may have begun before the wait, but not before the goroutine; one per cent is
        // for the cheap clock.
        assert!(time <= before.elapsed().mul_f64(1.01), "{time:?}");
        assert_eq!((all[0].id, all[0].creator), (handle.id(), None));
        assert!(all[0].to_string().starts_with("goroutine 1 [group, "), "{}", all[0]);
        told.recv().expect("it has told").unpark();
        handle.join().expect("no panic");
        assert_eq!(until(scheduler, <[Goroutine]>::is_empty), []);
    });
}

#[test]
fn creators_and_origins_are_those_of_the_spawn() {
    in_both_modes(1, |scheduler| {
        let (tell, told) = mpsc::channel();
        let inner = parks(&tell, WaitReason::Park);
        let (parent, line) = (line!() + 2, line!() + 1);
        let spawn_inner = move || current().map(|here| here.spawn(inner).expect("open"));
        let outer = scheduler.spawn(spawn_inner).expect("open");
        assert_eq!(parent, line + 1);
        let id = outer.id();
        let inner = outer.join().expect("no panic").expect("on a goroutine");
        let all = until(scheduler, |all| all.len() == 1);
        assert_eq!((all[0].id, all[0].creator), (inner.id(), Some(id)));
        assert_eq!((all[0].origin.file(), all[0].origin.line()), (file!(), line));
        told.recv().expect("it has told").unpark();
        inner.join().expect("no panic");
    });
}

#[test]
fn running_runnable_and_blocked_ones_are_told_apart() {
    watched(1, Duration::from_millis(10), |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let (end, ended) = mpsc::channel::<()>();
        let sleeper = scheduler.spawn(move || ended.recv().is_err()).expect("open");
        let spin = || {
            let stop = Arc::clone(&stop);
            scheduler
                .spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
                .expect("open")
        };
        let spinners = [spin(), spin()];
        until(scheduler, |all| {
            let of = |is: fn(Status) -> bool| all.iter().filter(|one| is(one.status)).count();
            all.len() == 3
                && of(blocked) == 1
                && of(|status| matches!(status, Status::Running { .. })) == 1
                && of(|status| status == Status::Runnable) == 1
        });
        stop.store(true, Ordering::Relaxed);
        drop(end);
        assert!(sleeper.join().expect("no panic"));
        spinners.into_iter().for_each(|one| one.join().expect("no panic"));
    });
}

/// Nobody wants the P, nor watches: the goroutine keeps it.
#[test]
fn one_that_blocks_and_has_its_p_is_blocked() {
    in_both_modes(2, |scheduler| {
        let (mut reader, writer) = io::pipe().expect("two descriptors");
        let reads = scheduler.spawn(move || reader.read(&mut [0]).expect("open")).expect("open");
        // Of two Ps one is idle, when nobody looks for work with it any more: the other one is the goroutine's.
        let has_proc = || scheduler.monitor().load().idle_procs == 1;
        until(scheduler, |all| {
            has_proc() && matches!(all, [one] if blocked(one.status)) && has_proc()
        });
        drop(writer);
        assert_eq!(reads.join().expect("no panic"), 0);
    });
}

/// Looks until the one goroutine has been so for as long as `time` says, and for no longer than since `before`.
fn until_it_was(scheduler: &Scheduler, before: Instant, time: impl Fn(Status) -> Option<Duration>) {
    let so_far = |all: &[Goroutine]| match all {
        [one] => time(one.status),
        _ => None,
    };
    let enough = |all: &[Goroutine]| so_far(all) >= Some(Duration::from_millis(3));
    let all = until(scheduler, enough);
    // One per cent is for the cheap clock.
    assert!(so_far(&all) <= Some(before.elapsed().mul_f64(1.01)), "{all:?}");
}

fn time_blocked(status: Status) -> Option<Duration> {
    match status {
        Status::Blocked { time } => Some(time),
        _ => None,
    }
}

#[test]
fn one_that_runs_tells_since_when() {
    in_both_modes(2, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, before) = (Arc::clone(&stop), Instant::now());
        let hog = move || while !seen.load(Ordering::Relaxed) {};
        let hog = scheduler.spawn(hog).expect("open");
        until_it_was(scheduler, before, |status| match status {
            Status::Running { time } => Some(time),
            _ => None,
        });
        stop.store(true, Ordering::Relaxed);
        hog.join().expect("no panic");
    });
}

/// Its P is taken by a monitor, or given up; then the time does not count what it computed before, in a slice
/// that nobody else wanted.
#[test]
fn one_that_lost_its_p_tells_since_when() {
    let ways: [fn(PipeReader) -> io::Result<usize>; 2] = [
        |mut reader| reader.read(&mut [0]),
        |mut reader| sched_core::blocking(|| reader.read(&mut [0])),
    ];
    for way in ways {
        watched(1, Duration::from_millis(10), |scheduler| {
            let (reader, writer) = io::pipe().expect("two descriptors");
            let (tell, told) = mpsc::channel();
            let blocks = move || {
                let computed = Instant::now();
                while computed.elapsed() < Duration::from_millis(20) {}
                tell.send(Instant::now()).expect("the test listens");
                way(reader).expect("open")
            };
            let blocks = scheduler.spawn(blocks).expect("open");
            let before = told.recv().expect("it has told");
            // Somebody wants the P.
            scheduler.spawn(|| ()).expect("open").join().expect("no panic");
            until_it_was(scheduler, before, time_blocked);
            let line = scheduler.goroutines()[0].to_string();
            assert!(line.starts_with("goroutine 1 [blocked in the kernel, "), "{line}");
            drop(writer);
            assert_eq!(blocks.join().expect("no panic"), 0);
        });
    }
}

const LEFT: u32 = line!() + 1;
fn left(here: &Scheduler) -> JoinHandle<()> {
    here.spawn(|| ()).expect("open")
}

const RIGHT: u32 = line!() + 1;
fn right(here: &Scheduler) -> JoinHandle<()> {
    here.spawn(|| ()).expect("open")
}

/// Records are recycled under the reader: each line must still be of one goroutine.
#[test]
fn lists_are_true_while_goroutines_come_and_go() {
    in_both_modes(2, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let parent = |child: fn(&Scheduler) -> JoinHandle<()>| {
            let stop = Arc::clone(&stop);
            let parent = move || {
                let here = current().expect("on a goroutine");
                while !stop.load(Ordering::Relaxed) {
                    child(&here).join().expect("no panic");
                }
            };
            scheduler.spawn(parent).expect("open")
        };
        let parents = [(LEFT + 1, parent(left)), (RIGHT + 1, parent(right))];
        let mut seen = [0; 2];
        while seen.iter().any(|&count| count < 100) {
            for child in scheduler.goroutines().iter().filter(|one| one.creator.is_some()) {
                let of = |(_, one): &(u32, JoinHandle<()>)| Some(one.id()) == child.creator;
                let index = parents.iter().position(of).expect("it has one of two parents");
                assert_eq!(child.origin.line(), parents[index].0, "{child}");
                seen[index] += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        parents.into_iter().for_each(|(_, one)| one.join().expect("no panic"));
    });
}

#[test]
fn a_copy_of_a_stack_takes_as_much_memory_as_the_stack_does() {
    const GOROUTINES: usize = 50;
    in_both_modes(2, |scheduler| {
        let (tell, told) = mpsc::channel();
        let start = |_| scheduler.spawn(parks(&tell, WaitReason::Park)).expect("open");
        let all: Vec<_> = (0..GOROUTINES).map(start).collect();
        let waits = |one: &Goroutine| matches!(one.status, Status::Waiting { .. });
        until(scheduler, |list| list.iter().filter(|one| waits(one)).count() == GOROUTINES);
        let copies = scheduler.stacks();
        assert!(copies.iter().all(|copy| copy.registers.is_some() && !copy.bytes.is_empty()));
        let copied: usize = copies.iter().map(|copy| copy.bytes.len()).sum();
        let held: usize = copies.iter().map(|copy| copy.bytes.capacity()).sum();
        assert!(held == copied && held < GOROUTINES * (16 << 10), "{held} bytes for {copied}");
        told.iter().take(GOROUTINES).for_each(|waiter| waiter.unpark());
        all.into_iter().for_each(|one| one.join().expect("no panic"));
    });
}
