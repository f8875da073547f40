//! Channels: values come once and in order, none is lost at the end, whoever waits is told (R5).
#![cfg(loom)]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::parcel::Parcel;
use runtime::chan::{self, Receiver, Sender};
use sched_core::park;

fn send(tx: &Sender<Parcel>, number: usize) {
    assert!(tx.send(Parcel::new(number)).is_ok(), "the receiver is there");
}

fn recv(rx: &Receiver<Parcel>) -> Option<usize> {
    rx.recv().ok().map(Parcel::open)
}

/// Three through a ring of one: some lie there, some are handed over. Then the channel is closed.
#[test]
fn values_come_in_order_and_then_the_end() {
    model("values_come_in_order_and_then_the_end", 3, || {
        let (tx, rx) = chan::bounded(1);
        let sender = thread::spawn(move || (1..=3).for_each(|number| send(&tx, number)));
        assert_eq!([recv(&rx), recv(&rx), recv(&rx)], [Some(1), Some(2), Some(3)]);
        assert_eq!(recv(&rx), None, "closed");
        sender.join().unwrap();
    });
}

/// Nothing lies anywhere: each send meets its receive.
#[test]
fn a_rendezvous_hands_over() {
    model("a_rendezvous_hands_over", 3, || {
        let (tx, rx) = chan::rendezvous();
        let sender = thread::spawn(move || (1..=2).for_each(|number| send(&tx, number)));
        assert_eq!([recv(&rx), recv(&rx)], [Some(1), Some(2)]);
        sender.join().unwrap();
    });
}

/// A sender that waits for room is told when one value has left.
#[test]
fn room_is_told_to_who_waits_for_it() {
    model("room_is_told_to_who_waits_for_it", 3, || {
        let (tx, rx) = chan::bounded(1);
        let sender = thread::spawn(move || (1..=2).for_each(|number| send(&tx, number)));
        assert_eq!(recv(&rx), Some(1));
        sender.join().unwrap();
        assert_eq!([recv(&rx), recv(&rx)], [Some(2), None]);
    });
}

