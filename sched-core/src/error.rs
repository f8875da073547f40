//! What can go wrong, and how the scheduler stops when it must not go on.
//!
//! Errors that a caller can act on are values: a scheduler that cannot be built, a goroutine that
//! cannot be started. They carry what the operating system said. What is left are broken
//! promises: an unwinding that reaches a scheduler frame, the thread limit. Going on would run
//! goroutines on stacks that nobody owns, so [`fatal`] writes one line and aborts. It formats into
//! a buffer on its own stack and calls `write(2)`, because it may run where neither the allocator
//! nor a lock of the standard library may be touched.

use core::fmt::{self, Write};

use crate::stack::StackError;

/// Why a scheduler could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A value of the configuration is out of range; the text names it.
    Config(&'static str),
    /// Each of the processors may need a thread, and some more are needed.
    FewThreads {
        /// How many processors there shall be.
        procs: usize,
        /// How many threads there may be.
        max_threads: usize,
    },
    /// The operating system refused a thread.
    Threads(std::io::Error),
    /// Not even one stack could be made.
    Stacks(StackError),
    /// A signal handler could not be installed.
    Signals(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Config(what) => write!(f, "configuration: {what}"),
            Error::FewThreads { procs, max_threads } => {
                write!(f, "configuration: procs is {procs}, and max_threads must exceed it")?;
                write!(f, ": it is {max_threads}; raise it, or lower procs")
            }
            Error::Threads(error) => write!(f, "cannot start a thread: {error}"),
            Error::Stacks(error) => write!(f, "cannot prepare stacks: {error}"),
            Error::Signals(error) => write!(f, "cannot install signal handlers: {error}"),
        }
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Error::Config(_) | Error::FewThreads { .. } => None,
            Error::Stacks(error) => Some(error),
            Error::Threads(error) | Error::Signals(error) => Some(error),
        }
    }
}

/// Why a goroutine could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnError {
    /// [`Scheduler::shutdown`](crate::Scheduler::shutdown) was called before.
    ShutDown,
    /// No stack is at hand, or goroutines wait for one, and no more can be made. It is tried again all the
    /// time, and each stack that is given back helps.
    Stacks(StackError),
    /// The global allocator has no memory for what a goroutine or a future is made of: its record, or the box of its
    /// closure and result.
    NoMemory,
    /// Stacks so large are not had here.
    StackTooLarge {
        /// Bytes of the largest.
        most: usize,
    },
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::ShutDown => f.write_str("the scheduler is shutting down"),
            SpawnError::Stacks(error) => write!(f, "no stack for a goroutine: {error}"),
            SpawnError::NoMemory => f.write_str("no memory for a goroutine's record or closure"),
            SpawnError::StackTooLarge { most } => {
                write!(f, "a stack has {most} bytes at most; ask for no more than that")
            }
        }
    }
}

impl core::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            SpawnError::ShutDown | SpawnError::NoMemory | SpawnError::StackTooLarge { .. } => None,
            SpawnError::Stacks(error) => Some(error),
        }
    }
}

/// Writes one line to standard error and aborts the process.
#[cold]
#[inline(never)]
pub(crate) fn fatal(message: fmt::Arguments<'_>) -> ! {
    say(message);
    std::process::abort()
}

/// Writes one line to standard error, for a process that is about to abort.
pub(crate) fn say(message: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 512], len: 0 };
    // A message that does not fit is cut off; the abort matters more.
    let _ = writeln!(line, "sched-core: fatal: {message}");
    // SAFETY: the pointer and the length describe initialised bytes of `line`.
    unsafe { libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.len) };
}

/// A line of text on the stack.
struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let n = room.len().min(text.len());
        room[..n].copy_from_slice(&text.as_bytes()[..n]);
        self.len += n;
        if n == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_not_lost() {
        let mut line = Line { bytes: [0; 512], len: 0 };
        assert!(write!(line, "{:>600}", "x").is_err());
        assert_eq!(line.len, 512);
        assert_eq!(line.bytes[..3], *b"   ");
    }

    #[test]
    fn errors_name_their_cause() {
        let error = Error::Threads(std::io::Error::from_raw_os_error(libc::EAGAIN));
        assert!(error.to_string().starts_with("cannot start a thread: "));
        assert!(core::error::Error::source(&error).is_some());
    }
}
