//! Hardened large blocks: each ends at a page that cannot be touched, and after its end none can.
//!
//! ```text
//!   ┌──────────────┬──────────────────────────────┬───────────┐
//!   │ up to a page │ block                        │ closed    │   while it lives
//!   └──────────────┴──────────────────────────────┴───────────┘
//! ```
//!
//! The block lies at the end of its pages, as close as its alignment allows: an overflow touches the
//! closed page at once. A freed block is closed whole, until [`KEEP`] others or [`KEEP_BYTES`]
//! came after it; the last one always stays. Sources that cannot close pages give no guard, and a freed
//! block is then only known not to be live.

use core::ptr::NonNull;

use super::{
    Hardened,
    record::{RecordPtr, state},
};
use crate::{
    Error, Heap,
    page_heap::pages::Taken,
    pages::{PageSource, is_whole},
    size_class::PAGE,
    span::{Kind, SpanPtr},
};

/// Freed large blocks that are kept away.
const KEEP: usize = 32;

/// Bytes of freed large blocks that are kept away.
const KEEP_BYTES: usize = 16 << 20;

/// Freed large blocks, the oldest first, and records to use again.
#[derive(Debug)]
pub(super) struct Larges {
    first: Option<RecordPtr>,
    last: Option<RecordPtr>,
    count: usize,
    bytes: usize,
    spare: Option<RecordPtr>,
}

impl Larges {
    pub(super) const fn new() -> Self {
        Larges { first: None, last: None, count: 0, bytes: 0, spare: None }
    }

    /// Keeps a closed block away; lets the oldest go if there are too many.
    pub(super) fn put<S: PageSource>(&mut self, heap: &Heap<S>, record: RecordPtr) {
        record.next.set(None);
        match self.last.replace(record) {
            Some(before) => before.next.set(Some(record)),
            None => self.first = Some(record),
        }
        self.count += 1;
        self.bytes += record.span().bytes();
        while self.count > KEEP || (self.bytes > KEEP_BYTES && self.count > 1) {
            self.let_go(heap);
        }
    }

    /// Gives the pages of the oldest freed block back. Never waits: the caller may be a handler that interrupted who
    /// has the page heap.
    fn let_go<S: PageSource>(&mut self, heap: &Heap<S>) {
        let Some(record) = self.first else { return };
        let span = record.span();
        self.first = record.next.take();
        self.count -= 1;
        self.bytes -= span.bytes();
        // SAFETY: the pages are committed and belong to the freed block.
        let open = |at| unsafe { heap.source().open(at, span.bytes()) };
        // What the kernel does not open again is lost.
        if !record.closes.get() || NonNull::new(span.base() as *mut u8).is_some_and(open) {
            heap.unmap_all(span);
            span.set_kind(Kind::Large);
            heap.free_span_later(span);
            record.next.set(self.spare.replace(record));
        }
    }

    /// A record to describe `span`.
    fn record<S: PageSource>(&mut self, heap: &Heap<S>, span: SpanPtr) -> Result<RecordPtr, Error> {
        match self.spare {
            Some(record) => {
                self.spare = record.next.take();
                Ok(record)
            }
            None => RecordPtr::make(heap, span, None, 1),
        }
    }
}

/// Makes all pages of a freed block unreachable, if the source can.
pub(super) fn close<S: PageSource>(heap: &Heap<S>, record: RecordPtr) {
    let span = record.span();
    if record.closes.get()
        && let Some(at) = NonNull::new(span.base() as *mut u8)
    {
        // SAFETY: the block was given up to the caller, and the pages are committed. Where the
        // kernel has no room to split a mapping, the pages stay open.
        unsafe { heap.source().close(at, span.bytes()) };
    }
}

/// A large block before a closed page; also tells whether it reads as zero.
pub(super) fn alloc<S: PageSource>(
    heap: &Heap<S>,
    hardened: &Hardened,
    size: usize,
    align: usize,
) -> Result<(NonNull<u8>, bool), Error> {
    let pages = size.div_ceil(PAGE).max(1);
    let Taken { span, zeroed } = heap.take(pages + 1, align.div_ceil(PAGE), Kind::Large)?;
    span.set_owner(0);
    let record = hardened.shelves.lock().larges.record(heap, span).inspect_err(|_| {
        span.set_kind(Kind::Large);
        heap.free_span(span);
    })?;
    let guard = span.base() + pages * PAGE;
    // Down to the alignment: never below the first page, as the block fills all others.
    let start = if align > PAGE { span.base() } else { (guard - size.max(1)) & !(align - 1) };
    record.describe_large(span, start, size);
    record.attach();
    // SAFETY: the guard is the last page of the span, which is committed and nobody else's.
    let close = |at| unsafe { heap.source().close(at, PAGE) };
    // Else the machine's page has part of the block, or of another.
    let whole = is_whole(heap.source(), guard, PAGE);
    record.closes.set(whole && NonNull::new(guard as *mut u8).is_some_and(close));
    record.move_to(0, state::LIVE);
    span.set_kind(Kind::Hardened);
    heap.map_all(span);
    Ok((record.block(0)?, zeroed))
}

#[cfg(test)]
mod tests {
    use core::{
        alloc::Layout,
        array,
        sync::atomic::{AtomicBool, Ordering},
    };
    use std::{sync::mpsc, thread};

    use super::*;
    use crate::{harden::Hardening, pages::os::Os, task};

    #[test]
    fn a_free_without_a_cache_does_not_wait_for_the_page_heap() {
        let heap = Heap::new(Os::new());
        heap.harden(Hardening::new()).unwrap();
        let mut cache = heap.cache();
        let layout = Layout::new::<[u8; 100_000]>();
        let blocks: [_; KEEP + 1] =
            array::from_fn(|_| cache.alloc(layout).unwrap().as_ptr() as usize);
        // As somebody whom a handler interrupts here.
        let pages = heap.pages.lock();
        let freed = AtomicBool::new(false);
        let freed_meanwhile = thread::scope(|scope| {
            let (to, from) = mpsc::channel();
            let (heap, freed) = (&heap, &freed);
            scope.spawn(move || {
                to.send(task::number()).unwrap();
                for block in blocks {
                    // SAFETY: ours, freed once.
                    unsafe { heap.free(NonNull::new_unchecked(block as *mut u8)) };
                }
                freed.store(true, Ordering::Relaxed);
            });
            let number = from.recv().unwrap();
            while !freed.load(Ordering::Relaxed) && !task::sleeps(number) {
                thread::yield_now();
            }
            // It may sleep for other reasons, not for long.
            let freed = (0..100_000).any(|_| {
                thread::yield_now();
                freed.load(Ordering::Relaxed)
            });
            drop(pages);
            freed
        });
        assert!(freed_meanwhile);
    }
}
