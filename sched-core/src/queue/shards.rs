//! The global queue of a policy whose Ps have queues of their own: one [`Inject`], or several of them.
//!
//! # Problem
//!
//! What becomes ready where there is no P passes through the lock of a global queue, and so do those who fetch it.
//! A passage takes some 85 ns if another processor had the lock last, and a goroutine makes two: for what is woken
//! from outside, 10 µs of work each, one lock is the limit of 60 Ps. With more, the time goes into waiting for it.
//!
//! # Words
//!
//! * *shard*: an [`Inject`]. There is one for each [`SHARE`] Ps that were made, at most [`MOST`]. They are never freed
//!   before the whole, so whoever has read their number may look at that many, at any time.
//! * *home*: a place at the shards, of one P ([`Home`]). Homes are numbered as they are made.
//! * *active*: shards that something is put into: one for each [`SHARE`] Ps that are *wanted now*, if so many were
//!   made. The home with number *i* is at shard *i* modulo their number.
//! * *from outside*: by somebody who has no P.
//!
//! # Where things go, and who looks where
//!
//! | | |
//! |---|---|
//! | put by one who holds a P | the shard of its home |
//! | put from outside | the active ones in turn, by a count that only those outside touch |
//! | a look for those that go before others | the home's shard alone; all, if the P [expects](Home::expect) one |
//! | a look in turn, one in so many | all, beginning with another one each time |
//! | a look when nothing else is left | the home's shard, then the others |
//! | whether there is nothing | all |
//!
//! Why not all in the first look: it comes before each goroutine that runs. Every processor would read a line of
//! every shard then, and each put would take one of these lines away from all of them: what is woken into the
//! busiest shard would be the limit again. Why modulo and not *i* ∕ [`SHARE`]: when the number of Ps falls, those go
//! that come to rest first, so any may be left; with the quotient those of a whole shard could be gone. Why in turn:
//! one timer thread is most of what there is outside, and shards by thread would give all of it to one of them.
//!
//! # Why nothing stays
//!
//! A shard may be nobody's home: it is not active any more, or all Ps at home there have gone. What lies in it is
//! found by whoever looks in turn: of so many such looks as there are shards one begins with this shard, whoever
//! makes them. And by whoever has nothing else, who looks at all.
//!
//! # Who may sleep
//!
//! [`is_empty`](Shards::is_empty) reads the number of shards when it is asked, and looks at so many. Whoever puts into
//! a shard has read a number that counts it, before the full fence of his submission; a look after a full fence that
//! comes later reads no older one. So a look misses no shard in which something lies that was submitted before (`idle.md`).
//! It is no look at one moment: one may come into the first shard, after the look at it, before another is taken from
//! the second. Then the answer is *empty*, though there was something all the time; who came late is his submitter's.
//!
//! # One shard
//!
//! The first lies in the value itself, and the others behind their number. Up to [`SHARE`] Ps each use costs a look at
//! that number, which nobody writes; all the rest is in functions of its own.
//!
//! # Source
//!
//! Go has one queue and one lock (golang/go#67585). Numbers, and what was turned down: `docs/decisions/0016`.
//! Model: `loom-tests/tests/sched_shards.rs`.

use core::fmt;

#[cfg(not(loom))]
use crossbeam_utils::CachePadded;

use super::Overflow;
use super::inject::Inject;
use super::lanes::Lane;
use super::list::{Linked, List};
use crate::sync::{AtomicBool, AtomicUsize, Ordering, scaled};
use crate::table::Table;

/// On cache lines of its own. In a model, whose threads have small stacks that such queues are moved over, somewhere
/// else.
#[cfg(not(loom))]
type Apart<T> = CachePadded<T>;
#[cfg(loom)]
type Apart<T> = Box<T>;

/// Ps to a shard: with 10 µs of work for each passage one lock serves some 60.
pub const SHARE: usize = scaled(64, 2);

/// The most shards that there are: enough for the 1,024 Ps that a scheduler can come to. Of one that begins with
/// more, each shard has more.
pub const MOST: usize = scaled(16, 2);

