//! The queues as sequential machines: lanes, lists, batches, and the ring against a plain queue.

use std::cell::RefCell;
use std::collections::VecDeque;

use proptest::prelude::*;
use sched_core::queue::{
    inject::{BATCH, Inject},
    lanes::{Lane, WOKEN_STREAK},
    list::List,
    local::{CAPACITY, LocalQueue, Next},
};

#[allow(dead_code, reason = "each test file uses its own part")]
#[path = "common/item.rs"]
mod item;
use item::{Ref, item};

const HALF: usize = CAPACITY / 2;

type Sink = RefCell<Vec<Box<usize>>>;

fn ids(items: impl Iterator<Item = Ref>) -> Vec<u32> {
    items.map(|item| item.0.number).collect()
}

fn drained(queue: &Inject<Ref>, hurry: bool) -> Vec<u32> {
    ids(core::iter::from_fn(|| queue.pop(hurry)))
}

fn push(queue: &Inject<Ref>, ids: impl Iterator<Item = u32>, lane: Lane) {
    ids.for_each(|id| queue.push(item(id), lane));
}

#[test]
fn lists_join() {
    let mut list: List<Ref> = (3..5).map(item).collect();
    list.append((5..7).map(item).collect());
    list.append(List::new());
    assert_eq!(list.len(), 4);
    assert_eq!(ids(list), (3..7).collect::<Vec<_>>());
}

#[test]
fn woken_go_first_but_not_for_ever() {
    let queue = Inject::new();
    push(&queue, 0..2, Lane::Plain);
    push(&queue, 100..140, Lane::Woken);
    let order = drained(&queue, false);
    let streak = WOKEN_STREAK as usize;
    assert!(order[..streak].iter().all(|&id| id >= 100));
    assert_eq!((order[streak], order[2 * streak + 1]), (0, 1));
    assert_eq!(order.len(), 42);
}

#[test]
fn a_share_is_bounded_by_procs_batch_and_room() {
    let queue = Inject::new();
    queue.append((0..1_000).map(item).collect(), Lane::Plain);
    assert_eq!(queue.take(4, 256, false).len(), BATCH);
    assert_eq!(queue.take(100, 256, false).len(), 872 / 100 + 1);
    assert_eq!(queue.take(1, 3, false).len(), 3);
    assert_eq!(queue.len(), 1_000 - 128 - 9 - 3);
}

#[test]
fn the_woken_lane_can_be_asked_for_alone() {
    let queue = Inject::new();
    push(&queue, 1..2, Lane::Plain);
    assert!(queue.pop_first(false).is_none());
    push(&queue, 2..3, Lane::Woken);
    assert!(queue.has_first(false));
    assert_eq!(queue.pop_first(false).map(|woken| woken.0.number), Some(2));
    assert_eq!(drained(&queue, false), [1]);
    assert!(queue.is_empty() && !queue.has_first(false));
}

#[test]
fn holders_wait_for_their_turn_unless_there_is_a_hurry() {
    let queue = Inject::new();
    let fill = || {
        push(&queue, 0..2, Lane::Plain);
        push(&queue, 10..11, Lane::Holder);
        push(&queue, 2..3, Lane::Plain);
        push(&queue, 11..12, Lane::Holder);
    };
    fill();
    assert!(!queue.has_first(false));
    assert_eq!(drained(&queue, false), [0, 1, 10, 2, 11]);
    fill();
    assert!(queue.has_first(true));
    assert_eq!(drained(&queue, true), [10, 11, 0, 1, 2]);
}

#[test]
fn a_batch_has_at_most_one_holder() {
    let queue = Inject::new();
    push(&queue, 0..1, Lane::Plain);
    push(&queue, 10..12, Lane::Holder);
    push(&queue, 1..3, Lane::Plain);
    let batches: Vec<_> = (0..4).map(|_| ids(queue.take(1, 256, false))).collect();
    assert_eq!(batches, [vec![0], vec![10], vec![11, 1, 2], vec![]]);
}

#[test]
fn a_hurry_does_not_starve_the_others() {
    let queue = Inject::new();
    push(&queue, 0..1, Lane::Plain);
    push(&queue, 10..30, Lane::Holder);
    let order = drained(&queue, true);
    assert_eq!(order[WOKEN_STREAK as usize], 0);
    assert_eq!(order.len(), 21);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Back,
    Next,
    Pop,
    Steal,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Back), 2 => Just(Step::Next), 3 => Just(Step::Pop), 1 => Just(Step::Steal)
    ];
    proptest::collection::vec(step, 0..2_000)
}

/// What a queue is, without the ring.
#[derive(Default)]
struct Oracle {
    next: Option<usize>,
    ring: VecDeque<usize>,
    global: Vec<usize>,
}

impl Oracle {
    fn back(&mut self, item: usize) {
        if self.ring.len() == CAPACITY {
            self.global.extend(self.ring.drain(..HALF));
            self.global.push(item);
        } else {
            self.ring.push_back(item);
        }
    }

    fn steal(&mut self) -> Option<(usize, Vec<usize>)> {
        let n = (self.ring.len() - self.ring.len() / 2).min(HALF);
        let mut taken: Vec<usize> = self.ring.drain(..n).collect();
        Some((taken.pop()?, taken))
    }
}

proptest! {
    #[test]
    fn agrees_with_a_plain_queue(steps in steps()) {
        let (queue, sink) = (LocalQueue::new(), Sink::default());
        // SAFETY: the only user.
        let owner = unsafe { queue.owner() };
        let mut oracle = Oracle::default();
        for (item, step) in steps.into_iter().enumerate() {
            match step {
                Step::Back => {
                    owner.push_back(Box::new(item), &sink);
                    oracle.back(item);
                }
                Step::Next => {
                    owner.push_next(Box::new(item), &sink);
                    if let Some(old) = oracle.next.replace(item) {
                        oracle.back(old);
                    }
                }
                Step::Pop => {
                    let expected = oracle.next.take().or_else(|| oracle.ring.pop_front());
                    prop_assert_eq!(owner.pop().map(|(item, _)| *item), expected);
                }
                Step::Steal => {
                    let other = LocalQueue::new();
                    // SAFETY: the only user.
                    let thief = unsafe { other.owner() };
                    let run = queue.steal_into(&thief, Next::Leave);
                    let rest: Vec<usize> =
                        core::iter::from_fn(|| thief.pop_front()).map(|item| *item).collect();
                    prop_assert_eq!(run.map(|run| (*run, rest)), oracle.steal());
                }
            }
        }
        let global: Vec<usize> = sink.borrow().iter().map(|item| **item).collect();
        prop_assert_eq!(global, oracle.global);
    }
}
