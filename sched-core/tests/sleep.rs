//! Sleeping futures that are taken from one scheduler to another, and outlive the first.

mod common;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use common::{MODES, in_both_modes, scheduler};
use sched_core::{Sleep, future::block_on, sleep_until};

/// A waker that counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// A sleep until `deadline` that was polled on a scheduler which has been shut down since, and how often that
/// has woken it.
fn orphan(mode: bool, deadline: Instant) -> (Pin<Box<Sleep>>, Arc<Count>) {
    let first = scheduler(1, mode);
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let polled = first.spawn(move || {
        let mut sleep = Box::pin(sleep_until(deadline));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep
    });
    let sleep = polled.unwrap().join().unwrap();
    assert_eq!(first.shutdown(None), Default::default());
    (sleep, count)
}

#[test]
fn a_sleep_goes_on_when_its_scheduler_has_ended() {
    for mode in MODES {
        let deadline = Instant::now() + Duration::from_millis(300);
        let (sleep, _) = orphan(mode, deadline);
        let second = scheduler(1, mode);
        let end = second.spawn(move || {
            block_on(sleep);
            Instant::now()
        });
        assert!(end.unwrap().join().unwrap() >= deadline);
        assert_eq!(second.shutdown(None), Default::default());
    }
}

#[test]
fn one_that_waits_elsewhere_is_told_of_the_end_and_sleeps_on() {
    in_both_modes(1, |second| {
        let first = scheduler(1, !second.mode().is_own_tls());
        let deadline = Instant::now() + Duration::from_millis(300);
        let (tell, told) = mpsc::channel();
        let polled = first.spawn(move || {
            let mut sleep = Box::pin(sleep_until(deadline));
            let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            sleep
        });
        let mut sleep = polled.unwrap().join().unwrap();
        let future = std::future::poll_fn(move |cx| {
            let poll = sleep.as_mut().poll(cx);
            let _ = tell.send(());
            poll
        });
        let end = second
            .spawn_future(async {
                future.await;
                Instant::now()
            })
            .unwrap();
        told.recv().unwrap();
        assert_eq!(first.shutdown(None), Default::default());
        assert!(end.join().unwrap() >= deadline);
    });
}

/// The alarm of a sleep for ever is rung at the end, and on a plain thread nobody takes another one.
#[test]
fn a_sleep_that_nobody_keeps_time_for_says_so() {
    for mode in MODES {
        let (mut sleep, count) = orphan(mode, Instant::now() + Duration::from_secs(1 << 20));
        assert_eq!(count.0.load(Ordering::Acquire), 1, "it was woken at the end");
        let polled = thread::spawn(move || {
            let _ = sleep.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        let panic = polled.join().unwrap_err();
        let text = panic.downcast_ref::<String>().expect("a message");
        assert!(text.contains("has ended"), "{text}");
    }
}

/// What the end wakes may panic, and the others are woken.
#[test]
fn a_waker_that_panics_at_the_end_keeps_no_other_asleep() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a bad waker"));
        }
    }
    for mode in MODES {
        let first = scheduler(1, mode);
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let far = Instant::now() + Duration::from_secs(1 << 20);
        let polled = first.spawn(move || {
            [Waker::from(Arc::new(Bad)), waker].map(|waker| {
                let mut sleep = Box::pin(sleep_until(far));
                let _ = sleep.as_mut().poll(&mut Context::from_waker(&waker));
                sleep
            })
        });
        let sleeps = polled.unwrap().join().unwrap();
        assert_eq!(first.shutdown(None), Default::default());
        assert_eq!(count.0.load(Ordering::Acquire), 1);
        drop(sleeps);
    }
}
