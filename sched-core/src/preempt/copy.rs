//! Copies a stack that stands still, though not every byte of it does.
//!
//! # Problem
//!
//! The goroutine whose stack is copied does not run, so what an unwinder needs (return addresses, saved
//! registers) does not change. But others may have pointers into it: a scope's goroutines write to what
//! they borrowed from there. And between its variables lie bytes that nobody has written yet. By the letter of
//! the language a read of the former is a data race and a read of the latter is of no value, whatever becomes
//! of what was read.
//!
//! # How
//!
//! The bytes are copied in assembly, of which the compiler knows that it writes *some* bytes to the copy. What
//! the processor reads meanwhile is one or the other of what was there, and nobody takes it for more than
//! bytes: the copy's users follow addresses in it, and mistrust each.
//!
//! # Rejected
//!
//! *Volatile reads, word by word*: they race all the same, and bytes without a value keep having none.
//! *Relaxed atomic ones* race with the writes of the owners, which are not atomic.

use core::ops::Range;

use super::arch;

/// Copies a stack from the stack pointer up, as far as there is room.
///
/// # Safety
///
/// The stack's bytes from `sp` to its end are readable.
pub(crate) unsafe fn copy(stack: &Range<usize>, sp: usize, into: &mut Vec<u8>) {
    into.clear();
    let length = (stack.end - sp).min(into.capacity());
    // SAFETY: the caller's promise; there is room for so many.
    unsafe {
        arch::copy_bytes(sp, into.as_mut_ptr(), length);
        into.set_len(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_bytes_are_copied_up_to_the_room() {
        let stack: Vec<u8> = (0..100).collect();
        let start = stack.as_ptr().addr();
        let mut into = Vec::with_capacity(64);
        let room = into.capacity();
        // SAFETY: all of it is ours.
        unsafe { copy(&(start..start + 100), start + 3, &mut into) };
        assert_eq!(into, stack[3..3 + room.min(97)]);
        // SAFETY: as above.
        unsafe { copy(&(start..start + 100), start + 95, &mut into) };
        assert_eq!(into, [95, 96, 97, 98, 99]);
        // SAFETY: as above.
        unsafe { copy(&(start..start + 100), start + 100, &mut into) };
        assert_eq!(into, []);
    }
}
