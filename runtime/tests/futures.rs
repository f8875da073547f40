//! Futures on the runtime: channels awaited here and on other executors, the combinators of the `futures`
//! crates, and what becomes of a value on its way to a receive that is dropped.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures::future::{Either, join_all, select};
use futures::stream::{FuturesUnordered, StreamExt};
use runtime::chan::{self, RecvError};
use runtime::{Runtime, block_on, go, spawn_future, yield_now};

fn on_runtime<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    Runtime::builder().procs(2).build().unwrap().run(body)
}

/// Polls once, with a waker that does nothing.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_chain_of_futures_and_goroutines() {
    on_runtime(|| {
        let (first, mut rx) = chan::rendezvous::<u64>();
        for stage in 0..40 {
            let (tx, next) = chan::bounded(stage % 3);
            let from = std::mem::replace(&mut rx, next);
            if stage % 2 == 0 {
                spawn_future(async move {
                    while let Ok(n) = from.recv_async().await {
                        tx.send_async(n + 1).await.unwrap();
                    }
                });
            } else {
                go(move || from.iter().for_each(|n| tx.send(n + 1).unwrap()));
            }
        }
        go(move || (0..500).for_each(|n| first.send(n).unwrap()));
        assert!(rx.iter().eq((0..500).map(|n| n + 40)));
    });
}

#[test]
fn combinators_of_others() {
    on_runtime(|| {
        let all = join_all((0..100).map(|n| spawn_future(async move { n })));
        let sum: u32 = block_on(all).into_iter().map(Result::unwrap).sum();
        assert_eq!(sum, 4950);
        let mut unordered: FuturesUnordered<_> = (0..100_u32).map(|n| go(move || n)).collect();
        let sum = spawn_future(async move {
            let mut sum = 0;
            while let Some(n) = unordered.next().await {
                sum += n.unwrap();
            }
            sum
        });
        assert_eq!(block_on(sum).unwrap(), 4950);
    });
}

/// Nothing of the runtime is there: plain threads, and the executor of the `futures` crates.
#[test]
fn channels_are_awaited_on_other_executors() {
    let (tx, rx) = chan::bounded(2);
    let receiver = thread::spawn(move || {
        futures::executor::block_on(async move {
            let mut got = Vec::new();
            while let Ok(n) = rx.recv_async().await {
                got.push(n);
            }
            got
        })
    });
    futures::executor::block_on(async move {
        for n in 0..1000 {
            tx.send_async(n).await.unwrap();
        }
    });
    assert!(receiver.join().unwrap().into_iter().eq(0..1000));
}

#[test]
fn handles_are_awaited_on_other_executors() {
    let rt = Runtime::builder().procs(1).build().unwrap();
    let goroutine = rt.go(|| (0..50).for_each(|_| yield_now()));
    let future = rt.spawn_future(async { 7 });
    futures::executor::block_on(async move {
        goroutine.await.unwrap();
        assert_eq!(future.await.unwrap(), 7);
    });
}

/// Many receivers that are given up at random, beside others that are not: each value is received once, and
/// none is lost.
#[test]
fn nothing_is_lost_when_receives_are_dropped() {
    for capacity in [0, 1, 3] {
        on_runtime(|| {
            const VALUES: usize = 4_000;
            let (tx, rx) = chan::bounded(capacity);
            let seen: Arc<Vec<_>> = Arc::new((0..VALUES).map(|_| AtomicUsize::new(0)).collect());
            let receivers: Vec<_> = (0..4)
                .map(|who| {
                    let (rx, seen) = (rx.clone(), seen.clone());
                    spawn_future(async move {
                        for turn in who.. {
                            // One in three is polled and dropped, whatever it has got by then.
                            if turn % 3 == 0 {
                                let (wish, nothing) = (pin!(rx.recv_async()), pin!(yield_once()));
                                match select(nothing, wish).await {
                                    Either::Left(_) => continue,
                                    Either::Right((Err(RecvError), _)) => return,
                                    Either::Right((Ok(n), _)) => tick(&seen[n]),
                                }
                            } else {
                                match rx.recv_async().await {
                                    Ok(n) => tick(&seen[n]),
                                    Err(RecvError) => return,
                                }
                            }
                        }
                    })
                })
                .collect();
            let senders: Vec<_> = (0..2)
                .map(|half| {
                    let tx = tx.clone();
                    go(move || (half..VALUES).step_by(2).for_each(|n| tx.send(n).unwrap()))
                })
                .collect();
            drop((tx, rx));
            senders.into_iter().for_each(|sender| sender.join().unwrap());
            receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
            assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        });
    }
}

