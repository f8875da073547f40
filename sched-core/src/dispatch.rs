//! The queues in office, and whoever uses them: puts, picks, thefts, and how users move over to other queues.
//!
//! The queues are the value of a [`Succession`]. A P has a [`Chair`] at them: it stays. Threads without a P
//! visit. When other queues come into office, each P moves over at its next use of the queues; what that
//! means, and why nothing is lost meanwhile, is told in `swap`. Here are its steps, with the uses that must
//! follow them. The scheduler is a [`Dispatch`] to this file; so is a model.
//!
//! Model: `loom-tests/tests/sched_swap.rs`.

pub use crate::policy::board::{Installed, Place, install};
use crate::{
    policy::{Cause, Item, Moment, Ready, Slice},
    succession::{InUse, Stay, Succession},
};

/// A place at the queues of a policy that is, or was, in office.
#[derive(Debug)]
pub struct Chair {
    stay: Stay,
    place: Place,
}

/// Evidence that the caller holds a P, with its place at the queues.
///
/// # Safety
///
/// As long as a value is used the P is held by its user alone. [`chair`](Self::chair) gives what the last
/// [`sit`](Self::sit) was given, which is there until the next one.
pub unsafe trait Seated<'a>: Copy {
    /// The number of the P.
    fn index(self) -> usize;

    /// Where the P sits; `None` since it was idle.
    fn chair(self) -> Option<&'a Chair>;

    /// Sits there from now on; gives up the chair it had.
    fn sit(self, chair: Option<Chair>) -> Option<Chair>;

    /// A random number.
    fn random(self) -> u32;

    /// What runs next begins a slice, behind another or a look around.
    fn next_slice(self);
}

/// The scheduler, to whoever has something for its queues or wants something from them.
///
/// # Safety
///
/// [`queues`](Self::queues) is the same whenever it is asked; the Ps of `Held` sit there and nowhere else. What is
/// provided here is not replaced: a place at the queues and the queues come from there together.
pub unsafe trait Dispatch {
    /// What is queued.
    type Item: Item;
    /// Evidence that a P is held.
    type Held<'a>: Seated<'a>
    where
        Self: 'a;

    /// All queues.
    fn queues(&self) -> &Succession<Installed<Self::Item>>;

    /// How many Ps were made.
    fn procs(&self) -> usize;

    /// What a policy may know now.
    fn moment(&self, held: Option<Self::Held<'_>>) -> Moment;

    /// Work was published: sees to it that somebody looks for it.
    fn notify(&self);

    /// The queues in office, and the P's place there.
    #[inline(always)]
    fn at<'a>(&'a self, held: Self::Held<'a>) -> (&'a Installed<Self::Item>, Place) {
        match held.chair() {
            Some(chair) if self.queues().is_in_office(&chair.stay) => {
                (queues_at(self, chair), chair.place)
            }
            _ => self.sit_down(held),
        }
    }

