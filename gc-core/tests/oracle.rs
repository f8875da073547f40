//! Random graphs, changed by several threads beside the collector, against a plain search.
//!
//! In rounds. First threads change one graph by every kind of edge there is: cells, slices, immutable
//! fields, mutexes, reader-writer locks, onces, weak pointers, roots. Freed memory is poisoned,
//! checkmark is on, and whoever meets a node asks whether it is alive by a table outside of the heap.
//! Then all is quiet, and a search from the roots, through the same public face, says who is reachable.
//! After one collection the living must be just these; weak pointers must lead to them, and to nobody
//! else; and the cleanup queue must have told of all others.
//!
//! `runtime/tests/oracle.rs` does the same to the heap of the runtime, with goroutines.
//!
//! Rounds differ in who runs while the collector marks, and in what stores log.
//!
//! A run that does not go on says who waits for what. How a run ends that has gone wrong is a promise too:
//! `GC_STRESS_PLANT` has something go wrong ([`plan::Plant`]), and each is tried (`oracle/planted.rs`).
//!
//! A second by default; `GC_STRESS_SECONDS` and `GC_STRESS_SEED` say otherwise. A long run of both:
//!
//! ```text
//! GC_STRESS_SECONDS=60 cargo test --test oracle -p gc-core -p runtime
//! ```

use gc_core::{
    Collector, Heap,
    pacer::{Every, Facts, Pacer, Target},
    policy::{Collection, WriteBarrier},
    space::blocks::Blocks,
    world::threads::Threads,
};
use std::thread;

#[path = "oracle/graph.rs"]
mod graph;
#[path = "oracle/hands.rs"]
mod hands;
#[path = "oracle/plan.rs"]
mod plan;
#[path = "oracle/planted.rs"]
mod planted;
#[path = "oracle/register.rs"]
mod register;
#[path = "oracle/watch.rs"]
mod watch;
#[path = "oracle/world.rs"]
mod world;

use hands::Random;
use plan::{Plan, Plant, say};
use world::World;

gc_core::tag! { struct Oracle; }

const THREADS: usize = 3;

/// One round's threads.
fn round(world: &mut World, seed: u64) {
    // Every policy has its turns.
    let policy = Random(seed | 1).below(6);
    let hybrid =
        if policy.is_multiple_of(2) { WriteBarrier::Hybrid } else { WriteBarrier::Deletion };
    let stops = if policy < 2 { Collection::StopTheWorld } else { Collection::Concurrent };
    world.heap.set_write_barrier(hybrid);
    world.heap.set_collection(stops);
    let collector = Collector::start(&world.heap).unwrap();
    if world.has(Plant::Collector) {
        world.heap.set_pacer(Panics);
    }
    if world.has(Plant::Buried) {
        let node = world.roots[0].get(&world.heap.enter()).life.number;
        assert!(world.register.bury(node), "it lives");
    }
    let shared = &*world;
    let left: Vec<_> = thread::scope(|scope| {
        let random = |n| Random(seed.wrapping_mul(2 * n as u64 + 1) | 1);
        let work = |n| move || shared.work(n, &mut random(n));
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(work(n))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    world.keep(left);
    world.watch.note(THREADS, "joins the collector");
    drop(collector);
}

/// The collector's end.
struct Panics;

impl Pacer for Panics {
    fn first(&self) -> Target {
        Every(128 << 10).first()
    }

    fn next(&mut self, _: Facts) -> Target {
        panic!("the collector is planted")
    }
}

#[test]
fn who_lives_is_who_is_reachable() {
    let plan = Plan::read();
    say(format_args!("GC_STRESS_SEED={}", plan.seed));
    let heap: Heap<Oracle> = Heap::builder()
        .pacer(Every(128 << 10))
        .slice(8)
        .checkmark(true)
        .build(Blocks::poisoned(), Threads::new())
        .unwrap();
    let mut world = World::new(plan, heap);
    let watching = world.watch.begin(plan.seed, &world.heap);
    world.run(round);
    let left = world.heap.usage();
    assert_eq!((left.spans, left.doomed), (0, 0), "nothing is left");
    watching.agreed();
}
