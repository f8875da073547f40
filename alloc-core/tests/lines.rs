//! Two threads do not come to share a line of the processor's caches by a free.

use std::{alloc::Layout, collections::HashSet, ptr::NonNull};

use alloc_core::{Cache, Heap, pages::os::Os};

const LINE: usize = 64;

/// Sizes of which a line holds several, whole or in part.
const TINY: [usize; 5] = [8, 16, 24, 32, 48];

fn words(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

fn alloc(cache: &mut Cache<'_, Os>, bytes: usize, count: usize) -> Vec<NonNull<u8>> {
    (0..count).map(|_| cache.alloc(words(bytes)).unwrap()).collect()
}

fn free(cache: &mut Cache<'_, Os>, blocks: &[NonNull<u8>]) {
    // SAFETY: the callers pass live blocks of the cache's heap, and forget them.
    blocks.iter().for_each(|&block| unsafe { cache.free(block) });
}

fn lines(blocks: &[NonNull<u8>]) -> HashSet<usize> {
    blocks.iter().map(|block| block.as_ptr() as usize / LINE).collect()
}

#[test]
fn a_tiny_block_of_another_cache_is_not_handed_out_again() {
    let heap = Heap::new(Os::new());
    for bytes in TINY {
        let (mut ours, mut theirs) = (heap.cache(), heap.cache());
        let blocks = alloc(&mut ours, bytes, 100);
        free(&mut theirs, &blocks[..70]);
        let others = alloc(&mut theirs, bytes, 100);
        assert!(lines(&blocks).is_disjoint(&lines(&others)), "{bytes} bytes");
        free(&mut ours, &blocks[70..]);
        free(&mut theirs, &others);
    }
}

#[test]
fn it_goes_home() {
    let heap = Heap::new(Os::new());
    for bytes in TINY {
        let (mut ours, mut theirs) = (heap.cache(), heap.cache());
        let blocks = alloc(&mut ours, bytes, 5000);
        free(&mut theirs, &blocks);
        theirs.flush();
        let again: HashSet<_> = alloc(&mut ours, bytes, 5000).into_iter().collect();
        let found = blocks.iter().filter(|block| again.contains(block)).count();
        assert!(found >= 4000, "{found} of 5000 of {bytes} bytes");
        again.into_iter().for_each(|block| free(&mut ours, &[block]));
    }
}

#[test]
fn a_block_of_ones_own_is_the_next_also_after_the_span_has_changed_hands() {
    let heap = Heap::new(Os::new());
    for bytes in TINY {
        let (mut ours, mut theirs) = (heap.cache(), heap.cache());
        let kept = alloc(&mut ours, bytes, 1);
        ours.flush();
        let block = alloc(&mut theirs, bytes, 1);
        let page = |block: NonNull<u8>| block.as_ptr() as usize / 4096;
        assert_eq!(page(block[0]), page(kept[0]), "the span is theirs now");
        free(&mut theirs, &block);
        assert_eq!(alloc(&mut theirs, bytes, 1), block, "{bytes} bytes");
        free(&mut ours, &block);
        assert_ne!(alloc(&mut ours, bytes, 1), block, "{bytes} bytes: it is another's now");
        free(&mut ours, &kept);
    }
}

#[test]
fn larger_ones_are_used_again_by_whoever_frees_them() {
    let heap = Heap::new(Os::new());
    let (mut ours, mut theirs) = (heap.cache(), heap.cache());
    let block = alloc(&mut ours, LINE, 1);
    free(&mut theirs, &block);
    assert_eq!(alloc(&mut theirs, LINE, 1), block);
    free(&mut theirs, &block);
}
