//! Memory for the allocator's own records: span records, the page map, mark bits.
//!
//! The records of an allocator cannot come from that allocator. They come from an *area*: chunks of
//! the page source, handed out from their start, zeroed, and kept until the heap ends. Span records
//! are pooled, since they come and go; a pooled record stays a span record for ever (it is
//! *type-stable*), so a thread with an old pointer to it reads a wrong answer, never another type.
//!
//! Each chunk starts with a header that links it, so that the end of the heap finds them all.

use core::ptr::NonNull;

use crate::{
    pages::PageSource,
    size_class::PAGE,
    sync::{Lock, const_fn},
};

const CHUNK: usize = 1 << 20;

/// A range of address space that the heap must give back at its end.
struct Reservation {
    at: NonNull<u8>,
    bytes: usize,
    next: Option<NonNull<Reservation>>,
}

/// The heap's own memory.
#[derive(Debug)]
pub(crate) struct Meta {
    area: Lock<Area>,
}

struct Area {
    /// Unused part of the newest chunk.
    next: usize,
    end: usize,
    /// Everything reserved by this heap: chunks and arenas.
    reservations: Option<NonNull<Reservation>>,
    /// Records for the next reservations: of what was refused, or given back.
    spare: Option<NonNull<Reservation>>,
    /// Bytes of all chunks.
    bytes: usize,
    /// Bytes of all tables.
    tables: usize,
    /// Everything ever reserved.
    count: usize,
}

// SAFETY: the pointers lead to memory that only the holder of the area touches.
unsafe impl Send for Area {}

impl Meta {
    const_fn! {
        pub(crate) fn new() -> Self {
            Meta {
                area: Lock::new(Area {
                    next: 0,
                    end: 0,
                    reservations: None,
                    spare: None,
                    bytes: 0,
                    tables: 0,
                    count: 0,
                }),
            }
        }
    }

    /// Zeroed memory that lives as long as the heap.
    pub(crate) fn alloc<S: PageSource>(
        &self,
        source: &S,
        bytes: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        self.area.lock().alloc(source, bytes, align)
    }

    /// Reserves an arena and remembers it.
    pub(crate) fn reserve<S: PageSource>(
        &self,
        source: &S,
        bytes: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        self.area.lock().reserve(source, bytes, || source.reserve(bytes, align))
    }

    /// Gives an arena back that was reserved for nothing.
    ///
    /// # Safety
    ///
    /// [`Meta::reserve`] gave `at`, and nobody uses the arena.
    pub(crate) unsafe fn give_back<S: PageSource>(&self, source: &S, at: NonNull<u8>) {
        let mut area = self.area.lock();
        if let Some((record, bytes)) = area.forget(at) {
            area.keep(record);
            // SAFETY: the range of one `reserve`, which nobody uses, says the caller.
            unsafe { source.release(at, bytes) };
        }
    }

    /// A zeroed range of its own that lives as long as the heap, for a table of which most is never
    /// touched.
    pub(crate) fn table<S: PageSource>(&self, source: &S, bytes: usize) -> Option<NonNull<u8>> {
        let bytes = bytes.next_multiple_of(source.machine_page().max(PAGE));
        let mut area = self.area.lock();
        let at = area.reserve(source, bytes, || commit_new(source, bytes))?;
        area.tables += bytes;
        Some(at)
    }

    /// Bytes of all chunks, and of all tables.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let area = self.area.lock();
        (area.bytes, area.tables)
    }

    /// Ranges that were reserved.
    pub(crate) fn reserves(&self) -> usize {
        self.area.lock().count
    }

    /// Gives every reservation back: the end of the heap.
    ///
    /// # Safety
    ///
    /// Nobody uses any memory of the heap any more.
    pub(crate) unsafe fn release_all<S: PageSource>(&mut self, source: &S) {
        let mut next = self.area.get_mut().reservations.take();
        // The newest comes first, and a record lies in a chunk that is older than the range it
        // tells of, or in that range itself, so the record is read before its memory goes.
        while let Some(record) = next {
            // SAFETY: records are written once and live as long as their chunk, see above.
            let Reservation { at, bytes, next: older } = unsafe { record.read() };
            next = older;
            // SAFETY: `at` and `bytes` came from one `reserve`; nobody uses them, says the caller.
            unsafe { source.release(at, bytes) };
        }
    }

    pub(crate) fn acquire(&self) {
        self.area.acquire();
    }

    /// # Safety
    ///
    /// As [`Lock::release`].
    pub(crate) unsafe fn unlock(&self) {
        // SAFETY: passed on.
        unsafe { self.area.release() }
    }
}

