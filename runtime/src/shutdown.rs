//! [`Shutdown`]: how the end of a runtime went, and who keeps it from its end.
//!
//! A collection waits for guards, and whoever drives it is one of those that a shutdown waits for. The
//! holder of the guard may be elsewhere: a goroutine of another runtime, a thread, the caller of the
//! shutdown. Then a list of those that are left names the driver, which nobody has started; so the
//! holders are named beside it.
//!
//! The caller of a shutdown who holds a guard does not wait for the driver alone, as that would wait for it
//! ([`wait`]). It looks from time to time: a handshake may begin at any moment of the wait, and this is a
//! mistake of the program, or nearly one.

use std::fmt;
use std::time::{Duration, Instant};

use gc_core::world::Nesting;
use sched_core::{Goroutine, Scheduler};

use crate::trace::waited_for;
use crate::wire::is_servant;
use crate::{current, gc};

/// How long a holder of a guard waits before it first looks whether it waits for itself; then as long again
/// as it has waited, as each look makes a list of all that are left.
const FIRST: Duration = Duration::from_millis(10);

/// How a shutdown ended.
///
/// Shown as text it says so, with a line for each goroutine that is left, and for each that holds a guard
/// which a collection waits for.
///
/// ```
/// use std::time::Duration;
/// let rt = runtime::Runtime::new().unwrap();
/// let (tx, rx) = runtime::chan::rendezvous::<()>();
/// rt.go(move || rx.recv());
/// let end = rt.shutdown(Some(Duration::from_millis(1)));
/// assert!(!end.is_complete() && end.futures == 0);
/// println!("{end}");
/// # drop(tx);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use = "goroutines may be left"]
#[non_exhaustive]
pub struct Shutdown {
    /// Goroutines that had not ended, by number.
    pub left: Vec<Goroutine>,
    /// Futures that had not ended. Those that were being polled are in the list as well.
    pub futures: usize,
    /// What a collection waited for, if goroutines are left and one did. Its driver may be among them.
    pub guards: Option<HeldGuards>,
}

/// Guards that a collection waits for.
///
/// ```
/// use runtime::{Runtime, gc};
/// use std::time::Duration;
///
/// let rt = Runtime::new().unwrap();
/// let guard = gc::enter();
/// rt.run(|| gc::heap().request());
/// while gc::heap().waiting().is_none() {
///     std::thread::yield_now();
/// }
/// let end = rt.shutdown(Some(Duration::from_millis(1)));
/// assert_eq!(end.guards.unwrap().holders, [], "this thread's guard");
/// drop(guard);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldGuards {
    /// For how long.
    pub waited: Duration,
    /// The goroutines that hold them, of whichever runtime, longest first. None: threads do.
    pub holders: Vec<Goroutine>,
}

impl Shutdown {
    /// Whether nobody is left: then all threads have ended, and all memory was given back.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// rt.go(|| ());
    /// assert!(rt.shutdown(None).is_complete());
    /// ```
    pub fn is_complete(&self) -> bool {
        self.left.is_empty() && self.futures == 0
    }

    /// What the scheduler says, and what the collector knows.
    fn of(report: sched_core::Shutdown) -> Self {
        let sched_core::Shutdown { left, futures } = report;
        let guards = if left.is_empty() { None } else { held_guards() };
        Shutdown { left, futures, guards }
    }

    /// Whether nobody is left but the collector's goroutines, which wait for guards, and so many others.
    fn waits_for_guards(&self, others: usize) -> bool {
        let left = self.left.iter().filter(|goroutine| !is_servant(goroutine)).count();
        self.guards.is_some() && self.futures == 0 && left <= others
    }
}

/// Shuts `scheduler` down and waits for its goroutines; but not for those of the collector that wait for a
/// guard of the caller's.
pub(crate) fn wait(scheduler: &Scheduler, deadline: Option<Duration>) -> Shutdown {
    let begun = Instant::now();
    let holds = current::nesting(Nesting::depth) != 0;
    // A caller that is one of the goroutines is in the list of those that are left.
    let own = usize::from(sched_core::current().is_some_and(|here| here.same(scheduler)));
    loop {
        let waited = begun.elapsed();
        let time = deadline.map(|deadline| deadline.saturating_sub(waited));
        let next = waited.max(FIRST);
        let step = if holds { Some(time.map_or(next, |time| time.min(next))) } else { time };
        let shutdown = Shutdown::of(scheduler.shutdown(step));
        // One that comes back before its time has nobody left to wait for.
        let early = step.is_none_or(|step| begun.elapsed() < waited + step);
        if early || shutdown.is_complete() || step == time || shutdown.waits_for_guards(own) {
            return shutdown;
        }
    }
}

fn held_guards() -> Option<HeldGuards> {
    let waiting = gc::waiting()?;
    let all = current::COLLECTORS.holders();
    let holders = waited_for(waiting, &all).into_iter().map(|holder| holder.goroutine).collect();
    Some(HeldGuards { waited: waiting.age, holders })
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shutdown { left, futures, guards } = self;
        let report = sched_core::Shutdown { left: left.clone(), futures: *futures };
        fmt::Display::fmt(&report, f)?;
        guards.as_ref().map_or(Ok(()), |guards| write!(f, "\n{guards}"))
    }
}

impl fmt::Display for HeldGuards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a collection has waited {:.1?} for guards ", self.waited)?;
        if self.holders.is_empty() {
            return f.write_str("of threads");
        }
        f.write_str("of")?;
        self.holders.iter().try_for_each(|goroutine| write!(f, "\n  {goroutine}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_of_threads_are_told_of_after_those_that_are_left() {
        let guards = HeldGuards { waited: Duration::from_millis(1500), holders: Vec::new() };
        let end = Shutdown { left: Vec::new(), futures: 1, guards: Some(guards) };
        let text = "1 future is left\na collection has waited 1.5s for guards of threads";
        assert_eq!(end.to_string(), text);
    }
}
