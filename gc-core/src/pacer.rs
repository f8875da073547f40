//! When to begin a cycle: arithmetic over a few numbers, no clock, no atomics.
//!
//! A cycle should *end* when the heap has grown to its goal. It takes a while, and mutators go on
//! allocating; so it must begin earlier, at the *trigger*. From then on allocation pays for marking: the
//! [`Schedule`] is a line from where marking began to the goal, and while marking is behind it, whoever
//! allocates marks as well. When even that was too late and the heap grows beyond the *assist* mark, guards
//! are held up before they are entered.
//!
//! A [`Pacer`] is asked once per cycle, at its end, for the three numbers; what it may know are the
//! [`Facts`] of the cycle. While the cycle runs it is asked every [`LOOK`] whether that takes too much of the
//! CPU. So it can be tested by simulation (`tests/pacing.rs`), and anybody can bring one
//! (`examples/own_pacer.rs`).
//!
//! | pacer | rule |
//! |---|---|
//! | [`Gogc`] | the heap may grow by a percentage of what survived, and not beyond a limit: Go's |
//! | [`Every`] | a fixed number of bytes between cycles |
//! | [`Schedule`] | no pacer: who pays how much, between the trigger and the goal |
//! | [`Limiter`] | no pacer, but part of one: collection may take half of the CPU and no more |

mod gogc;
mod limiter;
mod schedule;

pub use self::{
    gogc::Gogc,
    limiter::Limiter,
    schedule::{Progress, Schedule},
};

use core::time::Duration;

/// How long a cycle runs before its pacer is asked again whether it [relents](Pacer::relents).
pub const LOOK: Duration = Duration::from_millis(10);

/// What a cycle did, as far as pacing is concerned.
///
/// ```
/// use gc_core::pacer::{Facts, Gogc, Pacer};
///
/// let calm = Facts { live: 64 << 20, scanned: 64 << 20, ..Facts::default() };
/// let busy = Facts { grown: 16 << 20, ..calm };
/// let trigger = |facts| Gogc::new(100).next(facts).trigger;
/// assert!(trigger(busy) < trigger(calm), "who allocates much must begin early");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Facts {
    /// Bytes that are live when the cycle has ended, the base of the next goal: what was marked, and
    /// what was allocated black meanwhile.
    pub live: u64,
    /// Bytes that the marker read.
    pub scanned: u64,
    /// Bytes that mutators allocated while the cycle ran.
    pub grown: u64,
    /// Bytes that the space held of the system's memory when marking ended, more than objects took:
    /// free cells and spans, and records.
    pub overhead: u64,
    /// CPU time that was spent on marking, by workers and by guards that assisted.
    pub work: Duration,
    /// CPU time that processors spent on marking because they had nothing else to do. Not in `work`: it was
    /// taken from nobody.
    pub idle: Duration,
    /// How long the cycle took.
    pub cycle: Duration,
    /// How long ago the cycle before had ended.
    pub period: Duration,
    /// How many mutators can run at once, beside each other.
    pub processors: u32,
}

/// When the next cycle begins, and where it should end. In bytes of live heap.
///
/// ```
/// use gc_core::{Heap, Plain, pacer::{Facts, Pacer, Target}};
///
/// /// Once, at a megabyte, and then never again.
/// struct Once;
///
/// impl Pacer for Once {
///     fn first(&self) -> Target {
///         Target { trigger: 1 << 20, goal: 2 << 20, assist: u64::MAX }
///     }
///
///     fn next(&mut self, _: Facts) -> Target {
///         Target { trigger: u64::MAX, goal: u64::MAX, assist: u64::MAX }
///     }
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// heap.set_pacer(Once);
/// heap.enter().alloc_slice(vec![0u8; 2 << 20]);
/// assert!(heap.is_requested());
/// heap.collect().unwrap();
/// heap.enter().alloc_slice(vec![0u8; 2 << 20]);
/// assert!(!heap.is_requested());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Begin a cycle when this much is live.
    pub trigger: u64,
    /// Marking should be over when this much is live, and allocation pays for what is missing.
    pub goal: u64,
    /// Beyond this, guards are held up before they are entered. `u64::MAX`: never, nor does allocation
    /// pay.
    pub assist: u64,
}

