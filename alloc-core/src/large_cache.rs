//! Large spans that were just freed, for whoever asks for that length next.
//!
//! A loop that allocates a buffer of 100 KB and frees it would go to the page heap twice each time: a lock,
//! the index, the planes of ages, the page map. Nearly always it asks for the same length again, so a
//! span goes into a slot here, as it is, entered in the page map and counted as large, and comes out by
//! one exchange.
//!
//! ```text
//!   bucket   5 pages │ ■ ■ · · · · · · │   eight slots, one cache line
//!            6       │ ■ · · · · · · · │
//!            …
//!         240..255   │ ■ │                 one slot
//! ```
//!
//! * *Buckets* are eight per doubling. The heap rounds a request of this range up to the beginning of its
//!   bucket, an eighth of address space at most, of which no page is touched; so any span of a bucket
//!   serves any request of it.
//! * *Bounds*: `BUCKET_PAGES` for each bucket, one span at least.
//! * *Take* looks into the bucket and the next longer one: with random lengths (the row `large`) a quarter of the
//!   time is spared, and a span is a quarter longer than it was asked for at most.
//! * *Put* is a compare-exchange of an empty slot, *take* a swap of a full one to null. A span is in one
//!   slot or in one hand. No links are followed, so there is no ABA.
//!
//! # It belongs to the heap, not to its caches
//!
//! The slots are words that anyone may exchange, also a signal handler. So there is nothing to flush
//! when a thread ends or forks, blocks that one thread allocates and another frees go around, and the
//! *scavenger empties it at each step* without asking any thread: a span lies here for a fifth of a second,
//! and an idle thread holds none. What is put back to the page heap has aged no less than it would have
//! there. The page heap empties it before it grows and at the limit, so that no run is broken by a span that
//! nobody uses while memory is short. Where it only has no run that is long enough, it begins with what helps
//! most: the shortest span here that is long enough, then all long ones (docs/decisions/0044).
//!
//! A cache has one slot of its own before these (`kept.rs`).
//!
//! Rejected: a list in each cache, without any atomic. It saves two exchanges, some ten nanoseconds, and costs
//! a bound per thread (64 idle threads hold 64 times as much), a way to age it that the thread itself
//! must take, and a flush at each of its ends. *Longer buckets*, as jemalloc's four per doubling: more
//! hits, and a fifth of address space.
//!
//! Sources: jemalloc's `ecache` for the idea, tcmalloc's transfer cache for the slots shared by all.

use core::{fmt, ptr, ptr::NonNull};

use crate::sync::{AtomicPtr, Ordering, array_of, const_fn};

/// Pages of the shortest span that is kept: the first beyond the size classes.
pub const FEWEST: usize = 5;

/// Pages of the longest: 2 MiB.
pub const MOST: usize = 256;

/// A bucket holds as many spans as make so many pages, from one to [`SLOTS`].
const BUCKET_PAGES: usize = 256;

/// The most slots of a bucket: a cache line of them.
pub const SLOTS: usize = 8;

const BUCKETS: usize = number(MOST) + 1;

/// The bucket of spans of so many pages: from [`FEWEST`] to [`MOST`].
const fn number(pages: usize) -> usize {
    let shift = shift(pages);
    8 * shift + (pages >> shift) - FEWEST
}

/// Buckets are two to this many pages wide.
const fn shift(pages: usize) -> usize {
    (pages.ilog2() as usize).saturating_sub(3)
}

/// Pages of the span that serves a request for so many: the beginning of a bucket, or `pages` itself where no
/// bucket is meant for it.
///
/// ```
/// use alloc_core::large_cache::serve;
/// assert_eq!([5, 15, 17, 129, 256, 257].map(serve), [5, 15, 18, 144, 256, 257]);
/// ```
pub const fn serve(pages: usize) -> usize {
    match pages {
        FEWEST..=MOST => pages.next_multiple_of(1 << shift(pages)),
        _ => pages,
    }
}

