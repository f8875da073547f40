//! `select!`: exactly one case wins, whoever decides it (R5).
#![cfg(loom)]

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::parcel::Parcel;
use runtime::chan::{self, Receiver};
use runtime::select;
use runtime::time::Timer;

fn open(got: Result<Parcel, chan::RecvError>) -> usize {
    got.map(Parcel::open).unwrap_or(0)
}

fn select_one(a: &Receiver<Parcel>, b: &Receiver<Parcel>) -> usize {
    select! {
        recv(a) -> got => open(got),
        recv(b) -> got => open(got),
    }
}

/// Two senders serve one `select!`: it takes one value, and the other stays where it is.
#[test]
fn one_of_two_servers_wins() {
    model("one_of_two_servers_wins", 2, || {
        let (ta, a) = chan::bounded(1);
        let (tb, b) = chan::bounded(1);
        let senders = [(ta, 1), (tb, 2)].map(|(tx, number)| {
            thread::spawn(move || assert!(tx.send(Parcel::new(number)).is_ok()))
        });
        let (first, second) = (select_one(&a, &b), select_one(&a, &b));
        // The channel that was heard is closed by then: what comes second may be its end.
        let left = if second == 0 { [a.recv(), b.recv()].map(open).iter().sum() } else { second };
        assert_eq!(first + left, 3, "{first} {second}");
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

/// Two selects face each other over two channels that hold nothing: one of the two values moves.
#[test]
fn two_selects_face_each_other() {
    model("two_selects_face_each_other", 3, || {
        let (ta, a) = chan::rendezvous();
        let (tb, b) = chan::rendezvous();
        let other = thread::spawn(move || {
            let mut out = Some(Parcel::new(2));
            let got = select! {
                send(&tb, &mut out) -> sent => { assert!(sent.is_ok()); 0 },
                recv(&a) -> got => open(got),
            };
            // Both live until both are through.
            (got, tb, a)
        });
        let mut out = Some(Parcel::new(1));
        let got = select! {
            send(&ta, &mut out) -> sent => { assert!(sent.is_ok()); 0 },
            recv(&b) -> got => open(got),
        };
        let (others, ..) = other.join().unwrap();
        assert!(matches!((got, others), (0, 1) | (2, 0)), "{got} {others}");
    });
}

/// A `select!` whose time is over, against a server: the two agree.
#[test]
fn a_timeout_or_a_value() {
    model("a_timeout_or_a_value", 3, || {
        let (tx, rx) = chan::rendezvous();
        let sender = thread::spawn(move || {
            let sent = tx.try_send(Parcel::new(1)).is_ok();
            (sent, tx)
        });
        let got = select! {
            recv(&rx) -> got => open(got),
            default(Duration::ZERO) => 0,
        };
        assert_eq!(usize::from(sender.join().unwrap().0), got);
    });
}

/// A token that another hands over is in one channel or in both, at each moment: nobody may find none.
#[test]
fn none_is_ready_at_one_moment() {
    model("none_is_ready_at_one_moment", 3, || {
        let (ta, a) = chan::bounded(1);
        let (tb, b) = chan::bounded(1);
        assert!(tb.send(Parcel::new(1)).is_ok());
        let b = Arc::new(b);
        let mover = {
            let b = b.clone();
            thread::spawn(move || {
                assert!(ta.send(Parcel::new(2)).is_ok());
                (b.try_recv().map_or(0, Parcel::open), ta)
            })
        };
        let got = select! {
            // In a model the last case is looked at first.
            recv(&*b) -> got => open(got),
            recv(&a) -> got => open(got),
            default => 0,
        };
        assert_ne!(got, 0, "one of the two was ready all the time");
        let (moved, _ta) = mover.join().unwrap();
        let left = [a.try_recv(), b.try_recv()].into_iter().flatten().map(Parcel::open);
        assert_eq!(got + moved + left.sum::<usize>(), 3);
    });
}

/// A timer that is put forward ends a `select!` that waits for it.
#[test]
fn a_reset_is_seen() {
    model("a_reset_is_seen", 3, || {
        let (_tx, rx) = chan::bounded::<()>(1);
        let timer = Arc::new(Timer::new(Duration::from_secs(3600)));
        let resetter = {
            let timer = timer.clone();
            thread::spawn(move || assert!(timer.reset(Duration::ZERO)))
        };
        select! {
            recv(&rx) -> _ => unreachable!("nobody sends"),
            timer(&*timer) -> _ => {},
        }
        resetter.join().unwrap();
        assert!(!timer.stop(), "it has fired");
    });
}
