//! A shutdown comes to an end with its deadline, and says who keeps the runtime from its own.

use std::thread;
use std::time::Duration;

use runtime::{Runtime, chan, gc};

const SOON: Option<Duration> = Some(Duration::from_millis(1));

/// A goroutine of one runtime holds a guard; one of another asked for a collection, which waits for it.
#[test]
fn who_holds_a_guard_is_named() {
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
    rt.run(|| gc::heap().request());
    while gc::heap().waiting().is_none() {
        thread::yield_now();
    }
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

#[test]
fn a_future_that_waits_for_ever_is_left() {
    let rt = Runtime::new().unwrap();
    // The handle keeps it: without one nobody could wake it, and it would end.
    let _future = rt.run(|| runtime::spawn_future(std::future::pending::<()>()));
    let end = rt.shutdown(SOON);
    assert!(!end.is_complete() && end.left.is_empty() && end.guards.is_none(), "{end}");
    assert_eq!(end.futures, 1);
}
