//! Futures beside goroutines: polled after each wake, wherever it comes from; blocking inside a poll;
//! awaiting goroutines; panics, cancellation and the scheduler's end.

mod common;

use std::{
    cell::Cell,
    future::{self, Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use common::{in_both_modes, scheduler, watched};
use sched_core::{
    JoinHandle, Scheduler,
    future::{Cancelled, block_on},
    park::{self, WaitReason, Waiter},
    yield_now,
};

/// A future's end and a place for the wakers that wait for it.
#[derive(Default)]
struct Gate {
    open: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::Release);
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap());
        wakers.into_iter().for_each(Waker::wake);
    }

    fn pass(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let gate = Arc::clone(self);
        poll_fn(move |cx| {
            let mut wakers = gate.wakers.lock().unwrap();
            if gate.open.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            wakers.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Ready at the second poll, having woken itself in the first.
fn step_aside() -> impl Future<Output = ()> + Send {
    let mut stepped = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

#[test]
fn futures_and_goroutines_await_each_other() {
    in_both_modes(2, |scheduler| {
        let goroutine = scheduler.spawn(|| 1).unwrap();
        let future = scheduler.spawn_future(async move { goroutine.await.unwrap() + 1 }).unwrap();
        let third = scheduler.spawn(move || future.join().unwrap() + 1).unwrap();
        let slow = scheduler
            .spawn_future(async move {
                step_aside().await;
                third.await.unwrap() + 1
            })
            .unwrap();
        assert_eq!(slow.join().unwrap(), 4);
    });
}

#[test]
fn a_hundred_thousand_wait_at_one_gate() {
    in_both_modes(2, |scheduler| {
        let (gate, arrived) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let one = |_| {
            let (pass, arrived) = (gate.pass(), arrived.clone());
            let future = async move {
                arrived.fetch_add(1, Ordering::Release);
                pass.await;
                1
            };
            scheduler.spawn_future(future).unwrap()
        };
        let all: Vec<_> = (0..100_000).map(one).collect();
        while arrived.load(Ordering::Acquire) < all.len() {
            thread::yield_now();
        }
        gate.open();
        assert_eq!(all.into_iter().map(|one| one.join().unwrap()).sum::<usize>(), 100_000);
    });
}

#[test]
fn a_poll_may_park_and_the_others_go_on() {
    in_both_modes(1, |scheduler| {
        let (tell, told) = mpsc::channel::<Waiter>();
        let go = Arc::new(AtomicBool::new(false));
        let theirs = go.clone();
        let blocked = scheduler
            .spawn_future(async move {
                step_aside().await;
                tell.send(park::current()).unwrap();
                while !theirs.load(Ordering::Acquire) {
                    park::park(WaitReason::Park);
                }
                step_aside().await;
                7
            })
            .unwrap();
        let waiter = told.recv().unwrap();
        // One P, whose carrier is parked in the middle of a poll: these need others.
        for round in 0..100 {
            assert_eq!(
                scheduler.spawn_future(async move { round }).unwrap().join().unwrap(),
                round
            );
        }
        go.store(true, Ordering::Release);
        waiter.unpark();
        assert_eq!(blocked.join().unwrap(), 7);
    });
}

/// The permit of a goroutine and the wake of a future are two things: a park in a poll does not use up
/// a wake that came before.
#[test]
fn a_wake_before_a_park_in_the_same_poll_is_kept() {
    in_both_modes(2, |scheduler| {
        for _ in 0..200 {
            let mut polls = 0;
            let future = poll_fn(move |cx| {
                polls += 1;
                if polls == 2 {
                    return Poll::Ready(());
                }
                let (waker, carrier) = (cx.waker().clone(), park::current());
                thread::scope(|scope| {
                    scope.spawn(move || {
                        waker.wake();
                        carrier.unpark();
                    });
                });
                park::park(WaitReason::Park);
                Poll::Pending
            });
            scheduler.spawn_future(future).unwrap().join().unwrap();
        }
    });
}

#[test]
fn a_poll_may_block_and_compute() {
    watched(1, Duration::from_millis(1), |scheduler| {
        let (done, theirs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let seen = done.clone();
        let hog =
            scheduler.spawn_future(async move { while !seen.load(Ordering::Acquire) {} }).unwrap();
        let flag = theirs.clone();
        let blocker = scheduler
            .spawn_future(async move {
                while !flag.load(Ordering::Acquire) {
                    thread::sleep(Duration::from_millis(1));
                }
            })
            .unwrap();
        scheduler.spawn_future(step_aside()).unwrap().join().unwrap();
        theirs.store(true, Ordering::Release);
        blocker.join().unwrap();
        done.store(true, Ordering::Release);
        hog.join().unwrap();
    });
}

#[test]
fn one_that_wakes_itself_starves_nobody() {
    in_both_modes(1, |scheduler| {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let selfish = scheduler
            .spawn_future(async move {
                while !seen.load(Ordering::Acquire) {
                    step_aside().await;
                }
            })
            .unwrap();
        scheduler.spawn(|| (0..100).for_each(|_| yield_now())).unwrap().join().unwrap();
        scheduler.spawn_future(step_aside()).unwrap().join().unwrap();
        stop.store(true, Ordering::Release);
        selfish.join().unwrap();
    });
}

/// Counts its drops, and where they happen.
struct Dropped(mpsc::Sender<bool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(sched_core::current().is_some());
    }
}

#[test]
fn an_abort_drops_the_future_on_a_carrier() {
    in_both_modes(1, |scheduler| {
        let (tell, told) = mpsc::channel();
        let dropped = Dropped(tell);
        let future = async move {
            let _dropped = dropped;
            future::pending::<()>().await;
        };
        let handle = scheduler.spawn_future(future).unwrap();
        assert!(handle.abort());
        assert!(handle.join().unwrap_err().is::<Cancelled>());
        assert!(told.recv().unwrap(), "it was dropped on a goroutine");
        let over = scheduler.spawn_future(async {}).unwrap();
        while !over.is_finished() {
            thread::yield_now();
        }
        assert!(!over.abort());
    });
}

#[test]
fn one_that_nobody_can_wake_is_dropped() {
    in_both_modes(1, |scheduler| {
        let (tell, told) = mpsc::channel();
        let dropped = Dropped(tell);
        let future = async move {
            let _dropped = dropped;
            future::pending::<()>().await;
        };
        drop(scheduler.spawn_future(future).unwrap());
        assert!(told.recv().unwrap());
    });
}

#[test]
fn wakers_are_cloned_and_dropped_anywhere() {
    in_both_modes(2, |scheduler| {
        for round in 0..300 {
            let (tell, told) = mpsc::channel::<Waker>();
            let mut polls = 0;
            let future = poll_fn(move |cx| {
                polls += 1;
                let _ = tell.send(cx.waker().clone());
                if polls < 3 { Poll::Pending } else { Poll::Ready(polls) }
            });
            let handle = scheduler.spawn_future(future).unwrap();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let waker = told.recv().unwrap();
                    thread::spawn(move || {
                        let other = waker.clone();
                        drop(waker.clone());
                        waker.wake();
                        if round % 2 == 0 { other.wake_by_ref() } else { drop(other) }
                    })
                })
                .collect();
            assert_eq!(handle.join().unwrap(), 3);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
    });
}

#[test]
fn a_panic_is_the_handles_error() {
    in_both_modes(1, |scheduler| {
        let handle = scheduler
            .spawn_future(async {
                step_aside().await;
                std::panic::resume_unwind(Box::new(5_u8));
            })
            .unwrap();
        assert_eq!(handle.join().unwrap_err().downcast_ref::<u8>(), Some(&5));
        assert_eq!(scheduler.spawn_future(async { 6 }).unwrap().join().unwrap(), 6);
    });
}

/// A waker of somebody else's, which counts.
#[derive(Default)]
struct Foreign(AtomicUsize);

impl Wake for Foreign {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

#[test]
fn other_peoples_wakers_are_called_at_the_end_of_a_goroutine() {
    in_both_modes(1, |scheduler| {
        let go = Arc::new(AtomicBool::new(false));
        let seen = go.clone();
        let mut goroutine = scheduler
            .spawn(move || {
                while !seen.load(Ordering::Acquire) {
                    yield_now()
                }
            })
            .unwrap();
        let (first, second) = (Arc::new(Foreign::default()), Arc::new(Foreign::default()));
        for waker in [&first, &second, &second] {
            let waker = Waker::from(waker.clone());
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut goroutine).poll(&mut cx).is_pending());
        }
        go.store(true, Ordering::Release);
        while second.0.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        assert!(block_on(goroutine).is_ok());
        assert_eq!(first.0.load(Ordering::Acquire), 0, "it was replaced");
    });
}

/// A goroutine that ends when the sender is dropped.
fn waits(scheduler: &Scheduler) -> (JoinHandle<()>, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    (scheduler.spawn(move || assert!(wait.recv().is_err())).unwrap(), go)
}

fn poll_with<T>(handle: &mut JoinHandle<T>, waker: &Waker) {
    assert!(Pin::new(handle).poll(&mut Context::from_waker(waker)).is_pending());
}

#[test]
fn a_handle_that_is_dropped_leaves_no_waker_behind() {
    in_both_modes(2, |scheduler| {
        let waker = Arc::new(Foreign::default());
        let (mut goroutine, go) = waits(scheduler);
        poll_with(&mut goroutine, &waker.clone().into());
        assert_eq!(Arc::strong_count(&waker), 2);
        drop(goroutine);
        assert_eq!(Arc::strong_count(&waker), 1, "the goroutine has not ended");
        drop(go);

        let gate = Arc::new(Gate::default());
        let mut future = scheduler.spawn_future(gate.pass()).unwrap();
        poll_with(&mut future, &waker.clone().into());
        drop(future);
        assert_eq!(Arc::strong_count(&waker), 1, "the future has not ended");
        gate.open();
        assert_eq!(waker.0.load(Ordering::Acquire), 0);
    });
}

#[test]
fn a_poll_with_the_same_waker_clones_none_and_another_replaces_it() {
    in_both_modes(2, |scheduler| {
        let (first, second) = (Arc::new(Foreign::default()), Arc::new(Foreign::default()));
        let wakers = [&first, &second].map(|waker| Waker::from(waker.clone()));
        let counts = || [Arc::strong_count(&first), Arc::strong_count(&second)];
        let (mut goroutine, go) = waits(scheduler);
        let created = scheduler.stats().created;
        for _ in 0..100 {
            poll_with(&mut goroutine, &wakers[0]);
            assert_eq!(counts(), [3, 2]);
        }
        // The relay, and no carrier: nothing was polled or cancelled.
        assert_eq!(scheduler.stats().created, created + 1);
        poll_with(&mut goroutine, &wakers[1]);
        assert_eq!(counts(), [2, 3]);
        // A future of ours is told without a relay, and replaces it as well.
        let ours = scheduler.spawn_future(goroutine).unwrap();
        while counts() != [2, 2] {
            thread::yield_now();
        }
        drop(go);
        ours.join().unwrap().unwrap();
        assert_eq!([&first, &second].map(|waker| waker.0.load(Ordering::Acquire)), [0, 0]);
    });
}

/// The end, a drop of the handle and polls with one of two wakers, at any moment of each other.
#[test]
fn wakers_come_and_go_while_the_goroutine_ends() {
    in_both_modes(2, |scheduler| {
        let wakers = [(); 2].map(|()| Arc::new(Foreign::default()));
        for round in 0..2_000_usize {
            let mut goroutine = scheduler.spawn(yield_now).unwrap();
            for turn in 0..round % 7 {
                let waker = Waker::from(wakers[turn / 2 % 2].clone());
                if Pin::new(&mut goroutine).poll(&mut Context::from_waker(&waker)).is_ready() {
                    break;
                }
            }
            if round % 2 == 0 {
                drop(goroutine);
            } else if !goroutine.is_finished() {
                goroutine.join().unwrap();
            }
        }
        while wakers.iter().any(|waker| Arc::strong_count(waker) > 1) {
            thread::yield_now();
        }
    });
}

#[test]
fn block_on_works_on_threads_and_goroutines() {
    in_both_modes(2, |scheduler| {
        let gate = Arc::new(Gate::default());
        let (pass, theirs) = (gate.pass(), gate.clone());
        let goroutine = scheduler.spawn(move || block_on(pass)).unwrap();
        thread::spawn(move || theirs.open()).join().unwrap();
        block_on(gate.pass());
        goroutine.join().unwrap();
    });
}

thread_local! {
    static SEEN: Cell<u32> = const { Cell::new(0) };
}

/// What is set in a poll is there until its end, wherever the goroutine that polls goes meanwhile.
#[test]
fn thread_locals_hold_within_a_poll() {
    in_both_modes(2, |scheduler| {
        let one = |n: u32| {
            let future = async move {
                for _ in 0..50 {
                    SEEN.set(n);
                    yield_now();
                    assert_eq!(SEEN.get(), n);
                    step_aside().await;
                }
            };
            scheduler.spawn_future(future).unwrap()
        };
        let all: Vec<_> = (0..20).map(one).collect();
        all.into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn a_shutdown_tells_of_futures_that_wait() {
    for mode in common::MODES {
        let scheduler = scheduler(1, mode);
        let gate = Arc::new(Gate::default());
        let handles: Vec<_> =
            (0..3).map(|_| scheduler.spawn_future(gate.pass()).unwrap()).collect();
        while gate.wakers.lock().unwrap().len() < 3 {
            thread::yield_now();
        }
        let shutdown = scheduler.shutdown(Some(Duration::from_millis(5)));
        assert_eq!(shutdown.futures, 3, "{shutdown}");
        gate.open();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(scheduler.shutdown(None), Default::default());
    }
}

/// Between a goroutine and a waker of somebody else's stands a future of the scheduler's own.
#[test]
fn a_shutdown_tells_of_no_futures_that_nobody_spawned() {
    for mode in common::MODES {
        let scheduler = scheduler(1, mode);
        let (go, seen) = mpsc::channel::<()>();
        let mut goroutine = scheduler.spawn(move || seen.recv().is_err()).unwrap();
        let waker = Waker::from(Arc::new(Foreign::default()));
        assert!(Pin::new(&mut goroutine).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(scheduler.futures(), 0);
        let created = scheduler.stats().created;
        let shutdown = scheduler.shutdown(Some(Duration::ZERO));
        assert_eq!((shutdown.left.len(), shutdown.futures), (1, 0), "{shutdown}");
        drop(go);
        assert!(block_on(goroutine).unwrap());
        assert_eq!(scheduler.shutdown(None), Default::default());
        let stats = scheduler.stats();
        assert_eq!(stats.futures, 0);
        assert!(stats.created >= created, "it does not run backwards");
    }
}

/// The last handle of the scheduler goes while a carrier rests: its threads end by themselves.
#[test]
fn carriers_at_rest_hold_up_no_end() {
    for mode in common::MODES {
        let scheduler = scheduler(2, mode);
        let monitor = scheduler.monitor();
        scheduler.spawn_future(step_aside()).unwrap().join().unwrap();
        drop(scheduler);
        while !monitor.stopped() {
            thread::yield_now();
        }
    }
}

/// Makes one of the futures of the mixture.
type Make = fn(&Scheduler, Arc<Gate>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Wake-ups from many threads, blocking polls and cancellations, all at once.
#[test]
fn a_mixture_ends() {
    watched(2, Duration::from_millis(1), |scheduler| {
        let ended = Arc::new(AtomicUsize::new(0));
        let kinds: [Make; 4] = [
            |_, gate| Box::pin(gate.pass()),
            |_, _| {
                Box::pin(async {
                    for _ in 0..20 {
                        step_aside().await;
                    }
                })
            },
            |_, gate| {
                Box::pin(async move {
                    yield_now();
                    gate.pass().await;
                    thread::sleep(Duration::from_micros(50));
                })
            },
            |scheduler, _| {
                let inner = scheduler.spawn(yield_now).unwrap();
                Box::pin(async move { inner.await.unwrap() })
            },
        ];
        for _ in 0..10 {
            let gate = Arc::new(Gate::default());
            let spawn = |n: usize| {
                let (future, ended) = (kinds[n % 4](scheduler, gate.clone()), ended.clone());
                let counted = async move {
                    future.await;
                    ended.fetch_add(1, Ordering::Relaxed);
                };
                scheduler.spawn_future(counted).unwrap()
            };
            let all: Vec<_> = (0..200).map(spawn).collect();
            all.iter().skip(7).step_by(20).for_each(|one| {
                let _ = one.abort();
            });
            let opener = gate.clone();
            let thread = thread::spawn(move || opener.open());
            for one in all {
                match one.join() {
                    Ok(()) => {}
                    Err(payload) => assert!(payload.is::<Cancelled>()),
                }
            }
            thread.join().unwrap();
        }
        assert!(ended.load(Ordering::Relaxed) >= 10 * 190);
    });
}
