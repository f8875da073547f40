//! Making a TLS block that libc takes for a thread's, and making it fresh again.
//!
//! # Making
//!
//! libc makes blocks itself (`_dl_allocate_tls`): a dtv from `malloc` and the initial image of
//! every module. Called on a slot it would also clear the part of the surplus that [`surplus`]
//! took, which lies where our stack begins, and so touch a second page per goroutine. So it works
//! on a *scratch* region, once per slot; the slot gets the bytes that matter and the dtv, rebased.
//!
//! Then the header. Everything libc or the kernel ever asks of it in a goroutine:
//!
//! | field | value | or else |
//! |---|---|---|
//! | `tcb`, `self` (x86-64) | the thread pointer | nothing works |
//! | multiple_threads | 1, or as other threads have it | libc takes its single-thread shortcuts |
//! | stack and pointer guard, feature_1 (x86-64) | the process's | smashed-stack reports, wild longjmp |
//! | tid | a pseudo id, the slot's for ever | two goroutines on one M share recursive mutexes |
//! | list node | points to itself | a forked child unlinks it and faults |
//! | first block of key values | the header's own | keys' destructors do not run |
//! | user_stack, stack block | as a thread with its own stack | a forked child frees the stack |
//! | robust list | empty | the first robust mutex faults |
//! | `__resp` | the block's own resolver state | all goroutines share the main thread's |
//! | rseq `cpu_id` | −1, not registered | sched_getcpu says 0, always |
//!
//! # Recycling
//!
//! A goroutine that ends leaves thread-locals behind; the next one must find fresh ones. All
//! modules are copied from the image again, save two ranges: libc's own segment, which holds the
//! allocator's cache of the thread (kept warm; libc has no exported way to drop it; locale and
//! errno are reset by `life::begin`), and our [`Words`], which others may be looking at and which
//! are reset with atomic stores.
//!
//! [`surplus`]: super::surplus

use core::ffi::c_void;
use core::fmt;
use core::ops::Range;
use core::ptr::{copy_nonoverlapping, null_mut, write_bytes};
use core::sync::atomic::Ordering;

use super::arch;
use super::dtv::Dtv;
use super::glibc::{Layout, RSEQ_CPU_ID, Reason, running_header};
use super::modules::Module;
use crate::tls::words::pseudo_tid;
use crate::tls::{Surplus, Words};

/// What the static TLS of a fresh block holds, and which of them recycling restores.
#[derive(Default)]
pub(super) struct Image {
    bytes: Box<[u8]>,
    /// Indices into `bytes`, neither libc's segment nor the words.
    restored: Box<[Range<usize>]>,
    /// Indices of libc's own segment.
    libc: Range<usize>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.len();
        f.debug_struct("Image").field("bytes", &bytes).field("restored", &self.restored).finish()
    }
}

impl Layout {
    /// The thread pointer of the running block.
    pub(crate) fn running_thread_pointer(&self) -> usize {
        arch::thread_pointer()
    }

    /// Where the thread pointer lies in a slot whose record begins at `top`.
    pub(crate) fn thread_pointer_below(&self, top: usize) -> usize {
        let above = self.tls().end.max(self.header().end);
        (top - above.unsigned_abs()) & !(self.align - 1)
    }

    /// Where the stack begins under a block.
    pub(crate) fn stack_top(&self, tp: usize) -> usize {
        let below = self.tls().start.min(self.header().start);
        tp.wrapping_add_signed(below) & !15
    }

    /// What a block takes of a slot, at most.
    pub(crate) fn block_bytes(&self) -> usize {
        self.pthread_bytes + self.used + self.align + 16
    }

    /// The scheduler's words in the block at `tp`.
    pub(crate) fn words_of(&self, tp: usize) -> *const Words {
        tp.wrapping_add_signed(self.words) as *const Words
    }

    /// Whether recycling can be done by copying, without libc: not where libraries loaded later
    /// may have got static TLS in our blocks, whose images we do not have.
    pub(crate) fn recycles_by_copy(&self) -> bool {
        self.surplus == Surplus::Take
    }

