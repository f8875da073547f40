//! Timers and tickers: one fire each, none that is stale, whoever stops and resets them meanwhile; sleeping
//! futures.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use runtime::time::{Elapsed, Ticker, Timer, after, sleep_async, sleep_until_async, timeout};
use runtime::{Runtime, chan, go, select, spawn_future, yield_now};

const MS: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_secs(600);

/// What one poll of `future` gives.
async fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

fn on_runtime<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    Runtime::builder().procs(2).build().unwrap().run(body)
}

#[test]
fn a_fire_goes_to_one_of_those_who_wait() {
    on_runtime(|| {
        let timer = Arc::new(Timer::new(LONG));
        let fired = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..8)
            .map(|_| {
                let (timer, fired) = (timer.clone(), fired.clone());
                go(move || {
                    timer.wait();
                    fired.fetch_add(1, Ordering::AcqRel) + 1
                })
            })
            .collect();
        // Each reset is one fire; the next comes when the last has been taken.
        for round in 1..=all.len() {
            timer.reset(Duration::ZERO);
            while fired.load(Ordering::Acquire) < round {
                yield_now();
            }
        }
        let mut turns: Vec<_> = all.into_iter().map(|one| one.join().unwrap()).collect();
        turns.sort_unstable();
        assert!(turns.into_iter().eq(1..=8));
    });
}

/// A fire whose time has come, and who calls it off or puts it off, in either order.
#[test]
fn of_a_fire_and_a_change_the_first_one_counts() {
    let changes: [fn(&Timer) -> bool; 3] =
        [Timer::stop, |timer| timer.reset(LONG), |timer| timer.reset(Duration::MAX)];
    let takes: [fn(&Timer) -> bool; 3] = [
        |timer| timer.try_wait().is_some(),
        |timer| select! { timer(timer) -> _ => true, default => false },
        |timer| select! { timer(timer) -> _ => true, default(MS) => false },
    ];
    for (change, take) in changes.into_iter().flat_map(|change| takes.map(|take| (change, take))) {
        let timer = Timer::at(Instant::now());
        assert!(change(&timer) && !take(&timer), "the change was first");
        let timer = Timer::at(Instant::now());
        assert!(take(&timer) && !change(&timer) && !take(&timer), "the fire was first");
    }
}

/// A tick whose time has come is gone with the rhythm that it belongs to.
#[test]
fn no_tick_of_before_a_stop_or_a_reset() {
    let changes: [fn(&Ticker); 3] =
        [Ticker::stop, |ticker| ticker.reset(LONG), |ticker| ticker.reset(Duration::MAX)];
    for change in changes {
        for ticks in 0..3 {
            let ticker = Ticker::new(MS);
            (0..ticks).for_each(|_| {
                ticker.wait();
            });
            let due = Instant::now() + MS;
            while Instant::now() < due {
                thread::yield_now();
            }
            change(&ticker);
            assert!(ticker.try_wait().is_none());
            assert!(select! { timer(&ticker) -> _ => false, default => true });
        }
    }
}

/// What `stop` and `reset` say agrees with what was taken: true means that nobody gets that fire.
#[test]
fn stop_and_reset_tell_the_truth() {
    stop_and_reset_tell_the_truth_to_who(|timer| {
        timer.wait();
    });
    stop_and_reset_tell_the_truth_to_who(|timer| select! { timer(timer) -> _ => {} });
    // One that goes back to its deadline each time.
    stop_and_reset_tell_the_truth_to_who(|timer| {
        while select! { timer(timer) -> _ => false, default(Duration::from_micros(20)) => true } {}
    });
}

