//! A shutdown comes to an end with its deadline, and says who keeps the runtime from its own.

use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use runtime::{Runtime, chan, gc};

const SOON: Option<Duration> = Some(Duration::from_millis(1));

/// Tests count on whose guard a collection waits for, and on whose runtime runs it: they take turns, and each waits
/// for the end of all runtimes that were left.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    while names_of_threads().any(|name| name.trim_end() == "sysmon") {
        thread::yield_now();
    }
    turn
}

fn names_of_threads() -> impl Iterator<Item = String> {
    let all = std::fs::read_dir("/proc/self/task").unwrap();
    // One that has ended meanwhile has no name.
    all.filter_map(|one| std::fs::read_to_string(one.ok()?.path().join("comm")).ok())
}

/// A goroutine of one runtime holds a guard; one of another asked for a collection, which waits for it.
#[test]
fn who_holds_a_guard_is_named() {
    let _alone = alone();
    let elsewhere = Runtime::new().unwrap();
    let (tell, told) = chan::rendezvous();
    let (release, wait) = chan::rendezvous::<()>();
    let line = line!() + 1;
    let holder = elsewhere.go(move || {
        let _guard = gc::enter();
        tell.send(()).unwrap();
        assert!(wait.recv().is_err());
    });
    told.recv().unwrap();

    let rt = Runtime::new().unwrap();
    collection_waits(&rt);
    let end = rt.shutdown(SOON);
    let [driver] = end.left[..] else { panic!("the driver alone: {end}") };
    assert!(driver.origin.file().ends_with("collect.rs"), "{end}");
    let guards = end.guards.as_ref().expect("a collection waits");
    let [named] = guards.holders[..] else { panic!("one holder: {end}") };
    assert_eq!((named.id, named.origin.line()), (holder.id(), line), "{end}");
    assert!(end.to_string().ends_with(&format!(" for guards of\n  {named}")), "{end}");

    drop(release);
    holder.join().unwrap();
    elsewhere.run(|| gc::collect().unwrap());
    assert!(elsewhere.shutdown(None).is_complete());
}

/// Makes the guard that the caller holds one for which a collection of `rt` waits.
fn collection_waits(rt: &Runtime) {
    rt.run(|| gc::heap().request());
    while gc::heap().waiting().is_none() {
        thread::yield_now();
    }
}

/// The caller holds the guard: it waits for the program's goroutines, and not for the collector's.
#[test]
fn a_holder_of_a_guard_does_not_wait_for_itself() {
    let _alone = alone();
    let rt = Runtime::new().unwrap();
    let guard = gc::enter();
    let works = rt.go(|| {
        while runtime::try_go(|| ()).is_ok() {
            runtime::yield_now();
        }
    });
    collection_waits(&rt);
    let end = rt.shutdown(None);
    assert!(works.is_finished());
    let [driver] = end.left[..] else { panic!("the driver alone: {end}") };
    assert!(driver.origin.file().ends_with("collect.rs"), "{end}");
    assert_eq!(end.guards.map(|guards| guards.holders), Some(Vec::new()), "a thread's");
    drop(guard);
    gc::collect().unwrap();
}

#[test]
fn a_goroutine_that_holds_a_guard_does_not_wait_for_itself() {
    for own in [false, true] {
        let _alone = alone();
        let (rt, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let (give, take) = chan::rendezvous();
        let home = if own { &rt } else { &other };
        let holder = home.go(move || {
            let _guard = gc::enter();
            let rt: Runtime = take.recv().unwrap();
            collection_waits(&rt);
            rt.shutdown(None).left.len()
        });
        give.send(rt).unwrap();
        assert_eq!(holder.join().unwrap(), 1 + usize::from(own), "the driver, and who asks");
        gc::collect().unwrap();
    }
}

#[test]
fn a_runtime_may_be_dropped_under_a_guard() {
    let _alone = alone();
    let guard = gc::enter();
    let rt = Runtime::new().unwrap();
    collection_waits(&rt);
    drop(rt);
    drop(guard);
    gc::collect().unwrap();
}

/// Each of two runtimes is shut down by a goroutine of the other. The one that has a deadline ends it for both.
#[test]
fn a_deadline_ends_the_wait_of_two_for_each_other() {
    let _alone = alone();
    let (one, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (shut_other, shut_one) = (chan::rendezvous(), chan::rendezvous());
    let shuts = |take: chan::Receiver<Runtime>, deadline| {
        move || take.recv().unwrap().shutdown(deadline).left.len()
    };
    let patient = one.go(shuts(shut_other.1, None));
    let impatient = other.go(shuts(shut_one.1, SOON));
    shut_other.0.send(other).unwrap();
    shut_one.0.send(one).unwrap();
    assert_eq!(impatient.join().unwrap(), 1, "the patient one");
    assert_eq!(patient.join().unwrap(), 0);
}

#[test]
fn a_future_that_waits_for_ever_is_left() {
    let _alone = alone();
    let rt = Runtime::new().unwrap();
    // The handle keeps it: without one nobody could wake it, and it would end.
    let _future = rt.run(|| runtime::spawn_future(std::future::pending::<()>()));
    let end = rt.shutdown(SOON);
    assert!(!end.is_complete() && end.left.is_empty() && end.guards.is_none(), "{end}");
    assert_eq!(end.futures, 1);
}
