//! Goroutines through the facade: start, join, scope, panics, several runtimes, the end.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::sync::{Mutex, WaitGroup};
use runtime::{GoError, Goroutine, Runtime, Status, WaitReason, chan, select};

use super::with_procs;

#[test]
fn ten_thousand_goroutines_on_each_number_of_procs() {
    for procs in [1, 2, 4] {
        let rt = with_procs(procs);
        let sum = rt.run(|| {
            let all: Vec<_> = (0..10_000_u64).map(|i| runtime::go(move || i)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum::<u64>()
        });
        assert_eq!(sum, 10_000 * 9_999 / 2);
    }
}

#[test]
fn a_panic_is_the_handles_error() {
    let rt = with_procs(2);
    let payload = rt.go(|| panic!("on purpose")).join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
    assert_eq!(rt.go(|| 1).join().unwrap(), 1, "and the runtime goes on");
}

#[test]
#[should_panic(expected = "from inside")]
fn run_passes_the_panic_on() {
    with_procs(1).run(|| panic!("from inside"));
}

#[test]
fn go_outside_a_runtime_is_an_error() {
    assert_eq!(runtime::try_go(|| ()).unwrap_err(), GoError::NoRuntime);
}

#[test]
fn scoped_goroutines_write_through_their_borrows() {
    let rt = with_procs(2);
    let mut parts = vec![0_u64; 64];
    rt.scope(|s| {
        for (i, part) in parts.iter_mut().enumerate() {
            s.go(move || *part = i as u64 * 3);
        }
    });
    assert_eq!(parts.iter().sum::<u64>(), 3 * 64 * 63 / 2);
}

#[test]
fn a_scope_waits_also_when_its_closure_panics() {
    let rt = with_procs(2);
    let done = AtomicUsize::new(0);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rt.scope(|s| {
            for _ in 0..8 {
                s.go(|| {
                    runtime::sleep(Duration::from_millis(5));
                    done.fetch_add(1, Ordering::Relaxed);
                });
            }
            panic!("the closure");
        })
    }));
    assert!(caught.is_err());
    assert_eq!(done.into_inner(), 8);
}

#[test]
fn a_scope_panics_for_a_goroutine_that_nobody_joined() {
    let rt = with_procs(1);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        rt.scope(|s| drop(s.go(|| panic!("unseen"))));
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"unseen"));
    let seen = rt.scope(|s| s.go(|| panic!("seen")).join().is_err());
    assert!(seen);
}

#[test]
fn nested_scopes_on_one_proc() {
    fn sum(numbers: &[u64]) -> u64 {
        if numbers.len() < 8 {
            return numbers.iter().sum();
        }
        let (left, right) = numbers.split_at(numbers.len() / 2);
        runtime::scope(|s| {
            let left = s.go(|| sum(left));
            sum(right) + left.join().unwrap()
        })
    }
    let numbers: Vec<u64> = (0..1000).collect();
    assert_eq!(with_procs(1).run(|| sum(&numbers)), 1000 * 999 / 2);
}

#[test]
fn thread_locals_belong_to_goroutines() {
    thread_local! {
        static OWN: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }
    let rt = with_procs(2);
    rt.scope(|s| {
        for i in 0..100 {
            s.go(move || {
                for round in 0..20 {
                    OWN.with_borrow_mut(|own| {
                        assert!(own.iter().all(|&n| n == i), "another one's value in {own:?}");
                        own.push(i);
                        // Borrowed over a switch: with a thread-local shared by goroutines the
                        // next one would find it borrowed.
                        runtime::yield_now();
                        assert_eq!(own.len(), round + 1);
                    });
                }
            });
        }
    });
}

#[test]
fn channels_join_goroutines_threads_and_two_runtimes() {
    let (one, two) = (with_procs(1), with_procs(2));
    let (to_two, from_one) = chan::rendezvous::<u64>();
    let (to_main, results) = chan::bounded::<u64>(3);
    let squares = two.go(move || {
        for number in from_one {
            to_main.send(number * number).unwrap();
        }
    });
    let numbers = one.go(move || (1..=100).for_each(|i| to_two.send(i).unwrap()));
    assert_eq!(results.iter().sum::<u64>(), 338_350);
    numbers.join().unwrap();
    squares.join().unwrap();
}

#[test]
fn a_goroutine_waits_for_one_of_another_runtime() {
    let (one, two) = (with_procs(1), with_procs(1));
    let inner = two.go(|| {
        runtime::sleep(Duration::from_millis(2));
        5
    });
    assert_eq!(one.go(move || inner.join().unwrap() + 1).join().unwrap(), 6);
}

