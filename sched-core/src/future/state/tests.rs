use super::*;

/// One with a handle that has been polled once.
fn idle() -> State {
    let state = State::scheduled();
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.suspend(), Suspend::Idle);
    state
}

#[test]
fn a_wake_of_an_idle_one_schedules_it_once() {
    let state = idle();
    assert_eq!(state.wake(), Wake::Schedule);
    assert_eq!(state.wake(), Wake::Nothing);
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.suspend(), Suspend::Idle, "the second wake came before the poll");
}

#[test]
fn a_wake_during_a_poll_has_another_one() {
    let state = State::scheduled();
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.wake(), Wake::Nothing);
    assert_eq!(state.suspend(), Suspend::Again);
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.suspend(), Suspend::Idle);
}

#[test]
fn an_aborted_one_is_not_polled() {
    let state = idle();
    assert_eq!(state.abort(), Wake::Schedule);
    assert_eq!(state.start(), Start::Cancel);
    assert_eq!(state.complete(), Complete { detached: false, joiner: false });
    assert_eq!(state.abort(), Wake::Nothing);

    let polled = State::scheduled();
    assert_eq!(polled.start(), Start::Poll);
    assert_eq!(polled.abort(), Wake::Nothing);
    assert_eq!(polled.suspend(), Suspend::Cancel);
}

#[test]
fn one_that_nobody_can_wake_is_cancelled() {
    let state = idle();
    assert_eq!(state.drop_handle(), DropHandle::DropJoiner);
    assert_eq!(state.release(), Release::Schedule);
    assert_eq!(state.start(), Start::Cancel);
    assert_eq!(state.complete(), Complete { detached: true, joiner: false });
    assert_eq!(state.release(), Release::Free);

    let polled = State::scheduled();
    assert_eq!(polled.start(), Start::Poll);
    assert_eq!(polled.drop_handle(), DropHandle::DropJoiner);
    assert_eq!(polled.release(), Release::Named);
    assert_eq!(polled.suspend(), Suspend::Cancel);
}

#[test]
fn the_joiners_place_has_one_owner() {
    let state = State::scheduled();
    assert_eq!(state.set_joiner(), Join::Pending);
    assert!(state.has_joiner());
    assert_eq!(state.clear_joiner(), Join::Pending);
    assert_eq!(state.set_joiner(), Join::Pending);
    assert_eq!(state.start(), Start::Poll);
    assert_eq!(state.complete(), Complete { detached: false, joiner: true });
    assert_eq!((state.clear_joiner(), state.set_joiner()), (Join::Done, Join::Done));
    assert_eq!(state.drop_handle(), DropHandle::DropResult);
}

#[test]
fn what_cannot_be_freed_here_is_freed_where_it_is_started() {
    let state = State::idle();
    assert_eq!(state.wake(), Wake::Schedule);
    assert_eq!(state.start(), Start::Poll);
    let _ = state.complete();
    assert_eq!(state.release(), Release::Named);
    assert_eq!(state.release(), Release::Free);
    state.revive();
    assert_eq!(state.start(), Start::Over);
    assert_eq!(state.release(), Release::Free);
    assert_eq!(format!("{state:?}"), "done, 0 references");
}
