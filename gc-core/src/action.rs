//! What a collector makes mutators do, and how long that takes them: on the wall, and of the processor.
//!
//! # Problem
//!
//! An action of some microseconds lasts for a millisecond on the wall when the kernel, or the mutators' own
//! scheduler, gives the processor to somebody else in its middle. Such an action is not too long; the one
//! that takes a millisecond of the processor's time is. Only the thread's own clock tells the two apart.
//!
//! # The price of that clock
//!
//! It is a system call: 0.2 to 0.5 µs. For an assist, which may take 25 µs, this is little. A
//! slow path of an allocation may take less than one; so of these, one in [`SAMPLE`] is measured.
//!
//! A task that changes threads has no clock of its own. Its [stint](World::stint) says whether two readings
//! belong together: if not, the action counts on the wall alone.
//!
//! [`World::stint`]: crate::world::World::stint

use crate::{
    histogram::{Histogram, Tally},
    space::Space,
    world::{Stint, World},
};
use core::time::Duration;
use std::time::Instant;

/// Of so many slow paths the processor's time is taken of one.
const SAMPLE: u32 = 64;

/// How long an action took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Took {
    /// On the wall.
    pub wall: Duration,
    /// Of the processor's time, if that was measured.
    pub processor: Option<Duration>,
}

/// Measures slow paths of allocations, for a [`Space`](crate::space::Space). One per cache.
///
/// ```
/// use gc_core::space::Meter;
///
/// let mut meter = Meter::default();
/// let (sum, took) = meter.time(|| (0..1000u64).sum::<u64>());
/// assert_eq!(sum, 499_500);
/// assert!(took.processor.is_none_or(|own| own <= took.wall * 2));
/// ```
#[derive(Default, Debug)]
pub struct Meter {
    count: u32,
}

impl Meter {
    /// Calls `f`, in which the caller keeps its thread for itself.
    pub fn time<R>(&mut self, f: impl FnOnce() -> R) -> (R, Took) {
        self.count = self.count.wrapping_add(1);
        let clock = self.count.is_multiple_of(SAMPLE).then(thread_time).flatten();
        let begin = Instant::now();
        let result = f();
        let wall = begin.elapsed();
        let processor = clock.and_then(|before| Some(thread_time()?.saturating_sub(before)));
        (result, Took { wall, processor })
    }
}

/// Measures what a task does that may change threads meanwhile.
pub(crate) struct Watch {
    begin: Instant,
    /// The stint, and the thread's time at its begin.
    own: Option<(Stint, Duration)>,
}

impl Watch {
    pub(crate) fn start<S: Space>(world: &impl World<S>) -> Self {
        Self { own: own_time(world), begin: Instant::now() }
    }

    pub(crate) fn wall(&self) -> Duration {
        self.begin.elapsed()
    }

    pub(crate) fn stop<S: Space>(self, world: &impl World<S>) -> Took {
        let wall = self.wall();
        let processor = self.own.zip(own_time(world)).and_then(|((before, since), (now, time))| {
            (before == now).then(|| Duration::saturating_sub(time, since))
        });
        Took { wall, processor }
    }
}

/// The calling task's stint, and its thread's time.
fn own_time<S: Space>(world: &impl World<S>) -> Option<(Stint, Duration)> {
    let stint = world.stint()?;
    let time = thread_time()?;
    // Not in between those two.
    (world.stint() == Some(stint)).then_some((stint, time))
}

/// The processor time of the calling thread so far.
#[cfg(all(target_os = "linux", not(loom)))]
pub(crate) fn thread_time() -> Option<Duration> {
    let mut time = core::mem::MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills the place it is given, or says that it did not.
    let time = unsafe {
        let failed = libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr()) != 0;
        (!failed).then(|| time.assume_init())
    }?;
    Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The processor time of the calling thread so far.
#[cfg(not(all(target_os = "linux", not(loom))))]
pub(crate) fn thread_time() -> Option<Duration> {
    None
}

/// How long actions of one kind took.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Times {
    /// On the wall, of all.
    pub wall: Histogram,
    /// Of the processor's time, of those that were measured.
    pub processor: Histogram,
}

impl Times {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Times) {
        self.wall.add(&other.wall);
        self.processor.add(&other.processor);
    }

    /// What was counted since an earlier reading of the same.
    #[must_use]
    pub fn since(&self, earlier: &Times) -> Times {
        let (wall, processor) = (&self.wall, &self.processor);
        Times { wall: wall.since(&earlier.wall), processor: processor.since(&earlier.processor) }
    }
}

/// What a collector has made mutators do.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Actions {
    /// Slow paths of allocations: a new span or block, and the sweep that finds one.
    pub refills: Times,
    /// Marking, because the collector is behind its [`Schedule`](crate::pacer::Schedule).
    pub assists: Times,
    /// Marking or waiting before a guard, because the heap has outrun the collector, or a cycle is about to begin.
    pub reliefs: Times,
    /// Room for what stores take out of slots.
    pub logs: Times,
    /// Edges of a lock's interior, logged before its holder sees it: as long as the interior is.
    pub reports: Times,
}

impl Actions {
    /// All kinds.
    pub fn all(&self) -> Times {
        let mut all = self.refills;
        all.add(&self.assists);
        all.add(&self.reliefs);
        all.add(&self.logs);
        all.add(&self.reports);
        all
    }

    /// What was counted since an earlier reading of the same.
    #[must_use]
    pub fn since(&self, earlier: &Actions) -> Actions {
        Actions {
            refills: self.refills.since(&earlier.refills),
            assists: self.assists.since(&earlier.assists),
            reliefs: self.reliefs.since(&earlier.reliefs),
            logs: self.logs.since(&earlier.logs),
            reports: self.reports.since(&earlier.reports),
        }
    }

    pub(crate) fn add(&mut self, other: &Actions) {
        self.refills.add(&other.refills);
        self.assists.add(&other.assists);
        self.reliefs.add(&other.reliefs);
        self.logs.add(&other.logs);
        self.reports.add(&other.reports);
    }
}

/// [`Times`] that one writes and anybody reads.
#[derive(Debug)]
pub(crate) struct Tallies {
    wall: Tally,
    processor: Tally,
}

impl Tallies {
    /// `None` if the allocator has no memory.
    fn new() -> Option<Self> {
        Some(Self { wall: Tally::new()?, processor: Tally::new()? })
    }

    /// Counts one. One writer.
    pub(crate) fn note(&self, took: Took) {
        self.wall.note(took.wall);
        if let Some(time) = took.processor {
            self.processor.note(time);
        }
    }

    pub(crate) fn read(&self) -> Times {
        Times { wall: self.wall.read(), processor: self.processor.read() }
    }
}

/// The actions of one local state.
#[derive(Debug)]
pub(crate) struct Diary {
    pub(crate) refills: Tallies,
    pub(crate) assists: Tallies,
    pub(crate) reliefs: Tallies,
    pub(crate) logs: Tallies,
    pub(crate) reports: Tallies,
}

impl Diary {
    /// `None` if the allocator has no memory.
    pub(crate) fn new() -> Option<Self> {
        Some(Self {
            refills: Tallies::new()?,
            assists: Tallies::new()?,
            reliefs: Tallies::new()?,
            logs: Tallies::new()?,
            reports: Tallies::new()?,
        })
    }

    pub(crate) fn read(&self) -> Actions {
        let Self { refills, assists, reliefs, logs, reports } = self;
        let [refills, assists, reliefs, logs, reports] =
            [refills, assists, reliefs, logs, reports].map(Tallies::read);
        Actions { refills, assists, reliefs, logs, reports }
    }
}
