//! A thread that scavenges, for programs without a runtime that has one.
//!
//! It is started when the program asks, never by an allocation: a library that starts threads by
//! itself surprises whoever forks, counts threads or drops privileges. A forked child has no such
//! thread. It may start one, and drops what it inherited without a wait for the parent's.

extern crate std;

use core::{fmt, mem, time::Duration};
use std::{
    io,
    string::String,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle, park_timeout},
    time::Instant,
};

use super::{ScavengePolicy, Scavenger, process};
use crate::{Heap, pages::PageSource};

/// The pause while no free page has memory.
const QUIET: Duration = Duration::from_millis(200);

/// A thread that scavenges until this is dropped.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Where the thread runs.
    process: usize,
}

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").finish_non_exhaustive()
    }
}

/// Starts a thread that gives `heap`'s memory back by `policy`. The child of a fork has no such thread, and may start
/// its own.
///
/// # Errors
///
/// If no thread can be started, or the heap has a scavenger already.
///
/// ```
/// use alloc_core::{global, scavenge::{self, ByAge}};
/// let scavenger = scavenge::background(global::heap(), ByAge::default())?;
/// assert!(scavenge::background(global::heap(), ByAge::default()).is_err(), "one at a time");
/// drop(scavenger);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn background<S, P>(heap: &'static Heap<S>, policy: P) -> io::Result<Background>
where
    S: PageSource + Send + Sync,
    P: ScavengePolicy + Send + 'static,
{
    let scavenger = heap.scavenger(policy).ok_or(io::ErrorKind::AlreadyExists)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let life = move || scavenge(scavenger, &stopped);
    let thread = Builder::new().name(String::from("scavenger")).spawn(life)?;
    Ok(Background { stop, thread: Some(thread), process: process() })
}

fn scavenge<S: PageSource, P: ScavengePolicy>(
    mut scavenger: Scavenger<'_, S, P>,
    stop: &AtomicBool,
) {
    let begin = Instant::now();
    // Relaxed: the word alone says it; the unpark comes after it and ends the sleep.
    while !stop.load(Ordering::Relaxed) {
        park_timeout(scavenger.step(begin.elapsed()).unwrap_or(QUIET));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if self.process == process() {
            // Relaxed: as above.
            self.stop.store(true, Ordering::Relaxed);
            thread.thread().unpark();
            // It does not unwind but for a bug, which its message has told.
            let _ = thread.join();
        } else {
            // This is the child of a fork: to libc as well there is no such thread.
            mem::forget(thread);
        }
    }
}