/// Pages, from [`FEWEST`] to [`MOST`], of which a bucket begins with the last and the one before with the first.
///
/// Requests for more than the first, up to the last, are served by any span of the bucket of `pages` pages.
pub(crate) const fn served_by(pages: usize) -> (usize, usize) {
    let last = begin(pages);
    (begin(last - 1), last)
}

/// Where the bucket of spans of so many pages begins.
const fn begin(pages: usize) -> usize {
    pages >> shift(pages) << shift(pages)
}

/// Slots of one bucket.
#[repr(align(64))]
struct Bucket<T>([AtomicPtr<T>; SLOTS]);

impl<T> Bucket<T> {
    const_fn! {
        fn new() -> Self {
            Bucket(array_of!(AtomicPtr::new(ptr::null_mut()); SLOTS))
        }
    }
}

/// The slots. See the module's essay.
pub struct LargeCache<T> {
    buckets: [Bucket<T>; BUCKETS],
}

impl<T> LargeCache<T> {
    const_fn! {
        /// An empty cache.
        pub fn new() -> Self {
            LargeCache { buckets: array_of!(Bucket::new(); BUCKETS) }
        }
    }

    fn slots(&self, pages: usize) -> &[AtomicPtr<T>] {
        &self.buckets[number(pages)].0[..(BUCKET_PAGES / pages).clamp(1, SLOTS)]
    }