fn tick(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

async fn yield_once() {
    let mut done = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut done, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn a_value_that_comes_back_is_the_oldest() {
    let (tx, rx) = chan::bounded(1);
    {
        let mut first = pin!(rx.recv_async());
        assert!(poll_once(first.as_mut()).is_pending());
        tx.try_send(1).expect("a receiver waits");
        tx.try_send(2).expect("there is room");
        assert!(tx.try_send(3).is_err());
    }
    assert_eq!(rx.len(), 2, "one more than fits");
    assert!(tx.try_send(3).is_err());
    assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(1), Ok(2)));
    assert!(rx.try_recv().is_err());

    let (tx, rx) = chan::rendezvous();
    let mut second = pin!(rx.recv_async());
    {
        let mut first = pin!(rx.recv_async());
        assert!(poll_once(first.as_mut()).is_pending() && poll_once(second.as_mut()).is_pending());
        tx.try_send(1).expect("a receiver waits");
    }
    assert_eq!(poll_once(second), Poll::Ready(Ok(1)), "it goes to the next");
}

#[test]
fn what_had_reached_receives_comes_back_in_its_order() {
    let (tx, rx) = chan::bounded(3);
    let mut receives = [rx.recv_async(), rx.recv_async()].map(Box::pin);
    receives.iter_mut().for_each(|receive| assert!(poll_once(receive.as_mut()).is_pending()));
    (1..=3).for_each(|number| tx.send(number).unwrap());
    // The first one first.
    receives.into_iter().for_each(drop);
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn nobody_hears_of_the_end_before_the_last_value() {
    let (tx, rx) = chan::rendezvous();
    let mut receive = Box::pin(rx.recv_async());
    assert!(poll_once(receive.as_mut()).is_pending());
    tx.send(7).unwrap();
    drop(tx);
    assert_eq!(rx.recv(), Ok(7), "it had reached one who has not looked");
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(poll_once(receive.as_mut()), Poll::Ready(Err(RecvError)));
}

#[test]
fn who_waits_gets_what_had_reached_one_who_does_not_look() {
    on_runtime(|| {
        let (tx, rx) = chan::rendezvous();
        let mut receive = Box::pin(rx.recv_async());
        assert!(poll_once(receive.as_mut()).is_pending());
        let waiting = go({
            let rx = rx.clone();
            move || rx.recv()
        });
        tx.send(7).unwrap();
        drop(tx);
        assert_eq!(waiting.join().unwrap(), Ok(7));
        assert_eq!(poll_once(receive.as_mut()), Poll::Ready(Err(RecvError)));
    });
}

#[test]
fn a_send_that_is_dropped_has_sent_or_not() {
    let (tx, rx) = chan::rendezvous::<Arc<()>>();
    let value = Arc::new(());
    {
        let mut send = pin!(tx.send_async(value.clone()));
        assert!(poll_once(send.as_mut()).is_pending());
    }
    assert!(rx.try_recv().is_err());
    assert_eq!(Arc::strong_count(&value), 1, "it was dropped with the send");
    {
        let mut send = pin!(tx.send_async(value.clone()));
        assert!(poll_once(send.as_mut()).is_pending());
        assert!(rx.try_recv().is_ok());
    }
    let mut send = pin!(tx.send_async(value.clone()));
    assert!(poll_once(send.as_mut()).is_pending());
    drop(rx);
    assert!(matches!(poll_once(send), Poll::Ready(Err(_))), "it is given back");
}

#[test]
fn a_waker_may_change_from_poll_to_poll() {
    let (tx, rx) = chan::bounded(1);
    let mut recv = pin!(rx.recv_async());
    assert!(poll_once(recv.as_mut()).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| tx.send(5).unwrap());
        // The first waker does nothing: only the second one ends this.
        assert_eq!(block_on(recv), Ok(5));
    });
}

