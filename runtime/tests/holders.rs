//! A collection waits for guards whose holders were preempted and stand in a queue with goroutines that
//! only compute: it does not wait until each has had its turn.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use runtime::gc;

/// Holders that have been preempted with a guard, between computing goroutines.
const HOLDERS: usize = 64;

/// 64 goroutines take a guard, and keep it until they have been preempted with it; then they compute
/// without one, for ever. In the order of the queue the last of them would leave its guard after all
/// others have computed for a slice each. The slice is so long that this would not end.
#[test]
fn preempted_holders_run_before_those_who_compute() {
    let rt = runtime::Runtime::builder()
        .procs(2)
        .preempt_after(Duration::from_secs(3600))
        .build()
        .unwrap();
    let (entered, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    rt.scope(|scope| {
        for _ in 0..HOLDERS {
            scope.go(|| {
                let guard = gc::enter();
                entered.fetch_add(1, Ordering::Relaxed);
                // Gives way with the guard, as one does who is preempted.
                while entered.load(Ordering::Relaxed) < HOLDERS {
                    runtime::yield_now();
                }
                runtime::yield_now();
                drop(guard);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        while entered.load(Ordering::Relaxed) < HOLDERS {
            runtime::sleep(Duration::from_millis(1));
        }
        gc::collect().unwrap();
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(gc::stats().cycles, 1);
}