    /// Makes the block fresh. Calls nothing of libc's, takes no lock, allocates nothing.
    ///
    /// # Safety
    ///
    /// A block made by [`Workshop::furnish`], whose goroutine has ended and is not running.
    pub(crate) unsafe fn reimage(&self, tp: usize) {
        let base = tp.wrapping_add_signed(self.tls().start) as *mut u8;
        for range in &*self.image.restored {
            let source = &self.image.bytes[range.clone()];
            // SAFETY: the range lies in the block's TLS, which nobody else touches (caller).
            unsafe { copy_nonoverlapping(source.as_ptr(), base.add(range.start), source.len()) };
        }
        // SAFETY: the block's words, initialised when it was furnished and only ever accessed
        // atomically since.
        reset(unsafe { &*self.words_of(tp) });
    }

    /// Makes the block fresh with libc's help, for libraries loaded since it was made.
    ///
    /// # Safety
    ///
    /// As [`Layout::reimage`]; and the caller may call libc.
    pub(crate) unsafe fn rebuild(&self, tp: usize, libc_segment: &mut Vec<u8>) {
        let at = (tp.wrapping_add_signed(self.tls().start) + self.image.libc.start) as *mut u8;
        let length = self.image.libc.len();
        // SAFETY: the caller owns the block; libc's segment is saved over libc's own re-imaging,
        // since it names allocations of the block's.
        unsafe {
            libc_segment.clear();
            libc_segment.extend_from_slice(core::slice::from_raw_parts(at, length));
            (self.calls.init_tls)(tp as *mut c_void, true);
            copy_nonoverlapping(libc_segment.as_ptr(), at, length);
        }
        self.mark_rseq(tp);
    }

    /// Gives back what libc allocated for the block.
    ///
    /// # Safety
    ///
    /// The block is never used again; the caller may call libc.
    pub(crate) unsafe fn abandon(&self, tp: usize) {
        // SAFETY: the caller's promise is `free`'s.
        unsafe { Dtv::of(tp.wrapping_add_signed(self.dtv)).free() };
    }

    fn mark_rseq(&self, tp: usize) {
        let cpu_id = tp.wrapping_add_signed(self.rseq + RSEQ_CPU_ID) as *mut i32;
        // SAFETY: the rseq area lies in the header or in the static TLS; the block is ours (callers).
        unsafe { *cpu_id = -1 };
    }
}

/// Where libc builds blocks before they are moved to their slots.
///
/// One user at a time; only where libc may be called.
#[derive(Debug)]
pub(crate) struct Workshop {
    base: usize,
    bytes: usize,
    tp: usize,
}

