//! The global queue of many Ps: what lies in any shard is taken, whoever goes on and however many Ps are left.

mod common;

use std::time::{Duration, Instant};

use common::with;
use proptest::prelude::*;
use sched_core::{
    Config,
    park::{self, WaitReason},
    policy::{Cause, Chosen, Gmp, Moment, Policy, Queues, Seat, WorkSteal},
    queue::{
        list::List,
        local::CAPACITY,
        shards::{MOST, SHARE},
    },
    yield_now,
};

#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "common/item.rs"]
mod item;
use item::{Ref, item};

/// One pick in so many is for what has waited for long.
const ROUND: u32 = 61;

/// A policy's queues with the parts of some Ps, all in one hand.
struct World<Q: Queues<Ref>> {
    queues: Q,
    locals: Vec<Q::Local>,
    wanted: usize,
    tick: u32,
}

impl<Q: Queues<Ref>> World<Q> {
    fn new<P: Policy<Queues<Ref> = Q>>(policy: &P, procs: usize) -> Self {
        let queues = policy.queues::<Ref>();
        let locals = (0..procs).map(|_| queues.local()).collect();
        Self { queues, locals, wanted: procs, tick: 1 }
    }

    fn seat(&self, proc: usize) -> Seat<'_, Q::Local> {
        // SAFETY: all Ps are this thread's.
        unsafe { Seat::new(&self.locals[proc]) }
    }

    fn moment(&self) -> Moment {
        Moment::simulated(self.wanted, self.tick, 0)
    }

    fn put(&self, proc: Option<usize>, number: u32, cause: Cause) {
        let seat = proc.map(|proc| self.seat(proc));
        self.queues.put(seat, &self.moment(), item(number), cause.into());
    }

    /// The next slice of a P.
    fn pick(&mut self, proc: usize) -> Option<u32> {
        self.tick += 1;
        let picked = self.queues.pick(self.seat(proc), &self.moment());
        picked.map(|(item, _)| item.0.number)
    }

    /// What is left, as one P finds it.
    fn drained(&mut self, proc: usize) -> Vec<u32> {
        let mut all: Vec<u32> = core::iter::from_fn(|| self.pick(proc)).collect();
        all.sort_unstable();
        all
    }

    /// How often each shard's lock was taken.
    fn visits(&self) -> Vec<u64> {
        let mut visits = Vec::new();
        self.queues.traffic(&mut |taken| visits.push(taken));
        visits
    }
}

/// Of this number is what a ring refills itself with.
const HOG: u32 = u32::MAX;

/// Of this number is what comes later, and is not waited for.
const LATER: u32 = u32::MAX - 1;

/// On one P whose ring is never empty each of `waiting` comes up within the bound, though others come behind it.
fn comes_up<Q: Queues<Ref>>(world: &mut World<Q>, proc: usize, mut waiting: Vec<u32>) {
    world.put(Some(proc), HOG, Cause::Spawned);
    world.put(Some(proc), HOG, Cause::Spawned);
    let shards = world.visits().len() as u32;
    for _ in 0..ROUND * shards {
        match world.pick(proc).expect("a hog at least") {
            HOG => world.put(Some(proc), HOG, Cause::Spawned),
            number => waiting.retain(|&other| other != number),
        }
        world.put(None, LATER, Cause::Spawned);
    }
    assert_eq!(waiting, [], "in one of {shards} shards, while P {proc} goes on");
}

fn is_taken_beside_rings_that_refill<Q: Queues<Ref>>(policy: impl Policy<Queues<Ref> = Q>) {
    for proc in [0, 1, 3 * SHARE + 2] {
        let mut world = World::new(&policy, 4 * SHARE);
        (0..4).for_each(|number| world.put(None, number, Cause::Spawned));
        assert_eq!(world.visits(), [1, 1, 1, 1], "each shard has had one");
        comes_up(&mut world, proc, (0..4).collect());
    }
}

#[test]
fn what_lies_in_any_shard_is_taken_beside_rings_that_refill() {
    is_taken_beside_rings_that_refill(Gmp);
    is_taken_beside_rings_that_refill(WorkSteal);
}

