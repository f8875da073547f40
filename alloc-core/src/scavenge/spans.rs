//! Holes in spans that no cache has.
//!
//! A live span's vacant pages go back (see [`holes`](crate::holes)) when nothing was freed into it for the
//! policy's age, or longer where the class has regretted it ([`Thrift`](super::Thrift)). Whoever makes
//! holes holds the span alone, so it is taken out of its central for that time:
//!
//! ```text
//!   scavenger                                    others
//!   central { take out; Remote: → owned }        a cache takes other spans
//!   collect; madvise, no lock held               free: by marks and count, as to any owner
//!   page heap { account of holes }
//!   central { Remote: → listed; at the back }    a cache may claim it, with its holes
//! ```
//!
//! Other caches miss one span at a time, for some microseconds. Where several threads do this, as by `release` or
//! at a limit, they take turns by the heap's lock `hands`; each takes other spans. A fork takes that lock too, so
//! that no span is in anybody's hands in the child, where nobody would bring it back.
//!
//! Spans with holes lie at the back of the list, so caches take them last.
//!
//! # How much at a step
//!
//! To look at a listed span costs 0.15 µs, most often to find that it is not ripe. So a step of the scavenger looks
//! at [`LOOKS`] spans at most, and the next one goes on where it stopped: with 1 GiB in listed spans every span is met
//! at every step, with 10 GiB at every tenth, and holes come up to two seconds later. If something was freed meanwhile
//! behind the place where it went on, one more step comes. Who asks for everything, or needs room at a limit, looks
//! at all.
//!
//! Rejected: *lists by age*, so that unripe spans are never met. A free into a listed span takes no lock, so it
//! could not move the span to another list, and each has to be looked at in any case.

use core::ptr::NonNull;

use crate::{
    Error, Heap,
    central::{Central, Quiet, Ripe},
    holes,
    owned::{collect, free_cells},
    pages::{PageSource, page_shift},
    size_class::CLASSES,
    span::SpanPtr,
};

/// Spans that a step of the scavenger looks at: 2.5 ms.
const LOOKS: usize = 1 << 14;

/// A walk over the centrals.
#[derive(Debug)]
pub(super) struct Walk {
    /// For how many steps spans were left alone at least; 0 for all.
    age: u8,
    /// From the beginning of each list, or from where the scavenger stopped.
    anew: bool,
    /// Bytes that are still wanted, and spans that may still be looked at.
    want: usize,
    looks: usize,
    /// Bytes given back.
    pub(super) bytes: usize,
    /// Spans that were left alone for too short a time so far; and one for each place where some were not looked at.
    pub(super) ripening: usize,
}

impl Walk {
    fn is_over(&self) -> bool {
        self.bytes >= self.want || self.looks == 0
    }
}

impl<S: PageSource> Heap<S> {
    /// The number of the scavenger's last step.
    pub(crate) fn step(&self) -> u32 {
        self.counters.steps.get() as u32
    }

    /// Makes about `want` bytes of holes, in any span on a list.
    pub(super) fn release_holes(&self, want: usize) -> usize {
        let mut walk = Walk { age: 0, anew: true, want, looks: usize::MAX, bytes: 0, ripening: 0 };
        self.walk_lists(0, &mut walk);
        walk.bytes
    }

    /// A step of the scavenger: makes about `want` bytes of holes in spans that were left alone for `age` steps, from
    /// the class `from` on, which is where the next one goes on.
    ///
    /// If something `came` since the last one, to where a walk has been, another must follow.
    pub(super) fn step_holes(&self, want: usize, age: u8, from: &mut usize, came: bool) -> Walk {
        if came {
            self.centrals.iter().for_each(Central::came);
        }
        let mut walk = Walk { age, anew: false, want, looks: LOOKS, bytes: 0, ripening: 0 };
        *from = self.walk_lists(*from, &mut walk);
        walk
    }

    /// Walks all classes once, from the class `from` on; returns the first that it did not finish.
    fn walk_lists(&self, from: usize, walk: &mut Walk) -> usize {
        for class in (from..CLASSES).chain(0..from) {
            if !walk.is_over() {
                self.walk_class(class, walk);
            }
            if walk.is_over() {
                walk.ripening += 1;
                return class;
            }
        }
        from
    }

    fn walk_class(&self, class: usize, walk: &mut Walk) {
        let central = self.central(class);
        let begun = central.begin_walk(walk.age, walk.anew);
        walk.ripening += usize::from(begun.passed);
        let ripe = Ripe { now: self.step(), steps: begun.steps };
        while !walk.is_over() {
            let held = self.hands.lock();
            let stretch = central.next_quiet(ripe);
            self.counters.looks.add(stretch.looks);
            walk.looks = walk.looks.saturating_sub(stretch.looks);
            walk.ripening += stretch.ripening;
            match stretch.found {
                Quiet::Taken(span) => {
                    let given = self.make_holes(span);
                    walk.bytes += given;
                    self.put_aside(span, class, given);
                }
                Quiet::More => {}
                Quiet::End => return,
            }
            drop(held);
        }
    }

    /// Gives the vacant pages of a span back that is the caller's; returns how many bytes.
    fn make_holes(&self, span: SpanPtr) -> usize {
        let given = holes::discard(span, page_shift(self.source()), |range| {
            let Some(at) = NonNull::new(range.start as *mut u8) else { return false };
            self.counters.releases.add(1);
            // SAFETY: vacant pages of a span that we hold alone: nobody needs what is in them.
            unsafe { self.source().decommit(at, range.len()) }
        });
        if given > 0 {
            self.pages().pool.open(given);
        }
        given
    }

