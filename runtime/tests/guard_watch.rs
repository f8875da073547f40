//! A guard that keeps a collection waiting for a second is reported, once, with its holder's name. The
//! test runs itself again and reads what that writes.

mod again;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use again::again;
use runtime::gc;

/// A goroutine, started by another one, keeps its guard until it has been reported, and for a while longer.
#[test]
#[ignore = "run by the test below"]
fn program() {
    let rt = runtime::Runtime::new().unwrap();
    rt.run(|| {
        let (tx, rx) = runtime::chan::rendezvous();
        let holder = runtime::go(move || {
            let _guard = gc::enter();
            tx.send(()).unwrap();
            std::io::stdin().read_line(&mut String::new()).unwrap();
            let age = || gc::heap().waiting().expect("the guard is held").age;
            let enough = age() + Duration::from_millis(500);
            while age() < enough {
                runtime::sleep(Duration::from_millis(20));
            }
        });
        rx.recv().unwrap();
        gc::heap().request();
        println!("holder {:?}", holder.id());
        holder.join().unwrap();
    });
}

#[test]
fn the_holder_of_an_old_guard_is_named() {
    let mut child = again("program")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut reports = lines.filter(|line| line.starts_with("gc: "));
    let line = reports.next().expect("the guard is reported");
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(reports.next(), None, "one line about one guard");
    assert!(child.wait().unwrap().success());
    assert!(line.contains(" started by 1 at runtime/tests/guard_watch.rs:"), "{line}");
    let waited = line.strip_prefix("gc: a collection has waited ").expect(&line);
    let (seconds, _) = waited.split_once("s for guards: ").expect(&line);
    assert!(seconds.parse::<f64>().expect(&line) >= 1.0, "{line}");
}
