//! Goroutines that wait give back what deep calls touched. A process of its own: its resident memory is compared.

mod common;
#[path = "common/dig.rs"]
mod dig;
#[path = "common/resident.rs"]
mod resident;

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use common::{MODES, with};
use dig::dig;
use resident::resident;
use sched_core::{
    Config, JoinHandle, Scheduler, Spawn, Status,
    park::{self, WaitReason, Waiter},
    tls::{Surplus, probe},
};

/// One whose goroutines are trimmed whenever somebody looks.
fn eager(thread_mode: bool) -> Config {
    Config { procs: 2, thread_mode, trim_after: Some(Duration::ZERO), ..Config::default() }
}

/// Goroutines that go so deep, wait, and go so deep once more.
struct Divers {
    waiters: Vec<Waiter>,
    handles: Vec<JoinHandle<()>>,
}

impl Divers {
    fn start(scheduler: &Scheduler, count: usize, how: Spawn, depth: usize) -> Self {
        let (tell, told) = mpsc::channel();
        let handles = (0..count)
            .map(|number| {
                let tell = tell.clone();
                let dives = move || {
                    let kept = black_box([number; 64]);
                    assert!(dig(depth) >= depth);
                    tell.send(park::current()).expect("the test listens");
                    park::park(WaitReason::Park);
                    assert_eq!(kept, [number; 64], "what the goroutine has is there");
                    assert!(dig(depth) >= depth);
                };
                scheduler.spawn_with(how, dives).expect("it is open")
            })
            .collect();
        let waiters = told.iter().take(count).collect();
        let waits = |status| matches!(status, Status::Waiting { .. });
        while !scheduler.goroutines().iter().all(|one| waits(one.status)) {
            thread::yield_now();
        }
        Divers { waiters, handles }
    }

    fn end(self) {
        self.waiters.iter().for_each(Waiter::unpark);
        self.handles.into_iter().for_each(|one| one.join().expect("no panic"));
    }
}

/// How much the process has given back when so many have been so deep and wait.
fn given(config: Config, count: usize, bytes: usize, depth: usize) -> usize {
    let scheduler = with(config);
    let divers = Divers::start(&scheduler, count, Spawn::new().stack_bytes(bytes), depth);
    let (before, monitor) = (resident(), scheduler.monitor());
    while monitor.stacks_rest() {
        scheduler.age_stacks();
    }
    let given = before.saturating_sub(resident());
    divers.end();
    assert_eq!(scheduler.shutdown(None).left, []);
    given
}

/// Of usual stacks, and of such that are given back piece by piece. If nobody has asked for it, and in thread mode,
/// they stay; whoever looks after them then has nothing to do all the same.
fn those_who_wait_give_back(thread_mode: bool) {
    let own_stacks = !thread_mode && probe(Surplus::Take).is_own_tls();
    for (count, bytes) in [(64, 256 << 10), (2, 16 << 20)] {
        let depth = bytes / 4 * 3;
        let most = count * depth;
        let given = |config| given(config, count, bytes, depth);
        let trimmed = given(eager(thread_mode));
        assert_eq!(trimmed > most / 4 * 3, own_stacks, "{trimmed} of {most}");
        let kept = given(Config { trim_after: None, ..eager(thread_mode) });
        assert!(kept < most / 4, "{kept} of {most}");
    }
}

/// Two hand a token to and fro, each on a stack that is trimmed all the time.
fn no_wake_up_is_lost(thread_mode: bool) {
    const ROUNDS: usize = 300;
    let scheduler = Arc::new(with(eager(thread_mode)));
    let stop = Arc::new(AtomicBool::new(false));
    let trimmer = {
        let (scheduler, stop) = (Arc::clone(&scheduler), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                scheduler.age_stacks();
            }
        })
    };
    let (tell, told) = mpsc::channel::<Waiter>();
    let plays = |other: mpsc::Receiver<Waiter>, begins: bool| {
        let tell = tell.clone();
        move || {
            tell.send(park::current()).expect("the test listens");
            let other = other.recv().expect("the test tells");
            for round in 0..ROUNDS {
                if begins || round > 0 {
                    dig(64 << 10);
                    other.unpark();
                }
                park::park(WaitReason::Park);
            }
            other.unpark();
        }
    };
    let (to_first, first_hears) = mpsc::channel();
    let (to_second, second_hears) = mpsc::channel();
    let first = scheduler.spawn(plays(first_hears, true)).expect("it is open");
    let one = told.recv().expect("it tells");
    let second = scheduler.spawn(plays(second_hears, false)).expect("it is open");
    let other = told.recv().expect("it tells");
    to_first.send(other).expect("it listens");
    to_second.send(one).expect("it listens");
    [first, second].into_iter().for_each(|player| player.join().expect("no panic"));
    stop.store(true, Ordering::Relaxed);
    trimmer.join().expect("no panic");
    assert_eq!(scheduler.shutdown(None).left, []);
}

/// One after the other: each looks at the memory of the process.
#[test]
fn what_deep_calls_touched_goes_back_from_those_who_wait() {
    for mode in MODES {
        those_who_wait_give_back(mode);
        no_wake_up_is_lost(mode);
    }
}