fn is_taken_after_a_fall<Q: Queues<Ref>>(policy: impl Policy<Queues<Ref> = Q>) {
    // Which P is left is chance.
    for proc in [0, 1, 3 * SHARE + 2] {
        let mut world = World::new(&policy, 4 * SHARE);
        (0..4).for_each(|number| world.put(None, number, Cause::Spawned));
        world.wanted = 1;
        comes_up(&mut world, proc, (0..4).collect());
        // Woken ones come where a P is at home.
        (10..20).for_each(|number| world.put(None, number, Cause::Woken));
        let next: Vec<_> = (0..10).filter_map(|_| world.pick(proc)).collect();
        assert!(next.iter().all(|number| (10..20).contains(number)), "{next:?}");
    }
}

#[test]
fn what_lies_in_any_shard_is_taken_after_the_number_of_ps_has_fallen() {
    is_taken_after_a_fall(Gmp);
    is_taken_after_a_fall(WorkSteal);
}

/// A P that is idle otherwise, one that moves to other queues, or the last that is left.
fn is_found_by_whoever_has_nothing_else<Q: Queues<Ref>>(policy: impl Policy<Queues<Ref> = Q>) {
    for (proc, wanted) in [(0, 4 * SHARE), (2 * SHARE + 3, 4 * SHARE), (SHARE, 1)] {
        let mut world = World::new(&policy, 4 * SHARE);
        (0..40).for_each(|number| world.put(None, number, Cause::Spawned));
        let list: List<Ref> = (40..60).map(item).collect();
        world.queues.put_all(&world.moment(), list, Cause::Woken);
        assert_eq!((world.queues.len(), world.queues.is_empty()), (60, false));
        world.wanted = wanted;
        assert_eq!(world.drained(proc), Vec::from_iter(0..60));
        assert_eq!((world.queues.len(), world.queues.is_empty()), (0, true));
    }
}

#[test]
fn what_lies_in_any_shard_is_found_by_whoever_has_nothing_else() {
    is_found_by_whoever_has_nothing_else(Gmp);
    is_found_by_whoever_has_nothing_else(WorkSteal);
}

fn urgent_ones_are_met<Q: Queues<Ref>>(policy: impl Policy<Queues<Ref> = Q>) {
    for waker in 0..3 {
        let mut world = World::new(&policy, 3 * SHARE);
        for proc in 0..3 {
            world.put(Some(proc), HOG, Cause::Spawned);
            world.put(Some(proc), HOG, Cause::Spawned);
        }
        world.put(Some(waker), 7, Cause::Woken);
        assert!(world.queues.has_urgent(&world.moment()), "in the shard of P {waker}");
        // Another P does not look there, unless its goroutine gave way for that.
        let preempted = (waker + 1) % 3;
        assert_eq!(world.pick(preempted), Some(HOG));
        world.queues.expect_urgent(world.seat(preempted));
        assert_eq!(world.pick(preempted), Some(7));
        assert!(!world.queues.has_urgent(&world.moment()));
        // It looks once.
        world.put(Some(waker), 8, Cause::Woken);
        assert_eq!(world.pick(preempted), Some(HOG));
        assert_eq!(world.pick(waker), Some(8));
    }
}

#[test]
fn urgent_ones_are_met_by_the_p_that_was_made_free_for_them() {
    urgent_ones_are_met(Gmp);
    urgent_ones_are_met(WorkSteal);
}

#[test]
fn there_is_a_shard_for_so_many_ps() {
    for (procs, shards) in [(1, 1), (SHARE, 1), (SHARE + 1, 2), (1_024, 16), (1_100, MOST)] {
        assert_eq!(World::new(&Gmp, procs).visits().len(), shards, "of {procs} Ps");
        assert_eq!(World::new(&WorkSteal, procs).visits().len(), shards, "of {procs} Ps");
    }
}

#[test]
fn what_does_not_fit_into_a_ring_goes_to_the_shard_of_its_p() {
    let world = World::new(&Gmp, 2 * SHARE);
    // One in runnext, and the ring is full.
    (0..CAPACITY as u32 + 2).for_each(|number| world.put(Some(1), number, Cause::Spawned));
    assert_eq!(world.visits(), [0, 1]);
    let world = World::new(&WorkSteal, 2 * SHARE);
    (0..CAPACITY as u32 + 1).for_each(|number| world.put(Some(1), number, Cause::Spawned));
    assert_eq!(world.visits(), [0, 1]);
}