/// Decides when cycles begin.
///
/// ```
/// use gc_core::{Heap, Plain, pacer::{Facts, Pacer, Target}};
///
/// /// Twice what survived, and no hurry.
/// struct Double;
///
/// impl Pacer for Double {
///     fn first(&self) -> Target {
///         self.target(1 << 20)
///     }
///
///     fn next(&mut self, facts: Facts) -> Target {
///         self.target(facts.live.max(1 << 20) * 2)
///     }
/// }
///
/// impl Double {
///     fn target(&self, goal: u64) -> Target {
///         Target { trigger: goal / 8 * 7, goal, assist: u64::MAX }
///     }
/// }
///
/// let heap = Heap::<Plain>::builder()
///     .pacer(Double)
///     .build(Default::default(), Default::default())
///     .unwrap();
/// assert_eq!(heap.collect().unwrap().goal, 2 << 20);
/// ```
pub trait Pacer: Send {
    /// The target before the first cycle.
    fn first(&self) -> Target;

    /// The target after a cycle.
    fn next(&mut self, facts: Facts) -> Target;

    /// Whether collection takes so much of the CPU that only its workers should collect: nobody pays for
    /// what he allocates, and no guard is held up, until the next answer or the cycle's end. Asked when a
    /// cycle begins, and every [`LOOK`] or so while it runs. What is known by then is `work`, `period` and
    /// `processors`.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, pacer::{Every, Facts, Pacer, Target}};
    /// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
    ///
    /// /// Never asks anybody to pay.
    /// struct Mild(Every, Arc<AtomicUsize>);
    ///
    /// impl Pacer for Mild {
    ///     fn first(&self) -> Target {
    ///         self.0.first()
    ///     }
    ///
    ///     fn next(&mut self, facts: Facts) -> Target {
    ///         self.0.next(facts)
    ///     }
    ///
    ///     fn relents(&mut self, so_far: Facts) -> bool {
    ///         self.1.fetch_add(1, Ordering::Relaxed);
    ///         so_far.processors > 0
    ///     }
    /// }
    ///
    /// let asked = Arc::new(AtomicUsize::new(0));
    /// let heap = Heap::<Plain>::builder()
    ///     .pacer(Mild(Every(1 << 20), asked.clone()))
    ///     .build(Default::default(), Default::default())
    ///     .unwrap();
    /// heap.collect().unwrap();
    /// assert!(asked.load(Ordering::Relaxed) > 0);
    /// ```
    fn relents(&mut self, _so_far: Facts) -> bool {
        false
    }
}

impl Pacer for Box<dyn Pacer> {
    fn first(&self) -> Target {
        (**self).first()
    }

    fn next(&mut self, facts: Facts) -> Target {
        (**self).next(facts)
    }

    fn relents(&mut self, so_far: Facts) -> bool {
        (**self).relents(so_far)
    }
}

/// A cycle whenever a fixed number of bytes was allocated.
///
/// ```
/// use gc_core::pacer::{Every, Facts, Pacer};
///
/// let target = Every(1 << 20).next(Facts { live: 8 << 20, ..Facts::default() });
/// assert_eq!(target.trigger, 9 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Every(
    /// Bytes between cycles.
    pub u64,
);

impl Every {
    fn beyond(&self, live: u64) -> Target {
        let steps = |count: u64| live.saturating_add(self.0.saturating_mul(count));
        Target { trigger: steps(1), goal: steps(2), assist: steps(3) }
    }
}

impl Pacer for Every {
    fn first(&self) -> Target {
        self.beyond(0)
    }

    fn next(&mut self, facts: Facts) -> Target {
        self.beyond(facts.live)
    }
}
