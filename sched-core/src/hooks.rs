//! What the embedding hangs on the scheduler: a pointer per P, and calls when a P starts and stops.
//!
//! An allocator keeps a cache per P, a collector keeps mark and log buffers per P. Neither can use
//! a thread-local for it: thread-locals belong to goroutines here, so a cache in one would exist a
//! million times. So each P carries one pointer of the embedding's, reached through
//! [`Entered::proc_local`](crate::entry::Entered::proc_local) while the runtime is entered, which
//! is exactly while the P cannot be taken away.
//!
//! | call | when | where |
//! |---|---|---|
//! | [`proc_start`](Hooks::proc_start) | once per P, before it runs anything | where the scheduler is built, or its Ps are made more |
//! | [`proc_idle`](Hooks::proc_idle) | the P found no work and goes to the idle list | inside the runtime, by whoever holds it then: an M, or a taker |
//! | [`proc_stop`](Hooks::proc_stop) | once per P, after the last M has ended | on a plain thread of the scheduler's |
//!
//! `proc_idle` is bound by the rules inside the runtime: no allocation through a foreign allocator,
//! no lock that user code can hold, no parking; a panic aborts the process.
//!
//! A panic of `proc_start` is the caller's, who builds the scheduler or asks for more Ps. One of `proc_stop` aborts the
//! process, with the name of the thread; so does one of the [`Drop`] of the hooks, of a stack source or of a policy, where
//! a thread of a scheduler lets go of the last name of another one that has ended. They all may wait for a lock, but for no
//! goroutine.

/// The embedding's part in the life of Ps.
pub trait Hooks: Send + Sync + 'static {
    /// Makes the pointer that [`Entered::proc_local`](crate::entry::Entered::proc_local) gives on
    /// this P. May allocate.
    fn proc_start(&self, index: usize) -> *mut () {
        let _ = index;
        core::ptr::null_mut()
    }

    /// Takes the pointer back. Nothing runs on the P any more. May allocate and free.
    fn proc_stop(&self, index: usize, local: *mut ()) {
        let _ = (index, local);
    }

    /// The P goes idle: hand over what others may be waiting for.
    fn proc_idle(&self, index: usize, local: *mut ()) {
        let _ = (index, local);
    }
}

/// Hooks of an embedding that needs none.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}
