//! Watches a plain thread pool that knows nothing of being watched.
//!
//! The pool runs at most two jobs at a time. Here its first two jobs wait for a message that only
//! the third sends, so with two permits it would hang for ever. The monitor sees that two threads hold a
//! permit and sleep in the kernel, takes one or both of the permits away, and the third job runs.
//!
//! ```text
//! $ cargo run -p sysmon --example thread_pool
//! the third job sends
//! jobs done: 3, permits taken from blocked threads: 1
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use sysmon::{
    Alarm, KernelState, Limits, Machine, Monitor, Pause, Snapshot, SystemClock, ThreadProbe, Wake,
    Worker, WorkerId, current_thread_id,
};

/// Threads of the pool: more than there are permits.
const THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// A job on a thread.
struct Run {
    tid: i32,
    number: u64,
    since: Instant,
    holds: bool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    permits: usize,
    runs: Vec<Run>,
    started: u64,
    done: usize,
    taken: usize,
}

#[derive(Default)]
struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    alarm: Alarm,
}

impl Pool {
    /// What each thread of the pool does. There are more threads than permits.
    fn work(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            let job = loop {
                if state.permits > 0
                    && let Some(job) = state.jobs.pop_front()
                {
                    break job;
                }
                state = self.changed.wait(state).unwrap();
            };
            state.permits -= 1;
            state.started += 1;
            let number = state.started;
            let tid = current_thread_id();
            state.runs.push(Run { tid, number, since: Instant::now(), holds: true });
            drop(state);
            self.alarm.ring();
            job();
            let mut state = self.state.lock().unwrap();
            let place = state.runs.iter().position(|run| run.number == number).unwrap();
            let run = state.runs.swap_remove(place);
            state.permits += usize::from(run.holds);
            state.done += 1;
            drop(state);
            self.changed.notify_all();
        }
    }

    fn active(&self) -> bool {
        self.state.lock().unwrap().runs.iter().any(|run| run.holds)
    }
}

/// The pool as the monitor sees it. A worker is a job's thread, its tick the job's number.
struct Watched {
    pool: Arc<Pool>,
    probe: ThreadProbe,
}

impl Machine for Watched {
    fn most_workers(&self) -> usize {
        THREADS
    }

    fn snapshot(&mut self, into: &mut Snapshot) {
        let state = self.pool.state.lock().unwrap();
        into.waiting = state.jobs.len();
        into.workers.extend(state.runs.iter().map(|run| Worker {
            id: WorkerId(run.tid as u64),
            holds: run.holds,
            running: true,
            tick: run.number,
            slice_age: run.since.elapsed(),
        }));
    }

    fn cpu_time(&mut self, worker: WorkerId) -> Option<Duration> {
        self.probe.cpu_time(worker.0 as i32)
    }

    fn kernel_state(&mut self, worker: WorkerId) -> KernelState {
        self.probe.state(worker.0 as i32)
    }

    fn take(&mut self, seen: &Worker) -> bool {
        let mut state = self.pool.state.lock().unwrap();
        let Some(run) = state.runs.iter_mut().find(|run| run.number == seen.tick) else {
            return false;
        };
        run.holds = false;
        state.permits += 1;
        state.taken += 1;
        self.pool.changed.notify_all();
        true
    }

    fn request_preempt(&mut self, _: WorkerId) {} // a job of this pool cannot yield

    fn signal(&mut self, _: WorkerId) {}

    fn wait(&mut self, pause: Pause) -> Wake {
        self.pool.alarm.wait(pause, || self.pool.active())
    }
}

pub(crate) fn main() {
    let pool = Arc::new(Pool::default());
    pool.state.lock().unwrap().permits = 2;
    for _ in 0..THREADS {
        let pool = pool.clone();
        std::thread::spawn(move || pool.work());
    }
    let watched = Watched { pool: pool.clone(), probe: ThreadProbe::new() };
    let monitor = std::thread::spawn(move || {
        Monitor::new(watched, SystemClock::new(), Limits::DEFAULT).run();
    });

    let (send, receive) = mpsc::channel();
    let receive = Arc::new(Mutex::new(receive));
    let mut state = pool.state.lock().unwrap();
    for _ in 0..2 {
        let receive = receive.clone();
        state.jobs.push_back(Box::new(move || receive.lock().unwrap().recv().unwrap()));
    }
    state.jobs.push_back(Box::new(move || {
        println!("the third job sends");
        send.send(()).unwrap();
        send.send(()).unwrap();
    }));
    pool.changed.notify_all();
    while state.done < 3 {
        state = pool.changed.wait(state).unwrap();
    }
    assert!(state.taken > 0, "the third job got a permit from one that blocked");
    println!("jobs done: {}, permits taken from blocked threads: {}", state.done, state.taken);
    drop(state);
    pool.alarm.stop();
    monitor.join().unwrap();
}
