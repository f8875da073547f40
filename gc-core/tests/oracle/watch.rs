//! A run that does not go on says what it waits for, and ends.
//!
//! Everybody says what it is about to do; a watcher looks once a second, and when nothing has changed for
//! [`LOOKS`] looks it tells who is where. Looks and not seconds: a machine that stood still has not looked.

use gc_core::{Heap, Tag};
use std::{
    fmt::Write,
    process,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Looks without any change, after which a run hangs.
const LOOKS: usize = 120;

/// What one thread is doing, and how often it has said so.
#[derive(Default)]
struct Place {
    doing: Mutex<&'static str>,
    changes: AtomicUsize,
}

/// What everybody does.
pub(crate) struct Watch {
    places: Vec<Place>,
    over: AtomicBool,
}

impl Watch {
    /// So many threads are watched.
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        let places = (0..threads).map(|_| Place::default()).collect();
        Arc::new(Self { places, over: AtomicBool::new(false) })
    }

    /// A thread is about to do something.
    pub(crate) fn note(&self, thread: usize, doing: &'static str) {
        *self.places[thread].doing.lock().unwrap() = doing;
        self.places[thread].changes.fetch_add(1, Ordering::Relaxed);
    }

    fn changes(&self) -> usize {
        self.places.iter().map(|place| place.changes.load(Ordering::Relaxed)).sum()
    }

    /// Who is where; what the heap does last, since asking it takes its locks.
    fn tell<H: Tag>(&self, title: &str, heap: &Heap<H>) {
        let mut text = format!("{title}: nothing has changed for {LOOKS} looks\n");
        for (number, place) in self.places.iter().enumerate() {
            let (doing, changes) =
                (place.doing.lock().unwrap(), place.changes.load(Ordering::Relaxed));
            writeln!(text, "  thread {number}: {doing}, its change {changes}").unwrap();
        }
        let (waiting, asked) = (heap.waiting(), heap.is_requested());
        eprintln!("{text}  a cycle is asked for: {asked}; a handshake waits: {waiting:?}");
        eprintln!("  {:?}", heap.stats());
        eprintln!("  {:?}", heap.usage());
    }

    /// Watches until the value is dropped; a run that hangs ends the process.
    pub(crate) fn begin<H: Tag>(self: &Arc<Self>, title: String, heap: &Heap<H>) -> Watching {
        let (watch, heap) = (self.clone(), heap.clone());
        let look = move || {
            let (mut last, mut still) = (0, 0);
            while !watch.over.load(Ordering::Acquire) {
                let now = watch.changes();
                still = if now == last { still + 1 } else { 0 };
                last = now;
                if still == LOOKS {
                    watch.tell(&title, &heap);
                    process::abort();
                }
                thread::park_timeout(Duration::from_secs(1));
            }
        };
        Watching { watch: self.clone(), thread: Some(thread::spawn(look)) }
    }
}

/// A watcher at work.
pub(crate) struct Watching {
    watch: Arc<Watch>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watch.over.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        thread.join().expect("a watcher does not panic");
    }
}
