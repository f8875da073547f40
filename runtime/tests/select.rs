//! `select!`: exactly one case wins, nothing is lost or doubled, the choice is fair.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runtime::chan::{self, Receiver, Sender};
use runtime::select;

#[test]
fn takes_what_is_ready() {
    let (tx, rx) = chan::bounded(1);
    let (ty, ry) = chan::bounded(1);
    ty.send("y").unwrap();
    let won = select! {
        recv(&rx) -> v => v.unwrap(),
        recv(&ry) -> v => v.unwrap(),
    };
    assert_eq!(won, "y");
    tx.send("x").unwrap();
    let won = select! {
        recv(&rx) -> v => { v.unwrap() }
        recv(&ry) -> v => { v.unwrap() }
        default => "none",
    };
    assert_eq!(won, "x");
}

#[test]
fn default_and_timeout() {
    let (_tx, rx) = chan::bounded::<u8>(1);
    assert!(select! { recv(&rx) -> _ => false, default => true });
    let deadline = Instant::now() + Duration::from_millis(2);
    select! {
        recv(&rx) -> _ => unreachable!("nobody sends"),
        default(Duration::from_millis(2)) => assert!(Instant::now() >= deadline),
    }
}

#[test]
fn a_closed_channel_is_ready() {
    let (tx, rx) = chan::bounded::<u8>(1);
    let (ty, ry) = chan::bounded::<u8>(1);
    drop(tx);
    drop(ry);
    let mut out = Some(3);
    let (mut received, mut sent) = (0, 0);
    while received == 0 || sent == 0 {
        select! {
            recv(&rx) -> v => { assert!(v.is_err()); received += 1 }
            send(&ty, &mut out) -> r => { out = Some(r.unwrap_err().0); sent += 1 }
        }
    }
    assert_eq!(out, Some(3));
}

#[test]
fn cases_can_be_switched_off() {
    let (tx, rx) = chan::bounded(1);
    let mut nothing = None;
    tx.send(1).unwrap();
    let off: Option<&Receiver<i32>> = None;
    select! {
        recv(off) -> _ => unreachable!("switched off"),
        send(&tx, &mut nothing) -> _ => unreachable!("switched off"),
        recv(Some(&rx)) -> v => assert_eq!(v, Ok(1)),
    }
    assert!(select! { recv(off) -> _ => false, default => true });
}

#[test]
fn arms_may_leave_the_surroundings() {
    fn first(rx: &Receiver<u32>, ry: &Receiver<u32>) -> Result<u32, chan::RecvError> {
        loop {
            select! {
                recv(rx) -> v => match v? {
                    0 => continue,
                    v => return Ok(v),
                },
                recv(ry) -> _ => break Ok(100),
            }
        }
    }
    let (tx, rx) = chan::bounded(2);
    let (ty, ry) = chan::bounded(2);
    tx.send(0).unwrap();
    tx.send(5).unwrap();
    assert_eq!(first(&rx, &ry), Ok(5));
    ty.send(1).unwrap();
    assert_eq!(first(&rx, &ry), Ok(100));
    drop(tx);
    assert!(first(&rx, &ry).is_err());
}

#[test]
fn an_arm_may_move_what_the_cases_named() {
    let (tx, rx) = chan::bounded(1);
    let (_ty, ry) = chan::bounded::<u8>(1);
    let mut out = Some(String::from("x"));
    select! {
        send(&tx, &mut out) -> sent => { sent.unwrap(); drop((tx, out)) }
        recv(&ry) -> _ => drop((ry, out)),
    }
    assert_eq!(rx.recv().as_deref(), Ok("x"));
}

#[test]
fn one_channel_on_both_sides_does_not_meet_itself() {
    let (tx, rx) = chan::rendezvous();
    let mut out = Some(1);
    let won = select! {
        send(&tx, &mut out) -> _ => "sent",
        recv(&rx) -> _ => "received",
        default(Duration::from_millis(1)) => "nothing",
    };
    assert_eq!((won, out), ("nothing", Some(1)));
    let mut other = Some(2);
    thread::scope(|s| {
        s.spawn(|| {
            select! {
                send(&tx, &mut other) -> r => r.unwrap(),
                recv(&rx) -> v => assert_eq!(v, Ok(1)),
            }
        });
        select! {
            send(&tx, &mut out) -> r => r.unwrap(),
            recv(&rx) -> v => assert_eq!(v, Ok(2)),
        }
    });
    assert_ne!(out.is_none(), other.is_none(), "one gave, one took");
}

