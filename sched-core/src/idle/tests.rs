use super::*;
use crate::bell::Roused;
use core::time::Duration;

fn spins(release: Release) -> (usize, Spinning) {
    match release {
        Release::Search { proc, spinning } => (proc, spinning),
        Release::Idle => panic!("there was work"),
    }
}

fn numbers(idle: &Idle) -> (usize, usize) {
    (idle.spinning(), idle.idle_procs())
}

#[test]
fn one_wake_at_a_time() {
    let idle = Idle::new(4, 4);
    for proc in 0..3 {
        assert_eq!(idle.release(proc, None, || unreachable!()), Release::Idle);
    }
    let wake = idle.notify().expect("three Ps are idle");
    assert!(idle.notify().is_none(), "one looks already");
    let next = idle.found(wake.spinning).expect("two Ps are idle");
    assert_eq!(numbers(&idle), (1, 1));
    assert_eq!(idle.release(next.proc, Some(next.spinning), || false), Release::Idle);
    assert_eq!(numbers(&idle), (0, 2));
}

#[test]
fn a_submitter_without_idle_procs_makes_the_next_release_search() {
    let idle = Idle::new(4, 4);
    assert!(idle.notify().is_none());
    assert!(idle.notify().is_none());
    let (proc, spinning) = spins(idle.release(3, None, || unreachable!()));
    assert_eq!((proc, numbers(&idle)), (3, (1, 0)));
    assert_eq!(idle.release(3, Some(spinning), || false), Release::Idle);
    assert_eq!(numbers(&idle), (0, 1));
}

#[test]
fn a_retired_spinner_that_sees_work_spins_again() {
    let idle = Idle::new(2, 4);
    let spinning = idle.try_spin(2).expect("two are busy");
    let (proc, spinning) = spins(idle.release(1, Some(spinning), || true));
    assert_eq!((proc, numbers(&idle)), (1, (1, 0)));
    assert!(idle.found(spinning).is_none());
}

#[test]
fn a_retired_spinner_whose_proc_is_gone_leaves_need() {
    let idle = Idle::new(2, 4);
    let spinning = idle.try_spin(2).expect("two are busy");
    let taken = || idle.take_proc().is_some();
    assert_eq!(idle.release(1, Some(spinning), taken), Release::Idle);
    let (_, spinning) = spins(idle.release(0, None, || unreachable!()));
    assert_eq!(idle.release(0, Some(spinning), || false), Release::Idle);
}

#[test]
fn at_most_half_of_the_busy_ones_spin() {
    let idle = Idle::new(4, 4);
    let first = idle.try_spin(4).expect("0 < 4");
    let second = idle.try_spin(4).expect("2 < 4");
    assert!(idle.try_spin(4).is_none());
    assert_eq!(idle.release(0, Some(first), || false), Release::Idle);
    assert_eq!(idle.release(1, Some(second), || false), Release::Idle);
}

#[test]
fn an_ordered_machine_counts_before_it_exists() {
    let idle = Idle::new(2, 4);
    idle.add_machine();
    assert_eq!(idle.rest(0), None);
    let asleep = idle.census();
    assert_eq!((asleep.sleeping, asleep.machines), (1, 1));
    assert_eq!(idle.take_host(), Host::Sleeper(0));
    assert_eq!(idle.take_host(), Host::New);
    assert_eq!(idle.rest(0), None);
    assert_ne!(idle.census().sleeping, idle.census().machines);
    idle.remove_machine();
    assert_eq!(idle.census().sleeping, idle.census().machines);
}

#[test]
fn idle_procs_are_retired_first_and_then_those_that_are_released() {
    let idle = Idle::new(4, 4);
    for proc in [0, 1] {
        assert_eq!(idle.release(proc, None, || false), Release::Idle);
    }
    idle.retire_procs(3);
    assert_eq!((idle.surplus(), idle.idle_procs()), (1, 0));
    assert_eq!(idle.release(2, None, || unreachable!()), Release::Idle);
    assert_eq!((idle.surplus(), idle.idle_procs(), idle.take_proc()), (0, 0, None));
    assert_eq!(idle.release(3, None, || false), Release::Idle);
    assert_eq!((idle.idle_procs(), idle.take_proc()), (1, Some(3)));
}

#[test]
fn a_watch_ends_with_the_next_need_even_if_one_stands() {
    let idle = Idle::new(2, 4);
    assert!(idle.notify().is_none(), "all Ps are busy: this leaves need");
    let queued = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let any = || queued.load(Ordering::Acquire) != 0;
            idle.watch(Duration::from_secs(3600), any, || false);
        });
        queued.store(1, Ordering::Release);
        assert!(idle.notify().is_none());
    });
    assert!(idle.notify().is_none());
}

#[test]
fn a_watch_beside_queued_work_or_beyond_its_limit_was_not_told() {
    let idle = Idle::new(2, 4);
    assert_eq!(idle.watch(Duration::from_secs(3600), || true, || false), Roused::Woken);
    assert_eq!(idle.watch(Duration::from_micros(1), || false, || false), Roused::Woken);
    assert_eq!(idle.watch(Duration::from_micros(1), || false, || true), Roused::Due);
}

#[test]
fn one_more_stays_or_comes_back_or_must_be_made() {
    let idle = Idle::new(4, 4);
    assert_eq!(idle.release(7, None, || false), Release::Idle);
    idle.retire_procs(2);
    assert_eq!(idle.recall_proc(), Recall::Stays);
    assert_eq!(idle.recall_proc(), Recall::Back(7));
    assert_eq!(idle.recall_proc(), Recall::None);
}

#[test]
fn a_spinner_that_is_retired_beside_work_leaves_need() {
    let idle = Idle::new(4, 4);
    let spinning = idle.try_spin(2).expect("two are busy");
    idle.retire_procs(1);
    assert_eq!(idle.release(1, Some(spinning), || true), Release::Idle);
    assert_eq!((idle.surplus(), numbers(&idle)), (0, (0, 0)));
    let (proc, _) = spins(idle.release(0, None, || unreachable!()));
    assert_eq!(proc, 0, "the one that stays looks around");
}
