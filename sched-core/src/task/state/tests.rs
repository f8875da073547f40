use super::*;

fn running() -> State {
    let state = State::new();
    state.resume();
    state
}

fn parked() -> State {
    let state = running();
    assert_eq!(state.begin_park(), BeginPark::Park);
    assert_eq!(state.commit_park(), CommitPark::Parked);
    state
}

#[test]
fn an_unpark_of_a_parked_one_schedules_it_once() {
    let state = parked();
    assert_eq!(state.unpark(), Unpark::Schedule);
    assert_eq!(state.unpark(), Unpark::Stored);
    state.resume();
    assert_eq!(state.begin_park(), BeginPark::Ready, "the second unpark left a permit");
    assert_eq!(state.begin_park(), BeginPark::Park, "and only one");
}

#[test]
fn a_permit_between_begin_and_commit_is_used_by_the_commit() {
    let state = running();
    assert_eq!(state.begin_park(), BeginPark::Park);
    assert_eq!(state.unpark(), Unpark::Stored);
    assert_eq!(state.commit_park(), CommitPark::Notified);
    state.resume();
    assert_eq!(state.begin_park(), BeginPark::Park);
}

#[test]
fn a_yield_keeps_the_permit() {
    let state = running();
    assert_eq!(state.unpark(), Unpark::Stored);
    state.commit_yield();
    state.resume();
    assert_eq!(state.begin_park(), BeginPark::Ready);
}

#[test]
fn the_result_is_dropped_by_the_handle_or_by_the_goroutine() {
    let kept = running();
    assert_eq!(kept.complete(), Complete::Kept);
    assert!(kept.drop_handle().result);

    let detached = running();
    assert!(!detached.drop_handle().result);
    assert_eq!(detached.complete(), Complete::Detached);
    assert_eq!(detached.finish(), Finish::Quiet);
}

#[test]
fn a_joiner_is_woken_or_is_told_at_once() {
    let waits = running();
    assert_eq!(waits.set_joiner(), Join::Pending);
    assert_eq!(waits.complete(), Complete::Kept);
    assert!(!waits.is_done(), "thread-local destructors run between complete and finish");
    assert_eq!(waits.finish(), Finish::WakeJoiner);
    assert_eq!(waits.clear_joiner(), Join::Done);
    assert_eq!(waits.unpark(), Unpark::Done);

    let late = running();
    assert_eq!(late.set_joiner(), Join::Pending);
    assert_eq!(late.clear_joiner(), Join::Pending);
    assert_eq!(late.complete(), Complete::Kept);
    assert_eq!(late.finish(), Finish::Quiet);
    assert_eq!(late.set_joiner(), Join::Done);
}

#[test]
fn a_handle_that_goes_has_its_joiner_back_before_the_end() {
    let gone = running();
    assert_eq!(gone.set_joiner(), Join::Pending);
    assert_eq!(gone.drop_handle(), DropHandle { result: false, joiner: true });
    assert_eq!(gone.complete(), Complete::Detached);
    assert_eq!(gone.finish(), Finish::Quiet);

    let between = running();
    assert_eq!(between.set_joiner(), Join::Pending);
    assert_eq!(between.complete(), Complete::Kept);
    assert_eq!(between.drop_handle(), DropHandle { result: true, joiner: true });
    assert_eq!(between.finish(), Finish::Quiet);

    let late = running();
    assert_eq!(late.set_joiner(), Join::Pending);
    assert_eq!(late.complete(), Complete::Kept);
    assert_eq!(late.finish(), Finish::WakeJoiner);
    assert_eq!(late.drop_handle(), DropHandle { result: true, joiner: false });
}

#[test]
fn reset_is_birth() {
    let state = running();
    assert_eq!(state.unpark(), Unpark::Stored);
    state.reset();
    assert_eq!(format!("{state:?}"), "runnable + interest + unsaved");
}

#[test]
fn one_is_watched_only_where_its_context_is_saved() {
    let state = State::new();
    assert!(state.watch().is_none(), "it has not run");
    state.resume();
    assert!(state.watch().is_none(), "it runs");
    state.commit_stay();
    assert!(state.watch().is_none(), "its thread waits on its stack");
    state.resume();
    state.commit_yield();
    let watch = state.watch().expect("runnable, and saved");
    assert!(state.watch().is_none(), "by one at a time");
    assert_eq!(state.unpark(), Unpark::Stored);
    assert_eq!(format!("{state:?}"), "runnable + permit + interest + watched");
    drop(watch);
    state.resume();
    assert_eq!(state.begin_park(), BeginPark::Ready, "the permit is kept");

    let woken = parked();
    assert!(woken.watch().is_none(), "it is parked");
    assert_eq!(woken.unpark(), Unpark::Schedule);
    assert!(woken.watch().is_some());
}
