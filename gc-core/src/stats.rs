//! What happened: a record per cycle, and sums.

use std::{
    fmt,
    time::{Duration, Instant},
};

pub use crate::{
    action::{Actions, Times},
    histogram::Histogram,
};

/// One cycle. Displayed, it is a trace line in the manner of `GODEBUG=gctrace=1`:
///
/// ```text
/// gc 7: sweep 21µs hands 310µs mark 1.912ms hand 14µs, 4203->4460->2101 KiB, goal 4202 KiB,
///       35211 objects, 2 rounds, longest delay 38 us
/// ```
///
/// | part | field |
/// |---|---|
/// | `gc 7` | [`cycle`](Self::cycle) |
/// | `sweep` | [`sweep`](Self::sweep): what the former cycle's sweep had left |
/// | `hands` | [`hands`](Self::hands): mostly guards that were waited for |
/// | `mark` | [`mark`](Self::mark) |
/// | `hand` | [`last_hand`](Self::last_hand) |
/// | `4203->4460->2101 KiB` | [`heap_before`](Self::heap_before), [`heap_after`](Self::heap_after), [`heap_live`](Self::heap_live) |
/// | `goal` | [`goal`](Self::goal) |
/// | `objects` | [`marked_objects`](Self::marked_objects) |
/// | `rounds` | [`rounds`](Self::rounds) |
/// | `longest delay` | [`longest_delay`](Self::longest_delay) |
/// | `rescans`, if there were any | [`rescans`](Self::rescans) |
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let kept = heap.enter().root(heap.enter().alloc(7u64));
/// let record = heap.collect().unwrap();
/// assert_eq!((record.cycle, record.marked_objects), (1, 1));
/// assert_eq!(record.heap_live, heap.live_bytes());
/// assert!(record.to_string().starts_with("gc 1: sweep "));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The cycle's number, from 1.
    pub cycle: u64,
    /// Finishing the former cycle's sweep; if the world was stopped, this cycle's as well.
    pub sweep: Duration,
    /// Hands 1 and 2.
    pub hands: Duration,
    /// Roots, marking and hand 3.
    pub mark: Duration,
    /// Hand 4.
    pub last_hand: Duration,
    /// How often marking began again at step 5.
    pub rounds: u32,
    /// How often all that was marked was looked into once more, because a mark stack found no memory to grow.
    pub rescans: u32,
    /// Whether [checkmark](crate::HeapBuilder::checkmark) has looked at all that is alive: it was on, and had the
    /// memory that it takes.
    pub checked: bool,
    /// Live bytes when the cycle began.
    pub heap_before: u64,
    /// Live bytes when marking ended, the dead included.
    pub heap_after: u64,
    /// Live bytes after the dead were taken off.
    pub heap_live: u64,
    /// Objects marked.
    pub marked_objects: u64,
    /// Bytes in them.
    pub marked_bytes: u64,
    /// The time of all who marked: workers, and mutators that assisted. The kernel's interruptions are in it.
    pub work: Duration,
    /// The time of those who marked because they had nothing else to do
    /// ([`Heap::mark_idle`](crate::Heap::mark_idle)); not in `work`.
    pub idle: Duration,
    /// How many slices they marked.
    pub idle_slices: u64,
    /// Where the next cycle should end.
    pub goal: u64,
    /// When the next cycle begins.
    pub trigger: u64,
    /// The longest slow path of an allocation since the former record: a new span or block, and the
    /// sweep that finds one. In time that passed, so what the kernel gave to other threads meanwhile
    /// is in it. Assists are not; they are bounded by work.
    pub longest_delay: Duration,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KIB: u64 = 1024;
        write!(
            f,
            "gc {}: sweep {:.3?} hands {:.3?} mark {:.3?} hand {:.3?}, {}->{}->{} KiB, goal {} KiB, \
             {} objects, {} rounds, longest delay {} us",
            self.cycle,
            self.sweep,
            self.hands,
            self.mark,
            self.last_hand,
            self.heap_before / KIB,
            self.heap_after / KIB,
            self.heap_live / KIB,
            self.goal / KIB,
            self.marked_objects,
            self.rounds,
            self.longest_delay.as_micros(),
        )?;
        match self.rescans {
            0 => Ok(()),
            rescans => write!(f, ", {rescans} rescans"),
        }
    }
}

