//! A policy of one's own: a lottery (Waldspurger and Weihl, OSDI 1994).
//!
//! Each class of goroutines has some tickets, and who runs next is drawn: nobody waits for ever, and in the
//! long run each class has its share. The policy is two operations on lists under a lock; it knows nothing of
//! threads, stacks or P numbers.
//!
//! ```text
//! cargo run -p sched-core --example own_policy
//! ```

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use sched_core::{
    Config, NoHooks, Scheduler, Spawn, current,
    lock::Lock,
    policy::{Chosen, Class, Item, Moment, Policy, Queues, Ready, Seat, Slice},
    queue::list::List,
};

/// The policy: a value that makes the queues.
#[derive(Debug)]
pub(crate) struct Lottery {
    /// For each class, the most urgent first; none is 0.
    pub(crate) tickets: [u64; 4],
}

/// The queues: a list per class, and a count that can be read without the lock.
pub(crate) struct Draw<H: Item> {
    tickets: [u64; 4],
    pot: Lock<Pot<H>>,
    len: AtomicUsize,
}

struct Pot<H: Item> {
    /// Lists link what is in them: nothing is allocated by a push.
    classes: [List<H>; 4],
    random: u64,
}

impl Policy for Lottery {
    type Queues<H: Item> = Draw<H>;

    fn queues<H: Item>(&self) -> Draw<H> {
        let pot = Pot { classes: Default::default(), random: 1 };
        Draw { tickets: self.tickets, pot: Lock::new(pot), len: AtomicUsize::new(0) }
    }
}

impl<H: Item> Pot<H> {
    /// Draws among the classes that have somebody waiting.
    fn draw(&mut self, tickets: &[u64; 4]) -> Option<H> {
        let waits = |class: &List<H>, tickets: u64| if class.is_empty() { 0 } else { tickets };
        let stakes: [u64; 4] = std::array::from_fn(|i| waits(&self.classes[i], tickets[i]));
        // Knuth's linear congruential generator: the high bits are the good ones.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut ticket = (self.random >> 33).checked_rem(stakes.iter().sum())?;
        let mut winner = 0;
        while ticket >= stakes[winner] {
            ticket -= stakes[winner];
            winner += 1;
        }
        self.classes[winner].pop()
    }
}

impl<H: Item> Queues<H> for Draw<H> {
    /// A P has nothing of its own.
    type Local = ();

    fn local(&self) {}

    fn put(&self, _: Option<Seat<'_, ()>>, _: &Moment, item: H, _: Ready) {
        let mut pot = self.pot.lock();
        let class = item.class() as usize;
        pot.classes[class].push(item);
        // Release: who sees the number finds what was put.
        self.len.fetch_add(1, Ordering::Release);
    }

    fn pick(&self, _: Seat<'_, ()>, _: &Moment) -> Option<(H, Slice)> {
        if self.is_empty() {
            return None;
        }
        let item = self.pot.lock().draw(&self.tickets)?;
        // Relaxed: one that is counted for too long costs a look.
        self.len.fetch_sub(1, Ordering::Relaxed);
        Some((item, Slice::Fresh))
    }

    fn steal<'a>(
        &self,
        _: Seat<'_, ()>,
        _: &Moment,
        _: impl Iterator<Item = &'a ()>,
        _: bool,
    ) -> Option<H> {
        None // Nobody has anything of their own.
    }

    fn evict(&self, _: Seat<'_, ()>) -> Option<H> {
        None
    }

    fn is_empty(&self) -> bool {
        // Acquire: see `put`.
        self.len.load(Ordering::Acquire) == 0
    }

    fn is_local_empty(_: &()) -> bool {
        true
    }

    fn len(&self) -> usize {
        // Relaxed: a number.
        self.len.load(Ordering::Relaxed)
    }

    fn local_len(_: &()) -> usize {
        0
    }
}

/// Goroutines of each of two classes.
const EACH: usize = 100;

pub(crate) fn main() {
    let policy = Chosen::new(Lottery { tickets: [8, 4, 2, 1] });
    let config = Config { procs: 1, policy, ..Config::default() };
    let scheduler = Scheduler::new(config, Arc::new(NoHooks)).expect("threads and stacks");
    let order = Arc::new(Mutex::new(Vec::new()));
    let ran = Arc::clone(&order);
    let parent = scheduler.spawn(move || {
        let scheduler = current().expect("on a goroutine");
        let start = |class| {
            let ran = Arc::clone(&ran);
            let job = move || ran.lock().expect("no panic").push(class);
            scheduler.spawn_with(Spawn::new().class(class), job).expect("it is open")
        };
        let jobs: Vec<_> = (0..EACH).flat_map(|_| [Class::Background, Class::Urgent]).collect();
        let jobs: Vec<_> = jobs.into_iter().map(start).collect();
        jobs.into_iter().for_each(|job| job.join().expect("no panic"));
    });
    parent.expect("it is open").join().expect("no panic");

    let order = order.lock().expect("no panic");
    let urgent = order[..EACH].iter().filter(|&&class| class == Class::Urgent).count();
    println!("{urgent} of the first {EACH} were urgent, with 8 tickets of 9");
    assert_eq!(order.len(), 2 * EACH, "nobody was left out");
    assert!((70..EACH).contains(&urgent), "and nobody was shut out");
    assert!(scheduler.shutdown(None).left.is_empty());
}
