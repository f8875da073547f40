//! The list of goroutines: everybody who is there is in it, with what he does and where he came from.

mod common;

use std::{
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
    Goroutine, Scheduler, Status, current,
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
        let of = |all: &[Goroutine], status| all.iter().filter(|one| one.status == status).count();
        until(scheduler, |all| {
            all.len() == 3
                && of(all, Status::Blocked) == 1
                && of(all, Status::Running) == 1
                && of(all, Status::Runnable) == 1
        });
        stop.store(true, Ordering::Relaxed);
        drop(end);
        assert!(sleeper.join().expect("no panic"));
        spinners.into_iter().for_each(|one| one.join().expect("no panic"));
    });
}

/// Records are recycled under the reader: each line must still be of one goroutine.
#[test]
fn lists_are_true_while_goroutines_come_and_go() {
    in_both_modes(2, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let (first, second) = (line!() + 4, line!() + 5);
        let churn = scheduler.spawn(move || {
            let here = current().expect("on a goroutine");
            while !stopped.load(Ordering::Relaxed) {
                let a = here.spawn(|| ()).expect("open");
                let b = here.spawn(|| ()).expect("open");
                a.join().and(b.join()).expect("no panic");
            }
        });
        let churn = churn.expect("open");
        let mut seen = 0;
        while seen < 200 {
            for one in scheduler.goroutines().iter().filter(|one| one.id != churn.id()) {
                assert_eq!(one.creator, Some(churn.id()));
                // Odd and even numbers alternate, and so do the two places.
                let line = if one.id.get() % 2 == 0 { first } else { second };
                assert_eq!((churn.id().get(), one.origin.line()), (1, line), "{one}");
                seen += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
        churn.join().expect("no panic");
    });
}
