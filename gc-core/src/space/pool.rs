//! The pool: memory for blocks, from the allocator and back.
//!
//! Ordinary blocks are cut from chunks of 1 MiB, each with a bit per block that is spare. The spare block
//! with the lowest address is taken first, so that the chunks behind it have a chance to become whole.
//! A chunk that is whole goes back when more than half of all blocks are spare ([`Pool::trim`], after each
//! sweep): a heap that lives on grows to about twice what lives before it is swept again, and would ask
//! for them at once. It also goes back when the limit would be passed. Large blocks come and go by
//! themselves.

use super::block::BLOCK;
use core::{alloc::Layout, ptr::NonNull};
use std::alloc::{alloc, dealloc};

/// Bytes asked from the allocator at a time for ordinary blocks.
const CHUNK: usize = 1 << 20;
/// Blocks in a chunk: a bit each.
const BLOCKS: u32 = u32::BITS;

const _: () = assert!(CHUNK == BLOCK * BLOCKS as usize);

#[derive(Debug)]
struct Chunk {
    start: NonNull<u8>,
    /// The bits of its spare blocks.
    spare: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) limit: usize,
    held: usize,
    /// By address.
    chunks: Vec<Chunk>,
    /// Chunks before this one have no spare block.
    first: usize,
    spare: usize,
}

fn chunk() -> Layout {
    Layout::from_size_align(CHUNK, BLOCK).expect("a constant layout")
}

impl Pool {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, held: 0, chunks: Vec::new(), first: 0, spare: 0 }
    }

    /// Bytes held, spare ones included.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Memory for a block, whose size is `BLOCK` or larger; `None` if that would pass the limit, or the
    /// allocator has none.
    pub(super) fn take(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() != BLOCK {
            return self.ask(layout);
        }
        if self.spare == 0 {
            self.grow()?;
        }
        self.first += self.chunks[self.first..].iter().position(|chunk| chunk.spare != 0)?;
        let Chunk { start, spare } = &mut self.chunks[self.first];
        let block = spare.trailing_zeros() as usize;
        *spare &= *spare - 1;
        self.spare -= 1;
        // SAFETY: the offset is inside the chunk.
        Some(unsafe { start.add(block * BLOCK) })
    }

    /// One more chunk, all spare.
    fn grow(&mut self) -> Option<()> {
        self.chunks.try_reserve(1).ok()?;
        let start = self.ask(chunk())?;
        let place = self.chunks.partition_point(|chunk| chunk.start < start);
        self.chunks.insert(place, Chunk { start, spare: u32::MAX });
        self.first = place;
        self.spare += BLOCKS as usize;
        Some(())
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It came from [`take`](Self::take) with this layout, and nobody uses it any more.
    pub(super) unsafe fn give(&mut self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != BLOCK {
            // SAFETY: the caller's.
            return unsafe { self.free(block, layout) };
        }
        // A block lies in its chunk, so that is the last one that does not begin behind it.
        let place = self.chunks.partition_point(|chunk| chunk.start <= block) - 1;
        let Chunk { start, spare } = &mut self.chunks[place];
        *spare |= 1 << ((block.addr().get() - start.addr().get()) / BLOCK);
        self.first = self.first.min(place);
        self.spare += 1;
    }

    /// Gives whole chunks back while more than half of all blocks are spare.
    pub(super) fn trim(&mut self) {
        let all = self.chunks.len() * BLOCKS as usize;
        let surplus = (2 * self.spare).saturating_sub(all);
        // A chunk less makes both one chunk smaller.
        self.release(surplus.div_ceil(BLOCKS as usize));
    }

    /// Gives back so many whole chunks, if there are that many: those with the highest addresses.
    fn release(&mut self, mut chunks: usize) {
        let mut end = self.chunks.len();
        while chunks > 0
            && let Some(place) = self.chunks[..end].iter().rposition(|c| c.spare == u32::MAX)
        {
            let Chunk { start, .. } = self.chunks.remove(place);
            self.spare -= BLOCKS as usize;
            // SAFETY: it came from `ask` with this layout, and all its blocks are spare.
            unsafe { self.free(start, chunk()) };
            (end, chunks) = (place, chunks - 1);
        }
    }

    fn ask(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if self.held.checked_add(layout.size())? > self.limit {
            self.release(usize::MAX);
        }
        let held = self.held.checked_add(layout.size()).filter(|held| *held <= self.limit)?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) })?;
        self.held = held;
        Some(start)
    }

    /// # Safety
    ///
    /// The memory came from [`ask`](Self::ask) with this layout, and nobody uses it any more.
    unsafe fn free(&mut self, start: NonNull<u8>, layout: Layout) {
        self.held -= layout.size();
        // SAFETY: the caller's.
        unsafe { dealloc(start.as_ptr(), layout) };
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for Chunk { start, .. } in core::mem::take(&mut self.chunks) {
            // SAFETY: it came from `ask` with this layout; the space is gone, and with it everyone who
            // used a block.
            unsafe { self.free(start, chunk()) };
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn block() -> Layout {
        Layout::from_size_align(BLOCK, BLOCK).unwrap()
    }

    #[test]
    fn whole_chunks_go_back_when_more_than_half_is_spare() {
        let mut pool = Pool::new(usize::MAX);
        let blocks: Vec<_> = (0..4 * BLOCKS).map(|_| pool.take(block()).unwrap()).collect();
        assert_eq!((pool.held(), pool.spare), (4 * CHUNK, 0));
        let give = |pool: &mut Pool, blocks: &[NonNull<u8>]| {
            // SAFETY: each is given back once, and was not used.
            blocks.iter().for_each(|&start| unsafe { pool.give(start, block()) });
            pool.trim();
        };
        let mut by_address = blocks;
        by_address.sort_unstable();
        give(&mut pool, &by_address[64..]);
        assert_eq!(pool.held(), 4 * CHUNK, "half is spare");
        give(&mut pool, &by_address[..16]);
        assert_eq!((pool.held(), pool.spare), (3 * CHUNK, 48), "more than half was");
        assert_eq!(pool.take(block()), Some(by_address[0]), "the lowest first");
        give(&mut pool, &by_address[..1]);
        give(&mut pool, &by_address[16..64]);
        assert_eq!((pool.held(), pool.spare), (0, 0));
    }

    #[test]
    fn spare_chunks_make_room_under_the_limit() {
        let mut pool = Pool::new(CHUNK + BLOCK);
        let start = pool.take(block()).unwrap();
        assert!(pool.take(chunk()).is_none(), "the chunk is in use");
        // SAFETY: just taken.
        unsafe { pool.give(start, block()) };
        let large = pool.take(chunk()).expect("the chunk goes back for it");
        // SAFETY: just taken.
        unsafe { pool.give(large, chunk()) };
        assert_eq!(pool.held(), 0);
    }
}
