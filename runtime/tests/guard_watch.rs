//! A guard that keeps a collection waiting for a second is reported, once, with its holder's name. The
//! test runs itself again and reads what that wrote.

use std::process::Command;
use std::time::Duration;

use runtime::gc;

/// A goroutine, started by another one, keeps its guard until it must have been reported.
#[test]
#[ignore = "run by the test below"]
fn program() {
    let rt = runtime::Runtime::new().unwrap();
    rt.run(|| {
        let (tx, rx) = runtime::chan::rendezvous();
        let holder = runtime::go(move || {
            let _guard = gc::enter();
            tx.send(()).unwrap();
            let since = || gc::heap().waiting().map_or(Duration::ZERO, |waiting| waiting.age);
            while since() < Duration::from_millis(1500) {
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
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env_remove("GODEBUG")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let lines: Vec<_> = err.lines().filter(|line| line.starts_with("gc: ")).collect();
    let [line] = lines[..] else { panic!("one line about one guard: {err}") };
    assert!(line.contains(" started by 1 at runtime/tests/guard_watch.rs:"), "{line}");
    assert!(line.starts_with("gc: a collection has waited 1."), "{line}");
}
