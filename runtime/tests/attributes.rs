//! `#[runtime::test]`: a test on a goroutine.

use runtime::{chan, go};

#[runtime::test]
fn a_test_runs_on_a_goroutine() {
    let (tx, rx) = chan::rendezvous();
    go(move || tx.send(1).unwrap());
    assert_eq!(rx.recv(), Ok(1));
}

#[runtime::test]
fn a_test_may_return_a_result_that_is_not_send() -> Result<(), Box<dyn std::error::Error>> {
    let (tx, rx) = chan::bounded(1);
    tx.send(1)?;
    assert_eq!(rx.recv()?, 1);
    Ok(())
}

#[runtime::test]
#[should_panic(expected = "as expected")]
fn a_test_may_panic() {
    go(|| ()).join().unwrap();
    panic!("as expected");
}