/// Of its own shard a P takes what falls to each P at home there, of another's what falls to each of all.
#[test]
fn a_share_is_by_those_who_are_at_home() {
    for (proc, share) in [(1, 128 / SHARE + 1), (0, 128 / (2 * SHARE) + 1)] {
        let mut world = World::new(&Gmp, 2 * SHARE);
        for number in 0..128 {
            // There is no room in its ring, as far as it knows.
            world.put(Some(1), number, Cause::Moved);
        }
        world.pick(proc).expect("128 wait");
        assert_eq!(world.queues.len(), 128 - share, "for P {proc}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Put(Option<usize>, Cause),
    Pick(usize),
    Expect(usize),
    Steal(usize),
    Want(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    const PROCS: usize = 2 * SHARE + 5;
    let proc = || prop_oneof![0..3_usize, SHARE - 1..SHARE + 2, PROCS - 2..PROCS];
    let cause = prop_oneof![
        Just(Cause::Spawned),
        Just(Cause::Unparked),
        Just(Cause::Woken),
        Just(Cause::Yielded),
        Just(Cause::Preempted),
        Just(Cause::Moved),
    ];
    let act = prop_oneof![
        4 => (prop::option::of(proc()), cause).prop_map(|(proc, cause)| Act::Put(proc, cause)),
        3 => proc().prop_map(Act::Pick),
        1 => proc().prop_map(Act::Expect),
        1 => proc().prop_map(Act::Steal),
        1 => (1..=PROCS).prop_map(Act::Want),
    ];
    prop::collection::vec(act, 0..400)
}

/// Whatever is done, each comes out once, and the counts are true.
fn each_comes_out_once<Q: Queues<Ref>>(policy: impl Policy<Queues<Ref> = Q>, acts: &[Act]) {
    let mut world = World::new(&policy, 2 * SHARE + 5);
    let (mut put, mut out) = (0, Vec::new());
    for &act in acts {
        match act {
            Act::Put(proc, cause) => {
                world.put(proc, put, cause);
                put += 1;
            }
            Act::Pick(proc) => out.extend(world.pick(proc)),
            Act::Expect(proc) => world.queues.expect_urgent(world.seat(proc)),
            Act::Steal(proc) => {
                let others = world.locals.iter().enumerate().filter(|(index, _)| *index != proc);
                let victims = others.map(|(_, local)| local);
                let item = world.queues.steal(world.seat(proc), &world.moment(), victims, true);
                out.extend(item.map(|item| item.0.number));
            }
            Act::Want(procs) => world.wanted = procs,
        }
        let shared = world.queues.len();
        assert_eq!(world.queues.is_empty(), shared == 0);
        let local: usize = world.locals.iter().map(Q::local_len).sum();
        assert_eq!(shared + local + out.len(), put as usize);
    }
    (0..world.locals.len()).for_each(|proc| out.extend(world.drained(proc)));
    out.sort_unstable();
    assert_eq!(out, Vec::from_iter(0..put));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_comes_out_of_the_shards_once(acts in acts()) {
        each_comes_out_once(Gmp, &acts);
        each_comes_out_once(WorkSteal, &acts);
    }
}

/// On real threads: whichever queue a goroutine is in, it ends, while the number of shards and the policy change; and
/// nobody puts into shards of Ps that are wanted and not yet made.
#[test]
fn goroutines_end_while_shards_come_and_go() {
    let (gmp, steal) = (Chosen::new(Gmp), Chosen::new(WorkSteal));
    let policy = gmp.clone();
    let scheduler = with(Config { procs: 2 * SHARE + 5, policy, ..Config::default() });
    let mut all = Vec::new();
    let changes =
        [(1, &steal), (3 * SHARE + 1, &steal), (SHARE + 1, &gmp), (2, &gmp), (SHARE, &steal)];
    for (procs, policy) in changes {
        all.extend((0..100).map(|n| {
            let sleep = move || {
                let until = Instant::now() + Duration::from_millis(n % 5);
                yield_now();
                (n, park::park_until(WaitReason::Sleep, until))
            };
            (n, scheduler.spawn(sleep).expect("it is open"))
        }));
        scheduler.set_procs(procs).expect("there is room");
        scheduler.set_policy(policy);
    }
    for (n, one) in all {
        assert_eq!(one.join().expect("no panic"), (n, park::Woken::Timeout));
    }
    assert_eq!(scheduler.shutdown(None).left, []);
}