/// Two senders, who wait in the ring and in the list; the last to go closes.
#[test]
fn two_senders_lose_nothing() {
    model("two_senders_lose_nothing", 2, || {
        let (tx, rx) = chan::bounded(1);
        let other = tx.clone();
        let senders =
            [(tx, 1), (other, 2)].map(|(tx, number)| thread::spawn(move || send(&tx, number)));
        let mut got = [recv(&rx), recv(&rx)];
        got.sort();
        assert_eq!((got, recv(&rx)), ([Some(1), Some(2)], None));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// Two receivers wait when the last sender goes: one has the value, the other the end.
#[test]
fn closing_tells_all() {
    model("closing_tells_all", 2, || {
        let (tx, rx) = chan::bounded(1);
        let receivers = [rx.clone(), rx].map(|rx| thread::spawn(move || recv(&rx)));
        send(&tx, 1);
        drop(tx);
        let mut got = receivers.map(|receiver| receiver.join().unwrap());
        got.sort();
        assert_eq!(got, [None, Some(1)]);
    });
}

/// Nobody sends, and all who wait are told of the end.
#[test]
fn the_end_is_told_to_all() {
    model("the_end_is_told_to_all", 2, || {
        let (tx, rx) = chan::bounded(1);
        let receivers = [rx.clone(), rx].map(|rx| thread::spawn(move || recv(&rx)));
        drop(tx);
        assert_eq!(receivers.map(|receiver| receiver.join().unwrap()), [None, None]);
    });
}

/// The last receiver goes: a value comes back to its sender, or is dropped with the ring, or was received.
#[test]
fn a_sender_gets_its_value_back() {
    model("a_sender_gets_its_value_back", 3, || {
        let (tx, rx) = chan::bounded(1);
        let receiver = thread::spawn(move || {
            let got = recv(&rx);
            drop(rx);
            got
        });
        let sent = [1, 2, 3].map(|number| match tx.send(Parcel::new(number)) {
            Ok(()) => 0,
            Err(refused) => refused.0.open(),
        });
        assert_eq!(receiver.join().unwrap(), Some(1));
        assert!(sent == [0, 0, 3] || sent == [0, 2, 3], "{sent:?}");
    });
}

/// One whose time is over withdraws, or was served: the two sides agree.
#[test]
fn a_deadline_withdraws_or_is_too_late() {
    model("a_deadline_withdraws_or_is_too_late", 3, || {
        let past = Instant::now();
        let (tx, rx) = chan::rendezvous();
        let sender = thread::spawn(move || (tx.try_send(Parcel::new(1)).is_ok(), tx));
        let got = rx.recv_deadline(past).ok().map(Parcel::open);
        assert_eq!(sender.join().unwrap().0, got.is_some());
    });
}

/// One poll, as an executor makes it.
fn poll<F: Future>(future: core::pin::Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

/// A receive is dropped, maybe just after it was served: its value is the next one's, as the oldest.
#[test]
fn what_had_reached_a_dropped_receive_goes_back() {
    model("what_had_reached_a_dropped_receive_goes_back", 3, || {
        let (tx, rx) = chan::bounded(1);
        let sender = thread::spawn(move || (1..=2).for_each(|number| send(&tx, number)));
        let first = {
            let mut receive = pin!(rx.recv_async());
            match poll(receive.as_mut(), &park::current().into()) {
                Poll::Ready(got) => got.ok().map(Parcel::open),
                Poll::Pending => None,
            }
        };
        let got = [first.or_else(|| recv(&rx)), recv(&rx)];
        assert_eq!(got, [Some(1), Some(2)]);
        sender.join().unwrap();
    });
}

/// A receive is dropped, maybe just after it was served with the last value: another hears of that before it
/// hears of the end.
#[test]
fn the_end_comes_after_what_was_served() {
    model("the_end_comes_after_what_was_served", 3, || {
        let (tx, rx) = chan::bounded(1);
        let sender = thread::spawn(move || send(&tx, 1));
        let mut receive = pin!(rx.recv_async());
        let first = match poll(receive.as_mut(), &park::current().into()) {
            Poll::Ready(got) => got.ok().map(Parcel::open),
            Poll::Pending => None,
        };
        // The future has looked once, and will not again.
        let other = recv(&rx);
        assert_eq!([first, other].into_iter().flatten().collect::<Vec<_>>(), [1]);
        sender.join().unwrap();
    });
}

/// A receive that was served looks, while another takes what is left at the end: one of them has the value.
#[test]
fn what_was_served_is_collected_once() {
    model("what_was_served_is_collected_once", 2, || {
        let (tx, rx) = chan::bounded(1);
        let rx = Arc::new(rx);
        let mut receive = pin!(rx.recv_async());
        assert!(poll(receive.as_mut(), Waker::noop()).is_pending());
        send(&tx, 1);
        drop(tx);
        let other = {
            let rx = rx.clone();
            thread::spawn(move || recv(&rx))
        };
        let own = match poll(receive.as_mut(), Waker::noop()) {
            Poll::Ready(got) => got.ok().map(Parcel::open),
            Poll::Pending => unreachable!("it was served"),
        };
        let got = [own, other.join().unwrap()];
        assert!(matches!(got, [Some(1), None] | [None, Some(1)]), "{got:?}");
    });
}

/// Two receives that were served are dropped, and a third value lies in the ring: they come in their order.
#[test]
fn what_goes_back_keeps_its_order() {
    model("what_goes_back_keeps_its_order", 2, || {
        let (tx, rx) = chan::bounded(1);
        let mut receives = [rx.recv_async(), rx.recv_async()].map(Box::pin);
        for receive in &mut receives {
            assert!(poll(receive.as_mut(), Waker::noop()).is_pending());
        }
        (1..=3).for_each(|number| send(&tx, number));
        // The first one first.
        receives.into_iter().for_each(drop);
        assert_eq!([recv(&rx), recv(&rx), recv(&rx)], [Some(1), Some(2), Some(3)]);
    });
}

/// Two receives are served at once, and lie behind each other from then on: each is told by who served it, once.
#[test]
fn who_serves_tells_his_own() {
    model("who_serves_tells_his_own", 2, || {
        let (tx, rx) = chan::bounded(1);
        let mut receives = [rx.recv_async(), rx.recv_async()].map(Box::pin);
        for receive in &mut receives {
            assert!(poll(receive.as_mut(), Waker::noop()).is_pending());
        }
        let other = {
            let tx = tx.clone();
            thread::spawn(move || send(&tx, 1))
        };
        send(&tx, 2);
        other.join().unwrap();
        let got = receives.map(|mut receive| match poll(receive.as_mut(), Waker::noop()) {
            Poll::Ready(got) => got.ok().map(Parcel::open),
            Poll::Pending => None,
        });
        assert!(matches!(got, [Some(1), Some(2)] | [Some(2), Some(1)]), "{got:?}");
    });
}

/// A future goes from one executor's hands to another's while it is served: the one of today is woken.
#[test]
fn the_waker_of_today_is_woken() {
    model("the_waker_of_today_is_woken", 3, || {
        let (tx, rx) = chan::rendezvous();
        let sender = thread::spawn(move || send(&tx, 1));
        let mut receive = pin!(rx.recv_async());
        let yesterday = Waker::noop();
        let mut polled = poll(receive.as_mut(), yesterday);
        let today = Waker::from(park::current());
        while polled.is_pending() {
            polled = poll(receive.as_mut(), &today);
            if polled.is_pending() {
                park::park(park::WaitReason::Future);
                // It wakes itself while a server has it in hand.
                thread::yield_now();
            }
        }
        let Poll::Ready(Ok(got)) = polled else { unreachable!("the sender is there") };
        assert_eq!(got.open(), 1);
        sender.join().unwrap();
    });
}
