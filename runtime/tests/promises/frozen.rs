//! Nothing freezes the rest: spinning and blocking goroutines do not keep others from running.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use runtime::chan;
use runtime::time::Ticker;

use super::with_procs;

#[test]
fn a_spinning_goroutine_is_preempted_on_the_only_proc() {
    let rt = with_procs(1);
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let spinner = rt.go(move || {
        while !seen.load(Ordering::Relaxed) {
            black_box(0);
        }
    });
    let others: Vec<_> = (0..10).map(|i| rt.go(move || i)).collect();
    assert_eq!(others.into_iter().map(|one| one.join().unwrap()).sum::<i32>(), 45);
    stop.store(true, Ordering::Relaxed);
    spinner.join().unwrap();
}

#[test]
fn goroutines_blocked_in_the_kernel_do_not_keep_their_proc() {
    let rt = with_procs(1);
    let (tx, rx) = chan::bounded(0);
    let (mut reader, writer) = std::io::pipe().unwrap();
    // Blocks in read(2) until the writer is dropped, which the next goroutine does.
    let blocked = rt.go(move || std::io::Read::read(&mut reader, &mut [0]).unwrap());
    let frees = rt.go(move || {
        rx.recv().unwrap();
        drop(writer);
    });
    rt.go(move || tx.send(()).unwrap()).join().unwrap();
    frees.join().unwrap();
    assert_eq!(blocked.join().unwrap(), 0);
}

/// The sleepers never call the runtime, and would keep the only processor: for a minute, so that the test ends.
#[test]
fn a_ticker_ticks_beside_sixty_four_sleepers_and_a_hog() {
    const SLEEPERS: usize = 64;
    const NAP: Duration = Duration::from_millis(20);
    let rt = with_procs(1);
    let (stop, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let sleepers: Vec<_> = (0..SLEEPERS)
        .map(|_| {
            let (stop, begun) = (Arc::clone(&stop), Arc::clone(&begun));
            rt.go(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                for _ in 0..3_000 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::sleep(NAP);
                }
            })
        })
        .collect();
    let hog = Arc::clone(&stop);
    rt.go(move || while !hog.load(Ordering::Relaxed) {});
    // While all sleep and wake, and sleep again.
    let meanwhile = |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(!sleepers.iter().any(|one| one.is_finished()), "one had the processor");
            std::thread::yield_now();
        }
    };
    meanwhile(&|| begun.load(Ordering::Relaxed) == SLEEPERS);
    let ticks = rt.go(|| {
        let ticker = Ticker::new(Duration::from_millis(1));
        (0..50).map(|_| ticker.wait()).collect::<BTreeSet<_>>().len()
    });
    meanwhile(&|| ticks.is_finished());
    stop.store(true, Ordering::Relaxed);
    assert_eq!(ticks.join().unwrap(), 50);
}
