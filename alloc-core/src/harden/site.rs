//! Where something happened: a thread and the return addresses of its calls.
//!
//! Nothing here walks a stack: how that is done depends on the program (frame pointers, unwind
//! tables, a runtime's own stacks), so the embedder gives a function that does. It must not allocate
//! from the heap that asks.

use core::fmt;

/// Return addresses that are kept of a stack, the innermost first.
pub const FRAMES: usize = 12;

/// Writes the caller's return addresses into the slice, the innermost first; returns how many.
///
/// It may not allocate from, or free into, the heap that it is given to, nor unwind.
///
/// ```
/// use alloc_core::harden::Frames;
/// const NONE: Frames = |_| 0;
/// assert_eq!(NONE(&mut [0; 4]), 0);
/// ```
pub type Frames = fn(&mut [usize]) -> usize;

/// A thread and a stack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Site {
    thread: u32,
    len: u32,
    frames: [usize; FRAMES],
}

impl Site {
    /// The caller's thread, and its stack as `frames` tells.
    pub(crate) fn here(frames: Option<Frames>) -> Self {
        // SAFETY: the call has no preconditions. Threads that live at once have different numbers.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        let mut site = Site { thread, len: 0, frames: [0; FRAMES] };
        if let Some(walk) = frames {
            site.len = walk(&mut site.frames).min(FRAMES) as u32;
        }
        site
    }

    pub(crate) fn new(thread: u32, len: usize, frames: [usize; FRAMES]) -> Self {
        Site { thread, len: len.min(FRAMES) as u32, frames }
    }

    /// The kernel's number of the thread.
    pub fn thread(&self) -> u32 {
        self.thread
    }

    /// Return addresses, the innermost first; empty if the heap was given no [`Frames`].
    pub fn frames(&self) -> &[usize] {
        &self.frames[..self.len as usize]
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "thread {}", self.thread)?;
        self.frames().iter().try_for_each(|frame| write!(f, "\n    {frame:#x}"))
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Site({self})")
    }
}
