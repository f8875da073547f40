//! One arm of a `select!` at run time: a channel, a slot on the stack, and how it ended.
//!
//! A case owns no destructor, so that its borrows end where the macro last uses it: an arm's body may
//! move the channels and slots that the `select!` named.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr;
use std::time::Instant;

use crate::chan::{Chan, Look, Receiver, RecvError, SendError, Sender, Side};
use crate::time::{Alarm, Ticker, Timer};
use crate::wait::Node;
use sched_core::lock::{Guard as LockGuard, Lock};

/// A case without its type of value, as `run` takes it; and whether it waits for a point in time.
#[derive(Clone, Copy)]
pub struct Case<'a>(pub(super) &'a dyn Operate, pub(super) bool);

/// What `run` needs from a case. All but the first, `slot` and `settle` need the channel's lock.
pub(super) trait Operate {
    /// The lock of the channel, or `None` if the case is switched off.
    fn lock(&self) -> Option<&Lock<()>>;

    /// Looks whether the operation can happen at `now`, which those who wait for a point in time need, and
    /// if so lets it happen.
    ///
    /// # Safety
    ///
    /// `held` is this channel's lock. Not called again after it moved the value.
    unsafe fn look(&self, held: &LockGuard<'_, ()>, now: Option<Instant>) -> Look;

    /// The place of the value, for the node.
    fn slot(&self) -> *mut ();

    /// Appends `node`, made with this case's slot, to the channel's queue.
    ///
    /// # Safety
    ///
    /// As `List::push_back`, with `held` as the lock.
    unsafe fn queue(&self, held: &LockGuard<'_, ()>, node: &Node);

    /// Takes `node` out again, if it is still in.
    ///
    /// # Safety
    ///
    /// As `List::remove`, with `held` as the lock.
    unsafe fn unqueue(&self, held: &LockGuard<'_, ()>, node: &Node);

    /// When the operation becomes possible by itself, if nothing changes; `held` as in [`look`](Self::look).
    fn deadline(&self, held: &LockGuard<'_, ()>) -> Option<Instant> {
        let _ = held;
        None
    }

    /// This case has won. `ok`: the value has moved; else the channel is closed.
    fn settle(&self, ok: bool);
}

/// What `recv(…)` takes: a receiver, or maybe one.
pub trait OptionalReceiver<'a, T> {
    /// The receiver, if the case is switched on.
    fn receiver(self) -> Option<&'a Receiver<T>>;
}

impl<'a, T> OptionalReceiver<'a, T> for &'a Receiver<T> {
    fn receiver(self) -> Option<&'a Receiver<T>> {
        Some(self)
    }
}

impl<'a, T> OptionalReceiver<'a, T> for Option<&'a Receiver<T>> {
    fn receiver(self) -> Option<&'a Receiver<T>> {
        self
    }
}

/// A receive.
pub struct RecvCase<'a, T> {
    chan: Option<&'a Chan<T>>,
    /// Filled if `settled` is `Some(true)`. A server writes to it through a pointer.
    slot: UnsafeCell<MaybeUninit<T>>,
    settled: Cell<Option<bool>>,
}

impl<'a, T> RecvCase<'a, T> {
    /// The case of `recv(receiver)`.
    pub fn new(receiver: impl OptionalReceiver<'a, T>) -> Self {
        let chan = receiver.receiver().map(Receiver::chan);
        RecvCase { chan, slot: UnsafeCell::new(MaybeUninit::uninit()), settled: Cell::new(None) }
    }

    /// The case without its type.
    pub fn case(&self) -> Case<'_> {
        Case(self, false)
    }

    /// The result.
    ///
    /// # Panics
    ///
    /// If the case has not won.
    pub fn finish(self) -> Result<T, RecvError> {
        match self.settled.get() {
            // SAFETY: settled with `ok`, so the value was moved into the slot; `self` is consumed.
            Some(true) => Ok(unsafe { self.slot.into_inner().assume_init() }),
            Some(false) => Err(RecvError),
            None => unreachable!("only the winner is finished"),
        }
    }
}

impl<T> Operate for RecvCase<'_, T> {
    fn lock(&self) -> Option<&Lock<()>> {
        self.chan.map(Chan::lock)
    }

    unsafe fn look(&self, held: &LockGuard<'_, ()>, _: Option<Instant>) -> Look {
        let Some(chan) = self.chan else { return Look::Wait };
        // SAFETY: the lock is held; the slot is an empty place until a look has moved a value in.
        unsafe { chan.state(held).recv(self.slot.get().cast()) }
    }

    fn slot(&self) -> *mut () {
        self.slot.get().cast()
    }

    unsafe fn queue(&self, held: &LockGuard<'_, ()>, node: &Node) {
        let Some(chan) = self.chan else { return };
        // SAFETY: the lock is held, and the caller keeps the node in place.
        unsafe { chan.state(held).list(Side::Recv).push_back(node) };
    }

    unsafe fn unqueue(&self, held: &LockGuard<'_, ()>, node: &Node) {
        let Some(chan) = self.chan else { return };
        // SAFETY: the lock is held; the node was queued here and nowhere else.
        unsafe { chan.state(held).list(Side::Recv).remove(node) };
    }

    fn settle(&self, ok: bool) {
        self.settled.set(Some(ok));
    }
}

/// A send.
pub struct SendCase<'a, T> {
    /// `None` if the slot was empty, or the value has gone: one who runs the case again sends nothing.
    chan: Cell<Option<&'a Chan<T>>>,
    /// The user's own place, ours for `'a`. While the case is switched on it holds `Some`.
    place: *mut Option<T>,
    /// The value in it. A server reads it through a pointer.
    value: *mut T,
    settled: Cell<Option<bool>>,
    _borrow: PhantomData<&'a mut Option<T>>,
}

