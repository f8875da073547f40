//! A goroutine's closure and its result, with the types rubbed out.
//!
//! The scheduler moves goroutines of every type through one queue, so what it holds is a pointer to
//! a [`Header`]: two functions that know the types. Behind it lies one allocation for the whole
//! life of the goroutine:
//!
//! ```text
//!   Packet<F, T>:  header | result: Option<Result<T, panic>> | closure: Option<F>
//!                  '---------- Prefix<T>, all that a JoinHandle<T> knows ---'
//! ```
//!
//! Who frees it is decided in the [`State`](super::state::State): the goroutine when its handle was
//! dropped before the closure returned, else the handle. Both do it in user code,
//! because a destructor may block, panic or allocate: none of that is allowed inside the runtime.
//! This is why the packet is not a part of the G record, which the scheduler lets go inside.

use core::{cell::UnsafeCell, ptr::NonNull};
use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::boxed::try_room;

/// What a goroutine leaves behind: its value, or what it panicked with.
pub(crate) type Outcome<T> = Result<T, Box<dyn Any + Send + 'static>>;

/// The typed functions of a packet.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    run: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

/// The part of a packet that does not depend on the closure.
#[repr(C)]
struct Prefix<T> {
    header: Header,
    result: UnsafeCell<Option<Outcome<T>>>,
}

#[repr(C)]
struct Packet<F, T> {
    prefix: Prefix<T>,
    closure: UnsafeCell<Option<F>>,
}

/// Allocates a packet for `closure`. The caller owns it. `None`: there is no memory for one.
pub(crate) fn pack<F, T>(closure: F) -> Option<NonNull<Header>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let packet = Box::write(
        try_room()?,
        Packet {
            prefix: Prefix {
                header: Header { run: run::<F, T>, free: free::<F, T> },
                result: UnsafeCell::new(None::<Outcome<T>>),
            },
            closure: UnsafeCell::new(Some(closure)),
        },
    );
    Some(NonNull::from(Box::leak(packet)).cast())
}

/// Runs the closure and keeps what it returned or panicked with.
///
/// # Safety
///
/// `packet` came from [`pack`], is not freed, and this is the only call of `run_packet` for it.
/// Nobody looks at the result before this has returned.
pub(crate) unsafe fn run_packet(packet: NonNull<Header>) {
    // SAFETY: the caller's claim: the header is alive.
    let run = unsafe { packet.as_ref() }.run;
    // SAFETY: `run` was stored by `pack` for this very type; the rest is the caller's claim.
    unsafe { run(packet) }
}

/// Drops what is left in the packet and frees it. Runs destructors of the user.
///
/// # Safety
///
/// `packet` came from [`pack`], and nobody uses it afterwards.
pub(crate) unsafe fn free_packet(packet: NonNull<Header>) {
    // SAFETY: the caller's claim: the header is alive.
    let free = unsafe { packet.as_ref() }.free;
    // SAFETY: `free` was stored by `pack` for this very type; the rest is the caller's claim.
    unsafe { free(packet) }
}

/// Takes the result out; `None` when it was taken before.
///
/// # Safety
///
/// `packet` came from [`pack`] with this `T`; [`run_packet`] has returned, its effects are visible
/// here, and nobody else uses the packet now.
pub(crate) unsafe fn take_result<T>(packet: NonNull<Header>) -> Option<Outcome<T>> {
    // SAFETY: a packet starts with its prefix (`repr(C)`), and the caller vouches for `T`.
    let prefix = unsafe { packet.cast::<Prefix<T>>().as_ref() };
    // SAFETY: the caller is alone with the packet.
    unsafe { (*prefix.result.get()).take() }
}

unsafe fn run<F: FnOnce() -> T, T>(packet: NonNull<Header>) {
    // SAFETY: `pack` stored this function for exactly this type.
    let packet = unsafe { packet.cast::<Packet<F, T>>().as_ref() };
    // SAFETY: `run_packet` is called once, so nobody else looks at the closure.
    let closure = unsafe { (*packet.closure.get()).take() };
    let closure = closure.expect("a goroutine's closure runs once");
    let outcome = catch_unwind(AssertUnwindSafe(closure));
    // SAFETY: nobody looks at the result before this function has returned.
    unsafe { *packet.prefix.result.get() = Some(outcome) };
}

unsafe fn free<F, T>(packet: NonNull<Header>) {
    // SAFETY: the packet was leaked from such a box by `pack`, and the caller gives it up.
    let packet = unsafe { Box::from_raw(packet.cast::<Packet<F, T>>().as_ptr()) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(packet))) {
        // A destructor panicked: the message is out, the value is gone. What it panicked with may
        // panic again when dropped, so it stays.
        core::mem::forget(payload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_packet_keeps_the_value_until_it_is_taken() {
        let packet = pack(|| String::from("done")).expect("there is memory");
        // SAFETY: the packet is this test's alone; it runs once, is read after, and freed last.
        let value = unsafe {
            run_packet(packet);
            let value = take_result::<String>(packet);
            free_packet(packet);
            value
        };
        assert_eq!(value.expect("ran").expect("did not panic"), "done");
    }

    #[test]
    fn a_packet_that_never_ran_drops_its_closure() {
        let kept = Arc::new(());
        let inside = Arc::clone(&kept);
        let packet = pack(move || drop(inside)).expect("there is memory");
        // SAFETY: nobody else knows the packet.
        unsafe { free_packet(packet) };
        assert_eq!(Arc::strong_count(&kept), 1);
    }

    #[test]
    fn a_panic_is_a_result() {
        let packet = pack(|| -> u32 { std::panic::resume_unwind(Box::new(7u8)) });
        let packet = packet.expect("there is memory");
        // SAFETY: as above.
        let outcome = unsafe {
            run_packet(packet);
            let outcome = take_result::<u32>(packet);
            free_packet(packet);
            outcome
        };
        let payload = outcome.expect("ran").expect_err("panicked");
        assert_eq!(payload.downcast_ref::<u8>(), Some(&7));
    }
}