/// A global queue of several shards. See the [module](self).
///
/// ```
/// use sched_core::queue::{Handle, lanes::Lane, list::{Link, Linked}, shards::{SHARE, Shards}};
/// use core::ptr::NonNull;
///
/// struct Task { name: &'static str, link: Link<Task> }
/// struct Ref(Box<Task>);
/// // SAFETY: the round trip is the box's.
/// unsafe impl Handle for Ref {
///     type Target = Task;
///     fn into_raw(self) -> NonNull<Task> { self.0.into_raw() }
///     unsafe fn from_raw(raw: NonNull<Task>) -> Self {
///         // SAFETY: the caller's promise is the same.
///         Ref(unsafe { Box::from_raw(raw.as_ptr()) })
///     }
/// }
/// // SAFETY: one link per task, not used elsewhere; a box is the one handle.
/// unsafe impl Linked for Ref {
///     fn link(task: &Task) -> &Link<Task> { &task.link }
/// }
/// let task = |name| Ref(Box::new(Task { name, link: Link::new() }));
///
/// let global = Shards::new();
/// let procs = SHARE + 1;
/// let homes: Vec<_> = (0..procs).map(|_| global.home()).collect();
/// let [here, there] = [0, 1].map(|proc| global.near(&homes[proc], procs, false));
/// there.push(task("sleeper"), Lane::Woken);
/// assert!(here.pop_first().is_none(), "that is not its home");
/// homes[0].expect();
/// assert_eq!(here.pop_first().expect("it looks at all").0.name, "sleeper");
/// there.push(task("hog"), Lane::Plain);
/// assert_eq!(here.pop().expect("there is nothing nearer").0.name, "hog");
/// assert!(global.is_empty());
/// ```
pub struct Shards<H: Linked> {
    first: Apart<Inject<H>>,
    more: Table<Apart<Inject<H>>>,
    /// Homes that were made. Their maker's.
    homes: AtomicUsize,
    /// Puts from outside so far, while they had a choice.
    turn: Apart<AtomicUsize>,
}

/// A P's place at the shards.
#[derive(Debug)]
pub struct Home {
    number: usize,
    /// The next look for those that go before others is for all shards. The P's holder's.
    expects: AtomicBool,
}

impl Home {
    /// The P is made free for one that goes before others, in whatever shard that lies.
    pub fn expect(&self) {
        // Relaxed: the holder's own.
        self.expects.store(true, Ordering::Relaxed);
    }

    fn take_expectation(&self) -> bool {
        // Relaxed, both: the holder's own.
        let expects = self.expects.load(Ordering::Relaxed);
        if expects {
            self.expects.store(false, Ordering::Relaxed);
        }
        expects
    }
}

impl<H: Linked> Shards<H> {
    /// One shard, empty, and nobody at home.
    pub fn new() -> Self {
        Self {
            first: Apart::from(Inject::new()),
            more: Table::new(MOST - 1),
            homes: AtomicUsize::new(0),
            turn: Apart::from(AtomicUsize::new(0)),
        }
    }

    /// The place of the next P, and a shard if there are too few for it. One caller at a time. Allocates.
    pub fn home(&self) -> Home {
        // Relaxed, both: this is the only writer.
        let number = self.homes.load(Ordering::Relaxed);
        self.homes.store(number + 1, Ordering::Relaxed);
        if number == self.made() * SHARE && self.made() < MOST {
            self.more.add(Apart::from(Inject::new()));
        }
        Home { number, expects: AtomicBool::new(false) }
    }

    /// The shards as one sees them who is at `home`, while `procs` Ps are wanted. In a `hurry` holders go first.
    #[inline(always)]
    pub fn near<'a>(&'a self, home: &'a Home, procs: usize, hurry: bool) -> Near<'a, H> {
        Near { shards: self, home, procs, hurry }
    }

    /// Puts `item` at the end of `lane`, from outside.
    pub fn push(&self, item: H, lane: Lane, procs: usize) {
        self.next(procs).push(item, lane);
    }

    /// Puts all of `list` at the end of `lane`, from outside, in one step.
    pub fn append(&self, list: List<H>, lane: Lane, procs: usize) {
        self.next(procs).append(list, lane);
    }

    /// True if nothing lay here all through the call. The caller's fences say what was put before it.
    pub fn is_empty(&self) -> bool {
        self.all().all(Inject::is_empty)
    }

    /// True if one waited at about this time, in any shard, who goes before all others.
    pub fn has_first(&self, hurry: bool) -> bool {
        self.all().any(|shard| shard.has_first(hurry))
    }

    /// How many there were at about this time.
    pub fn len(&self) -> usize {
        self.all().map(Inject::len).sum()
    }

    /// How often the lock of each shard was taken so far.
    pub fn visits(&self, see: &mut dyn FnMut(u64)) {
        self.all().for_each(|shard| see(shard.visits()));
    }

    /// How many shards there are.
    #[inline]
    fn made(&self) -> usize {
        1 + self.more.len()
    }

    #[inline]
    fn is_one(&self) -> bool {
        self.made() == 1
    }

    fn shard(&self, index: usize) -> &Inject<H> {
        match index {
            0 => &self.first,
            _ => self.more.get(index - 1),
        }
    }

    /// All that were made.
    fn all(&self) -> impl Iterator<Item = &Inject<H>> {
        core::iter::once(&*self.first).chain(self.more.iter().map(|shard| &**shard))
    }