#[test]
fn many_selects_on_few_procs() {
    let rt = with_procs(2);
    let total = rt.run(|| {
        let (tx, rx) = chan::rendezvous::<u64>();
        let (ty, ry) = chan::bounded::<u64>(2);
        let got = Arc::new(Mutex::new(0));
        let group = Arc::new(WaitGroup::new());
        for _ in 0..8 {
            let (rx, ry, got, group) = (rx.clone(), ry.clone(), got.clone(), group.clone());
            group.add(1);
            runtime::go(move || {
                let (mut a, mut b) = (Some(&rx), Some(&ry));
                while a.is_some() || b.is_some() {
                    select! {
                        recv(a) -> v => match v { Ok(v) => *got.lock() += v, Err(_) => a = None },
                        recv(b) -> v => match v { Ok(v) => *got.lock() += v, Err(_) => b = None },
                    }
                }
                group.done();
            });
        }
        for i in 0..4000 {
            let (mut x, mut y) = (Some(i), Some(i));
            select! {
                send(&tx, &mut x) -> r => r.unwrap(),
                send(&ty, &mut y) -> r => r.unwrap(),
            }
        }
        drop((tx, ty));
        group.wait();
        *got.lock()
    });
    assert_eq!(total, 4000 * 3999 / 2);
}

#[test]
fn a_sleep_is_not_early_and_lets_others_run() {
    const NAP: Duration = Duration::from_millis(10);
    let begun = AtomicUsize::new(0);
    with_procs(1).scope(|s| {
        for _ in 0..100 {
            s.go(|| {
                begun.fetch_add(1, Ordering::Relaxed);
                // Others come to sleep as well, or this does not end.
                let mut naps = 0;
                while naps == 0 || begun.load(Ordering::Relaxed) < 100 {
                    let start = Instant::now();
                    runtime::sleep(NAP);
                    assert!(start.elapsed() >= NAP);
                    naps += 1;
                }
            });
        }
    });
}

#[test]
fn procs_come_and_go_under_goroutines_that_allocate_and_talk() {
    const ITEMS: usize = 20_000;
    let rt = with_procs(2);
    let (tx, rx) = chan::bounded(16);
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let tx = tx.clone();
            rt.go(move || (0..ITEMS).for_each(|n| tx.send(vec![n; n % 50]).unwrap()))
        })
        .collect();
    drop(tx);
    let received = rt.go(move || rx.iter().map(|list| list.len()).sum::<usize>());
    let mut procs = 0;
    while !received.is_finished() {
        procs = (procs + 3) % 7;
        rt.set_procs(procs + 1).unwrap();
        std::thread::yield_now();
    }
    senders.into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(received.join().unwrap(), 4 * (0..ITEMS).map(|n| n % 50).sum::<usize>());
    assert_eq!(rt.procs(), procs + 1);
}

#[test]
fn shutdown_tells_who_is_left() {
    let rt = with_procs(1);
    let (tx, rx) = chan::rendezvous::<()>();
    let waits = rt.go(move || rx.recv().is_err());
    let is_parked =
        |one: &Goroutine| matches!(one.status, Status::Waiting { reason: WaitReason::Receive, .. });
    while !rt.goroutines().iter().any(is_parked) {
        std::thread::yield_now();
    }
    let end = rt.shutdown(Some(Duration::from_millis(5)));
    let [left] = end.left[..] else { panic!("{end}") };
    assert!(is_parked(&left) && left.origin.file() == file!(), "{left}");
    drop(tx);
    assert!(waits.join().unwrap(), "it runs on");
}

#[test]
fn dropping_a_runtime_waits_for_its_goroutines() {
    let count = Arc::new(AtomicUsize::new(0));
    let rt = with_procs(2);
    for _ in 0..50 {
        let count = Arc::clone(&count);
        rt.go(move || {
            runtime::sleep(Duration::from_millis(2));
            count.fetch_add(1, Ordering::Relaxed);
        });
    }
    drop(rt);
    assert_eq!(Arc::into_inner(count).map(AtomicUsize::into_inner), Some(50));
}

#[test]
fn a_runtime_may_be_dropped_by_its_own_goroutine() {
    let (tx, rx) = chan::rendezvous::<Runtime>();
    let (done, wait) = chan::bounded(1);
    let rt = with_procs(1);
    rt.go(move || {
        drop(rx.recv());
        done.send(()).unwrap();
    });
    tx.send(rt).unwrap();
    assert_eq!(wait.recv(), Ok(()));
}

#[test]
fn runtimes_come_and_go() {
    for _ in 0..20 {
        let rt = with_procs(2);
        assert_eq!(rt.run(|| runtime::go(|| 1).join().unwrap()), 1);
    }
}
