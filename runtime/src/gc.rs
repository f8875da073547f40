//! The collected heap: objects that nobody has to free, shared by goroutines and threads.
//!
//! One heap for the process, which all runtimes share. A [`Guard`] is the right to hold pointers
//! ([`Gc`]) into it; edges that change are [`GcCell`]s; a [`Root`] keeps an object while no guard is
//! held. The collector runs beside the program and stops nobody; see gc-core for how, and for what
//! may lie in the heap.
//!
//! ```
//! use runtime::gc::{self, GcCell, Root, Trace};
//!
//! #[derive(Trace)]
//! struct Node<'g> {
//!     value: u64,
//!     next: GcCell<'g, Node<'g>>,
//! }
//!
//! # let rt = runtime::Runtime::new().unwrap();
//! # rt.run(|| {
//! let list: Root<Node<'static>> = {
//!     let guard = gc::enter();
//!     let tail = guard.alloc(Node { value: 2, next: GcCell::null() });
//!     guard.root(guard.alloc(Node { value: 1, next: GcCell::new(Some(tail)) }))
//! };
//! gc::collect().unwrap();
//! let guard = gc::enter();
//! assert_eq!(list.get(&guard).next.load().unwrap().value, 2);
//! # });
//! ```
//!
//! The collector is a thread of its own, as long as there is a runtime. `GOGC` and
//! [`Builder::gogc`](crate::Builder::gogc) say how far the heap may grow between collections,
//! `GODEBUG=gctrace=1` writes a line about each.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gc_core::pacer::{Every, Gogc};
use gc_core::{Claim, Collector, HeapError, Tag};

use crate::current;
use crate::wire::{Cells, Procs};

pub use gc_core::stats::{Record, Stats};
pub use gc_core::trace::{Rebind, Trace};
pub use gc_core::{AllocError, HeapError as Error, RuntimeTrace as Trace, Slice};
#[doc(hidden)]
pub use gc_core::{derive, trace};

/// The tag of the process's collected heap.
#[derive(Debug)]
pub struct RuntimeHeap;

// SAFETY: the claim is a static of its own.
unsafe impl Tag for RuntimeHeap {
    type Space = Cells;
    type World = Procs;

    fn claim() -> &'static Claim {
        &current::HEAP_CLAIM
    }
}

/// A pointer to a collected object. See [`gc_core::Gc`].
pub type Gc<'g, T> = gc_core::Gc<'g, T, RuntimeHeap>;
/// An edge that changes. See [`gc_core::GcCell`].
pub type GcCell<'g, T> = gc_core::GcCell<'g, T, RuntimeHeap>;
/// The right to hold pointers. See [`gc_core::Guard`].
pub type Guard<'h> = gc_core::Guard<'h, RuntimeHeap>;
/// Keeps an object while no guard is held. See [`gc_core::Root`].
pub type Root<T> = gc_core::Root<T, RuntimeHeap>;
/// The heap. See [`gc_core::Heap`].
pub type Heap = gc_core::Heap<RuntimeHeap>;

/// The collected heap of the process, made at the first call.
pub fn heap() -> &'static Heap {
    current::HEAP.get_or_init(|| {
        let builder = Heap::builder().on_cycle(ended);
        builder.build(Cells::new(), Procs::new()).expect("this is the only place that makes one")
    })
}

/// Enters a guard. Guards nest; while one is held, a collection cannot end.
#[inline]
pub fn enter() -> Guard<'static> {
    heap().enter()
}

/// Runs a collection: every object that was unreachable before the call is gone. Parks while others
/// hold guards.
///
/// # Errors
///
/// [`Error::InsideGuard`] if the caller holds a guard.
pub fn collect() -> Result<Record, HeapError> {
    heap().collect()
}

/// What the collector did so far.
pub fn stats() -> Stats {
    heap().stats()
}

/// The background collector: runs while there is a runtime.
pub(crate) type Background = Arc<Collector<RuntimeHeap>>;

/// Starts the background collector, or shares the one that runs.
pub(crate) fn background(percent: Option<u32>, trace: bool) -> io::Result<Background> {
    match percent {
        Some(percent) => heap().set_pacer(Gogc::new(percent)),
        None => heap().set_pacer(Every(u64::MAX)),
    }
    // Relaxed: a switch for a diagnostic line.
    current::GCTRACE.store(trace, Ordering::Relaxed);
    let mut running = current::COLLECTOR.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(running) = Weak::upgrade(&running) {
        return Ok(running);
    }
    let collector = Arc::new(Collector::start(heap())?);
    *running = Arc::downgrade(&collector);
    Ok(collector)
}

/// Asks for a collection, if anyone uses the heap.
pub(crate) fn request() {
    if let Some(heap) = current::HEAP.get() {
        heap.request();
    }
}

/// How long ago the last collection ended; `None` if there was none, or nothing to collect.
pub(crate) fn since_collection() -> Option<Duration> {
    let heap = current::HEAP.get()?;
    if heap.live_bytes() == 0 { None } else { Some(heap.since_cycle()) }
}

/// At the end of each cycle.
fn ended(record: &Record) {
    // Relaxed: see `background`.
    if current::GCTRACE.load(Ordering::Relaxed) {
        eprintln!("{record}");
    }
}
