//! A run that does not go on says what it waits for, and ends; and one that ends without a verdict says so.
//!
//! Everybody says what it is about to do; a watcher looks four times a second, and when nothing has changed
//! for so many looks it tells who is where. Looks and not seconds: a machine that stood still has not looked.

use crate::plan::say;
use gc_core::{Heap, Tag};
use std::{
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Looks without any change, after which a run hangs.
const LOOKS: usize = 480;

/// The same, once it is known that it does.
const FEW: usize = 8;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Looks for which the heap is asked what it does.
const PATIENCE: usize = 20;

/// What one thread is doing, and how often it has said so.
#[derive(Default)]
struct Place {
    doing: Mutex<&'static str>,
    changes: AtomicUsize,
}

/// What everybody does.
pub(crate) struct Watch {
    places: Vec<Place>,
    looks: AtomicUsize,
    over: AtomicBool,
}

impl Watch {
    /// So many threads are watched.
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        let places = (0..threads).map(|_| Place::default()).collect();
        Arc::new(Self { places, looks: AtomicUsize::new(LOOKS), over: AtomicBool::new(false) })
    }

    /// A thread is about to do something.
    pub(crate) fn note(&self, thread: usize, doing: &'static str) {
        *self.places[thread].doing.lock().unwrap() = doing;
        self.places[thread].changes.fetch_add(1, Ordering::Relaxed);
    }

    /// This run is going to hang.
    pub(crate) fn hurry(&self) {
        self.looks.store(FEW, Ordering::Relaxed);
    }

    fn changes(&self) -> usize {
        self.places.iter().map(|place| place.changes.load(Ordering::Relaxed)).sum()
    }

    /// Who is where; what the heap does last, and by a thread that nobody waits for long, since asking it
    /// takes its locks.
    fn tell<H: Tag>(&self, seed: u64, looks: usize, heap: Heap<H>) {
        say(format_args!(
            "GC_STRESS_SEED={seed}: no verdict: nothing has changed for {looks} looks"
        ));
        for (number, place) in self.places.iter().enumerate() {
            let (doing, changes) =
                (place.doing.lock().unwrap(), place.changes.load(Ordering::Relaxed));
            say(format_args!("  thread {number}: {doing}, its change {changes}"));
        }
        let (waiting, asked) = (heap.waiting(), heap.is_requested());
        say(format_args!("  a cycle is asked for: {asked}; a handshake waits: {waiting:?}"));
        let telling = thread::spawn(move || {
            say(format_args!("  {:?}\n  {:?}", heap.stats(), heap.usage()));
        });
        (0..PATIENCE)
            .take_while(|_| !telling.is_finished())
            .for_each(|_| thread::park_timeout(LOOK));
    }

    /// Watches until the value is gone; a run that hangs ends the process.
    pub(crate) fn begin<H: Tag>(self: &Arc<Self>, seed: u64, heap: &Heap<H>) -> Watching {
        let (watch, heap) = (self.clone(), heap.clone());
        let look = move || {
            let (mut last, mut still) = (0, 0);
            while !watch.over.load(Ordering::Acquire) {
                let now = watch.changes();
                still = if now == last { still + 1 } else { 0 };
                last = now;
                if still >= watch.looks.load(Ordering::Relaxed) {
                    watch.tell(seed, still, heap);
                    process::abort();
                }
                thread::park_timeout(LOOK);
            }
        };
        let thread = Some(thread::spawn(look));
        Watching { watch: self.clone(), seed, agreed: false, thread }
    }
}

/// A watcher at work.
pub(crate) struct Watching {
    watch: Arc<Watch>,
    seed: u64,
    agreed: bool,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    /// The verdict: heap and oracle agree.
    pub(crate) fn agreed(mut self) {
        self.agreed = true;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watch.over.store(true, Ordering::Release);
        if !self.agreed {
            say(format_args!("GC_STRESS_SEED={}: heap and oracle have not agreed", self.seed));
        }
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        // Unwinding again would hide why there is no verdict.
        assert!(thread.join().is_ok() || thread::panicking(), "a watcher does not panic");
    }
}
