//! What a model has in the place of goroutines.
//!
//! Channels, locks and timers stand on two promises of this crate: whoever has entered the runtime does not
//! give way, and [`park`](mod@park) keeps a permit. Both are made good by modules that need the operating system and
//! are checked by models of their own (`sched_entry`, `sched_park`). A model of what lies above takes them as
//! given: its threads are plain threads, which have no P, and park as plain threads do, in a
//! [`Parker`](crate::parker::Parker).
//!
//! It is stricter than a machine in one point: who parks, or gives way, inside the runtime panics.

pub mod park;

use core::{cell::Cell, fmt, marker::PhantomData};

loom::thread_local! {
    /// How many entries of this thread are open.
    static DEPTH: Cell<usize> = Cell::new(0);
}

/// The caller is inside the runtime until this is dropped. It knows how many entries were open before.
#[must_use = "the runtime is left as soon as this is dropped"]
pub struct Entered<'a>(usize, PhantomData<(&'a (), *mut ())>);

/// Enters the runtime.
pub fn enter() -> Entered<'static> {
    let outer = DEPTH.with(|depth| depth.replace(depth.get() + 1));
    Entered(outer, PhantomData)
}

impl Entered<'_> {
    /// A plain thread has no P.
    pub fn proc_index(&self) -> Option<usize> {
        None
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if DEPTH.with(|depth| depth.replace(self.0)) != self.0 + 1 {
            out_of_turn();
        }
    }
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entered").finish_non_exhaustive()
    }
}

/// Lets the others go first.
pub fn yield_now() {
    assert_outside();
    loom::thread::yield_now();
}

/// Fails the model: the runtime is left by another entry than the last one.
#[cold]
pub(crate) fn out_of_turn() -> ! {
    panic!("an entry ends out of turn")
}

/// Panics if the caller is inside the runtime: there, nobody waits and no user code runs.
pub(crate) fn assert_outside() {
    DEPTH.with(|depth| assert_eq!(depth.get(), 0, "the caller is inside the runtime"));
}
