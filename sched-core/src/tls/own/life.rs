//! What libc does at the beginning and at the end of a thread, done for a goroutine.
//!
//! At the beginning: the locale and its character tables (which lie in libc's segment, where
//! recycling leaves the last goroutine's), and `errno`. `uselocale` does what libc's private
//! `__ctype_init` does, and resets the locale as well.
//!
//! At the end, in libc's order: destructors of thread-locals, destructors of pthread keys, blocks
//! of dynamic TLS. All of it is user code or libc's, so it runs on the goroutine, outside the
//! runtime, where a thread would run it.
//!
//! Not done, as libc exports no way to: giving back the allocator's cache and the resolver's
//! buffers of the thread. The slot's next goroutine uses them.

use core::ffi::c_void;
use core::ptr::null_mut;

use super::arch::thread_pointer;
use super::dtv::Dtv;
use super::glibc::{Keys, Layout};

/// `LC_GLOBAL_LOCALE`.
const GLOBAL_LOCALE: libc::locale_t = usize::MAX as libc::locale_t;

/// `PTHREAD_DESTRUCTOR_ITERATIONS`.
const KEY_ROUNDS: usize = 4;
const KEYS_PER_BLOCK: usize = 32;
const KEY_BLOCKS: usize = 32;

/// An entry of `__pthread_keys`. An odd sequence number says that the key is in use.
#[repr(C)]
struct Key {
    seq: usize,
    destructor: Option<unsafe extern "C" fn(*mut c_void)>,
}

/// A thread's value for a key: its own if the key's sequence number is the same still.
#[repr(C)]
struct Value {
    seq: usize,
    data: *mut c_void,
}

/// The first thing a goroutine does.
pub(crate) fn begin() {
    // SAFETY: both concern the running block alone.
    unsafe {
        libc::uselocale(GLOBAL_LOCALE);
        *libc::__errno_location() = 0;
    }
}

impl Layout {
    /// The last thing a goroutine does outside the runtime.
    ///
    /// # Safety
    ///
    /// On a goroutine with a block of its own, once its code has returned.
    pub(crate) unsafe fn end_of_goroutine(&self) {
        // SAFETY: as libc calls it at a thread's end: the destructors are for this block.
        unsafe { (self.calls.call_tls_dtors)() };
        // SAFETY: likewise.
        unsafe { self.keys.run_destructors(self.header_of(thread_pointer())) };
        // SAFETY: the running block's dtv, and no code with dynamic TLS runs on it any more.
        unsafe { Dtv::of(thread_pointer().wrapping_add_signed(self.dtv)) }.free_dynamic();
    }
}

impl Keys {
    /// Runs destructors while values have been set, four times at most, as POSIX has it; then
    /// clears what is left. Most goroutines set none, and this is one look at a byte.
    unsafe fn run_destructors(&self, header: usize) {
        for _ in 0..KEY_ROUNDS {
            if !self.take_used(header) {
                return;
            }
            // SAFETY: the caller's promise.
            unsafe { self.run_round(header) };
        }
        for (_, value) in self.values(header) {
            // SAFETY: the running block's values.
            unsafe { (*value).data = null_mut() };
        }
    }

    /// Whether the running block, whose header this is, has set a value since the last call.
    fn take_used(&self, header: usize) -> bool {
        let used = (header + self.used) as *mut u8;
        // SAFETY: the running block's own flag.
        unsafe { used.replace(0) != 0 }
    }

    /// Takes each value out and calls its key's destructor.
    unsafe fn run_round(&self, header: usize) {
        for (index, value) in self.values(header) {
            // SAFETY: the running block's values; no reference is held over a destructor, which
            // may set others.
            let Value { seq, data } =
                unsafe { value.replace(Value { seq: (*value).seq, data: null_mut() }) };
            // SAFETY: libc's table has an entry for each key that a value can belong to. It may
            // change under us, as under libc's own reading of it: the sequence number is compared.
            let key = unsafe { (self.table as *const Key).add(index).read_volatile() };
            if let Some(destructor) = key.destructor.filter(|_| key.seq == seq) {
                // SAFETY: the key's user asked for it, with this thread's value.
                unsafe { destructor(data) };
            }
        }
    }

    /// The running block's values that are set, with their keys' indices.
    fn values(&self, header: usize) -> impl Iterator<Item = (usize, *mut Value)> {
        let blocks = (header + self.specific) as *const *mut Value;
        (0..KEY_BLOCKS)
            // SAFETY: the header has `KEY_BLOCKS` pointers there.
            .map(move |block| (block * KEYS_PER_BLOCK, unsafe { *blocks.add(block) }))
            .filter(|(_, values)| !values.is_null())
            .flat_map(|(first, values)| {
                (0..KEYS_PER_BLOCK).map(move |index| (first + index, values.wrapping_add(index)))
            })
            // SAFETY: a block of values is as long as all blocks are.
            .filter(|(_, value)| unsafe { !(**value).data.is_null() })
    }
}
