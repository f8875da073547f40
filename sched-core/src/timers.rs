//! Waiting with a deadline: the scheduler's side of the timer thread.
//!
//! A goroutine that parks with a deadline hands a reference of itself to the [`Driver`], which keeps
//! them in a heap and hands back what is due, on a thread without a P. The reference's place in the
//! heap is kept in the G record: there is one such wait per goroutine at a time.
//!
//! # Who woke it
//!
//! After the wait the goroutine takes its entry out again. If it is still there, the deadline has
//! not come: somebody unparked it. If not, the timer thread has it or has had it, and the wait
//! counts as timed out. Its unpark may then come late, and leave a permit that nobody sent: one of
//! the reasons why every wait is a loop over a condition.
//!
//! # Room
//!
//! The heap does not allocate. Whoever finds it full leaves the runtime, makes twice the room, and
//! tries again.
//!
//! # Urgency
//!
//! What a timer wakes does not wait for slices to end: [`worker::unpark_urgently`].

use std::thread;

use crate::{
    driver::Driver,
    entry::enter,
    error::Error,
    scheduler::Shared,
    service::NoUnwind,
    sync::now,
    task::TaskRef,
    timer::{Storage, Timed},
    worker,
};

/// Room for so many sleepers at first.
const ROOM: usize = 64;

/// A goroutine that waits with a deadline.
#[derive(Debug)]
pub(crate) struct Sleeper(TaskRef);

impl Timed for Sleeper {
    fn set_place(&self, place: Option<usize>) {
        self.0.set_timer_place(place);
    }
}

/// The deadlines of one scheduler.
#[derive(Debug)]
pub(crate) struct Timers {
    driver: Driver<Sleeper>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { driver: Driver::new(Storage::new(ROOM)) }
    }

    /// Starts the timer thread.
    pub(crate) fn start(shared: &Shared) -> Result<thread::JoinHandle<()>, Error> {
        let shared = shared.arc();
        let run = move || {
            let _whole = NoUnwind("the timer thread");
            shared.timers.driver.run(now, |sleeper| worker::unpark_urgently(&sleeper.0));
        };
        thread::Builder::new().name("sched-timer".into()).spawn(run).map_err(Error::Threads)
    }

    /// Ends the timer thread.
    pub(crate) fn stop(&self) {
        let _entered = enter();
        self.driver.stop();
    }

    /// Calls `park` for the running goroutine `task`, which is unparked at `deadline`. False if that
    /// has happened or is about to.
    pub(crate) fn wait(&self, task: &TaskRef, deadline: u64, park: impl FnOnce()) -> bool {
        self.add(task, deadline);
        park();
        let _entered = enter();
        self.driver.cancel(|| task.timer_place()).is_some()
    }

    fn add(&self, task: &TaskRef, deadline: u64) {
        let mut sleeper = Sleeper(task.clone());
        loop {
            let (refused, room) = {
                let _entered = enter();
                match self.driver.add(deadline, sleeper) {
                    Ok(()) => return,
                    Err(refused) => (refused, self.driver.occupancy().1),
                }
            };
            sleeper = refused;
            let larger = Storage::new(room * 2);
            let smaller = {
                let _entered = enter();
                self.driver.enlarge(larger)
            };
            drop(smaller);
        }
    }
}
