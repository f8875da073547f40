//! The protocols together, on real threads: rings, global queue, idle list, parkers and the lock make
//! a small scheduler of closures without stacks. The models check each protocol in every
//! interleaving of a few steps; this checks that they fit, over many.

use sched_core::idle::{Host, Idle, Release, Spinning, Wake};
use sched_core::lock::Lock;
use sched_core::parker::Parker;
use sched_core::queue::inject::Inject;
use sched_core::queue::lanes::Lane;
use sched_core::queue::local::{LocalQueue, Next, Owner};
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, scope};

#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "common/item.rs"]
mod item;
use item::{Ref, item as task};

const PROCS: usize = 4;
const MACHINES: usize = 64;

struct Order {
    proc: usize,
    spinning: Option<Spinning>,
}

#[derive(Default)]
struct Seat {
    parker: Parker,
    order: Lock<Option<Order>>,
}

struct World {
    idle: Idle,
    queues: [LocalQueue<Ref>; PROCS],
    global: Inject<Ref>,
    seats: Vec<Seat>,
    next_seat: AtomicUsize,
    left: AtomicUsize,
    over: AtomicBool,
}

impl World {
    fn new(tasks: usize) -> Self {
        let world = Self {
            idle: Idle::new(PROCS, MACHINES),
            queues: Default::default(),
            global: Inject::new(),
            seats: (0..MACHINES).map(|_| Seat::default()).collect(),
            next_seat: AtomicUsize::new(0),
            left: AtomicUsize::new(tasks),
            over: AtomicBool::new(false),
        };
        for proc in 0..PROCS {
            assert_eq!(world.idle.release(proc, None, || false), Release::Idle);
        }
        world
    }

    fn any_work(&self) -> bool {
        !self.global.is_empty() || self.queues.iter().any(|queue| !queue.is_empty())
    }

    fn obey<'s>(&'s self, scope: &'s Scope<'s, '_>, wake: Option<Wake>) {
        let Some(Wake { proc, host, spinning }) = wake else { return };
        let order = Order { proc, spinning: Some(spinning) };
        match host {
            Host::Sleeper(id) => {
                *self.seats[id].order.lock() = Some(order);
                self.seats[id].parker.unpark();
            }
            Host::New => {
                let id = self.next_seat.fetch_add(1, Ordering::Relaxed);
                scope.spawn(move || self.machine(scope, id, order));
            }
        }
    }

    /// Runs `task`, which makes two more as often as its number says: half of its children go to the own ring, half to the global queue.
    fn run<'s>(&'s self, scope: &'s Scope<'s, '_>, owner: &Owner<'_, Ref>, task: Ref) {
        if task.0.number > 0 {
            owner.push_next(self::task(task.0.number - 1), &self.global);
            self.obey(scope, self.idle.notify());
            self.global.push(self::task(task.0.number - 1), Lane::Woken);
            self.obey(scope, self.idle.notify());
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.store(true, Ordering::Release);
            self.seats.iter().for_each(|seat| seat.parker.unpark());
        }
    }

    /// What is at hand, then what others have.
    fn find(&self, proc: usize, spinning: &mut Option<Spinning>) -> Option<Ref> {
        // SAFETY: the caller holds the P.
        let owner = unsafe { self.queues[proc].owner() };
        let near = || {
            let local = owner.pop().map(|(task, _)| task);
            local.or_else(|| {
                let mut batch = self.global.take(PROCS, 8, false);
                let first = batch.pop();
                batch.for_each(|task| owner.push_back(task, &self.global));
                first
            })
        };
        near().or_else(|| {
            *spinning = Some(spinning.take().or_else(|| self.idle.try_spin(PROCS))?);
            (0..PROCS).find_map(|other| {
                let victim = (other != proc).then(|| &self.queues[other])?;
                victim.steal_into(&owner, Next::Take { patience: 0 })
            })
        })
    }

    /// An M from its order to the end.
    fn machine<'s>(&'s self, scope: &'s Scope<'s, '_>, id: usize, order: Order) {
        let Order { mut proc, mut spinning } = order;
        loop {
            while let Some(task) = self.find(proc, &mut spinning) {
                if let Some(spinning) = spinning.take() {
                    self.obey(scope, self.idle.found(spinning));
                }
                // SAFETY: this M holds the P.
                self.run(scope, &unsafe { self.queues[proc].owner() }, task);
            }
            match self.idle.release(proc, spinning.take(), || self.any_work()) {
                Release::Search { proc: held, spinning: evidence } => {
                    (proc, spinning) = (held, Some(evidence));
                }
                Release::Idle => match self.sleep(id) {
                    Some(order) => Order { proc, spinning } = order,
                    None => return,
                },
            }
        }
    }

    fn sleep(&self, id: usize) -> Option<Order> {
        self.idle.rest(id);
        while !self.over.load(Ordering::Acquire) {
            self.seats[id].parker.park();
            if let Some(order) = self.seats[id].order.lock().take() {
                return Some(order);
            }
        }
        None
    }
}

