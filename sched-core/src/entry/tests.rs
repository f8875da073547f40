use super::*;

#[test]
fn entries_nest_and_only_the_outermost_looks() {
    let words = EntryWords::new();
    words.leave();
    let outer = words.enter(&Fence);
    words.request(Request::PREEMPT);
    let inner = words.enter(&Fence);
    assert!(outer.outermost() && !inner.outermost());
    assert!(!inner.pending(), "an inner entry must not give the P away under the outer one");
    words.exit(inner);
    assert!(words.inside());
    words.exit(outer);
    assert!(!words.inside());
    assert!(words.enter(&Fence).pending());
}

#[test]
fn a_failed_take_leaves_no_bit_and_other_bits_alone() {
    let words = EntryWords::new();
    words.request(Request::PREEMPT);
    assert_eq!(words.try_take(&Fence, || unreachable!("inside")), Take::Inside);
    words.leave();
    assert_eq!(words.try_take(&Fence, || false), Take::Moved);
    assert_eq!(words.requested(), Request::PREEMPT);
}

#[test]
fn a_late_taker_leaves_the_bit_of_the_one_before() {
    let words = EntryWords::new();
    words.leave();
    assert_eq!(words.try_take(&Fence, || true), Take::Taken);
    assert_eq!(words.try_take(&Fence, || false), Take::Moved);
    assert_eq!(words.requested(), Request::TAKE);
}

#[test]
fn a_take_stands_until_the_owner_clears_it() {
    let words = EntryWords::new();
    words.leave();
    assert_eq!(words.try_take(&Fence, || true), Take::Taken);
    assert_eq!(words.requested(), Request::TAKE);
    assert_eq!(words.clear(Request::TAKE), Request::TAKE);
    assert!(words.requested().is_empty());
}

#[test]
fn reset_is_birth() {
    let words = EntryWords::new();
    words.leave();
    words.request(Request::all());
    words.reset();
    assert!(words.inside() && words.requested().is_empty());
}

#[test]
fn in_a_forked_child_the_owner_is_inside_and_entries_end_in_their_turn() {
    let words = EntryWords::new();
    words.leave();
    words.request(Request::all());
    words.survive_fork();
    assert!(words.inside() && words.requested().is_empty());
    let (outer, inner) = (words.enter(&Fence), words.enter(&Fence));
    words.survive_fork();
    words.exit(inner);
    words.exit(outer);
    assert!(words.inside());
}

#[test]
fn the_probed_barrier_takes_from_another_thread() {
    let barrier = ProbedBarrier::new();
    barrier.probe();
    let words = EntryWords::new();
    words.leave();
    let verdict = std::thread::scope(|scope| {
        scope.spawn(|| words.try_take(&barrier, || true)).join().expect("the taker returns")
    });
    assert_eq!(verdict, Take::Taken);
    assert!(words.enter(&barrier).pending());
}
