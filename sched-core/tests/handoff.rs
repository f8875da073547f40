//! A goroutine that blocks in the kernel does not keep its P.

mod common;

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use common::{in_both_modes, watched};
use sched_core::park::{self, WaitReason};
use sched_core::{blocking, current, yield_now};

/// The watch takes Ps and preempts nobody: a preemption would end a blocking call as well.
const SLICE: Duration = Duration::from_secs(3600);

#[test]
fn a_goroutine_in_read_loses_its_p() {
    watched(1, SLICE, |scheduler| {
        let (mut reader, mut writer) = UnixStream::pair().expect("a socket pair");
        let blocked = scheduler.spawn(move || {
            let mut byte = [0];
            reader.read_exact(&mut byte).map(|()| byte[0])
        });
        // There is one P: this runs only after it was taken from the reader.
        let other = scheduler.spawn(move || writer.write_all(&[42])).expect("open");
        other.join().expect("no panic").expect("it is written");
        assert_eq!(blocked.expect("open").join().expect("no panic").expect("it is read"), 42);
    });
}

#[test]
fn the_p_is_taken_exactly_when_the_goroutine_is_blocked() {
    in_both_modes(1, |scheduler| {
        let monitor = scheduler.monitor();
        let (mut reader, mut writer) = UnixStream::pair().expect("a socket pair");
        let blocked = scheduler.spawn(move || {
            let mut byte = [0];
            reader.read_exact(&mut byte).expect("it is written");
            yield_now();
            current().is_some()
        });
        let mut views = Vec::new();
        // Until the goroutine is in user code there is nothing to take.
        let taken = loop {
            monitor.snapshot(&mut views);
            if let Some(view) = views.iter().find(|view| monitor.try_take(view)) {
                break *view;
            }
            thread::yield_now();
        };
        assert!(!monitor.try_take(&taken), "it has no P any more");
        assert!(monitor.load().is_idle() || monitor.load().runnable == 0);
        writer.write_all(&[1]).expect("the reader waits");
        assert!(blocked.expect("open").join().expect("no panic"), "it went on, with a P again");
        assert_eq!(scheduler.stats().handoffs, 1);
    });
}

/// All Ps were idle at the look, and are again. In between somebody ran and now waits for ever.
#[test]
fn a_monitor_does_not_sleep_if_somebody_ran_since_it_looked() {
    in_both_modes(1, |scheduler| {
        let monitor = scheduler.monitor();
        let until_idle = || {
            while !monitor.load().is_idle() {
                thread::yield_now();
            }
        };
        until_idle();
        monitor.snapshot(&mut Vec::new());
        let (tell, told) = mpsc::channel();
        let waits = move || {
            tell.send(park::current()).expect("the test listens");
            park::park(WaitReason::Park);
        };
        let waits = scheduler.spawn(waits).expect("open");
        let waiter = told.recv().expect("it tells");
        until_idle();
        // Nothing rings: it returns by itself, or never.
        monitor.wait(None);
        waiter.unpark();
        waits.join().expect("no panic");
    });
}

#[test]
fn many_blocked_goroutines_get_as_many_threads() {
    const GOROUTINES: usize = 40;
    watched(2, SLICE, |scheduler| {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..GOROUTINES).map(|_| mpsc::channel()).unzip();
        let (tell, told) = mpsc::channel();
        let handles: Vec<_> = receivers
            .into_iter()
            .map(|receiver: mpsc::Receiver<usize>| {
                let tell = tell.clone();
                // The standard library's channel blocks the thread.
                let block = move || {
                    tell.send(()).expect("the test listens");
                    receiver.recv().expect("the sender lives")
                };
                scheduler.spawn(block).expect("open")
            })
            .collect();
        // Nobody is sent anything before all have begun: two Ps have gone from one to the next. (A signal for
        // one that has just parked may hit who came after, and preempt that.)
        (0..GOROUTINES).for_each(|_| told.recv().expect("each begins"));
        let stats = scheduler.stats();
        assert!(stats.handoffs + stats.preemptions >= GOROUTINES as u64 - 2, "{stats:?}");
        for (n, sender) in senders.iter().enumerate() {
            sender.send(n).expect("the receiver lives");
        }
        let sum: usize = handles.into_iter().map(|handle| handle.join().expect("no panic")).sum();
        assert_eq!(sum, GOROUTINES * (GOROUTINES - 1) / 2);
    });
}

#[test]
fn blocking_gives_the_p_away_at_once() {
    in_both_modes(1, |scheduler| {
        // Nobody watches: only the announcement lets the second goroutine run. They share no lock, which
        // the second could hold when it gives way to the first.
        let (mut far, mut near) = UnixStream::pair().expect("a pair of sockets");
        let first = scheduler.spawn(move || {
            let mut byte = [0];
            blocking(|| near.read_exact(&mut byte)).expect("it is written");
            byte
        });
        let second = scheduler.spawn(move || far.write_all(&[7]).expect("it is read"));
        second.expect("open").join().expect("no panic");
        assert_eq!(first.expect("open").join().expect("no panic"), [7]);
    });
}

#[test]
fn a_std_mutex_may_be_held_across_a_park() {
    watched(1, SLICE, |scheduler| {
        let shared = Arc::new(Mutex::new(0));
        let (inside, go) = mpsc::channel();
        let theirs = Arc::clone(&shared);
        let holder = scheduler.spawn(move || {
            let mut value = theirs.lock().expect("no panic");
            inside.send(park::current()).expect("the test listens");
            park::park(park::WaitReason::Park);
            *value += 1;
        });
        let waiter = go.recv().expect("the holder holds");
        let others: Vec<_> = (0..3)
            .map(|_| {
                let shared = Arc::clone(&shared);
                // Blocks the thread until the holder goes on.
                scheduler.spawn(move || *shared.lock().expect("no panic") += 1).expect("open")
            })
            .collect();
        let unpark = scheduler.spawn(move || waiter.unpark()).expect("open");
        unpark.join().expect("no panic");
        holder.expect("open").join().expect("no panic");
        for other in others {
            other.join().expect("no panic");
        }
        assert_eq!(*shared.lock().expect("no panic"), 4);
    });
}