impl<'a, T> SendCase<'a, T> {
    /// The case of `send(sender, value)`.
    pub fn new(sender: &'a Sender<T>, value: &'a mut Option<T>) -> Self {
        let chan = value.is_some().then(|| sender.chan());
        let place: *mut Option<T> = value;
        // SAFETY: `place` comes from a reference of our own.
        let value = unsafe { &mut *place }.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        let chan = Cell::new(chan);
        SendCase { chan, place, value, settled: Cell::new(None), _borrow: PhantomData }
    }

    /// The case without its type.
    pub fn case(&self) -> Case<'_> {
        Case(self, false)
    }

    /// The result.
    ///
    /// # Panics
    ///
    /// If the case has not won.
    pub fn finish(self) -> Result<(), SendError<T>> {
        // SAFETY: the `select!` is over, so nobody else has a pointer; the place is ours for `'a`.
        match (self.settled.get(), unsafe { &mut *self.place }.take()) {
            (Some(true), None) => Ok(()),
            (Some(false), Some(value)) => Err(SendError(value)),
            _ => unreachable!("only the winner is finished"),
        }
    }
}

impl<T> Operate for SendCase<'_, T> {
    fn lock(&self) -> Option<&Lock<()>> {
        self.chan.get().map(Chan::lock)
    }

    unsafe fn look(&self, held: &LockGuard<'_, ()>, _: Option<Instant>) -> Look {
        let Some(chan) = self.chan.get() else { return Look::Wait };
        // SAFETY: the lock is held; after a move `settle` forgets the value before anyone looks.
        unsafe { chan.state(held).send(self.value) }
    }

    fn slot(&self) -> *mut () {
        self.value.cast()
    }

    unsafe fn queue(&self, held: &LockGuard<'_, ()>, node: &Node) {
        let Some(chan) = self.chan.get() else { return };
        // SAFETY: the lock is held, and the caller keeps the node in place.
        unsafe { chan.state(held).list(Side::Send).push_back(node) };
    }

    unsafe fn unqueue(&self, held: &LockGuard<'_, ()>, node: &Node) {
        let Some(chan) = self.chan.get() else { return };
        // SAFETY: the lock is held; the node was queued here and nowhere else.
        unsafe { chan.state(held).list(Side::Send).remove(node) };
    }

    fn settle(&self, ok: bool) {
        self.settled.set(Some(ok));
        if ok {
            self.chan.set(None);
            // The value has moved to the receiver: what is left are bytes without an owner.
            // SAFETY: writes over them without dropping them; the place is ours.
            unsafe { ptr::write(self.place, None) };
        }
    }
}

/// What `timer(…)` takes, by reference: a timer or a ticker, or what points to one.
pub trait Alarmed {
    /// The point in time behind it.
    #[doc(hidden)]
    fn case(&self) -> TimerCase<'_>;
}

impl Alarmed for Timer {
    fn case(&self) -> TimerCase<'_> {
        TimerCase { alarm: self.alarm(), fired: Cell::new(None) }
    }
}

impl Alarmed for Ticker {
    fn case(&self) -> TimerCase<'_> {
        TimerCase { alarm: self.alarm(), fired: Cell::new(None) }
    }
}

impl<P: Deref<Target: Alarmed>> Alarmed for P {
    fn case(&self) -> TimerCase<'_> {
        (**self).case()
    }
}

/// A wait for a point in time.
pub struct TimerCase<'a> {
    alarm: &'a Alarm,
    fired: Cell<Option<Instant>>,
}

impl<'a> TimerCase<'a> {
    /// The case of `timer(alarm)`.
    pub fn new(alarm: &'a impl Alarmed) -> Self {
        alarm.case()
    }

    /// The case without its type.
    pub fn case(&self) -> Case<'_> {
        Case(self, true)
    }

    /// When it was to fire.
    ///
    /// # Panics
    ///
    /// If the case has not won.
    pub fn finish(self) -> Instant {
        self.fired.get().expect("only the winner is finished")
    }
}

impl Operate for TimerCase<'_> {
    fn lock(&self) -> Option<&Lock<()>> {
        Some(self.alarm.lock())
    }

    unsafe fn look(&self, held: &LockGuard<'_, ()>, now: Option<Instant>) -> Look {
        match now.and_then(|now| self.alarm.take(held, now)) {
            Some(fired) => {
                self.fired.set(Some(fired));
                Look::Moved(None)
            }
            None => Look::Wait,
        }
    }

    fn slot(&self) -> *mut () {
        ptr::null_mut()
    }

    unsafe fn queue(&self, held: &LockGuard<'_, ()>, node: &Node) {
        // SAFETY: passed on.
        unsafe { self.alarm.queue(held, node) };
    }

    unsafe fn unqueue(&self, held: &LockGuard<'_, ()>, node: &Node) {
        // SAFETY: passed on.
        unsafe { self.alarm.unqueue(held, node) };
    }

    fn deadline(&self, held: &LockGuard<'_, ()>) -> Option<Instant> {
        self.alarm.deadline(held)
    }

    fn settle(&self, _: bool) {}
}

impl fmt::Debug for TimerCase<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerCase").field("fired", &self.fired.get()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for RecvCase<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvCase").field("settled", &self.settled.get()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for SendCase<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendCase").field("settled", &self.settled.get()).finish_non_exhaustive()
    }
}
