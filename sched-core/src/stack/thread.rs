//! Thread mode: the kernel thread of a slot.
//!
//! The thread is started ahead of time by `prepare`, on the slot's own memory: libc puts its TLS
//! there, so the words stay mapped when the thread has ended, as they must. It waits for its baton,
//! runs the goroutine, and ends; `prepare` joins it (the memory is in use until the kernel says it
//! is not) before it starts the next.

use core::ffi::c_void;
use core::mem::{MaybeUninit, zeroed};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;

use super::StackError;
use super::slot::Record;
use crate::preempt::AltStack;
use crate::tls::{set_last_act, words};

const STARTING: u32 = 0;
const STARTED: u32 = 1;
/// libc had no key left for the thread's last act.
const FAILED: u32 = 2;

/// Starts the thread of a slot and waits until it waits.
///
/// # Safety
///
/// The slot is the caller's, has no thread, and its record stays mapped.
pub(super) unsafe fn start(record: &Record) -> Result<(), StackError> {
    // Relaxed: there is no thread to race with.
    record.started.word().store(STARTING, Ordering::Relaxed);
    record.spent.store(false, Ordering::Relaxed);
    // SAFETY: the caller has the slot alone.
    unsafe { *record.thread.get() = Some(create(record)?) };
    loop {
        // Acquire: the thread's words and ids; pairs with the Release store in `main`.
        match record.started.word().load(Ordering::Acquire) {
            STARTING => record.started.wait(STARTING, None),
            STARTED => return Ok(()),
            _ => break,
        }
    }
    // SAFETY: the thread says that it ends at once.
    unsafe { join(record) };
    Err(StackError::NoThread(libc::EAGAIN))
}

/// Waits until the thread, if there is one, is gone from the slot's memory.
///
/// # Safety
///
/// The slot is the caller's; its thread has run its errand, or has been told to end.
pub(super) unsafe fn join(record: &Record) {
    // SAFETY: the caller has the slot alone.
    if let Some(thread) = unsafe { (*record.thread.get()).take() } {
        // SAFETY: started by `start`, joined once.
        unsafe { libc::pthread_join(thread, null_mut()) };
    }
}

/// Ends the slot's thread, if there is one.
///
/// # Safety
///
/// The slot is the caller's; its thread has run its errand, or waits for one.
pub(super) unsafe fn end(record: &Record) {
    // Relaxed: ordered by the stock's lock since the goroutine's end.
    if !record.spent.load(Ordering::Relaxed) {
        // SAFETY: the thread only waits. Without an errand it ends as soon as it runs.
        unsafe { *record.errand.get() = None };
        record.context.post();
    }
    // SAFETY: the thread is on its way out.
    unsafe { join(record) };
}

/// # Safety
///
/// As [`start`].
unsafe fn create(record: &Record) -> Result<libc::pthread_t, StackError> {
    let mut thread = MaybeUninit::uninit();
    // SAFETY: plain data, which `pthread_attr_init` fills in.
    let mut attr = unsafe { zeroed::<libc::pthread_attr_t>() };
    // SAFETY: the stack is the slot's, unused; the record outlives the thread.
    let error = unsafe {
        libc::pthread_attr_init(&mut attr);
        let stack = record.bounds.start as *mut c_void;
        let error = match libc::pthread_attr_setstack(&mut attr, stack, record.bounds.len()) {
            0 => {
                let record = core::ptr::from_ref(record).cast_mut().cast();
                libc::pthread_create(thread.as_mut_ptr(), &attr, main, record)
            }
            error => error,
        };
        libc::pthread_attr_destroy(&mut attr);
        error
    };
    match error {
        // SAFETY: set, as the call succeeded.
        0 => Ok(unsafe { thread.assume_init() }),
        error => Err(StackError::NoThread(error)),
    }
}

extern "C" fn main(record: *mut c_void) -> *mut c_void {
    // SAFETY: `create` passed the record, which outlives the thread.
    let record = unsafe { &*record.cast::<Record>() };
    // Without a stack of its own for signals the thread could not report its overflow.
    let alt_stack = AltStack::install().ok();
    // SAFETY: the record is the thread's until it has started.
    unsafe { *record.alt_stack.get() = alt_stack };
    // SAFETY: `last_act` is sound at the end of a slot's thread.
    let will_end = unsafe { set_last_act(last_act, core::ptr::from_ref(record).cast_mut().cast()) };
    // Release: with what others read of them, pairs with the Acquire load in `Slot::words`.
    record.words.store(core::ptr::from_ref(words()).cast_mut(), Ordering::Release);
    if will_end {
        record.context.adopt();
    }
    let state = if will_end { STARTED } else { FAILED };
    // Release: the words and ids; pairs with the Acquire load in `start`.
    record.started.word().store(state, Ordering::Release);
    record.started.wake(1);
    if !will_end {
        return null_mut();
    }
    record.context.wait();
    if let Some(errand) = record.errand() {
        // Relaxed: read after this goroutine's last switch, which orders it.
        record.spent.store(true, Ordering::Relaxed);
        // SAFETY: `arm`'s caller; `main` was told that there is such an end.
        unsafe { (errand.body)(errand.argument) };
    }
    null_mut()
}

/// # Safety
///
/// On a slot's thread, after all destructors.
unsafe fn last_act(record: *mut ()) {
    // SAFETY: `main` passed it.
    let record = unsafe { &*record.cast::<Record>() };
    // SAFETY: this thread's own, from `main`. User code has ended, so no signal needs it.
    drop(unsafe { (*record.alt_stack.get()).take() });
    let Some(errand) = record.errand() else { return };
    // SAFETY: `arm`'s caller. `body` has returned, or this would not be the thread's end.
    let next = unsafe { (errand.finish)(errand.argument) };
    // Relaxed: for this thread's own handlers. A late signal finds no goroutine, whose record and slot are
    // others' as soon as the next one runs.
    words().g.store(null_mut(), Ordering::Relaxed);
    record.context.forget_thread();
    // SAFETY: `finish` promises a context. The record is not touched after the post: the slot may be
    // given back.
    unsafe { (*next).post() };
}