/// A lost goroutine or a lost wake-up shows as a test that does not end.
#[test]
fn a_tree_of_work_is_done_once_and_completely() {
    for depth in [0, 1, 5, 14] {
        let world = World::new((2 << depth) - 1);
        scope(|scope| {
            world.global.push(task(depth), Lane::Plain);
            world.obey(scope, world.idle.notify());
        });
        assert_eq!(world.left.load(Ordering::Relaxed), 0);
        assert!(!world.any_work());
        assert!(world.next_seat.load(Ordering::Relaxed) <= MACHINES);
    }
}

/// Work that trickles in from outside, so that all sleep between two submissions, or are about to.
#[test]
fn submissions_from_outside_meet_sleeping_machines() {
    const TASKS: usize = 5_000;
    let world = World::new(TASKS);
    scope(|scope| {
        for n in 0..TASKS {
            world.global.push(task(0), Lane::Plain);
            world.obey(scope, world.idle.notify());
            if n % 64 == 0 {
                // Waits until the machines have run dry.
                while world.left.load(Ordering::Acquire) > TASKS - n - 1 {
                    std::thread::yield_now();
                }
            }
        }
    });
    assert_eq!(world.left.load(Ordering::Relaxed), 0);
}

/// One owner, three thieves, and nothing lost in the ring or beside it.
#[test]
fn thieves_and_owner_share_without_loss() {
    const ITEMS: usize = 100_000;
    let queue = LocalQueue::<Box<usize>>::new();
    let seen: Vec<AtomicUsize> = (0..ITEMS).map(|_| AtomicUsize::new(0)).collect();
    let done = AtomicBool::new(false);
    let see = |item: Box<usize>| seen[*item].fetch_add(1, Ordering::Relaxed);
    scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mine = LocalQueue::new();
                // SAFETY: the queue is this thread's own.
                let me = unsafe { mine.owner() };
                while !done.load(Ordering::Acquire) {
                    queue.steal_into(&me, Next::Take { patience: 0 }).map(see);
                    while let Some((item, _)) = me.pop() {
                        see(item);
                    }
                }
            });
        }
        let global = RefCell::new(Vec::new());
        // SAFETY: this thread is the only owner.
        let owner = unsafe { queue.owner() };
        for item in 0..ITEMS {
            match item % 3 {
                0 => owner.push_next(Box::new(item), &global),
                _ => owner.push_back(Box::new(item), &global),
            }
            if item % 7 == 0 {
                owner.pop().map(|(item, _)| see(item));
            }
        }
        while let Some((item, _)) = owner.pop() {
            see(item);
        }
        done.store(true, Ordering::Release);
        global.take().into_iter().for_each(|item| {
            see(item);
        });
    });
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
}