    /// Hands a span back that the scavenger had.
    fn put_aside(&self, span: SpanPtr, class: usize, given: usize) {
        let free = if span.used.get() == 0 {
            Some(span)
        } else {
            self.central(class).shelve(span, class, given)
        };
        if let Some(span) = free {
            self.free_span(span);
        }
    }

    /// True if the owner of `span`, the caller, can take a cell of it, if need be out of a hole.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`] if a hole would have to be filled beyond the limit.
    pub(crate) fn has_cells(&self, span: SpanPtr) -> Result<bool, Error> {
        if free_cells(span) > 0 || collect(span) {
            return Ok(true);
        }
        holes::recall(span, page_shift(self.source()), |bytes| {
            self.within_limit(bytes.div_ceil(crate::size_class::PAGE), || {
                self.pages().fill(&self.parts(), bytes)
            })?;
            self.central(span.class()).recalled.add(bytes);
            Ok(())
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::{
        alloc::Layout,
        ops::Range,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };
    use std::{thread, vec::Vec};

    use super::*;
    use crate::{page_heap::Radix, pages::os::Os};

    /// A source that takes its time to take memory back, and knows when it does.
    struct Slow {
        os: Os,
        busy: AtomicBool,
        calls: AtomicUsize,
    }

    // SAFETY: passed on to `Os`.
    unsafe impl PageSource for Slow {
        type Index = Radix;

        fn addresses(&self) -> Range<usize> {
            self.os.addresses()
        }
        fn arena_bytes(&self) -> usize {
            self.os.arena_bytes()
        }
        fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
            self.os.reserve(bytes, align)
        }
        unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
            // SAFETY: passed on.
            unsafe { self.os.commit(at, bytes) }
        }
        unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
            self.busy.store(true, Ordering::SeqCst);
            (0..20).for_each(|_| thread::yield_now());
            // SAFETY: passed on.
            let done = unsafe { self.os.decommit(at, bytes) };
            self.calls.fetch_add(1, Ordering::SeqCst);
            self.busy.store(false, Ordering::SeqCst);
            done
        }
        unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
            // SAFETY: passed on.
            unsafe { self.os.release(at, bytes) }
        }
    }

    #[test]
    fn a_walk_that_goes_on_or_stops_asks_for_another() {
        let (heap, layout) = (Heap::new(Os::new()), Layout::new::<[u8; 4096]>());
        let mut cache = heap.cache();
        let first = cache.alloc(layout).unwrap();
        let span = heap.map.get(first.as_ptr() as usize).unwrap();
        let (cells, class) = (span.capacity() as usize, span.class());
        let mut blocks = Vec::from([first]);
        blocks.extend((1..4 * cells).map(|_| cache.alloc(layout).unwrap()));
        cache.flush();
        // SAFETY: ours, and each is freed once.
        let free_one_of = |span: usize| unsafe { heap.free(blocks[span * cells]) };
        let walk = |from, looks, want| {
            let mut walk = Walk { age: 0, anew: false, want, looks, bytes: 0, ripening: 0 };
            let next = heap.walk_lists(from, &mut walk);
            (walk, next)
        };
        (0..2).for_each(free_one_of);
        let (stopped, next) = walk(0, 1, usize::MAX);
        assert!(stopped.bytes > 0 && stopped.ripening > 0, "it may look at one: {stopped:?}");
        assert_eq!(next, class);
        free_one_of(2);
        heap.central(class).came();
        let (resumed, _) = walk(next, usize::MAX, usize::MAX);
        assert_eq!(resumed.bytes, stopped.bytes, "one was left");
        assert!(resumed.ripening > 0, "and one came since: {resumed:?}");
        free_one_of(3);
        let (satisfied, next) = walk(0, usize::MAX, 1);
        assert!(satisfied.bytes > 0 && satisfied.ripening > 0, "it wants no more: {satisfied:?}");
        let (rest, next) = walk(next, usize::MAX, usize::MAX);
        assert!(rest.bytes > 0, "the last: {rest:?}");
        assert_eq!(walk(next, usize::MAX, usize::MAX).0.ripening, 0, "all was looked at");
    }

    #[test]
    fn who_has_all_locks_meets_no_span_and_no_page_in_anybodys_hands() {
        let source =
            Slow { os: Os::new(), busy: AtomicBool::new(false), calls: AtomicUsize::new(0) };
        let (heap, layout) = (Heap::new(source), Layout::new::<[u8; 1000]>());
        let mut cache = heap.cache();
        let blocks: Vec<_> = (0..8_000).map(|_| cache.alloc(layout).unwrap()).collect();
        // Holes in the first half, free pages in the second.
        for (_, block) in blocks.into_iter().enumerate().filter(|(n, _)| *n > 4_000 || n % 40 != 0)
        {
            // SAFETY: ours, of that layout, and freed once.
            unsafe { cache.free_sized(block, layout) };
        }
        cache.flush();
        thread::scope(|scope| {
            let release = scope.spawn(|| heap.release());
            while !release.is_finished() {
                heap.lock_all();
                let busy = heap.source().busy.load(Ordering::SeqCst);
                // SAFETY: taken above.
                unsafe { heap.unlock_all() };
                assert!(!busy, "a fork now would lose what the source is working on");
                thread::yield_now();
            }
        });
        let stats = heap.stats();
        assert!(stats.holes > 1 << 20 && stats.free == 0, "{stats}");
        assert!(heap.source().calls.load(Ordering::SeqCst) > 20);
    }
}
