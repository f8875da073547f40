//! Closers: those who wait until nobody is inside a [`turnstile`](crate::turnstile).
//!
//! # Problem
//!
//! Who waits for the end of a scheduler may itself be one of those that have to end, and there may be
//! several. If each waited for all others they would wait for each other, for ever.
//!
//! # How
//!
//! A closer that is *inside* waits until only closers are. One that is *outside* waits until nobody is. All
//! of one list go at once, and they are gone from it before any of them is told: the first to go on does not
//! count again for those that follow.
//!
//! # Rejected
//!
//! *The second waits for the first to return*, on a lock: the first waits for the second to end, and a
//! deadline of the second's is not kept. *An error for the second*: it would have to try again, and could
//! not tell when.

use core::fmt;
use core::iter;

type Link<W> = Option<Box<Closer<W>>>;

/// One who waits, and whom to tell. Made and dropped where one may allocate, not under the lock.
pub struct Closer<W> {
    name: W,
    inside: bool,
    ticket: Ticket,
    next: Link<W>,
}

/// A place on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl<W> Closer<W> {
    /// `inside`: the closer is one of those that are counted.
    pub fn new(name: W, inside: bool) -> Box<Self> {
        Box::new(Closer { name, inside, ticket: Ticket(0), next: None })
    }
}

impl<W> fmt::Debug for Closer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Closer { inside, ticket, .. } = self;
        f.debug_struct("Closer")
            .field("inside", inside)
            .field("ticket", ticket)
            .finish_non_exhaustive()
    }
}

/// Closers that need not wait any longer. They are told, and dropped, outside the lock.
#[derive(Debug)]
#[must_use = "they wait to be told"]
pub struct Gone<W> {
    inside: Link<W>,
    outside: Link<W>,
    /// One that went by itself: nobody has to tell it.
    _left: Link<W>,
}

impl<W> Gone<W> {
    /// Tells each.
    pub fn tell(self, tell: impl Fn(&W)) {
        for mut link in [self.inside, self.outside] {
            // One by one: a list drops itself by recursion.
            while let Some(mut closer) = link {
                link = closer.next.take();
                tell(&closer.name);
            }
        }
    }
}

fn follow<W>(link: &Link<W>) -> impl Iterator<Item = &Closer<W>> {
    iter::successors(link.as_deref(), |closer| closer.next.as_deref())
}

/// Takes the closer with the ticket out of the list.
fn take<W>(mut place: &mut Link<W>, ticket: Ticket) -> Link<W> {
    while place.as_ref()?.ticket != ticket {
        place = &mut place.as_mut()?.next;
    }
    let mut closer = place.take()?;
    *place = closer.next.take();
    Some(closer)
}

/// All that wait, under the turnstile's lock.
pub(crate) struct Closers<W> {
    inside: Link<W>,
    outside: Link<W>,
    tickets: u64,
}

impl<W: Clone> Closers<W> {
    pub(crate) const fn new() -> Self {
        Closers { inside: None, outside: None, tickets: 0 }
    }

    /// One who looks for all of them.
    pub(crate) fn first(&self) -> Option<W> {
        self.inside.as_ref().or(self.outside.as_ref()).map(|closer| closer.name.clone())
    }

    pub(crate) fn push(&mut self, mut closer: Box<Closer<W>>) -> Ticket {
        self.tickets += 1;
        closer.ticket = Ticket(self.tickets);
        let list = if closer.inside { &mut self.inside } else { &mut self.outside };
        closer.next = list.take();
        *list = Some(closer);
        Ticket(self.tickets)
    }

    pub(crate) fn contain(&self, ticket: Ticket) -> bool {
        [&self.inside, &self.outside].into_iter().flat_map(follow).any(|it| it.ticket == ticket)
    }

    /// Takes out those that need not wait, with so many inside.
    pub(crate) fn release(&mut self, inside: usize) -> Gone<W> {
        let only_closers = inside <= follow(&self.inside).count();
        Gone {
            inside: if only_closers { self.inside.take() } else { None },
            outside: if inside == 0 { self.outside.take() } else { None },
            _left: None,
        }
    }

    /// Takes out one that waits no longer, and those that need not.
    pub(crate) fn forget(&mut self, ticket: Ticket, inside: usize) -> Gone<W> {
        let left = take(&mut self.inside, ticket).or_else(|| take(&mut self.outside, ticket));
        Gone { _left: left, ..self.release(inside) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use core::cell::RefCell;

    use super::*;

    fn told<W: Clone>(gone: Gone<W>) -> Vec<W> {
        let told = RefCell::new(Vec::new());
        gone.tell(|name| told.borrow_mut().push(name.clone()));
        told.into_inner()
    }

    #[test]
    fn those_inside_wait_for_all_but_each_other() {
        let mut closers = Closers::new();
        let outside = closers.push(Closer::new("outside", false));
        let one = closers.push(Closer::new("one", true));
        assert!(told(closers.release(2)).is_empty());
        let two = closers.push(Closer::new("two", true));
        assert_eq!(closers.first(), Some("two"));
        assert_eq!(told(closers.release(2)), ["two", "one"]);
        assert!(!closers.contain(one) && !closers.contain(two) && closers.contain(outside));
        assert_eq!(closers.first(), Some("outside"));
        assert!(told(closers.release(1)).is_empty());
        assert_eq!(told(closers.release(0)), ["outside"]);
        assert_eq!(closers.first(), None);
    }

    #[test]
    fn one_that_goes_leaves_the_others() {
        let mut closers = Closers::new();
        let tickets = [1, 2, 3].map(|name| closers.push(Closer::new(name, true)));
        assert!(told(closers.forget(tickets[1], 3)).is_empty());
        assert_eq!(tickets.map(|ticket| closers.contain(ticket)), [true, false, true]);
        assert_eq!(told(closers.forget(tickets[0], 1)), [3]);
    }
}
