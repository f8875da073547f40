//! A mistake of the program's, and what is said about it.

use core::fmt::{self, Write};

use super::Site;

/// What was done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mistake {
    /// A block was freed that was free already.
    DoubleFree,
    /// A pointer into a block was freed, not the block's own.
    InteriorFree,
    /// Something was freed that this heap never handed out.
    ForeignFree,
    /// A freed block was written to.
    WriteAfterFree,
    /// The bytes behind a large block were touched.
    Overflow,
    /// A large block was touched after it was freed.
    UseAfterFree,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mistake::DoubleFree => "double free",
            Mistake::InteriorFree => "free of an interior pointer",
            Mistake::ForeignFree => "free of a foreign pointer",
            Mistake::WriteAfterFree => "write after free",
            Mistake::Overflow => "overflow",
            Mistake::UseAfterFree => "use after free",
        })
    }
}

/// A block, as far as a report knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub start: usize,
    /// Its bytes: those of its size class, or those asked for if it has pages of its own.
    pub size: usize,
    /// It is a cell of a size class.
    pub small: bool,
}

/// A mistake of the program's, with what the heap knows about it.
///
/// ```
/// use alloc_core::{Heap, harden::{Hardening, Mistake, Violation}, pages::os::Os};
/// use std::{alloc::Layout, sync::Mutex};
///
/// static SEEN: Mutex<Vec<Violation>> = Mutex::new(Vec::new());
/// let heap = Heap::new(Os::new());
/// heap.harden(Hardening::new().on_violation(|found| SEEN.lock().unwrap().push(*found)))?;
/// let mut cache = heap.cache();
/// let block = cache.alloc(Layout::new::<[u64; 5]>())?;
/// // SAFETY: the second free is the mistake that is to be found; a hardened heap ignores it.
/// unsafe {
///     cache.free(block);
///     cache.free(block);
/// }
/// let found = SEEN.lock().unwrap()[0];
/// assert_eq!((found.mistake, found.address), (Mistake::DoubleFree, block.as_ptr() as usize));
/// assert_eq!(found.block.unwrap().size, 48);
/// assert!(found.freed.is_some());
/// # Ok::<(), alloc_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// What was done.
    pub mistake: Mistake,
    /// The pointer that was freed, or the first wrong byte.
    pub address: usize,
    /// The block that it belongs to, if it does.
    pub block: Option<Block>,
    /// Where the block was freed before.
    pub freed: Option<Site>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "alloc-core: {} at {:#x}", self.mistake, self.address)?;
        if let Some(Block { start, size, small }) = self.block {
            let what = if small { "a block of size class" } else { "a large block of" };
            let offset = self.address.wrapping_sub(start);
            write!(f, ", byte {offset} of {what} {size} at {start:#x}")?;
        }
        if let Some(site) = &self.freed {
            write!(f, "\n  freed before by {site}")?;
        }
        Ok(())
    }
}

/// Text on its way to standard error, without an allocation and in one write.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let n = text.len().min(room.len());
        room[..n].copy_from_slice(&text.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Writes the report to standard error and ends the process.
pub(super) fn abort(found: &Violation) {
    let mut line = Line { bytes: [0; 1024], len: 0 };
    // A report that is too long loses its end.
    let _ = writeln!(line, "{found}");
    // SAFETY: the buffer has `len` bytes; what `write` says changes nothing now.
    unsafe {
        libc::write(2, line.bytes.as_ptr().cast(), line.len);
        libc::abort()
    }
}
