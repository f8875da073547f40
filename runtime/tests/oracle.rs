//! Random graphs, changed by goroutines beside the runtime's collector, against a plain search: what
//! gc-core's oracle (`gc-core/tests/oracle.rs`) does to its own heap, done to this one.
//!
//! The goroutines of a round are more than the Ps, migrate, and are interrupted every 200 µs wherever they
//! are. The collector is goroutines of the same runtime, which ends with the round. Freed memory is
//! poisoned, checkmark is on, and cycles follow each other without a break.

use std::time::Duration;

use gc_core::pacer::Every;
use gc_core::policy::{Collection, WriteBarrier};
use runtime::Runtime;
use runtime::gc::{self, RuntimeHeap as Oracle};

#[path = "../../gc-core/tests/oracle/graph.rs"]
mod graph;
#[path = "../../gc-core/tests/oracle/hands.rs"]
mod hands;
#[path = "../../gc-core/tests/oracle/plan.rs"]
mod plan;
#[path = "../../gc-core/tests/oracle/register.rs"]
mod register;
#[path = "../../gc-core/tests/oracle/watch.rs"]
mod watch;
#[path = "../../gc-core/tests/oracle/world.rs"]
mod world;

use hands::Random;
use plan::{Plan, say};
use world::World;

/// Goroutines.
const THREADS: usize = 6;

/// One round's goroutines. When their runtime has ended, nobody collects or runs destructors any more.
fn round(world: &mut World, seed: u64) {
    let mut random = Random(seed | 1);
    let hybrid = if random.below(2) == 0 { WriteBarrier::Hybrid } else { WriteBarrier::Deletion };
    let stops =
        if random.below(4) == 0 { Collection::StopTheWorld } else { Collection::Concurrent };
    let rt = Runtime::builder()
        .procs([1, 2, 4, 8][random.below(4)])
        .preempt_after(Duration::from_micros(200))
        .build()
        .expect("threads and stacks");
    // The last runtime that is made decides, and this is it.
    world.heap.set_pacer(Every(128 << 10));
    world.heap.set_write_barrier(hybrid);
    world.heap.set_collection(stops);
    world.heap.set_checkmark(true);
    world.heap.space().set_poison(true);
    let shared = &*world;
    let left: Vec<_> = rt.scope(|scope| {
        let work = |n| {
            let mut random = Random(seed.wrapping_mul(2 * n as u64 + 1) | 1);
            move || shared.work(n, &mut random)
        };
        let goroutines: Vec<_> = (0..THREADS).map(|n| scope.go(work(n))).collect();
        goroutines.into_iter().flat_map(|goroutine| goroutine.join().unwrap()).collect()
    });
    drop(rt);
    world.keep(left);
}

// One test: the heap is the process's.
#[test]
fn who_lives_is_who_is_reachable() {
    let plan = Plan::read();
    say(format_args!("GC_STRESS_SEED={}", plan.seed));
    gc::heap().space().set_poison(true);
    let mut world = World::new(plan, gc::heap().clone());
    let watching = world.watch.begin(plan.seed, &world.heap);
    world.run(round);
    let left = world.heap.collect().expect("no guard is held");
    assert_eq!((left.marked_objects, world.heap.usage().doomed), (0, 0), "nothing is left");
    watching.agreed();
}
