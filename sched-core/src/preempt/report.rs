//! Text to stderr from a signal handler.

use core::fmt;
use std::io;

/// Standard error without a buffer, a lock or an allocation: safe in a signal handler, and on a
/// stack that has just overflowed.
///
/// ```
/// use core::fmt::Write;
/// use sched_core::preempt::Stderr;
///
/// write!(Stderr, "goroutine {} has no stack left\n", 7).expect("stderr never fails");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stderr;

impl fmt::Write for Stderr {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            // SAFETY: the bytes are ours to read.
            let written =
                unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written) if written > 0 => rest = &rest[written..],
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // Nobody can be told that nobody can be told.
                _ => break,
            }
        }
        Ok(())
    }
}
