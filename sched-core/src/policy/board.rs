//! A policy's queues with a place for each P: what workers, simulator and models play on.
//!
//! # Three types
//!
//! [`Board`] knows its policy as a type. [`Play`] is the same behind a table of functions.
//! [`Installed`] is what workers use: the default as itself, anything else behind the table. The
//! branch between the two goes one way for as long as a policy is in place.

use core::any::TypeId;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::{queue::list::List, table::Table};

use super::{Cause, Gmp, GmpQueues, Item, Moment, Policy, Queues, Ready, Seat, Slice};

/// The queues of one policy: the shared part, and the parts of all Ps that were made.
pub(crate) struct Board<Q: Queues<H>, H: Item> {
    queues: Q,
    locals: Table<CachePadded<Q::Local>>,
    items: PhantomData<fn(H)>,
}

impl<Q: Queues<H>, H: Item> Board<Q, H> {
    /// Empty, with room for `room` Ps and a part for none.
    pub(crate) fn new(queues: Q, room: usize) -> Self {
        Self { queues, locals: Table::new(room), items: PhantomData }
    }

    /// # Safety
    ///
    /// The caller holds the P at `place`, as [`Seat::new`] wants it, and the place is this board's.
    #[inline]
    unsafe fn seat(&self, place: Place) -> Seat<'_, Q::Local> {
        // SAFETY: the place was made by `place` of this board, whose parts live as long as it does; the
        // rest is the caller's claim.
        unsafe { Seat::new(place.part.cast::<Q::Local>().as_ref()) }
    }
}

/// Where on a board a P's part is. The number alone would do, but the hot paths would look it up each
/// time: two loads that wait for each other, 2 of the 45 ns of a switch.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(crate) proc: usize,
    part: NonNull<()>,
}

/// What can be done with a policy's queues, whatever the policy.
///
/// # Safety
///
/// Functions that take a place want that it is this board's and that the caller holds the P, for the
/// length of the call, after its former holder.
#[cfg_attr(loom, allow(dead_code, reason = "models do without some"))]
pub(crate) trait Play<H: Item>: Send + Sync {
    /// Makes the part of the next P. One caller at a time. Allocates.
    fn add_proc(&self);
    /// Where the part of P `proc` is, which was made.
    fn place(&self, proc: usize) -> Place;
    unsafe fn put(&self, place: Option<Place>, moment: &Moment, item: H, ready: Ready);
    fn put_all(&self, moment: &Moment, items: List<H>, cause: Cause);
    unsafe fn pick(&self, place: Place, moment: &Moment) -> Option<(H, Slice)>;
    unsafe fn steal(&self, place: Place, moment: &Moment, random: u32, last: bool) -> Option<H>;
    unsafe fn evict(&self, place: Place) -> Option<H>;
    unsafe fn expect_urgent(&self, place: Place);
    /// Whether the shared part holds nothing.
    fn is_empty(&self) -> bool;
    fn is_local_empty(&self, proc: usize) -> bool;
    /// The sum of [`Queues::handovers`] over all parts but that of `proc`.
    fn handovers_of_others(&self, proc: usize) -> u64;
    /// Whether nothing is queued anywhere.
    fn all_empty(&self) -> bool;
    /// How many are queued, at about this time.
    fn len(&self) -> usize;
    fn has_urgent(&self, moment: &Moment) -> bool;
    fn traffic(&self, see: &mut dyn FnMut(u64));
}

impl<Q: Queues<H>, H: Item> Play<H> for Board<Q, H> {
    fn add_proc(&self) {
        self.locals.add(CachePadded::new(self.queues.local()));
    }

    fn place(&self, proc: usize) -> Place {
        let part: &Q::Local = self.locals.get(proc);
        Place { proc, part: NonNull::from(part).cast() }
    }

    #[inline(always)]
    unsafe fn put(&self, place: Option<Place>, moment: &Moment, item: H, ready: Ready) {
        // SAFETY: the caller's claim.
        let seat = place.map(|place| unsafe { self.seat(place) });
        self.queues.put(seat, moment, item, ready);
    }

    fn put_all(&self, moment: &Moment, items: List<H>, cause: Cause) {
        self.queues.put_all(moment, items, cause);
    }

    #[inline]
    unsafe fn pick(&self, place: Place, moment: &Moment) -> Option<(H, Slice)> {
        // SAFETY: the caller's claim.
        self.queues.pick(unsafe { self.seat(place) }, moment)
    }

    unsafe fn steal(&self, place: Place, moment: &Moment, random: u32, last: bool) -> Option<H> {
        // SAFETY: the caller's claim.
        let seat = unsafe { self.seat(place) };
        let victims =
            others(random, self.locals.len(), place.proc).map(|victim| &**self.locals.get(victim));
        self.queues.steal(seat, moment, victims, last)
    }