    /// Puts a span of so many pages in; `false` if there is no room for it. Never waits.
    ///
    /// The span stays in place while it is here, and whoever takes it may use it alone: so may the caller
    /// until now.
    pub fn put(&self, pages: usize, span: NonNull<T>) -> bool {
        if !(FEWEST..=MOST).contains(&pages) {
            return false;
        }
        // Relaxed: a look; the exchange decides.
        let free = |slot: &&AtomicPtr<T>| slot.load(Ordering::Relaxed).is_null();
        self.slots(pages).iter().filter(free).any(|slot| {
            // Release: publishes what the last user wrote to the record; pairs with the Acquire of
            // `swap_out`. Relaxed on failure: somebody else was first, and nothing is read.
            slot.compare_exchange(
                ptr::null_mut(),
                span.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_ok()
        })
    }

    /// Takes a span of `pages` pages or up to a quarter more, if `pages` begins a bucket.
    pub fn take(&self, pages: usize) -> Option<NonNull<T>> {
        if !(FEWEST..=MOST).contains(&pages) {
            return None;
        }
        let longer = pages + (1 << shift(pages));
        let next = if longer <= MOST { self.slots(longer) } else { &[] };
        self.slots(pages).iter().chain(next).find_map(swap_out)
    }

    /// Takes one of the shortest spans that are long enough for so many pages.
    pub fn take_longer(&self, pages: usize) -> Option<NonNull<T>> {
        let least = serve(pages.max(FEWEST));
        if least <= MOST { self.take_from(least).next() } else { None }
    }

    /// Takes one span after the other, of the bucket of `least` pages, which are [`FEWEST`] to [`MOST`], and all longer
    /// ones.
    pub fn take_from(&self, least: usize) -> impl Iterator<Item = NonNull<T>> {
        self.buckets[number(least)..].iter().flat_map(|bucket| &bucket.0).filter_map(swap_out)
    }

    /// Takes one span after the other, of all buckets.
    pub fn take_all(&self) -> impl Iterator<Item = NonNull<T>> {
        self.take_from(FEWEST)
    }

    /// The spans that lie here, each at the moment that it is looked at: any of them may be taken by
    /// then, and be used.
    pub fn iter(&self) -> impl Iterator<Item = NonNull<T>> {
        // Acquire: pairs with the Release in `put`.
        let look = |slot: &AtomicPtr<T>| NonNull::new(slot.load(Ordering::Acquire));
        self.buckets.iter().flat_map(|bucket| &bucket.0).filter_map(look)
    }
}

fn swap_out<T>(slot: &AtomicPtr<T>) -> Option<NonNull<T>> {
    // Relaxed: a look that spares the swap of an empty slot.
    if slot.load(Ordering::Relaxed).is_null() {
        return None;
    }
    // Acquire: pairs with the Release in `put`. A swap, so that one of two takers gets the span.
    NonNull::new(slot.swap(ptr::null_mut(), Ordering::Acquire))
}

impl<T> Default for LargeCache<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for LargeCache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LargeCache").field("spans", &self.iter().count()).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn buckets_are_numbered_without_a_gap_and_an_eighth_wide_at_most() {
        assert_eq!((number(FEWEST), number(MOST)), (0, BUCKETS - 1));
        for pages in FEWEST..MOST {
            let step = number(pages + 1) - number(pages);
            assert!(step <= 1, "{pages}");
            assert_eq!(step == 1, serve(pages + 1) == pages + 1, "a bucket begins where it serves");
            assert!(serve(pages) <= pages + pages / 8, "{pages}");
            assert!(number(serve(pages)) <= number(pages) + 1, "{pages}");
        }
    }

    #[test]
    fn a_span_of_a_bucket_serves_every_request_that_is_rounded_to_it() {
        for wanted in FEWEST..=MOST {
            for pages in FEWEST..=MOST {
                let serves = number(pages) == number(serve(wanted));
                assert!(!serves || pages >= wanted, "{pages} for {wanted}");
                let (more, most) = served_by(pages);
                assert_eq!(serves, wanted > more && wanted <= most, "{pages} for {wanted}");
            }
        }
    }

    #[test]
    fn the_next_longer_bucket_serves_too_and_no_other() {
        let (cache, mut span) = (LargeCache::new(), 0_u8);
        let span = NonNull::from(&mut span);
        for pages in (FEWEST..=MOST).filter(|&pages| serve(pages) == pages) {
            let takers = (FEWEST..=MOST).filter(|&wanted| {
                assert!(cache.put(pages, span));
                let taken = cache.take(serve(wanted)).is_some();
                cache.take_all().for_each(drop);
                taken
            });
            let buckets: Vec<_> = takers.map(|wanted| number(serve(wanted))).collect();
            let own = number(pages);
            assert!(buckets.iter().all(|&other| other == own || other + 1 == own), "{pages}");
            assert!(buckets.contains(&own) && buckets.contains(&own.saturating_sub(1)), "{pages}");
        }
    }

    #[test]
    fn the_shortest_span_that_is_long_enough_is_found_and_no_shorter_one() {
        let (cache, mut spans) = (LargeCache::new(), [0_u8; 2]);
        let [short, long] = spans.each_mut().map(NonNull::from);
        for pages in 1..=MOST + 1 {
            assert!(cache.put(40, short) && cache.put(100, long));
            // A bucket of spans of 96 to 103 pages serves no more than 96.
            let expected = [(40, Some(short)), (96, Some(long)), (usize::MAX, None)];
            let (_, span) = expected.into_iter().find(|(most, _)| pages <= *most).unwrap();
            assert_eq!(cache.take_longer(pages), span, "{pages}");
            cache.take_all().for_each(drop);
        }
    }

    #[test]
    fn what_was_put_in_comes_out_and_a_full_bucket_refuses() {
        let (cache, mut spans) = (LargeCache::new(), [0_u8; SLOTS + 1]);
        let spans: Vec<_> = spans.iter_mut().map(NonNull::from).collect();
        let kept = spans.iter().filter(|span| cache.put(32, **span)).count();
        assert_eq!(kept, SLOTS);
        assert_eq!(cache.take(36), None, "another bucket");
        assert_eq!(cache.take(32), Some(spans[0]));
        assert_eq!(cache.iter().count(), SLOTS - 1);
        assert_eq!(cache.take_all().count(), SLOTS - 1);
        assert!(cache.put(MOST, spans[0]) && !cache.put(MOST, spans[1]), "one of 2 MiB");
        assert!(!cache.put(MOST + 1, spans[2]) && !cache.put(FEWEST - 1, spans[2]));
    }
}
