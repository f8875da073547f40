//! Many who hold guards, on few processors: how long a cycle waits for those that were preempted.
//!
//! 64 mutators compute under a guard of two milliseconds, one after the other, so that each is preempted
//! inside of one; meanwhile collections are asked for, one at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::Request;

use crate::Mutators;

const HOLDERS: usize = 64;

/// How long a guard is held, in processor time of who holds it.
const GUARD: Duration = Duration::from_millis(2);

/// A heap with guards.
pub trait Guards: Mutators + Sync {
    /// Runs `work` under a guard.
    fn hold(&self, work: impl FnOnce());

    /// Asks for a collection.
    fn ask(&self);

    /// How many have ended.
    fn ended(&self) -> u64;

    /// How long a collection waited for guards that was longer than so many per cent of the others.
    fn waited(&self, percent: f64) -> Duration;

    /// Gives its processor away for so long.
    fn sleep(time: Duration);
}

/// Runs the row; false if it is another's.
pub fn run<P: Guards>(request: &Request, peer: &P) -> bool {
    if request.row != "holders" {
        return false;
    }
    let (stop, collections) = (AtomicBool::new(false), request.count(50) as u64);
    let turns = turns_in(GUARD);
    peer.mutate(HOLDERS + 1, &|number| {
        if number < HOLDERS {
            while !stop.load(Ordering::Relaxed) {
                peer.hold(|| compute(turns));
            }
            return;
        }
        for _ in 0..collections {
            let before = peer.ended();
            peer.ask();
            while peer.ended() == before {
                P::sleep(Duration::from_millis(1));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    for (name, percent) in [("wait for guards, p50", 50.0), ("longest", 100.0)] {
        request.report(name, "ms", peer.waited(percent).as_secs_f64() * 1e3);
    }
    true
}

fn compute(turns: u64) {
    (0..turns).for_each(|turn| _ = std::hint::black_box(turn));
}

/// So many turns of [`compute`] take this time: that is found out in the quickest of some attempts, which
/// nobody has interrupted.
fn turns_in(time: Duration) -> u64 {
    const TURNS: u64 = 100_000;
    let attempt = |_| {
        let began = Instant::now();
        compute(TURNS);
        began.elapsed()
    };
    let quickest = (0..50).map(attempt).min().expect("there are some");
    (TURNS as f64 * time.as_secs_f64() / quickest.as_secs_f64()) as u64
}
