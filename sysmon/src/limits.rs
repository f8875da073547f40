//! The numbers of the monitor, in one place and with their reasons.

use std::time::Duration;

/// When the monitor looks, and when it acts.
///
/// ```
/// use std::time::Duration;
/// use sysmon::Limits;
/// let eager = Limits { slice: Duration::from_millis(1), ..Limits::DEFAULT };
/// assert_eq!(eager.collect_every, Limits::DEFAULT.collect_every);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Pause after the look that first sees a task waiting. Two looks make a take, so this bounds
    /// the usual hand-off from below.
    pub look: Duration,
    /// Pause after a take: where one worker blocked, the next will soon.
    pub after_take: Duration,
    /// The longest pause while a task waits.
    pub waiting_cap: Duration,
    /// The longest pause while workers run and nothing waits.
    pub quiet_cap: Duration,
    /// How long a clock must stand still when the kernel cannot be asked why.
    pub blind_standstill: Duration,
    /// How long a task may keep a processor while others wait.
    pub slice: Duration,
    /// The least time between two signals to one worker. A refused signal may be repeated soon,
    /// but not at each look.
    pub signal_gap: Duration,
    /// A collection is forced when none ended for this long.
    pub collect_every: Duration,
    /// A guard held for longer than this, while a collection waits for it, is reported.
    pub guard: Duration,
    /// A machine that is busy looks this often how many cores it may use.
    pub resize_every: Duration,
    /// One trace line per this period, if any.
    pub trace: Option<Duration>,
}

impl Limits {
    /// Looks every 250 µs (20 µs to 1 ms) while something waits, up to 10 ms while not; Go's slice
    /// of 10 ms and Go's forced collection after two minutes; no trace.
    pub const DEFAULT: Self = Self {
        look: Duration::from_micros(250),
        after_take: Duration::from_micros(20),
        waiting_cap: Duration::from_millis(1),
        quiet_cap: Duration::from_millis(10),
        blind_standstill: Duration::from_millis(2),
        slice: Duration::from_millis(10),
        signal_gap: Duration::from_millis(1),
        collect_every: Duration::from_secs(120),
        guard: Duration::from_secs(1),
        resize_every: Duration::from_secs(1),
        trace: None,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