#[test]
fn a_ready_case_does_not_starve() {
    let (tx, rx) = chan::bounded(1);
    let (ty, ry) = chan::bounded(1);
    let (mut x, mut y) = (0, 0);
    for _ in 0..2000 {
        let _ = (tx.try_send(()), ty.try_send(()));
        select! { recv(&rx) -> _ => x += 1, recv(&ry) -> _ => y += 1 }
    }
    assert!(x > 700 && y > 700, "{x} and {y} of 2000");
}

/// Selects over two channels until both are closed; the sum of what came.
fn drain(a: &Receiver<u64>, b: &Receiver<u64>) -> u64 {
    let (mut a, mut b, mut sum) = (Some(a), Some(b), 0);
    while a.is_some() || b.is_some() {
        select! {
            recv(a) -> v => match v { Ok(v) => sum += v, Err(_) => a = None },
            recv(b) -> v => match v { Ok(v) => sum += v, Err(_) => b = None },
        }
    }
    sum
}

/// Sends `numbers`, each to whichever channel takes it first.
fn scatter(a: &Sender<u64>, b: &Sender<u64>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let (mut one, mut two) = (Some(number), Some(number));
        select! {
            send(a, &mut one) -> r => r.unwrap(),
            send(b, &mut two) -> r => r.unwrap(),
        }
        assert_ne!(one.is_some(), two.is_some());
    }
}

/// Selecting senders against selecting receivers, all on the same two channels.
fn cross(capacity: usize) {
    let (tx, rx) = chan::bounded(capacity);
    let (ty, ry) = chan::bounded(capacity);
    let sum = AtomicU64::new(0);
    thread::scope(|s| {
        for part in 0..4 {
            // One half names the channels in the other order.
            let (a, b) = if part % 2 == 0 { (&tx, &ty) } else { (&ty, &tx) };
            let (a, b) = (a.clone(), b.clone());
            s.spawn(move || scatter(&a, &b, part * 2000..(part + 1) * 2000));
        }
        drop((tx, ty));
        for part in 0..4 {
            let (a, b) = if part % 2 == 0 { (&rx, &ry) } else { (&ry, &rx) };
            let sum = &sum;
            s.spawn(move || sum.fetch_add(drain(a, b), Ordering::Relaxed));
        }
    });
    assert_eq!(sum.into_inner(), 8000 * 7999 / 2);
}

#[test]
fn selects_meet_selects_without_a_buffer() {
    cross(0);
}

#[test]
fn selects_meet_selects_with_a_buffer() {
    cross(2);
}

#[test]
fn timeouts_against_arrivals_lose_nothing() {
    let (tx, rx) = chan::rendezvous();
    let (ty, ry) = chan::rendezvous();
    let sent = AtomicU64::new(0);
    let mut got = 0;
    thread::scope(|s| {
        for tx in [tx, ty] {
            let sent = &sent;
            s.spawn(move || {
                for i in 1..2000_u64 {
                    let mut out = Some(i);
                    select! {
                        send(&tx, &mut out) -> r => { r.unwrap(); sent.fetch_add(i, Ordering::Relaxed); }
                        default(Duration::from_micros(i % 5 * 10)) => assert_eq!(out, Some(i)),
                    }
                }
            });
        }
        let (mut a, mut b) = (Some(&rx), Some(&ry));
        for round in 0.. {
            select! {
                recv(a) -> v => match v { Ok(v) => got += v, Err(_) => a = None },
                recv(b) -> v => match v { Ok(v) => got += v, Err(_) => b = None },
                default(Duration::from_micros(round % 3 * 10)) => {}
            }
            if a.is_none() && b.is_none() {
                break;
            }
        }
    });
    assert_eq!(sent.into_inner(), got);
}