/// A waker that panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker of the test");
    }
}

/// A receive that waits, and panics whoever wakes it.
fn waits<T>(receive: &mut Pin<Box<impl Future<Output = T>>>) {
    let waker = Waker::from(Arc::new(Panics));
    assert!(receive.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
}

#[test]
fn a_value_is_one_value_though_its_receivers_waker_panics() {
    let value = Arc::new(());
    let given = || Arc::clone(&value);
    let (tx, rx) = chan::rendezvous::<Arc<()>>();
    let sends: [&dyn Fn(); 3] = [
        &|| tx.send(given()).unwrap(),
        &|| assert_eq!(poll_once(pin!(tx.send_async(given()))), Poll::Ready(Ok(()))),
        &|| {
            let mut place = Some(given());
            runtime::select! { send(&tx, &mut place) -> sent => sent.unwrap() };
            assert!(place.is_none());
        },
    ];
    for send in sends {
        let mut receive = Box::pin(rx.recv_async());
        waits(&mut receive);
        send();
        assert_eq!(Arc::strong_count(&value), 2, "it is with the receiver, and nowhere else");
        assert!(matches!(poll_once(receive.as_mut()), Poll::Ready(Ok(_))));
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

#[test]
fn a_case_that_has_won_sends_nothing_more() {
    use runtime::select::{SendCase, Wait, run};
    let (tx, rx) = chan::bounded(2);
    let mut place = Some(Box::new(7));
    let case = SendCase::new(&tx, &mut place);
    assert_eq!(run([case.case()], Wait::None), 0);
    assert_eq!(run([case.case()], Wait::None), runtime::select::DEFAULT);
    assert!(case.finish().is_ok());
    assert_eq!(rx.try_iter().collect::<Vec<_>>(), [Box::new(7)]);
}

#[test]
fn the_end_of_a_channel_wakes_all_though_one_of_their_wakers_panics() {
    let (tx, rx) = chan::rendezvous::<u8>();
    let mut receive = Box::pin(rx.recv_async());
    waits(&mut receive);
    thread::scope(|scope| {
        let thread = scope.spawn(|| rx.recv());
        let future = scope.spawn(|| block_on(rx.recv_async()));
        drop(tx);
        assert_eq!(thread.join().unwrap(), Err(RecvError));
        assert_eq!(future.join().unwrap(), Err(RecvError));
    });
    assert_eq!(poll_once(receive.as_mut()), Poll::Ready(Err(RecvError)));
}

/// A waker that drops what an executor that is gone has left.
struct Drops<T>(Mutex<Option<T>>);

impl<T: Send> Wake for Drops<T> {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn a_waker_may_drop_others_that_wait_for_the_same_end() {
    let (tx, rx) = chan::rendezvous::<u8>();
    let rx: &'static chan::Receiver<u8> = Box::leak(Box::new(rx));
    let mut first = Box::pin(rx.recv_async());
    let drops = Arc::new(Drops(Mutex::new(None)));
    let waker = Waker::from(Arc::clone(&drops));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut second = Box::pin(rx.recv_async());
    assert!(poll_once(second.as_mut()).is_pending());
    *drops.0.lock().unwrap() = Some(second);
    drop(tx);
    assert!(drops.0.lock().unwrap().is_none());
    assert_eq!(poll_once(first.as_mut()), Poll::Ready(Err(RecvError)));
}