    /// Queues what became ready. The caller sees to it that somebody [looks for it](Self::notify).
    #[inline(always)]
    fn enqueue<'a>(&'a self, held: Option<Self::Held<'a>>, item: Self::Item, ready: Ready) {
        match held {
            Some(held) => {
                let (queues, place) = self.at(held);
                // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
                unsafe { queues.put(Some(place), || self.moment(Some(held)), item, ready) };
            }
            None => self.enqueue_from_outside(item, ready),
        }
    }

    #[doc(hidden)]
    #[cold]
    fn enqueue_from_outside(&self, item: Self::Item, ready: Ready) {
        let queues = self.queues().visit();
        // SAFETY: no P is named.
        unsafe { queues.put(None, || self.moment(None), item, ready) };
    }

    /// What runs next on this P, without a look at what others have.
    #[inline]
    fn pick<'a>(&'a self, held: Self::Held<'a>) -> Option<Self::Item> {
        let (queues, place) = self.at(held);
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        let (item, slice) = unsafe { queues.pick(place, || self.moment(Some(held))) }?;
        if slice == Slice::Fresh {
            held.next_slice();
        }
        Some(item)
    }

    /// Something from the queues of others. `last`: the thief gives up after this.
    fn steal<'a>(&'a self, held: Self::Held<'a>, last: bool) -> Option<Self::Item> {
        let (queues, place) = self.at(held);
        let (moment, random) = (self.moment(Some(held)), held.random());
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        let item = unsafe { queues.board().steal(place, &moment, random, last) };
        let item = item.or_else(|| self.rescue(held, last))?;
        held.next_slice();
        Some(item)
    }

    /// Moves what lies in the P's own part to where it is nobody's in particular: the P is given up. The
    /// caller notifies on its behalf.
    #[cold]
    fn evict<'a>(&'a self, held: Self::Held<'a>) {
        let (queues, place) = self.at(held);
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        while let Some(item) = unsafe { queues.board().evict(place) } {
            self.enqueue(None, item, Cause::Moved.into());
        }
    }

    /// The goroutine on this P gives way, perhaps to one that shall not wait: the next pick gives that one.
    #[cold]
    fn expect_urgent<'a>(&'a self, held: Self::Held<'a>) {
        let (queues, place) = self.at(held);
        // SAFETY: `held` is the evidence that the P is held; its place is of these queues.
        unsafe { queues.board().expect_urgent(place) };
    }

    /// Whether anything waits that this P would run.
    fn work_at_hand<'a>(&'a self, held: Self::Held<'a>) -> bool {
        let (queues, place) = self.at(held);
        !queues.board().is_local_empty(place.proc) || !queues.board().is_empty()
    }

    /// How often other Ps were given something to run at once.
    fn handovers_of_others<'a>(&'a self, held: Self::Held<'a>) -> u64 {
        let (queues, place) = self.at(held);
        queues.board().handovers_of_others(place.proc)
    }

    /// Whether there is anything to run in any queue.
    fn any_work(&self) -> bool {
        // In this order: who looks at the old queues as those in office sees what is there, and who looks at the
        // new ones finds the old ones leaving.
        !self.queues().visit().board().all_empty()
            || self.queues().visit_leaving().is_some_and(|old| !old.board().all_empty())
    }

    /// Sits down at the queues in office. If the P sat elsewhere: moves what lies there.
    #[cold]
    #[inline(never)]
    fn sit_down<'a>(&'a self, held: Self::Held<'a>) -> (&'a Installed<Self::Item>, Place) {
        let stay = self.queues().stay();
        // SAFETY: the stay has just begun there.
        let place = unsafe { self.queues().at(&stay) }.board().place(held.index());
        if let Some(old) = held.sit(Some(Chair { stay, place })) {
            empty(self, held, &old);
            // SAFETY: Ps sit at these queues and nowhere else.
            unsafe { self.queues().end(old.stay) };
            self.notify();
        }
        let chair = held.chair().expect("it has just sat down");
        (queues_at(self, chair), chair.place)
    }

    /// The P goes idle.
    fn stand_up<'a>(&'a self, held: Self::Held<'a>) {
        if let Some(chair) = held.sit(None) {
            debug_assert!(
                queues_at(self, &chair).board().is_local_empty(chair.place.proc),
                "a P goes idle with goroutines in its queue"
            );
            // SAFETY: as in `sit_down`.
            unsafe { self.queues().end(chair.stay) };
        }
    }

    /// Queues something where the P sits, in office or not any more.
    #[doc(hidden)]
    fn enqueue_at_chair<'a>(&'a self, held: Self::Held<'a>, item: Self::Item) {
        let ready = Cause::Moved.into();
        let Some(chair) = held.chair() else { return self.enqueue(None, item, ready) };
        let (queues, moment) = (queues_at(self, chair), self.moment(Some(held)));
        // SAFETY: the P is held, and the place is of these queues.
        unsafe { queues.board().put(Some(chair.place), &moment, item, ready) };
    }

    /// Something from the queues that are leaving, for a P that has moved over.
    #[inline]
    fn rescue<'a>(&'a self, held: Self::Held<'a>, last: bool) -> Option<Self::Item> {
        if self.queues().is_leaving() { self.rescue_one(held, last) } else { None }
    }

    #[doc(hidden)]
    #[cold]
    fn rescue_one<'a>(&'a self, held: Self::Held<'a>, last: bool) -> Option<Self::Item> {
        let old = self.queues().visit_leaving()?;
        if held.chair().is_some_and(|chair| old.is_of(&chair.stay)) {
            // They are leaving since this P has looked into them: it still sits there.
            return None;
        }
        let place = old.board().place(held.index());
        let (moment, random) = (self.moment(Some(held)), held.random());
        // SAFETY: the P is held, and does not sit there: its part is used by nobody else.
        let found = unsafe { old.board().pick(place, &moment) }.map(|(item, _)| item);
        // SAFETY: as above.
        let found = found.or_else(|| unsafe { old.board().steal(place, &moment, random, last) });
        // SAFETY: as above. What came with the theft.
        while let Some(item) = unsafe { old.board().evict(place) } {
            self.enqueue_at_chair(held, item);
        }
        found
    }

    /// Empties the queues that are leaving, if nobody uses them any more: the caller drops them. `None`: none
    /// are left.
    ///
    /// # Errors
    ///
    /// [`InUse`], if somebody uses them.
    ///
    /// # Safety
    ///
    /// One caller at a time, and none that changes the queues meanwhile.
    unsafe fn bury(&self) -> Result<Option<Installed<Self::Item>>, InUse> {
        // SAFETY: the caller's.
        let old = unsafe { self.queues().bury() }.inspect_err(|InUse| {
            // On behalf of what lies there, which could not be seen for a moment.
            self.notify();
        })?;
        old.iter().for_each(|old| empty_alone(self, old));
        Ok(old)
    }
}

/// The queues where a P sits.
#[inline(always)]
fn queues_at<'a, D: Dispatch + ?Sized>(
    dispatch: &'a D,
    chair: &'a Chair,
) -> &'a Installed<D::Item> {
    // SAFETY: Ps sit at these queues and nowhere else, so the stay was begun there.
    unsafe { dispatch.queues().at(&chair.stay) }
}

/// Puts what the P can reach of the queues where it sat into those where it sits.
fn empty<'a, D: Dispatch + ?Sized>(dispatch: &'a D, held: D::Held<'a>, old: &Chair) {
    let (board, moment) = (queues_at(dispatch, old).board(), dispatch.moment(Some(held)));
    // SAFETY: the P is held, and the place is of these queues.
    while let Some((item, _)) = unsafe { board.pick(old.place, &moment) } {
        dispatch.enqueue_at_chair(held, item);
    }
}

/// Puts all that is left in queues that nobody else can reach, as they were buried, into those in office.
fn empty_alone<D: Dispatch + ?Sized>(dispatch: &D, old: &Installed<D::Item>) {
    let (board, moment) = (old.board(), dispatch.moment(None));
    for proc in 0..dispatch.procs() {
        let place = board.place(proc);
        // SAFETY: nobody else can reach these queues, whoever holds the P.
        while let Some((item, _)) = unsafe { board.pick(place, &moment) } {
            dispatch.enqueue(None, item, Cause::Moved.into());
            dispatch.notify();
        }
    }
}
