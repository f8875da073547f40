//! [`Counts`]: what one reading of the idle word says: spinners, idle Ps, *need* and *watch*.

const COUNT: u64 = (1 << 24) - 1;
const IDLE_SHIFT: u32 = 24;
const NEED: u64 = 1 << 48;
const WATCH: u64 = 1 << 49;

/// A reading of the word.
#[derive(Clone, Copy)]
pub(super) struct Counts(pub(super) u64);

impl Counts {
    pub(super) fn spinning(self) -> usize {
        (self.0 & COUNT) as usize
    }

    pub(super) fn idle(self) -> usize {
        (self.0 >> IDLE_SHIFT & COUNT) as usize
    }

    pub(super) fn need(self) -> bool {
        self.0 & NEED != 0
    }

    pub(super) fn watch(self) -> bool {
        self.0 & WATCH != 0
    }

    /// Somebody will look for work that is published now.
    pub(super) fn covered(self) -> bool {
        self.spinning() != 0 || self.0 & (NEED | WATCH) == NEED
    }

    pub(super) fn plus_spinner(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) fn minus_spinner(self) -> Self {
        debug_assert!(self.spinning() > 0, "more spinners retired than there were");
        Self(self.0 - 1)
    }

    pub(super) fn plus_idle(self) -> Self {
        debug_assert!(!self.need(), "a P becomes idle beside unclaimed work");
        Self(self.0 + (1 << IDLE_SHIFT))
    }

    pub(super) fn minus_idle(self) -> Self {
        debug_assert!(self.idle() > 0, "more Ps taken than there were");
        Self(self.0 - (1 << IDLE_SHIFT))
    }

    pub(super) fn with_need(self) -> Self {
        debug_assert_eq!(self.idle(), 0, "an idle P is woken, not waited for");
        Self((self.0 | NEED) & !WATCH)
    }

    pub(super) fn without_need(self) -> Self {
        Self(self.0 & !NEED)
    }

    pub(super) fn with_watch(self) -> Self {
        Self(self.0 | WATCH)
    }

    pub(super) fn without_watch(self) -> Self {
        Self(self.0 & !WATCH)
    }
}
