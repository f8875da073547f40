//! Channels under many senders and receivers: nothing lost, nothing twice, order kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runtime::chan::{self, RecvTimeoutError, SendTimeoutError, TryRecvError};

/// `parts` senders with `each` numbers of their own; every receiver checks that the numbers of one
/// sender come in order, and adds up.
fn storm(capacity: usize, parts: usize, receivers: usize, each: usize) {
    let (tx, rx) = chan::bounded::<(usize, usize)>(capacity);
    let (sum, count) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        for part in 0..parts {
            let tx = tx.clone();
            s.spawn(move || (0..each).for_each(|i| tx.send((part, i)).unwrap()));
        }
        drop(tx);
        for _ in 0..receivers {
            s.spawn(|| {
                let mut last = vec![None; parts];
                for (part, i) in rx.clone() {
                    assert!(last[part] < Some(i), "part {part}: {i} after {:?}", last[part]);
                    last[part] = Some(i);
                    sum.fetch_add(part * each + i, Ordering::Relaxed);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let total = parts * each;
    assert_eq!(count.into_inner(), total);
    assert_eq!(sum.into_inner(), total * (total - 1) / 2);
}

#[test]
fn rendezvous_many_to_many() {
    storm(0, 4, 4, 2000);
}

#[test]
fn one_place_many_to_many() {
    storm(1, 4, 4, 2000);
}

#[test]
fn small_buffer_many_to_one() {
    storm(3, 8, 1, 2000);
}

#[test]
fn large_buffer_one_to_many() {
    storm(64, 1, 8, 10_000);
}

/// Counts how many of its copies are alive.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Live(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn every_value_is_dropped_once() {
    let live = Arc::new(AtomicUsize::new(0));
    let (tx, rx) = chan::bounded(2);
    thread::scope(|s| {
        for _ in 0..4 {
            let (tx, live) = (tx.clone(), &live);
            s.spawn(move || while tx.send(Live::new(live)).is_ok() {});
        }
        for _ in 0..1000 {
            drop(rx.recv().unwrap());
        }
        drop(rx); // with values in the buffer, and senders that wait
    });
    assert!(tx.try_send(Live::new(&live)).is_err());
    assert_eq!(live.load(Ordering::Relaxed), 0);
}

#[test]
fn dropping_the_channel_drops_what_is_in_it() {
    let live = Arc::new(AtomicUsize::new(0));
    let (tx, rx) = chan::bounded(8);
    (0..5).for_each(|_| tx.send(Live::new(&live)).unwrap_or_else(|_| unreachable!()));
    drop(tx);
    drop(rx.recv());
    assert_eq!(live.load(Ordering::Relaxed), 4);
    drop(rx);
    assert_eq!(live.load(Ordering::Relaxed), 0);
}

#[test]
fn close_wakes_all_receivers_after_the_last_value() {
    let (tx, rx) = chan::bounded(0);
    let got: usize = thread::scope(|s| {
        let all: Vec<_> = (0..6).map(|_| s.spawn(|| rx.iter().count())).collect();
        (0..3).for_each(|i| tx.send(i).unwrap());
        drop(tx);
        all.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(got, 3);
}

#[test]
fn close_gives_every_waiting_sender_its_value_back() {
    let (tx, rx) = chan::rendezvous();
    thread::scope(|s| {
        let all: Vec<_> = (0..6)
            .map(|i| {
                (
                    i,
                    s.spawn({
                        let tx = tx.clone();
                        move || tx.send(Box::new(i))
                    }),
                )
            })
            .collect();
        let one = rx.recv().unwrap();
        drop(rx);
        for (i, thread) in all {
            match thread.join().unwrap() {
                Ok(()) => assert_eq!(i, *one),
                Err(back) => assert_eq!(i, *back.0),
            }
        }
    });
}

#[test]
fn a_rendezvous_send_returns_after_its_receive() {
    let (tx, rx) = chan::rendezvous();
    let received = AtomicUsize::new(0);
    thread::scope(|s| {
        s.spawn(|| {
            for i in 1..=1000 {
                tx.send(i).unwrap();
                // The receiver took value i, so it had finished with value i - 1.
                assert!(received.load(Ordering::Acquire) >= i - 1);
            }
        });
        for _ in 0..1000 {
            let value = rx.recv().unwrap();
            received.store(value, Ordering::Release);
        }
    });
}

#[test]
fn timeouts_against_arrivals_lose_nothing() {
    let (tx, rx) = chan::rendezvous();
    thread::scope(|s| {
        let sender = s.spawn(move || {
            let mut sent = 0_usize;
            for i in 0..3000_usize {
                match tx.send_timeout(i, Duration::from_micros((i % 7) as u64 * 10)) {
                    Ok(()) => sent += i,
                    Err(SendTimeoutError::Timeout(back)) => assert_eq!(back, i),
                    Err(SendTimeoutError::Closed(_)) => unreachable!("the receiver stays"),
                }
            }
            sent
        });
        let mut got = 0;
        for round in 0.. {
            match rx.recv_timeout(Duration::from_micros(round % 5 * 10)) {
                Ok(value) => got += value,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Closed) => break,
            }
        }
        assert_eq!(sender.join().unwrap(), got);
    });
}

#[test]
fn a_timeout_is_not_early() {
    let (_tx, rx) = chan::bounded::<()>(1);
    let deadline = Instant::now() + Duration::from_millis(3);
    assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
}

#[test]
fn values_without_a_size_and_large_ones() {
    let (tx, rx) = chan::bounded(2);
    tx.send(()).unwrap();
    assert_eq!((rx.recv(), rx.try_recv()), (Ok(()), Err(TryRecvError::Empty)));
    let (tx, rx) = chan::rendezvous();
    thread::scope(|s| {
        s.spawn(|| tx.send([7_u64; 2048]).unwrap());
        assert!(rx.recv().unwrap().iter().all(|&word| word == 7));
    });
}

#[test]
fn a_panicking_drop_in_the_buffer_leaves_the_channel_usable() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("bomb");
        }
    }
    let (tx, rx) = chan::bounded(2);
    assert!(tx.send(Bomb).is_ok());
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(rx))).is_err());
    std::mem::forget(tx.try_send(Bomb).unwrap_err());
}
