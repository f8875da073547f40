//! A background collector for programs of plain threads.
//!
//! One thread: sleeps until a cycle is asked for, runs it, sweeps, runs destructors. It asks for
//! no lock that a mutator could hold for long, and dropping the [`Collector`] ends it at the next
//! pause between cycles. It also ends when the heap is broken, as no cycle will run any more.

use crate::{
    counted::Counted,
    cycle::Pause,
    error::HeapError,
    heap::{Heap, Plain, Tag},
    world::World,
};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

/// Spans swept between two looks at the flags.
const LOT: usize = 32;

/// The thread's.
const NAME: &str = "gc";

/// How long a thread without memory waits before it asks again.
const SCARCE: Duration = Duration::from_millis(1);

/// A thread that collects a heap whenever its pacer asks. Stops when dropped,
/// and is joined, unless whoever drops it holds a guard.
///
/// ```
/// use gc_core::{Collector, Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let collector = Collector::start(&heap).unwrap();
/// for n in 0..200_000u64 {
///     let guard = heap.enter();
///     guard.alloc([n; 8]);
/// }
/// drop(collector);
/// assert!(heap.stats().cycles > 0);
/// ```
#[derive(Debug)]
pub struct Collector<H: Tag = Plain> {
    heap: Heap<H>,
    stop: Counted<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<H: Tag> Collector<H> {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// If the system gives no thread. [`io::ErrorKind::OutOfMemory`] if there is no memory for the collector's
    /// part. What [`thread::Builder::spawn`] asks for itself, a few hundred bytes, cannot be refused: without them
    /// std ends the process, as at any thread's start.
    ///
    /// ```
    /// use gc_core::{Collector, Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// heap.request(); // before there is anybody to hear it
    /// let collector = Collector::start(&heap).unwrap();
    /// while heap.stats().cycles == 0 {
    ///     std::thread::yield_now();
    /// }
    /// drop(collector);
    /// ```
    pub fn start(heap: &Heap<H>) -> io::Result<Self> {
        let stop = Counted::try_new(AtomicBool::new(false)).map_err(|_| refused())?;
        let mut name = String::new();
        name.try_reserve_exact(NAME.len()).map_err(|_| refused())?;
        name.push_str(NAME);
        let thread = thread::Builder::new().name(name).spawn({
            let (heap, stop) = (heap.clone(), stop.clone());
            move || run(&heap, &stop)
        })?;
        let named = thread.thread().clone();
        // If it is refused a place among those who are woken, it ends as one that is dropped.
        let collector = Self { heap: heap.clone(), stop, thread: Some(thread) };
        heap.wakers().add(named.clone()).map_err(|_| refused())?;
        // For a request from before that.
        named.unpark();
        Ok(collector)
    }
}

impl<H: Tag> Drop for Collector<H> {
    fn drop(&mut self) {
        // Release: what the owner did before is done when the thread ends; pairs with `run`.
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        self.heap.wakers().remove(thread.thread().id());
        thread.thread().unpark();
        // A cycle under way may be waiting for the very guard that the caller holds; then the thread
        // ends by itself, later.
        if !self.heap.is_inside_guard() {
            // An error is a panic of checkmark or of a report, and has been printed.
            let _ = thread.join();
        }
    }
}

fn refused() -> io::Error {
    io::ErrorKind::OutOfMemory.into()
}

fn run<H: Tag>(heap: &Heap<H>, stop: &AtomicBool) {
    // Acquire: see `drop`.
    while !stop.load(Ordering::Acquire) {
        if !heap.is_requested() {
            thread::park();
        } else if collect(heap) == Err(HeapError::Broken) {
            return;
        }
    }
}

fn collect<H: Tag>(heap: &Heap<H>) -> Result<(), HeapError> {
    let nap = |pause| {
        if let Pause::Handshake(asked)
        | Pause::Operation(asked)
        | Pause::Busy(asked)
        | Pause::Starved(asked) = pause
        {
            let microseconds = if asked < 10 { 0 } else { 50 };
            heap.world().nap(Duration::from_micros(microseconds));
        }
    };
    // This thread holds no guard. A heap without collections asks for none.
    let outcome = heap.cycle(nap).map(drop);
    if outcome == Err(HeapError::Memory) {
        // For the thread's part in the heap. Who has some may give it back.
        heap.world().nap(SCARCE);
    }
    while !heap.sweep(LOT) {}
    heap.run_destructors(usize::MAX);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Hangs if it does not.
    #[test]
    fn the_thread_ends_when_the_heap_is_broken() {
        crate::tag! { struct Breaks; }
        let heap = Heap::<Breaks>::new().unwrap();
        let cycle = AssertUnwindSafe(|| heap.cycle(|_| panic!("no patience")).is_ok());
        assert!(catch_unwind(cycle).is_err());
        heap.request();
        run(&heap, &AtomicBool::new(false));
        assert!(heap.is_requested(), "for nothing");
    }
}
