//! Waiting with a deadline: the scheduler's side of the timer thread.
//!
//! A goroutine that parks with a deadline hands a reference of itself to the [`Driver`], which keeps
//! them in a heap and hands back what is due, on a thread without a P. The reference's place in the
//! heap is kept in the G record: there is one such wait per goroutine at a time. A future that sleeps
//! hands an alarm (`sleep`).
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
//! What a timer wakes does not wait for slices to end: it is queued as woken, and a P is found for a batch
//! of them. Where a P could
//! not be had at once, the timer thread itself is to look again a little later.
//!
//! # The last deadline
//!
//! It is gone when its sleeper has been woken, and then perhaps nobody is left to wake anyone. The monitor, which did
//! not ask until then, is told ([`lull`](crate::lull)).
//!
//! # The end
//!
//! When the scheduler has stopped, all its goroutines have ended, and none waits here any more. But a future
//! that sleeps may have been polled here and taken elsewhere; its alarm would lie in the heap for ever. So
//! the last thing that the timer thread does is to ring all that are left.

use core::cell::Cell;
use std::thread;

use crate::{
    driver::{Driver, Due},
    entry::enter,
    error::Error,
    handoff,
    policy::Cause,
    queue::list::List,
    service::NoUnwind,
    shared::Shared,
    sleep::Sleeper,
    sync::now,
    task::{TaskRef, runnable::Runnable},
    timer::Storage,
};

/// Room for so many sleepers at first.
const ROOM: usize = 64;

/// Goroutines whose time has come, on their way into the queue, by batches.
type Woken = Cell<List<Runnable>>;

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
            shared.adopt_thread();
            let woken = Cell::new(List::new());
            let fire = |due| ring(due, &shared, &woken);
            let (settle, rest) = (|| settle(&shared, &woken), || shared.deadline_gone());
            shared.timers.driver.run(now, fire, settle, rest);
            shared.timers.ring_all(&shared);
        };
        thread::Builder::new().name("sched-timer".into()).spawn(run).map_err(Error::Threads)
    }

    /// Has the timer thread look for goroutines and Ps that wait, at `at`. Inside the runtime.
    pub(crate) fn look_again(&self, at: u64) {
        self.driver.look_at(at);
    }

    /// Whether any deadline is set, or has come and its sleeper is about to be woken.
    pub(crate) fn any(&self) -> bool {
        let _entered = enter();
        self.driver.any()
    }

    /// Ends the timer thread.
    pub(crate) fn stop(&self) {
        let _entered = enter();
        self.driver.stop();
    }

    /// Calls `park` for the running goroutine `task`, which is unparked at `deadline`. False if that
    /// has happened or is about to.
    pub(crate) fn wait(&self, task: &TaskRef, deadline: u64, park: impl FnOnce()) -> bool {
        self.add(deadline, Sleeper::Goroutine(task.clone()));
        park();
        self.cancel(|| task.timer_place()).is_some()
    }

    /// Takes a sleeper out before its time. `None`: it is being woken, or has been.
    pub(crate) fn cancel(&self, place: impl FnOnce() -> Option<usize>) -> Option<Sleeper> {
        let _entered = enter();
        self.driver.cancel(place)
    }

    /// Rings the alarms that are left. None is added meanwhile or later: who adds is on a goroutine of this
    /// scheduler, and all have ended.
    fn ring_all(&self, shared: &Shared) {
        let next = || {
            let _entered = enter();
            self.driver.take()
        };
        while let Some(sleeper) = next() {
            let run = sleeper.wake(shared);
            debug_assert!(run.is_none(), "a goroutine sleeps on in a scheduler that has stopped");
        }
    }

    /// Has `sleeper` woken at `deadline`.
    pub(crate) fn add(&self, deadline: u64, sleeper: Sleeper) {
        let mut sleeper = sleeper;
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

/// What the timer thread does when it has woken some: queues them, and sees to it that they run.
fn settle(shared: &Shared, woken: &Woken) {
    let _entered = enter();
    shared.put_all(woken.take(), Cause::Woken);
    shared.notify();
    handoff::make_room(shared);
}

/// What the timer thread does when something is due.
fn ring(due: Due<Sleeper>, shared: &Shared, woken: &Woken) {
    match due {
        Due::Item(sleeper) => sleeper.wake(shared).into_iter().for_each(|run| {
            let _entered = enter();
            let mut batch = woken.take();
            shared.collect(&mut batch, run, Cause::Woken);
            woken.set(batch);
        }),
        Due::Look => {
            let _entered = enter();
            handoff::make_room(shared);
            handoff::escape(shared);
            shared.press();
        }
    }
}
