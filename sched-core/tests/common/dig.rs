//! A function that needs as much stack as it is told.

use std::hint::black_box;

/// Calls itself until its frames cover so many bytes of stack; how many they are.
pub(crate) fn dig(bytes: usize) -> usize {
    fn further(top: usize, bytes: usize) -> usize {
        let frame = black_box([1_u8; 1024]);
        match top - frame.as_ptr().addr() {
            depth if depth < bytes => black_box(further(top, bytes)),
            depth => depth,
        }
    }
    let top = 0_u8;
    further(core::ptr::from_ref(black_box(&top)).addr(), bytes)
}
