//! The record itself. The rules are in the [parent](super)'s table.

use core::{cell::UnsafeCell, fmt, ops::Range, ptr::NonNull};

use super::{
    about::{About, Wait},
    names::Kind,
    raw,
    runnable::Head,
    state::State,
};
use crate::{
    machine::Machine,
    park::{WaitReason, Waiter},
    policy::Class,
    roster::Record,
    shared::Shared,
    stack::Slot,
    supply::Order,
    sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// A goroutine's number: unique in its scheduler, never used again, from 1. Not in the order of the
/// starts: each P has some numbers ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(u64);

impl TaskId {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The record of one goroutine.
#[repr(C, align(64))]
pub(crate) struct Task {
    head: Head,
    next_free: AtomicPtr<Task>,
    /// The park word.
    pub(crate) state: State,
    pub(super) references: AtomicU32,
    pub(crate) about: About,
    /// The beginning of the wait in which its stack was last trimmed. Written by whoever has the G.
    trimmed: AtomicU64,
    /// A [`Class`]. Written before the G is first queued.
    class: AtomicU8,
    /// What it holds that others may wait for, in the embedding's words; 0: nothing. Written by the
    /// goroutine, read by whoever queues it and by the monitor.
    holds: AtomicU64,
    /// Whether it [paces itself](crate::SelfPaced). Written by the goroutine, read by whoever queues it.
    self_paced: AtomicBool,
    shared: NonNull<Shared>,
    /// The one M that may run it; null: any. Written by the goroutine, or by the M that it stays on;
    /// read by whoever takes it from a queue.
    bound: AtomicPtr<Machine>,
    /// How often it has locked its thread. The goroutine's own.
    locks: AtomicU32,
    joiner: UnsafeCell<Option<Waiter>>,
    pub(super) packet: UnsafeCell<Option<NonNull<raw::Header>>>,
    slot: UnsafeCell<Option<Slot>>,
    /// The order of its stack. Written before the goroutine was queued, constant afterwards.
    order: AtomicU8,
    /// The place in the heap of deadlines, or `NO_PLACE`.
    timer_place: AtomicUsize,
}

/// In no heap.
const NO_PLACE: usize = usize::MAX;

// SAFETY: each field is atomic or has one user at a time, as the table of the essay says.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// A free record of a scheduler.
    pub(crate) fn new(shared: NonNull<Shared>) -> Self {
        Self {
            head: Head::of_goroutine(),
            next_free: AtomicPtr::new(core::ptr::null_mut()),
            state: State::new(),
            references: AtomicU32::new(0),
            about: About::new(),
            trimmed: AtomicU64::new(0),
            class: AtomicU8::new(Class::Normal as u8),
            holds: AtomicU64::new(0),
            self_paced: AtomicBool::new(false),
            shared,
            bound: AtomicPtr::new(core::ptr::null_mut()),
            locks: AtomicU32::new(0),
            joiner: UnsafeCell::new(None),
            packet: UnsafeCell::new(None),
            slot: UnsafeCell::new(None),
            order: AtomicU8::new(0),
            timer_place: AtomicUsize::new(NO_PLACE),
        }
    }

    pub(crate) fn id(&self) -> TaskId {
        TaskId(self.about.id())
    }

    /// What it holds that others may wait for.
    #[inline]
    pub(crate) fn holds(&self) -> &AtomicU64 {
        &self.holds
    }

    /// Whether it holds anything that others may wait for.
    pub(crate) fn is_holder(&self) -> bool {
        // Relaxed: whoever asks has the goroutine, which wrote the word; for others it is a hint.
        self.holds.load(Ordering::Relaxed) != 0
    }

    /// Whether it paces itself.
    pub(crate) fn is_self_paced(&self) -> bool {
        // Relaxed: as in `is_holder`.
        self.self_paced.load(Ordering::Relaxed)
    }

    /// Says whether it does; returns what was said before. The goroutine itself calls it.
    pub(crate) fn set_self_paced(&self, on: bool) -> bool {
        // Relaxed: as above.
        self.self_paced.swap(on, Ordering::Relaxed)
    }

    /// How urgent it is.
    pub(crate) fn class(&self) -> Class {
        // Relaxed: written before the record was handed out to whoever asks.
        Class::of_number(self.class.load(Ordering::Relaxed))
    }

    /// The scheduler that the record belongs to. It lives while the record is out.
    pub(crate) fn shared(&self) -> &Shared {
        // SAFETY: a scheduler is not freed before all its records are back ([`registry`]), and
        // whoever asks holds this one out.
        unsafe { self.shared.as_ref() }
    }

    /// The M that alone may run it, null if any may. For whoever has the G.
    #[inline]
    pub(crate) fn bound(&self) -> *mut Machine {
        // Relaxed: written before the G was queued, which publishes it.
        self.bound.load(Ordering::Relaxed)
    }

    /// From now on only `m`, which runs it, may run it.
    pub(crate) fn bind(&self, m: &Machine) {
        // Relaxed: as in `bound`.
        self.bound.store(core::ptr::from_ref(m).cast_mut(), Ordering::Relaxed);
    }

    /// Any M may run it.
    pub(crate) fn unbind(&self) {
        // Relaxed: as in `bound`.
        self.bound.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Whether the goroutine has locked its thread. For the goroutine, or the M that runs it.
    #[inline]
    pub(crate) fn is_locked(&self) -> bool {
        // Relaxed: its own count.
        self.locks.load(Ordering::Relaxed) != 0
    }

    /// One lock more; returns how many there are. For the goroutine alone.
    pub(crate) fn add_lock(&self) -> u32 {
        // Relaxed, all: one writer, which is the reader.
        let locks = self.locks.load(Ordering::Relaxed) + 1;
        self.locks.store(locks, Ordering::Relaxed);
        locks
    }

    /// One lock less; returns how many are left. For the goroutine alone.
    pub(crate) fn remove_lock(&self) -> u32 {
        // Relaxed, all: as in `add_lock`.
        let locks = self.locks.load(Ordering::Relaxed) - 1;
        self.locks.store(locks, Ordering::Relaxed);
        locks
    }

    /// Writes the waiter that the goroutine's end is to wake.
    ///
    /// # Safety
    ///
    /// The caller is the one handle, and no joiner is announced.
    pub(crate) unsafe fn store_joiner(&self, joiner: Waiter) {
        // SAFETY: nobody looks at the place before it is announced.
        unsafe { *self.joiner.get() = Some(joiner) };
    }

    /// Takes the joiner's waiter.
    ///
    /// # Safety
    ///
    /// The caller was told by the state that the place is its own: [`Finish::WakeJoiner`],
    /// [`Join::Done`](super::state::Join::Done) or [`DropHandle::joiner`](super::state::DropHandle).
    ///
    /// [`Finish::WakeJoiner`]: super::state::Finish::WakeJoiner
    pub(crate) unsafe fn take_joiner(&self) -> Option<Waiter> {
        // SAFETY: the caller's claim.
        unsafe { (*self.joiner.get()).take() }
    }

    /// The closure and the result.
    ///
    /// # Safety
    ///
    /// The caller is the goroutine itself, and has not given the packet up.
    pub(crate) unsafe fn packet(&self) -> NonNull<raw::Header> {
        // SAFETY: written before the goroutine was queued, and constant since.
        unsafe { *self.packet.get() }.expect("a goroutine that runs has a packet")
    }

    /// The stack and TLS block, `None` before the first run and after the end.
    ///
    /// # Safety
    ///
    /// The caller has the G (see the table), and makes no two references that overlap.
    #[expect(clippy::mut_from_ref, reason = "whoever has the G has the field; see the table")]
    pub(crate) unsafe fn slot(&self) -> &mut Option<Slot> {
        // SAFETY: the caller's claim.
        unsafe { &mut *self.slot.get() }
    }

    /// As [`slot`](Self::slot), for reading.
    ///
    /// # Safety
    ///
    /// The caller has the G, or [watches](State::watch) it.
    pub(crate) unsafe fn slot_ref(&self) -> Option<&Slot> {
        // SAFETY: the caller's claim. Whoever takes a watched one from a queue only reads the field, too, as
        // there is a slot already.
        unsafe { &*self.slot.get() }.as_ref()
    }

    /// How large a stack it has, or will have.
    pub(crate) fn order(&self) -> Order {
        // Relaxed: whoever asks has the G, which was queued after the write.
        Order::of_number(self.order.load(Ordering::Relaxed))
    }

    /// At birth: it holds nothing, is at home anywhere, and is of this kind.
    pub(super) fn hold_nothing(&self, kind: Kind) {
        // Relaxed, all: nobody else knows this goroutine.
        self.holds.store(0, Ordering::Relaxed);
        self.self_paced.store(false, Ordering::Relaxed);
        self.class.store(kind.class as u8, Ordering::Relaxed);
        self.order.store(kind.order.number(), Ordering::Relaxed);
        self.locks.store(0, Ordering::Relaxed);
        self.unbind();
    }

    /// Notes for dumps that the goroutine waits, since `since` (in clock ticks).
    pub(crate) fn waits(&self, reason: WaitReason, since: u64) {
        self.about.wait(Wait { reason: reason as u8, since });
    }

    /// Whether its stack was [trimmed](crate::Config::trim_after) in this wait.
    pub(crate) fn is_trimmed(&self, wait: Wait) -> bool {
        // Relaxed: a hint; it would be trimmed once more.
        self.trimmed.load(Ordering::Relaxed) == wait.since
    }

    /// Its stack has been trimmed.
    pub(crate) fn set_trimmed(&self, wait: Wait) {
        // Relaxed: as above.
        self.trimmed.store(wait.since, Ordering::Relaxed);
    }

    /// Where the record's deadline lies. Read and written under the lock of the deadlines.
    pub(crate) fn timer_place(&self) -> Option<usize> {
        // Relaxed: the lock orders.
        let place = self.timer_place.load(Ordering::Relaxed);
        (place != NO_PLACE).then_some(place)
    }

    pub(crate) fn set_timer_place(&self, place: Option<usize>) {
        // Relaxed: the lock orders.
        self.timer_place.store(place.unwrap_or(NO_PLACE), Ordering::Relaxed);
    }

    /// The stack's bytes.
    ///
    /// # Safety
    ///
    /// The caller runs on it, or on the thread that does.
    pub(crate) unsafe fn bounds(&self) -> Range<usize> {
        // SAFETY: a goroutine that runs has a slot, which nobody replaces meanwhile.
        unsafe { &*self.slot.get() }.as_ref().map_or(0..0, Slot::bounds)
    }
}

// SAFETY: a word of its own.
unsafe impl Record for Task {
    fn next_free(&self) -> *mut Task {
        // Relaxed: the lists of free records have one user at a time.
        self.next_free.load(Ordering::Relaxed)
    }

    fn set_next_free(&self, next: *mut Task) {
        // Relaxed: as above.
        self.next_free.store(next, Ordering::Relaxed);
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id()).field("state", &self.state).finish()
    }
}