/// A handshake under way.
///
/// ```
/// use gc_core::{Heap, Plain, cycle::Pause};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let (here, there) = (heap.clone(), heap.clone());
/// let (held, leave) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         let guard = there.enter();
///         held.wait();
///         leave.wait();
///         drop(guard);
///     });
///     held.wait();
///     let mut seen = None;
///     let pause = |pause| {
///         // Asked a second time: somebody holds a guard from before.
///         if matches!(pause, Pause::Handshake(1)) {
///             seen = here.waiting();
///             leave.wait();
///         }
///     };
///     here.collect_with(pause).unwrap();
///     assert_eq!(seen.map(|waiting| waiting.epoch), Some(0));
/// });
/// assert!(heap.waiting().is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// Guards of this epoch are waited for. (A [`Nesting`](crate::world::Nesting) says which epoch
    /// a task's guard is of.)
    pub epoch: u64,
    /// For how long.
    pub age: Duration,
}

/// Sums over all cycles of a heap.
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// heap.enter().alloc(String::from("dead"));
/// heap.collect().unwrap();
/// heap.run_destructors(usize::MAX);
/// let stats = heap.stats();
/// assert_eq!((stats.cycles, stats.destructed, stats.panics), (1, 1, 0));
/// assert_eq!(stats.last.map(|record| record.cycle), Some(1));
/// assert!(stats.time() >= stats.work);
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Cycles that have ended.
    pub cycles: u64,
    /// Time in roots, marking and hand 3.
    pub mark: Duration,
    /// The sum of [`Record::work`].
    pub work: Duration,
    /// The sum of [`Record::idle`].
    pub idle: Duration,
    /// The sum of [`Record::idle_slices`].
    pub idle_slices: u64,
    /// The sum of [`Record::rescans`].
    pub rescans: u64,
    /// Time in slow paths of allocations, as in [`Record::longest_delay`]: what allocators sweep is in it.
    pub slow_paths: Duration,
    /// Time in the sweep of drivers and of the background, what it waits for others included.
    pub sweep: Duration,
    /// Destructors run.
    pub destructed: u64,
    /// Destructors that panicked.
    pub panics: u64,
    /// How often a mutator marked some hundred objects, because marking was behind the
    /// [`Schedule`](crate::pacer::Schedule) or the heap beyond its goal.
    pub assists: u64,
    /// The longest time for which a mutator was held up.
    pub longest_delay: Duration,
    /// What mutators were held up by, kind by kind.
    pub actions: Actions,
    /// How long cycles waited for guards and operations, one count per cycle.
    pub waits: Histogram,
    /// The last cycle.
    pub last: Option<Record>,
}

impl Stats {
    /// The time that collection has taken from the processors so far: marking, that of idle ones included, slow
    /// paths of allocations and sweep. Each stretch is measured on the wall, so it is too much rather than too little where threads are
    /// more than processors. Destructors, handshakes and the barrier are not in it.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let kept = guard.root(guard.alloc([1u64; 8]));
    /// drop(guard);
    /// let before = heap.stats().time();
    /// heap.collect().unwrap();
    /// assert!(heap.stats().time() > before);
    /// # drop(kept);
    /// ```
    pub fn time(&self) -> Duration {
        self.work + self.idle + self.slow_paths + self.sweep
    }

    pub(crate) fn add(&mut self, record: &Record) {
        self.cycles += 1;
        self.mark += record.mark;
        self.work += record.work;
        self.idle += record.idle;
        self.idle_slices += record.idle_slices;
        self.rescans += u64::from(record.rescans);
        self.sweep += record.sweep;
        self.longest_delay = self.longest_delay.max(record.longest_delay);
        self.waits.note(record.hands + record.last_hand);
        self.last = Some(*record);
    }
}

/// Measures stretch after stretch.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start or the last lap.
    pub(crate) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}
