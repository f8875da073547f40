//! Another policy under load: nothing is lost, nothing runs twice, nobody waits for ever.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::watched;
use sched_core::{
    Scheduler,
    park::{self, WaitReason},
    policy::{Chosen, GlobalFifo, Gmp, Priority, WorkSteal},
    spawn, yield_now,
};

const SLICE: Duration = Duration::from_millis(1);

fn policy(turn: usize) -> Chosen {
    match turn % 4 {
        0 => Chosen::new(Gmp),
        1 => Chosen::new(GlobalFifo),
        2 => Chosen::new(WorkSteal),
        _ => Chosen::new(Priority::new()),
    }
}

/// Changes the policy as long as `busy` says, at least some times; how often.
fn keep_swapping(scheduler: &Scheduler, busy: impl Fn() -> bool) -> usize {
    let mut turn = 1;
    while turn < 9 || busy() {
        scheduler.set_policy(&policy(turn));
        turn += 1;
    }
    turn
}

/// Generations of goroutines that start others, yield, compute and sleep. Each leaves a mark.
fn generation(marks: &Arc<[AtomicUsize]>, at: usize) {
    let children: Vec<_> = [2 * at + 1, 2 * at + 2]
        .into_iter()
        .filter(|&child| child < marks.len())
        .map(|child| {
            let marks = Arc::clone(marks);
            spawn(move || generation(&marks, child)).expect("on a goroutine").expect("it is open")
        })
        .collect();
    match at % 4 {
        0 => yield_now(),
        1 => {
            let until = Instant::now() + Duration::from_micros(at as u64 % 300);
            let _ = park::park_until(WaitReason::Sleep, until);
        }
        2 => {
            let until = Instant::now() + Duration::from_micros(50);
            while Instant::now() < until {}
        }
        _ => {}
    }
    marks[at].fetch_add(1, Ordering::Relaxed);
    children.into_iter().for_each(|child| child.join().expect("no panic"));
}

#[test]
fn a_family_grows_while_the_policy_changes() {
    watched(2, SLICE, |scheduler| {
        let marks: Arc<[AtomicUsize]> = (0..2_000).map(|_| AtomicUsize::new(0)).collect();
        let family = Arc::clone(&marks);
        let root = scheduler.spawn(move || generation(&family, 0)).expect("it is open");
        keep_swapping(scheduler, || !root.is_finished());
        root.join().expect("no panic");
        assert!(marks.iter().all(|mark| mark.load(Ordering::Relaxed) == 1), "each runs once");
    });
}

/// Pairs that wake each other, hogs that never call, and submissions from outside.
#[test]
fn pairs_hogs_and_outsiders_go_on() {
    watched(2, SLICE, |scheduler| {
        let over = Arc::new(AtomicBool::new(false));
        let hogs: Vec<_> = (0..3)
            .map(|_| {
                let over = Arc::clone(&over);
                scheduler.spawn(move || while !over.load(Ordering::Relaxed) {})
            })
            .collect();
        let pair = scheduler.spawn(|| {
            let first = park::current();
            let second = spawn(move || {
                (0..500).for_each(|_| {
                    first.unpark();
                    yield_now();
                })
            });
            let second = second.expect("on a goroutine").expect("it is open");
            while !second.is_finished() {
                let _ = park::park_until(WaitReason::Park, Instant::now() + SLICE);
            }
        });
        let pair = pair.expect("it is open");
        keep_swapping(scheduler, || {
            outside_job(scheduler);
            !pair.is_finished()
        });
        pair.join().expect("no panic");
        over.store(true, Ordering::Relaxed);
        hogs.into_iter().for_each(|hog| hog.expect("it is open").join().expect("no panic"));
    });
}

/// Starts one from a plain thread and waits for it.
fn outside_job(scheduler: &Scheduler) {
    scheduler.spawn(|| ()).expect("it is open").join().expect("no panic");
}

/// One stands in the kernel with its P, and what it has started lies in its queue.
#[test]
fn a_blocked_goroutine_does_not_keep_the_old_queues() {
    use std::io::{Read, Write};
    common::in_both_modes(1, |scheduler| {
        let (mut reader, mut writer) = std::io::pipe().expect("the system gives a pipe");
        let (inside, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (tell, count) = (Arc::clone(&inside), Arc::clone(&seen));
        let blocked = scheduler.spawn(move || {
            let others: Vec<_> = (0..10)
                .map(|_| {
                    let count = Arc::clone(&count);
                    let job = move || {
                        count.fetch_add(1, Ordering::Relaxed);
                    };
                    spawn(job).expect("on a goroutine").expect("it is open")
                })
                .collect();
            tell.store(true, Ordering::Release);
            reader.read_exact(&mut [0]).expect("a byte comes");
            others.into_iter().for_each(|other| other.join().expect("no panic"));
        });
        while !inside.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        // The second waits until the first is complete: no monitor is there to take the P.
        scheduler.set_policy(&Chosen::new(GlobalFifo));
        scheduler.set_policy(&Chosen::new(WorkSteal));
        while seen.load(Ordering::Relaxed) != 10 {
            std::thread::yield_now();
        }
        writer.write_all(&[0]).expect("somebody reads");
        blocked.expect("it is open").join().expect("no panic");
    });
}

#[test]
fn it_may_change_with_the_number_of_procs_and_at_the_end() {
    watched(2, SLICE, |scheduler| {
        let marks: Arc<[AtomicUsize]> = (0..600).map(|_| AtomicUsize::new(0)).collect();
        let family = Arc::clone(&marks);
        let root = scheduler.spawn(move || generation(&family, 0)).expect("it is open");
        let other = scheduler.clone();
        let resizer = scheduler.spawn(move || {
            for procs in [3, 1, 4, 2] {
                other.set_procs(procs).expect("as many as that");
                other.set_policy(&policy(procs));
                yield_now();
            }
        });
        keep_swapping(scheduler, || !root.is_finished());
        root.join().expect("no panic");
        resizer.expect("it is open").join().expect("no panic");
        assert!(marks.iter().all(|mark| mark.load(Ordering::Relaxed) == 1), "each runs once");
        scheduler.set_policy(&Chosen::new(Gmp)); // and then it ends
    });
}
