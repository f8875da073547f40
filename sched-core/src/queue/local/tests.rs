use super::*;
use core::cell::RefCell;

type Sink = RefCell<Vec<Box<usize>>>;

#[test]
fn runnext_is_stolen_if_it_stays_and_not_if_it_changes() {
    let global = RefCell::new(Vec::new());
    let queue = LocalQueue::new();
    // SAFETY: this thread alone uses the owner.
    let owner = unsafe { queue.owner() };
    owner.push_next(Box::new(1), &global);
    let ping_pong = || {
        let ran = owner.pop().map(|(item, _)| item);
        owner.push_next(ran.expect("it was there"), &global);
    };
    assert_eq!(queue.take_stale_next(ping_pong), None, "the same one, put anew");
    assert_eq!(queue.take_stale_next(|| ()), Some(Box::new(1)));
    assert_eq!(queue.take_stale_next(|| ()), None);
}

#[test]
fn a_full_ring_moves_its_older_half_and_the_newcomer() {
    let queue = LocalQueue::new();
    let sink = Sink::default();
    // SAFETY: the only user.
    let owner = unsafe { queue.owner() };
    (0..=CAPACITY).for_each(|i| owner.push_back(Box::new(i), &sink));
    let moved: Vec<usize> = sink.into_inner().into_iter().map(|i| *i).collect();
    let expected: Vec<usize> = (0..HALF).chain([CAPACITY]).collect();
    assert_eq!(moved, expected);
    assert_eq!(owner.pop_front(), Some(Box::new(HALF)));
}

#[test]
fn a_theft_takes_the_larger_half_and_leaves_runnext() {
    let (victim, thief) = (LocalQueue::new(), LocalQueue::new());
    let sink = Sink::default();
    // SAFETY: the only user of both.
    let (owner, me) = unsafe { (victim.owner(), thief.owner()) };
    (0..5).for_each(|i| owner.push_back(Box::new(i), &sink));
    owner.push_next(Box::new(9), &sink);
    assert_eq!(victim.steal_into(&me, Next::Take { patience: 0 }), Some(Box::new(2)));
    assert_eq!(me.pop(), Some((Box::new(0), Slice::Fresh)));
    assert_eq!(owner.pop(), Some((Box::new(9), Slice::Inherit)));
    assert_eq!((victim.len(), thief.len()), (2, 1));
}

#[test]
fn runnext_is_stolen_only_when_asked_and_alone() {
    let (victim, thief) = (LocalQueue::new(), LocalQueue::new());
    let sink = Sink::default();
    // SAFETY: the only user of both.
    let (owner, me) = unsafe { (victim.owner(), thief.owner()) };
    owner.push_next(Box::new(1), &sink);
    assert_eq!(victim.steal_into(&me, Next::Leave), None);
    assert!(!victim.is_empty());
    assert_eq!(victim.steal_into(&me, Next::Take { patience: 0 }), Some(Box::new(1)));
    assert!(victim.is_empty() && thief.is_empty());
}

#[test]
fn a_thief_takes_no_more_than_it_has_room_for() {
    let (victim, thief) = (LocalQueue::new(), LocalQueue::new());
    let sink = Sink::default();
    // SAFETY: the only user of both.
    let (owner, me) = unsafe { (victim.owner(), thief.owner()) };
    (0..10).for_each(|i| owner.push_back(Box::new(i), &sink));
    (0..CAPACITY - 2).for_each(|i| me.push_back(Box::new(i), &sink));
    assert_eq!(victim.steal_into(&me, Next::Leave), Some(Box::new(1)));
    assert_eq!((victim.len(), me.room()), (8, 1));
}

#[test]
fn a_dropped_queue_drops_what_is_in_it() {
    let witness = std::sync::Arc::new(());
    let queue = LocalQueue::new();
    let sink = RefCell::default();
    // SAFETY: the only user.
    let owner = unsafe { queue.owner() };
    owner.push_back(witness.clone(), &sink);
    owner.push_next(witness.clone(), &sink);
    assert_eq!(std::sync::Arc::strong_count(&witness), 3);
    drop(queue);
    assert_eq!(std::sync::Arc::strong_count(&witness), 1);
}