    /// All that were made, from this one on and round.
    fn around(&self, from: usize) -> impl Iterator<Item = &Inject<H>> {
        let made = self.made();
        let from = from % made;
        (from..from + made).map(move |index| self.shard(index % made))
    }

    /// How many are put into. Ps may be wanted that are not made yet.
    fn active(&self, procs: usize) -> usize {
        procs.div_ceil(SHARE).clamp(1, self.made())
    }

    /// Where the next one goes that comes from outside.
    #[inline]
    fn next(&self, procs: usize) -> &Inject<H> {
        if self.is_one() { &self.first } else { self.next_of_many(procs) }
    }

    #[cold]
    fn next_of_many(&self, procs: usize) -> &Inject<H> {
        match self.active(procs) {
            1 => &self.first,
            // Relaxed: each gets a number, and no more is asked.
            active => self.shard(self.turn.fetch_add(1, Ordering::Relaxed) % active),
        }
    }
}

/// The shards, of one who is at home there: the holder of a P.
///
/// It is passed as a value: what is seldom then gets a copy, and what is not keeps the parts in registers.
#[derive(Debug)]
pub struct Near<'a, H: Linked> {
    shards: &'a Shards<H>,
    home: &'a Home,
    procs: usize,
    hurry: bool,
}

impl<H: Linked> Clone for Near<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Linked> Copy for Near<'_, H> {}

impl<'a, H: Linked> Near<'a, H> {
    /// Puts `item` at the end of `lane`.
    #[inline]
    pub fn push(self, item: H, lane: Lane) {
        self.own().push(item, lane);
    }

    /// Puts all of `list` at the end of `lane`, in one step.
    pub fn append(self, list: List<H>, lane: Lane) {
        self.own().append(list, lane);
    }

    /// Takes one who goes before all others: of the home's shard, or, for a P that expects one, of any.
    #[inline]
    pub fn pop_first(self) -> Option<H> {
        if !self.shards.is_one() {
            return self.pop_first_of_many();
        }
        let only = &self.shards.first;
        if only.has_first(self.hurry) { only.pop_first(self.hurry) } else { None }
    }

    #[cold]
    fn pop_first_of_many(self) -> Option<H> {
        if self.home.take_expectation() {
            return self.around().find_map(|shard| shard.pop_first(self.hurry));
        }
        self.own().pop_first(self.hurry)
    }

    /// Takes the one whose turn it is in the shard whose `turn` it is, or, if that is empty, in one behind it.
    #[cold]
    pub fn pop_in_turn(self, turn: u32) -> Option<H> {
        self.shards.around(turn as usize).find_map(|shard| shard.pop(self.hurry))
    }

    /// Takes the one whose turn it is: at home, or else elsewhere.
    #[inline]
    pub fn pop(self) -> Option<H> {
        if self.shards.is_one() {
            return self.shards.first.pop(self.hurry);
        }
        self.pop_of_many()
    }

    #[cold]
    fn pop_of_many(self) -> Option<H> {
        self.around().find_map(|shard| shard.pop(self.hurry))
    }

    /// Takes one P's share of what lies at home, or else elsewhere, at most `room`. Of a shard that is not its home
    /// all Ps have a share.
    #[inline]
    pub fn take(self, room: usize) -> List<H> {
        if self.shards.is_one() {
            return self.shards.first.take(self.procs, room, self.hurry);
        }
        self.take_of_many(room)
    }

    #[cold]
    fn take_of_many(self, room: usize) -> List<H> {
        let mut procs = self.procs.div_ceil(self.shards.active(self.procs));
        for shard in self.around() {
            let batch = shard.take(procs, room, self.hurry);
            if !batch.is_empty() {
                return batch;
            }
            procs = self.procs;
        }
        List::new()
    }

    /// The home's shard.
    #[inline]
    fn own(self) -> &'a Inject<H> {
        if self.shards.is_one() { &self.shards.first } else { self.own_of_many() }
    }

    #[cold]
    fn own_of_many(self) -> &'a Inject<H> {
        self.shards.shard(self.index())
    }

    /// All shards, the home's first.
    fn around(self) -> impl Iterator<Item = &'a Inject<H>> {
        self.shards.around(self.index())
    }

    fn index(self) -> usize {
        self.home.number % self.shards.active(self.procs)
    }
}

impl<H: Linked> Overflow<H> for Near<'_, H> {
    fn take_batch(&self, batch: impl Iterator<Item = H>) {
        self.append(batch.collect(), Lane::Plain);
    }
}

impl<H: Linked> Default for Shards<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Linked> fmt::Debug for Shards<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shards, len) = (self.made(), self.len());
        f.debug_struct("Shards").field("shards", &shards).field("len", &len).finish_non_exhaustive()
    }
}