    unsafe fn evict(&self, place: Place) -> Option<H> {
        // SAFETY: the caller's claim.
        self.queues.evict(unsafe { self.seat(place) })
    }

    unsafe fn expect_urgent(&self, place: Place) {
        // SAFETY: the caller's claim.
        self.queues.expect_urgent(unsafe { self.seat(place) });
    }

    fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    fn is_local_empty(&self, proc: usize) -> bool {
        Q::is_local_empty(self.locals.get(proc))
    }

    fn handovers_of_others(&self, proc: usize) -> u64 {
        let all = self.locals.iter().enumerate().filter(|&(index, _)| index != proc);
        all.map(|(_, local)| Q::handovers(local)).fold(0, u64::wrapping_add)
    }

    fn all_empty(&self) -> bool {
        self.queues.is_empty() && self.locals.iter().all(|local| Q::is_local_empty(local))
    }

    fn len(&self) -> usize {
        self.queues.len() + self.locals.iter().map(|local| Q::local_len(local)).sum::<usize>()
    }

    fn has_urgent(&self, moment: &Moment) -> bool {
        self.queues.has_urgent(moment)
    }

    fn traffic(&self, see: &mut dyn FnMut(u64)) {
        self.queues.traffic(see);
    }
}

/// All numbers below `n` but `but`, each once, from a random one on.
pub(crate) fn others(random: u32, n: usize, but: usize) -> impl Iterator<Item = usize> {
    let random = random as usize;
    // Two of three numbers will do, for most n; n + 1 always does.
    let stride = (random % n + 1..).find(|&step| gcd(step, n) == 1).unwrap_or(1);
    (0..n).map(move |i| (random / 7 + i * stride) % n).filter(move |&index| index != but)
}

/// The greatest common divisor: Euclid.
fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The policy that workers play by.
pub struct Installed<H: Item>(Which<H>);

#[cfg_attr(
    not(loom),
    expect(
        clippy::large_enum_variant,
        reason = "there are two, and the default is at hand in its place"
    )
)]
enum Which<H: Item> {
    /// The default, called directly.
    Gmp(Board<GmpQueues<H>, H>),
    /// Any other.
    Other(Box<dyn Play<H>>),
}

impl<H: Item> Installed<H> {
    /// As [`Play::put`]. The moment is made up where it is needed, after the branch.
    ///
    /// # Safety
    ///
    /// As for all of [`Play`].
    #[inline(always)]
    pub(crate) unsafe fn put(
        &self,
        place: Option<Place>,
        moment: impl FnOnce() -> Moment,
        item: H,
        ready: Ready,
    ) {
        match &self.0 {
            // SAFETY: the caller's claim.
            Which::Gmp(board) => unsafe { board.put(place, &moment(), item, ready) },
            // SAFETY: the caller's claim.
            Which::Other(board) => unsafe { board.put(place, &moment(), item, ready) },
        }
    }

    /// As [`Play::pick`].
    ///
    /// # Safety
    ///
    /// As for all of [`Play`].
    #[inline(always)]
    pub(crate) unsafe fn pick(
        &self,
        place: Place,
        moment: impl FnOnce() -> Moment,
    ) -> Option<(H, Slice)> {
        match &self.0 {
            // SAFETY: the caller's claim.
            Which::Gmp(board) => unsafe { board.pick(place, &moment()) },
            // SAFETY: the caller's claim.
            Which::Other(board) => unsafe { board.pick(place, &moment()) },
        }
    }

    /// Makes the part of the next P. One caller at a time. Allocates.
    pub fn add_proc(&self) {
        self.board().add_proc();
    }

    /// Whichever it is: for all that is not hot.
    pub(crate) fn board(&self) -> &dyn Play<H> {
        match &self.0 {
            Which::Gmp(board) => board,
            Which::Other(board) => &**board,
        }
    }
}

impl<H: Item> fmt::Debug for Installed<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Installed").field("len", &self.board().len()).finish_non_exhaustive()
    }
}

/// The queues of `policy`, as workers want them.
pub fn install<P: Policy, H: Item>(policy: &P, room: usize) -> Installed<H> {
    if TypeId::of::<P>() == TypeId::of::<Gmp>() {
        return Installed(Which::Gmp(Board::new(Gmp.queues(), room)));
    }
    Installed(Which::Other(Box::new(Board::new(policy.queues::<H>(), room))))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::others;

    #[test]
    fn a_thief_looks_at_each_other_once() {
        for n in 1..40 {
            for random in [0, 1, 7, 12_345, u32::MAX] {
                let mut seen: Vec<usize> = others(random, n, n / 2).collect();
                seen.sort_unstable();
                let all: Vec<usize> = (0..n).filter(|&index| index != n / 2).collect();
                assert_eq!(seen, all);
            }
        }
    }
}
