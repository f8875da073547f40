//! How a runtime begins, step by step, and what a step that fails takes back.
//!
//! 1. *The pacer is made.* That is user code, which may make a runtime itself: so before the lock that the next step
//!    holds.
//! 2. *The memory limit is lifted*, as what the runtime begins with must not fail by the limit of another
//!    ([`Limit`]). Until it is kept, whatever fails brings the former one back.
//! 3. *The scheduler* comes, with its threads and first stacks. From here on a failure drops the [`Runtime`], which
//!    ends what has begun.
//! 4. *The memory limit is set*, if there is one that the scheduler leaves room in.
//! 5. *The attendants* start, and the last of them hands the collected heap over: nothing fails after that.

use sched_core::Scheduler;
use sched_core::tls::Mode;

use super::Runtime;
use crate::build_error::BuildError;
use crate::config::Settings;
use crate::current;
use crate::gc;
use crate::trace::say;
use crate::wire::{self, Attendants, Limit};

/// Makes a runtime.
pub(crate) fn start(settings: &Settings) -> Result<Runtime, BuildError> {
    if wire::is_foreign() {
        return Err(BuildError::ForeignBinding);
    }
    current::IGNORED.call_once(|| settings.ignored().for_each(say));
    let pacer = gc::make_pacer(settings);
    let limit = Limit::lift();
    let scheduler = Scheduler::with_stacks(settings.scheduler(), wire::hooks(), wire::stacks())?;
    say_if_slow(&scheduler, settings);
    // Dropped if a later step fails.
    let mut runtime = Runtime { scheduler, attendants: Attendants::new(settings), ended: false };
    limit.set(settings.memory_limit)?;
    let started = runtime.attendants.start(&runtime.scheduler, settings, pacer);
    match started {
        Ok(()) => limit.keep(),
        // Before the attendants are waited for: one may be in user code that makes a runtime.
        Err(_) => drop(limit),
    }
    started.map(|()| runtime)
}

/// Says, once, that goroutines have kernel threads where nobody wanted that.
fn say_if_slow(scheduler: &Scheduler, settings: &Settings) {
    if let (Mode::Threads { why }, false) = (scheduler.mode(), settings.kernel_threads) {
        current::SLOW_MODE
            .call_once(|| say(format_args!("runtime: a kernel thread per goroutine: {why}")));
    }
}
