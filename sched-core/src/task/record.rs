//! The record itself, and the two ways to name it. The rules are in the [parent](super)'s table.

use core::{cell::UnsafeCell, fmt, ops::Range, ptr::NonNull};

use super::{
    about::{About, Birth, Wait},
    raw,
    runnable::Head,
    state::{DropHandle, State},
};
use crate::{
    error::fatal,
    machine::Machine,
    park::{WaitReason, Waiter},
    policy::Class,
    queue::Handle,
    registry,
    roster::Record,
    shared::Shared,
    stack::Slot,
    supply::Order,
    sync::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence},
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
    references: AtomicU32,
    pub(crate) about: About,
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
    packet: UnsafeCell<Option<NonNull<raw::Header>>>,
    slot: UnsafeCell<Option<Slot>>,
    /// The order of its stack. Written before the goroutine was queued, constant afterwards.
    order: AtomicU8,
    /// The place in the heap of deadlines, or `NO_PLACE`.
    timer_place: AtomicUsize,
}

/// More names of a goroutine than any program has but one that leaks them.
const MOST_NAMES: u32 = u32::MAX / 2;

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
    /// The caller was told by the state that the place is its own: [`Finish::WakeJoiner`] or
    /// [`Join::Done`](super::state::Join::Done).
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
    fn hold_nothing(&self, kind: Kind) {
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

/// What a goroutine is for its whole life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// The size of its stack.
    pub(crate) order: Order,
    /// How urgent it is.
    pub(crate) class: Class,
}

/// The run reference: having it is having the G.
///
/// It lies in exactly one place: a queue, an M, or a commit.
#[derive(Debug)]
pub(crate) struct Run(NonNull<Task>);

// SAFETY: the record is Sync and counted; the run reference is one of the counts.
unsafe impl Send for Run {}

impl Run {
    /// Makes a free record into a goroutine that will run `packet`, with one reference besides.
    ///
    /// # Safety
    ///
    /// `task` is a free record that the caller took from its registry; the packet is nobody else's
    /// to run.
    pub(crate) unsafe fn start(
        task: NonNull<Task>,
        birth: Birth,
        kind: Kind,
        packet: NonNull<raw::Header>,
    ) -> (Run, TaskRef) {
        // SAFETY: records are not freed while they are out.
        let record = unsafe { task.as_ref() };
        record.about.begin(birth, || record.state.reset());
        // Relaxed: nobody else counts on this record until it is queued, which publishes it.
        record.references.store(2, Ordering::Relaxed);
        record.hold_nothing(kind);
        // SAFETY: nobody else knows the record.
        unsafe { *record.packet.get() = Some(packet) };
        (Run(task), TaskRef(task))
    }

    /// Makes a free record into a carrier: it has no packet, no handle, and no number while it polls
    /// nothing.
    ///
    /// # Safety
    ///
    /// `task` is a free record that the caller took from its registry.
    pub(crate) unsafe fn start_carrier(task: NonNull<Task>) -> Run {
        // SAFETY: records are not freed while they are out.
        let record = unsafe { task.as_ref() };
        record.about.end();
        record.state.reset();
        let nothing = record.state.drop_handle();
        debug_assert_eq!(nothing, DropHandle::Nothing, "it has just been reset");
        // Relaxed: nobody else knows the record.
        record.references.store(1, Ordering::Relaxed);
        record.hold_nothing(Kind { order: Order::USUAL, class: Class::Normal });
        // SAFETY: nobody else knows the record.
        unsafe { *record.packet.get() = None };
        Run(task)
    }

    /// The record.
    pub(crate) fn task(&self) -> &Task {
        // SAFETY: the run reference keeps the record out of the free lists.
        unsafe { self.0.as_ref() }
    }

    /// The goroutine has ended: its run reference becomes an ordinary one, to be dropped.
    pub(crate) fn end(self) -> TaskRef {
        TaskRef(self.0)
    }
}

// SAFETY: the round trip is that of the pointer; records never move, and nobody has `&mut` to one that
// is out.
unsafe impl Handle for Run {
    type Target = Task;

    fn into_raw(self) -> NonNull<Task> {
        self.0
    }

    unsafe fn from_raw(raw: NonNull<Task>) -> Self {
        Run(raw)
    }
}

/// A counted name of a goroutine.
#[derive(Debug)]
pub(crate) struct TaskRef(NonNull<Task>);

// SAFETY: the record is Sync and lives while it is counted.
unsafe impl Send for TaskRef {}
// SAFETY: as above.
unsafe impl Sync for TaskRef {}

impl TaskRef {
    /// A further reference to a record that the caller knows to be counted.
    pub(crate) fn of(task: &Task) -> Self {
        // Relaxed: a new reference is made from one that exists.
        let before = task.references.fetch_add(1, Ordering::Relaxed);
        // As `Arc`: a count that comes round would free a record in use.
        if before > MOST_NAMES {
            fatal(format_args!("goroutine {} has too many waiters: they leak", task.id()));
        }
        TaskRef(NonNull::from(task))
    }

    pub(crate) fn same(&self, other: &TaskRef) -> bool {
        self.0 == other.0
    }

    /// Gives the reference up for the pointer.
    pub(crate) fn into_raw(self) -> NonNull<Task> {
        core::mem::ManuallyDrop::new(self).0
    }

    /// # Safety
    ///
    /// `raw` is a record of which one reference is the caller's, who gives it away.
    pub(crate) unsafe fn from_raw(raw: NonNull<Task>) -> Self {
        TaskRef(raw)
    }
}

impl core::ops::Deref for TaskRef {
    type Target = Task;

    fn deref(&self) -> &Task {
        // SAFETY: this reference is counted, so the record is out and stays.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        TaskRef::of(self)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        // Acquire: the uses of all others happen before the recycling. The only name is ours, and nobody can
        // make another: the count need not be written.
        let only = self.references.load(Ordering::Acquire) == 1;
        // Release: our uses of the record happen before its recycling; pairs with the fence.
        if only || self.references.fetch_sub(1, Ordering::Release) == 1 {
            // Acquire: as above.
            fence(Ordering::Acquire);
            // SAFETY: the last reference: the record is nobody's, and out until it is back.
            unsafe { registry::recycle(self.0) };
        }
    }
}