fn stop_and_reset_tell_the_truth_to_who(waits: fn(&Timer)) {
    on_runtime(|| {
        let timer = Arc::new(Timer::new(LONG));
        let (taken, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let (timer, taken, done) = (timer.clone(), taken.clone(), done.clone());
                go(move || {
                    loop {
                        waits(&timer);
                        if done.load(Ordering::Acquire) {
                            return;
                        }
                        taken.fetch_add(1, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        let mut fired = 0;
        let mut pending = true;
        for round in 0..20_000 {
            let called_off = match round % 3 {
                0 => timer.reset(Duration::ZERO),
                1 => timer.reset(Duration::from_micros(round % 7)),
                _ => timer.stop(),
            };
            fired += usize::from(pending && !called_off);
            pending = round % 3 != 2;
            if round % 5 == 0 {
                yield_now();
            }
        }
        fired += usize::from(pending && !timer.stop());
        while taken.load(Ordering::Acquire) < fired {
            yield_now();
        }
        assert_eq!(taken.load(Ordering::Acquire), fired);
        done.store(true, Ordering::Release);
        for taker in takers {
            while !taker.is_finished() {
                timer.reset(Duration::ZERO);
                yield_now();
            }
            taker.join().unwrap();
        }
    });
}

#[test]
fn a_stopped_timer_wakes_nobody_and_a_reset_one_does() {
    on_runtime(|| {
        let timer = Arc::new(Timer::new(LONG));
        let (tell, told) = chan::rendezvous();
        let theirs = timer.clone();
        let waits = go(move || {
            tell.send(()).unwrap();
            theirs.wait()
        });
        told.recv().unwrap();
        assert!(timer.stop());
        assert!(!timer.stop());
        assert!(!timer.reset(LONG), "it was stopped");
        assert!(timer.reset(MS));
        waits.join().unwrap();
        assert!(timer.try_wait().is_none());
    });
}

#[test]
fn a_timer_beyond_the_end_of_the_clock_is_set_and_never_fires() {
    let never = || Timer::new(Duration::MAX);
    let timer = never();
    assert!(timer.try_wait().is_none());
    assert_eq!([timer.stop(), timer.stop()], [true, false]);
    assert!(!timer.reset(Duration::MAX), "it was stopped");
    assert!(timer.reset(Duration::MAX), "it was set");
    assert!(timer.reset(Duration::ZERO), "likewise");
    assert!(timer.try_wait().is_some());
    assert!(!timer.reset(Duration::MAX), "it has fired");
    let (never, now) = (never(), Timer::new(Duration::ZERO));
    assert!(select! { timer(&never) -> _ => false, timer(&now) -> _ => true });
    assert!(select! { timer(&never) -> _ => false, default => true });
}

#[test]
fn a_select_waits_for_times_and_values() {
    on_runtime(|| {
        let (tx, rx) = chan::bounded(1);
        let (soon, late) = (after(MS), after(LONG));
        let first = select! {
            recv(&rx) -> n => n.unwrap(),
            timer(&late) -> _ => 1,
            timer(&soon) -> at => { assert!(at <= Instant::now()); 2 }
        };
        assert_eq!(first, 2);
        tx.send(7).unwrap();
        let second = select! {
            timer(&late) -> _ => 1,
            recv(&rx) -> n => n.unwrap(),
        };
        assert_eq!(second, 7);
        let third = select! {
            timer(&soon) -> _ => "it fired before",
            timer(&late) -> _ => "in ten minutes",
            default(MS) => "nothing",
        };
        assert_eq!(third, "nothing");
        // Put forward by somebody else while the select waits.
        let late = Arc::new(late);
        let theirs = late.clone();
        go(move || theirs.reset(MS));
        select! {
            timer(&late) -> _ => {}
            recv(&rx) -> _ => unreachable!("nothing was sent"),
        }
        assert!(select! { timer(&*late) -> _ => false, default => true });
    });
}

#[test]
fn a_ticker_keeps_its_rhythm_and_skips_what_is_missed() {
    on_runtime(|| {
        let start = Instant::now();
        let ticker = Ticker::new(MS);
        let first = ticker.wait();
        thread::sleep(10 * MS);
        let second = ticker.wait();
        let third = ticker.wait();
        for tick in [first, second, third] {
            let offset = tick.duration_since(first).as_nanos();
            assert_eq!(offset % MS.as_nanos(), 0, "a whole number of periods");
        }
        assert!(first >= start + MS && second > first && third >= first + 10 * MS);
        ticker.stop();
        assert!(ticker.try_wait().is_none());
        ticker.reset(2 * MS);
        let next = select! { timer(&ticker) -> at => at };
        assert!(next > third);
    });
}

#[test]
fn timers_work_on_plain_threads() {
    let timer = Arc::new(Timer::new(LONG));
    let theirs = timer.clone();
    let thread = thread::spawn(move || theirs.wait());
    timer.reset(MS);
    assert!(thread.join().unwrap() <= Instant::now());
}

#[test]
fn ten_thousand_futures_sleep() {
    on_runtime(|| {
        let start = Instant::now();
        let one = |n: u32| {
            spawn_future(async move {
                let deadline = start + Duration::from_micros(u64::from(n) * 3);
                sleep_until_async(deadline).await;
                assert!(Instant::now() >= deadline);
                sleep_async(MS).await;
            })
        };
        (0..10_000).map(one).collect::<Vec<_>>().into_iter().for_each(|one| one.join().unwrap());
    });
}

#[test]
fn a_sleep_counts_from_the_call_and_not_from_the_first_poll() {
    on_runtime(|| {
        let start = Instant::now();
        let sleeps = spawn_future(async {
            let (first, second) = (sleep_async(10 * MS), sleep_async(10 * MS));
            second.await;
            assert!(poll_once(first).await.is_ready(), "it was made before");
        });
        sleeps.join().unwrap();
        assert!(Instant::now() >= start + 10 * MS);
    });
}

#[test]
fn a_timeout_counts_from_the_call_and_not_from_the_first_poll() {
    on_runtime(|| {
        let late = spawn_future(async {
            let late = timeout(MS, std::future::pending::<()>());
            sleep_async(MS).await;
            poll_once(late).await
        });
        assert_eq!(late.join().unwrap(), Poll::Ready(Err(Elapsed)));
        // What is ready is had, however late.
        let ready = spawn_future(async { timeout(Duration::ZERO, async { 7 }).await });
        assert_eq!(ready.join().unwrap(), Ok(7));
    });
}

/// A future that nobody can wake: its waker is in no heap of deadlines, and its handle is gone.
#[test]
fn a_detached_sleep_beyond_the_end_of_the_clock_is_dropped() {
    on_runtime(|| {
        let (alive, gone) = chan::bounded::<()>(1);
        drop(spawn_future(async move {
            let _alive = alive;
            sleep_async(Duration::MAX).await;
        }));
        assert!(gone.recv().is_err(), "it sends nothing");
    });
}

#[test]
fn a_timeout_drops_what_is_too_slow() {
    on_runtime(|| {
        let alive = Arc::new(());
        let inside = alive.clone();
        let outcome = spawn_future(async move {
            let slow = async move {
                let _inside = inside;
                sleep_async(LONG).await;
            };
            timeout(MS, slow).await
        });
        assert!(outcome.join().unwrap().is_err());
        assert_eq!(Arc::strong_count(&alive), 1);
        let (tx, rx) = chan::bounded(1);
        let fast = spawn_future(async move { timeout(LONG, rx.recv_async()).await });
        tx.send(3).unwrap();
        assert_eq!(fast.join().unwrap(), Ok(Ok(3)));
    });
}
