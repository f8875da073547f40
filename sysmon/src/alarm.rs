//! Where the monitor sleeps, and where others wake it.
//!
//! The monitor sleeps because it saw an idle machine; a worker wakes it because it made the machine
//! active. Each must not miss the other, and the worker's side must cost next to nothing, since it
//! is on the path of every task that becomes ready. This is the store→load handshake:
//!
//! ```text
//! monitor                              worker
//! M1  state = ASLEEP                   W1  take a processor, queue a task
//! M2  fence(SeqCst)                    W2  fence(SeqCst)
//! M3  look again: active? don't sleep  W3  state == ASLEEP? wake
//! M4  futex wait while ASLEEP
//! ```
//!
//! Either the fence M2 comes first, then W3 reads what M1 wrote (or what came after) and wakes; or
//! W2 comes first, then M3 sees what W1 did and the monitor does not sleep. A wake between M3 and
//! M4 changes the word, and the futex does not wait.
//!
//! Short naps, up to [`NAP`], leave the word alone: they end by themselves soon, and a worker
//! that readies tasks one after the other must not pay for a system call each time.
//!
//! Model: `loom-tests/tests/sysmon_alarm.rs`.
//!
//! No lock is taken: a ring may come from inside a scheduler, where locks that others hold are
//! forbidden.

use std::time::Duration;

use crate::machine::{Pause, Wake};
use crate::sync::{Futex, Ordering, fence};

/// The longest sleep that is not disturbed by [`Alarm::ring`].
const NAP: Duration = Duration::from_millis(1);

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
const RUNG: u32 = 2;
const STOPPED: u32 = 3;

/// The monitor's bed: one thread sleeps, any thread rings.
///
/// ```
/// use std::sync::atomic::{AtomicBool, Ordering};
/// use sysmon::{Alarm, Pause, Wake};
/// let (alarm, active) = (Alarm::new(), AtomicBool::new(false));
/// std::thread::scope(|scope| {
///     let monitor = scope.spawn(|| {
///         alarm.wait(Pause::UntilWoken, || active.load(Ordering::Relaxed))
///     });
///     active.store(true, Ordering::Relaxed);
///     alarm.ring();
///     assert_eq!(monitor.join().unwrap(), Wake::Look);
/// });
/// alarm.stop();
/// assert_eq!(alarm.wait(Pause::UntilWoken, || false), Wake::Stop);
/// ```
#[derive(Debug)]
pub struct Alarm {
    /// Written by the sleeper (`AWAKE`, `ASLEEP`) and by whoever rings (`RUNG`) or stops
    /// (`STOPPED`, for good).
    state: Futex,
}

impl Default for Alarm {
    fn default() -> Self {
        Self::new()
    }
}

impl Alarm {
    /// An alarm that nobody sleeps on.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { state: Futex::new(AWAKE) }
    }

    /// An alarm that nobody sleeps on, in a model.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { state: Futex::new(AWAKE) }
    }

    /// Sleeps for `pause` at most, unless `active` says that there is a reason to look again.
    ///
    /// For one thread at a time. `active` is asked after the alarm is armed, and not for short
    /// pauses.
    pub fn wait(&self, pause: Pause, active: impl FnOnce() -> bool) -> Wake {
        match pause {
            Pause::For(time) if time <= NAP => self.nap(time),
            Pause::For(time) => self.sleep(Some(time), active),
            Pause::UntilWoken => self.sleep(None, active),
        }
    }

    /// Wakes the monitor if it sleeps for longer than a millisecond. One fence and one load if not.
    #[inline]
    pub fn ring(&self) {
        // SeqCst: W2 of the essay; orders the caller's change before the load. Pairs with M2.
        fence(Ordering::SeqCst);
        // Relaxed: the fence orders it; what is read only decides whether to make the RMW.
        if self.state.word().load(Ordering::Relaxed) == ASLEEP {
            self.ring_slow();
        }
    }

    #[cold]
    fn ring_slow(&self) {
        // Relaxed, twice: the change that the monitor shall see was ordered by W2, and the monitor
        // looks at everything anew. Of many ringers one wins the exchange and makes the call.
        let won =
            self.state.word().compare_exchange(ASLEEP, RUNG, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() {
            self.state.wake();
        }
    }

    /// Ends the present sleep and makes each later [`wait`](Self::wait) return [`Wake::Stop`].
    pub fn stop(&self) {
        // Release: what the stopper did before is seen by a monitor that sees STOPPED; pairs with
        // the Acquire exchange in `sleep` and the Acquire load in `nap`.
        self.state.word().swap(STOPPED, Ordering::Release);
        self.state.wake();
    }

    fn nap(&self, time: Duration) -> Wake {
        std::thread::sleep(time);
        // Acquire: pairs with the Release in `stop`.
        if self.state.word().load(Ordering::Acquire) == STOPPED { Wake::Stop } else { Wake::Look }
    }

    fn sleep(&self, time: Option<Duration>, active: impl FnOnce() -> bool) -> Wake {
        // Acquire: on failure, pairs with the Release in `stop`. Relaxed on success: M1 is ordered
        // by the fence below.
        let armed =
            self.state.word().compare_exchange(AWAKE, ASLEEP, Ordering::Relaxed, Ordering::Acquire);
        if armed.is_err() {
            return Wake::Stop;
        }
        // SeqCst: M2 of the essay; orders the arming before `active`. Pairs with W2.
        fence(Ordering::SeqCst);
        let active = active();
        if !active {
            self.state.wait(ASLEEP, time);
        }
        match self.rise() {
            Wake::Due if active || time.is_none() => Wake::Look,
            wake => wake,
        }
    }

    /// Leaves ASLEEP or RUNG, but not STOPPED.
    fn rise(&self) -> Wake {
        let rise = |state| (state != STOPPED).then_some(AWAKE);
        // Acquire: on both outcomes, pairs with the Release in `stop`.
        match self.state.word().fetch_update(Ordering::Acquire, Ordering::Acquire, rise) {
            Ok(ASLEEP) => Wake::Due,
            Ok(_) => Wake::Look,
            Err(_) => Wake::Stop,
        }
    }
}
