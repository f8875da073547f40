//! Nothing freezes the rest: spinning and blocking goroutines do not keep others from running.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use runtime::chan;

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

#[test]
fn a_ticker_ticks_beside_sixty_four_sleepers_and_a_hog() {
    let rt = with_procs(1);
    let stop = Arc::new(AtomicBool::new(false));
    let hog = Arc::clone(&stop);
    rt.go(move || while !hog.load(Ordering::Relaxed) {});
    for _ in 0..64 {
        rt.go(|| std::thread::sleep(Duration::from_millis(20)));
    }
    let ticks = rt.go(|| (0..50).for_each(|_| runtime::sleep(Duration::from_millis(1))));
    ticks.join().unwrap();
    stop.store(true, Ordering::Relaxed);
}
