//! A pacer of one's own: a budget of CPU for collection, whatever memory that takes.
//!
//! ```text
//! cargo run --release -p gc-core --example own_pacer
//! ```
//!
//! GOGC says how much memory a program may waste, and lets the collector take the time that this
//! takes. Here it is the other way round: collection shall take a share of the CPU, and the heap grows or
//! shrinks until it does. Such a rule needs no formula for what a cycle will cost: it looks at what the
//! last one did, and corrects the room that it leaves by as much as it was wrong, twice or half at most.
//!
//! A program that stays the same gets the share that was asked for within a dozen cycles: `settles` checks
//! that in made-up time. The work here is over after some cycles and builds its ring in the first of them, so
//! what it prints shows the direction: a smaller share has more room, and collects less often.

use std::time::Duration;

use gc_core::{
    Collector, Gc, GcCell, Heap, Plain, Trace,
    pacer::{Facts, Pacer, Target},
};

/// Collection may take this share of the CPU.
#[derive(Debug)]
struct Share {
    share: f64,
    /// Bytes to leave between what lives and the next cycle.
    room: f64,
}

impl Share {
    const LEAST: f64 = (1 << 20) as f64;
    const MOST: f64 = (1u64 << 32) as f64;

    fn new(share: f64) -> Self {
        Self { share, room: Self::LEAST }
    }

    fn target(&self, live: u64) -> Target {
        let trigger = live + self.room as u64;
        Target { trigger, goal: trigger + trigger / 4, assist: trigger * 2 }
    }
}

impl Pacer for Share {
    fn first(&self) -> Target {
        self.target(0)
    }

    fn next(&mut self, facts: Facts) -> Target {
        let taken = facts.work.as_secs_f64() / facts.period.as_secs_f64().max(1e-9);
        // At most twice or half of what it was: one odd cycle is no news.
        self.room =
            (self.room * (taken / self.share).clamp(0.5, 2.0)).clamp(Self::LEAST, Self::MOST);
        self.target(facts.live)
    }
}

/// A program that allocates a gibibyte in a second, and whose cycles take 10 ms each.
fn settles(share: f64) {
    let (mut pacer, work) = (Share::new(share), Duration::from_millis(10));
    let period = |room: f64| Duration::from_secs_f64(room / f64::from(1 << 30));
    for _ in 0..12 {
        let period = period(pacer.room);
        pacer.next(Facts { work, period, ..Facts::default() });
    }
    let taken = work.as_secs_f64() / period(pacer.room).as_secs_f64();
    assert!((taken / share - 1.0).abs() < 0.01, "{share} asked, {taken} taken");
}

#[derive(Trace)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>>,
    number: u64,
}

/// A ring of nodes lives; most of what is allocated dies at once.
fn work(heap: &Heap<Plain>, rounds: u64) {
    let ring = {
        let guard = heap.enter();
        let first = guard.alloc(Node { next: GcCell::null(), number: 0 });
        let mut last: Gc<'_, Node<'_>> = first;
        for number in 1..100_000 {
            let node = guard.alloc(Node { next: GcCell::null(), number });
            last.next.set(&guard, Some(node));
            last = node;
        }
        last.next.set(&guard, Some(first));
        guard.root(first)
    };
    for round in 0..rounds {
        let guard = heap.enter();
        for number in 0..1_000 {
            guard.alloc(Node { next: GcCell::null(), number });
        }
        assert_eq!(ring.get(&guard).number, 0, "round {round}");
    }
}

pub(crate) fn main() {
    for percent in [1, 4, 16] {
        settles(f64::from(percent) / 100.0);
        let heap = Heap::<Plain>::builder()
            .pacer(Share::new(f64::from(percent) / 100.0))
            .checkmark(cfg!(debug_assertions))
            .build(Default::default(), Default::default())
            .expect("one heap at a time");
        let collector = Collector::start(&heap).expect("a thread for the collector");
        let began = std::time::Instant::now();
        work(&heap, 4_000);
        let time = began.elapsed();
        drop(collector);
        let stats = heap.stats();
        assert!(stats.cycles > 0, "no collection in 64 MB");
        println!(
            "{percent:2} % asked: {:4.1} % of the time in marking, {:3} collections, {:4} MiB held",
            100.0 * stats.mark.as_secs_f64() / time.as_secs_f64(),
            stats.cycles,
            heap.usage().held_bytes >> 20,
        );
    }
}