/// A range that reads as zero.
fn commit_new<S: PageSource>(source: &S, bytes: usize) -> Option<NonNull<u8>> {
    let at = source.reserve(bytes, PAGE.max(source.machine_page()))?;
    // SAFETY: the range was reserved by the line above and not committed before.
    if unsafe { source.commit(at, bytes) } {
        return Some(at);
    }
    // SAFETY: as above; nobody else knows the range.
    unsafe { source.release(at, bytes) };
    None
}

impl Area {
    fn alloc<S: PageSource>(
        &mut self,
        source: &S,
        bytes: usize,
        align: usize,
    ) -> Option<NonNull<u8>> {
        let mut at = self.next.next_multiple_of(align);
        if at + bytes > self.end {
            self.add_chunk(source, bytes + align)?;
            at = self.next.next_multiple_of(align);
        }
        self.next = at + bytes;
        NonNull::new(at as *mut u8)
    }

    /// Remembers the range of `bytes` that `reserve` gives, if it gives one.
    fn reserve<S: PageSource>(
        &mut self,
        source: &S,
        bytes: usize,
        reserve: impl FnOnce() -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        let (size, align) = (size_of::<Reservation>(), align_of::<Reservation>());
        let record = match self.spare.take() {
            Some(record) => {
                // SAFETY: `keep` has written it.
                self.spare = unsafe { record.as_ref() }.next;
                record
            }
            None => self.alloc(source, size, align)?.cast(),
        };
        let reserved = reserve();
        match reserved {
            Some(at) => self.remember(record, at, bytes),
            None => self.keep(record),
        }
        reserved
    }

    fn add_chunk<S: PageSource>(&mut self, source: &S, least: usize) -> Option<()> {
        let whole = source.machine_page().max(PAGE);
        let least = (least + size_of::<Reservation>()).next_multiple_of(whole);
        let bytes = least.max(CHUNK.min(source.arena_bytes()));
        let at = commit_new(source, bytes)?;
        self.bytes += bytes;
        self.remember(at.cast(), at, bytes);
        self.next = at.as_ptr() as usize + size_of::<Reservation>();
        self.end = at.as_ptr() as usize + bytes;
        Some(())
    }

    /// Takes the record of the reservation at `at` off the list; returns it, and the length of the range.
    fn forget(&mut self, at: NonNull<u8>) -> Option<(NonNull<Reservation>, usize)> {
        let mut link = &mut self.reservations;
        loop {
            let mut record = (*link)?;
            // SAFETY: the records on the list are the area's, which is borrowed, and live as long as their chunks.
            let reservation = unsafe { record.as_mut() };
            if reservation.at == at {
                *link = reservation.next;
                return Some((record, reservation.bytes));
            }
            link = &mut reservation.next;
        }
    }

    /// Keeps a record for a later reservation.
    fn keep(&mut self, record: NonNull<Reservation>) {
        let none = Reservation { at: NonNull::dangling(), bytes: 0, next: self.spare };
        // SAFETY: as in `remember`; it is on no list.
        unsafe { record.write(none) };
        self.spare = Some(record);
    }

    fn remember(&mut self, record: NonNull<Reservation>, at: NonNull<u8>, bytes: usize) {
        // SAFETY: the record is committed memory of the right size, aligned (pages, or `alloc`),
        // and not used for anything else.
        unsafe { record.write(Reservation { at, bytes, next: self.reservations }) };
        self.reservations = Some(record);
        self.count += 1;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::pages::{fail::Fail, os::Os};

    /// As a growth does that reserves an arena, has no memory for a table, and gives the arena back.
    #[test]
    fn records_of_what_was_given_back_are_used_again() {
        let source = Fail::after(Os::new(), usize::MAX);
        let mut meta = Meta::new();
        let refused_growth = || {
            source.allow(1);
            let page = PAGE.max(source.machine_page());
            let arena = meta.reserve(&source, page, PAGE).expect("the first call succeeds");
            assert!(meta.table(&source, PAGE).is_none(), "and no other");
            // SAFETY: reserved above, and nobody uses it.
            unsafe { meta.give_back(&source, arena) };
        };
        // The records lie in a chunk, which is made here.
        meta.alloc(&source, 1, 1).expect("nothing is refused yet");
        refused_growth();
        let next = meta.area.lock().next;
        (0..10).for_each(|_| refused_growth());
        assert_eq!(meta.area.lock().next, next, "two records are enough");
        // SAFETY: nobody uses anything of it.
        unsafe { meta.release_all(&source) };
    }
}
