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
//! The collector is goroutines of a runtime, started when there is something to do: a quarter of its
//! Ps mark while others wait, and destructors run on a goroutine of their own. `GOGC` and
//! [`Builder::gogc`](crate::Builder::gogc) say how far the heap may grow between collections,
//! `GODEBUG=gctrace=1` writes a line about each, `GODEBUG=gccheckmark=1` marks twice in each and
//! compares, `GODEBUG=gcpoison=1` fills what it frees and finds who writes there. `gc::enter().dump()` tells what is
//! in the heap, and why it is alive.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gc_core::pacer::{Gogc, Pacer};
use gc_core::stats::Waiting;
use gc_core::{Claim, HeapError, Tag};

use crate::config::{Collecting, Settings};
use crate::current;
use crate::make::Make;
use crate::trace::say;
use crate::wire::{Cells, Procs, Share};

pub use gc_core::dump::Dump;
pub use gc_core::pacer;
pub use gc_core::policy::{Collection, WriteBarrier};
pub use gc_core::stats::{Actions, Histogram, Record, Stats, Times};
pub use gc_core::trace::{Rebind, Trace};
pub use gc_core::{AllocError, HeapError as Error, RuntimeTrace as Trace, Slice, Str};
#[doc(hidden)]
pub use gc_core::{derive, trace};
pub use gc_core::{rebind_dyn, unsize};

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
/// Mutual exclusion for a value with edges; a goroutine that waits parks. See [`gc_core::GcMutex`].
pub type GcMutex<T> = gc_core::GcMutex<T, RuntimeHeap>;
/// Many readers or one writer of a value with edges. See [`gc_core::GcRwLock`].
pub type GcRwLock<T> = gc_core::GcRwLock<T, RuntimeHeap>;
/// A value with edges that is set once. See [`gc_core::GcOnce`].
pub type GcOnce<T> = gc_core::GcOnce<T, RuntimeHeap>;
/// A pointer that does not keep its object. See [`gc_core::Weak`].
pub type Weak<'g, T> = gc_core::Weak<'g, T, RuntimeHeap>;
/// News of deaths. See [`gc_core::CleanupQueue`].
pub type CleanupQueue<K> = gc_core::CleanupQueue<K, RuntimeHeap>;
/// Keeps an object while no guard is held. See [`gc_core::Root`].
pub type Root<T> = gc_core::Root<T, RuntimeHeap>;
/// The heap. See [`gc_core::Heap`].
pub type Heap = gc_core::Heap<RuntimeHeap>;

/// The collected heap of the process, made at the first call.
///
/// # Panics
///
/// If it is not made yet, and there is no memory for it.
pub fn heap() -> &'static Heap {
    match current::HEAP.get() {
        Some(heap) => heap,
        None => try_heap().unwrap_or_else(|refused| panic!("no collected heap: {refused}")),
    }
}

/// The same, or an error if it is not made yet and there is no memory for it: the next call tries again.
pub(crate) fn try_heap() -> Result<&'static Heap, HeapError> {
    if let Some(heap) = current::HEAP.get() {
        return Ok(heap);
    }
    // One makes it. What is there is whole between any two statements; poison carries no news.
    let mut making = current::MAKING_HEAP.lock().unwrap_or_else(PoisonError::into_inner);
    if current::HEAP.get().is_none() {
        if making.is_none() {
            *making = Some(Heap::builder().on_cycle(ended).build(Cells::new(), Procs::new())?);
        }
        connect(making.as_ref().expect("it has been built"))?;
    }
    Ok(current::HEAP.get_or_init(|| making.take().expect("nobody else has made one")))
}

/// Has the heap call whoever collects it.
fn connect(heap: &Heap) -> Result<(), HeapError> {
    heap.try_set_waker(|| current::COLLECTORS.request()).map_err(|_| HeapError::Memory)?;
    heap.try_on_work(|| current::COLLECTORS.share()).map_err(|_| HeapError::Memory)
}

/// Enters a guard. Guards nest; while one is held, a collection cannot end.
///
/// # Panics
///
/// If there is no memory for the part of the caller's P in the heap, which its first guard makes, or for the heap
/// itself, which the first runtime makes; [`try_enter`] returns that as a value.
///
/// ```
/// use runtime::gc;
///
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// let guard = gc::enter();
/// let seven = guard.alloc(7);
/// assert_eq!(*seven, 7);
/// # });
/// ```
#[inline]
pub fn enter() -> Guard<'static> {
    heap().enter()
}

/// Enters a guard, as [`enter`] does.
///
/// # Errors
///
/// [`Error::Memory`] if there is no memory for the part of the caller's P in the heap, or for the heap.
///
/// ```
/// use runtime::gc;
///
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// let guard = gc::try_enter().unwrap();
/// assert_eq!(*guard.alloc(7u64), 7);
/// # });
/// ```
pub fn try_enter() -> Result<Guard<'static>, HeapError> {
    try_heap()?.try_enter()
}

/// Runs a collection: every object that was unreachable before the call is gone. Parks while others
/// hold guards.
///
/// # Errors
///
/// [`Error::InsideGuard`] if the caller holds a guard; [`Error::Memory`] as for [`try_enter`].
///
/// ```
/// use runtime::gc;
///
/// let rt = runtime::Runtime::new().unwrap();
/// rt.run(|| {
///     let before = gc::stats().cycles;
///     gc::collect().unwrap();
///     assert!(gc::stats().cycles > before);
///     let _guard = gc::enter();
///     assert_eq!(gc::collect().unwrap_err(), gc::Error::InsideGuard);
/// });
/// ```
pub fn collect() -> Result<Record, HeapError> {
    let heap = try_heap()?;
    let mut share = Share::begin();
    heap.collect_with(|pause| share.pause(pause))
}

/// What the collector did so far.
pub fn stats() -> Stats {
    heap().stats()
}

/// The pacer of a new runtime. Calls user code.
pub(crate) fn make_pacer(settings: &Settings) -> Box<dyn Pacer> {
    let hard = settings.memory_limit.map(|bytes| bytes as u64);
    let limit = hard.or(settings.soft_limit).unwrap_or(u64::MAX);
    let gogc = || settings.gogc.map_or_else(Gogc::off, Gogc::new).limit(limit);
    settings.collecting.pacer.as_ref().map_or_else(|| Box::new(gogc()) as _, Make::make)
}

/// How the heap is collected, and looked at: the last runtime decides. After an error nothing has changed.
pub(crate) fn configure(settings: &Settings, pacer: Box<dyn Pacer>) -> Result<(), HeapError> {
    let heap = try_heap()?;
    heap.try_set_pacer(pacer).map_err(|_| HeapError::Memory)?;
    let Collecting { collection, write_barrier, .. } = &settings.collecting;
    heap.set_collection(*collection);
    heap.set_write_barrier(*write_barrier);
    heap.set_checkmark(settings.gccheckmark);
    heap.space().set_poison(settings.gcpoison);
    // Relaxed: a switch for a diagnostic line.
    current::GCTRACE.store(settings.gctrace, Ordering::Relaxed);
    Ok(())
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

/// The handshake that a collection has been waiting in, if it takes time.
pub(crate) fn waiting() -> Option<Waiting> {
    current::HEAP.get()?.waiting()
}

/// At the end of each cycle.
fn ended(record: &Record) {
    // Relaxed: see `configure`.
    if current::GCTRACE.load(Ordering::Relaxed) {
        say(record);
    }
}