impl Workshop {
    pub(crate) fn new(layout: &Layout) -> Result<Workshop, Reason> {
        let (tls, header) = (arch::static_tls(layout.static_bytes), layout.header());
        let pages = |bytes: isize| bytes.unsigned_abs().next_multiple_of(4096);
        let below = pages(tls.start.min(header.start));
        let bytes = below + pages(tls.end.max(header.end));
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a fresh mapping touches nobody's memory.
        let base = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err("no memory for a TLS block");
        }
        let base = base as usize;
        Ok(Workshop { base, bytes, tp: base + below })
    }

    /// A fresh dtv and, at our thread pointer, a fresh image of all modules.
    fn build(&mut self, layout: &Layout) -> Result<Dtv, Reason> {
        // SAFETY: `static_bytes` on one side of `tp` and the header on the other are ours, which is
        // all that libc writes to.
        let made = unsafe { (layout.calls.allocate_tls)(self.tp as *mut c_void) };
        if made.is_null() {
            return Err("no memory for a dtv");
        }
        // SAFETY: libc has just put it there.
        Ok(unsafe { Dtv::of(self.tp.wrapping_add_signed(layout.dtv)) })
    }

    fn bytes(&self, tls: &Range<isize>) -> &[u8] {
        let first = self.tp.wrapping_add_signed(tls.start) as *const u8;
        // SAFETY: at most `static_bytes`, rounded up by less than a page; ours, mapped.
        unsafe { core::slice::from_raw_parts(first, tls.end.abs_diff(tls.start)) }
    }

    /// What a fresh block holds; checks on the way that a dtv is what we take it for.
    pub(super) fn image(mut self, layout: &Layout, modules: &[Module]) -> Result<Image, Reason> {
        let dtv = self.build(layout)?;
        let familiar = modules.iter().all(|module| {
            dtv.block(module.id) == Some(self.tp.wrapping_add_signed(module.range.start))
        });
        // SAFETY: nothing runs on the scratch block.
        unsafe { dtv.free() };
        if !familiar {
            return Err("the dtv looks unfamiliar");
        }
        let tls = layout.tls();
        let libc = modules
            .iter()
            .find(|module| module.holds(layout.resolver.0))
            .ok_or("libc has no static TLS")?
            .within(&tls);
        let words = (layout.words - tls.start).unsigned_abs();
        let words = words..words + size_of::<Words>();
        let restored = modules
            .iter()
            .map(|module| module.within(&tls))
            .filter(|range| *range != libc)
            .flat_map(|range| without(range, &words))
            .collect();
        Ok(Image { bytes: self.bytes(&tls).into(), restored, libc })
    }

    /// Makes a block at `tp` for a goroutine whose stack is `stack`.
    ///
    /// # Safety
    ///
    /// `stack.start` to the block's end is the caller's, writable and unused, and stays mapped as
    /// long as anyone may look at the block; `tp` came from [`Layout::thread_pointer_below`].
    pub(crate) unsafe fn furnish(
        &mut self,
        layout: &Layout,
        tp: usize,
        stack: Range<usize>,
    ) -> Result<(), Reason> {
        let tid = pseudo_tid().ok_or("out of pseudo thread ids")?;
        let dtv = self.build(layout)?;
        let all = arch::static_tls(layout.static_bytes);
        let at = |tp: usize, offset: isize| tp.wrapping_add_signed(offset);
        dtv.rebase(at(self.tp, all.start)..at(self.tp, all.end), at(tp, all.start));
        let (tls, header) = (layout.tls(), layout.header_of(tp));
        let image = self.bytes(&tls);
        // SAFETY: the caller's memory.
        unsafe {
            copy_nonoverlapping(image.as_ptr(), at(tp, tls.start) as *mut u8, image.len());
            write_bytes(header as *mut u8, 0, layout.pthread_bytes);
        }
        let running = running_header(layout.pthread_bytes);
        // SAFETY: every offset was found within the header or the static TLS, see `Layout`.
        unsafe {
            arch::begin_header(header, running);
            put(at(tp, layout.dtv), dtv.address());
            put(header + layout.tid, tid);
            put(header + layout.list, [header + layout.list; 2]);
            let robust = header + layout.robust;
            let futex_offset = *((running + layout.robust + 8) as *const usize);
            put(robust - 8, [robust, robust, futex_offset]);
            put(header + layout.user_stack.0, layout.user_stack.1);
            put(header + layout.keys.specific, header + layout.keys.first);
            put(header + layout.stack_block, [stack.start, stack.len()]);
            put(at(tp, layout.resolver.0), header + layout.resolver.1);
        }
        layout.mark_rseq(tp);
        Ok(())
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // SAFETY: our mapping; slots hold copies only.
        unsafe { libc::munmap(self.base as *mut c_void, self.bytes) };
    }
}

/// # Safety
///
/// `at` is writable, aligned, and nobody else's.
unsafe fn put<T>(at: usize, value: T) {
    // SAFETY: the caller's promise.
    unsafe { (at as *mut T).write(value) };
}

/// `range` without `hole`: at most two pieces.
fn without(range: Range<usize>, hole: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let before = range.start..range.end.min(hole.start);
    let after = range.start.max(hole.end)..range.end;
    [before, after].into_iter().filter(|piece| !piece.is_empty())
}

/// Resets the words of a block that belongs to no goroutine.
fn reset(words: &Words) {
    // `in_runtime` is 1 already and stays so.
    words.entry.reset();
    // Relaxed: whoever next gets the slot is ordered after this by the stock's lock; a taker that
    // still looks decides from the M under the take lock, not from these words.
    words.m.store(null_mut(), Ordering::Relaxed);
    words.g.store(null_mut(), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::without;

    #[test]
    fn a_hole_splits_shortens_or_spares_a_range() {
        let pieces = |range, hole| {
            without(range, &hole).map(|piece| (piece.start, piece.end)).collect::<Vec<_>>()
        };
        assert_eq!(pieces(0..10, 4..6), [(0, 4), (6, 10)]);
        assert_eq!(pieces(0..10, 0..6), [(6, 10)]);
        assert_eq!(pieces(0..10, 6..10), [(0, 6)]);
        assert_eq!(pieces(0..10, 20..30), [(0, 10)]);
        assert_eq!(pieces(20..30, 0..10), [(20, 30)]);
        assert_eq!(pieces(4..6, 0..10), []);
    }
}
