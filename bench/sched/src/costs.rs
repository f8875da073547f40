//! What only the scheduler's own interface can be asked: an entry into the runtime, and a preemption.

use std::hint::{black_box, spin_loop};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bench_sched::Costs;
use sched_core::monitor::{MachineView, Monitor};
use sched_core::{Config, NoHooks, Scheduler, entry};

use crate::Ours;

/// A signal that came while the goroutine was inside the runtime did nothing, and who is asked while the other one has
/// no stack yet begins a new slice: after this long, once more.
const AGAIN: Duration = Duration::from_millis(1);

impl Costs for Ours {
    fn enter_and_exit(&self, times: usize) {
        self.0.run(|| (0..times).for_each(|_| drop(black_box(entry::enter()))));
    }

    fn preempt(times: usize) -> Vec<Duration> {
        let config = Config { procs: 1, ..Config::default() };
        let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("threads and stacks");
        let (stop, runs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let hogs = [1, 2].map(|number| {
            let (stop, runs) = (stop.clone(), runs.clone());
            let hog = move || {
                while !stop.load(Ordering::Relaxed) {
                    runs.store(number, Ordering::Relaxed);
                }
            };
            scheduler.spawn(hog).expect("it is open")
        });
        while runs.load(Ordering::Relaxed) == 0 {
            spin_loop();
        }
        let monitor = scheduler.monitor();
        let mut views = Vec::with_capacity(monitor.most_machines());
        let delays = (0..times).map(|_| turn(&monitor, &mut views, &runs)).collect();
        stop.store(true, Ordering::Relaxed);
        for hog in hogs {
            hog.join().expect("no panic");
        }
        assert_eq!(scheduler.shutdown(None).left, []);
        delays
    }
}

/// The time from the request until another goroutine than before runs.
fn turn(monitor: &Monitor, views: &mut Vec<MachineView>, runs: &AtomicUsize) -> Duration {
    let before = runs.load(Ordering::Relaxed);
    let began = Instant::now();
    while runs.load(Ordering::Relaxed) == before {
        monitor.snapshot(views);
        for seen in views.iter() {
            monitor.request_preempt(seen);
            monitor.signal(seen.id);
        }
        let sent = Instant::now();
        while runs.load(Ordering::Relaxed) == before && sent.elapsed() < AGAIN {
            spin_loop();
        }
    }
    began.elapsed()
}
