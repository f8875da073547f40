//! A runtime with nothing to do makes no system calls: none of its threads wakes up.
//!
//! A thread that sleeps makes no system call, and one that was woken and sleeps again has given up its processor
//! of its own accord once more. So the kernel's counts of that, per thread, are the witness: no thread comes, none
//! goes, and no count changes. `QUIET_MS` says for how long; the promise is 10 s:
//!
//! ```text
//! QUIET_MS=10000 cargo test -p runtime --test quiet
//! ```
//!
//! `.ci/run quiet` does that, under strace where there is one: then every system call of every thread is counted as well.

use std::{collections::BTreeMap, env, fs, thread, time::Duration};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

/// How often each thread but the caller has gone to sleep, by number and name, and whether it sleeps.
fn sleeps() -> BTreeMap<(u64, String), (u64, bool)> {
    let own = fs::read_link("/proc/thread-self").expect("proc is mounted");
    let own = own.file_name().expect("it ends with a number").to_owned();
    let tasks = fs::read_dir("/proc/self/task").expect("proc is mounted");
    let others = tasks.filter_map(Result::ok).filter(|task| task.file_name() != own);
    // One that has gone meanwhile is not there.
    others
        .filter_map(|task| {
            Some((task.path(), fs::read_to_string(task.path().join("status")).ok()?))
        })
        .map(|(path, status)| {
            let field = |name: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(name));
                line.expect("the kernel tells it").trim().to_owned()
            };
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            let switches = field("voluntary_ctxt_switches:").parse().expect("a number");
            let asleep = field("State:").starts_with('S');
            ((number.expect("a number"), field("Name:")), (switches, asleep))
        })
        .collect()
}

/// Who has not slept through a period of that length. Who is to run and has no core has not.
fn changes(period: Duration) -> Vec<String> {
    let before = sleeps();
    thread::sleep(period);
    let after = sleeps();
    let slept = |key: &_| {
        let now = after.get(key);
        before.get(key) == now && now.is_some_and(|&(_, asleep)| asleep)
    };
    let known = before.keys().chain(after.keys()).filter(|key| !slept(key));
    known.map(|key| format!("{key:?}: {:?} to {:?}", before.get(key), after.get(key))).collect()
}

#[test]
fn an_idle_runtime_sleeps() {
    let length = env::var("QUIET_MS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000);
    let rt = runtime::Runtime::builder().procs(2).build().expect("threads and stacks");
    rt.run(|| {
        let jobs: Vec<_> = (0..200)
            .map(|n| {
                runtime::go(move || {
                    runtime::sleep(Duration::from_micros(n));
                    drop(vec![0_u8; 10_000]);
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.join().expect("no panic"));
    });
    let (tx, rx) = runtime::chan::bounded::<()>(1);
    let waiting = rt.go(move || rx.recv().is_ok());

    // What was begun is ended first: memory goes back once it has aged for a second or two, spare threads arrive.
    let settles = Duration::from_millis(1_500);
    let settled = (0..40).any(|_| changes(settles).is_empty());
    assert!(settled, "it does not come to rest: {:#?}", changes(settles));
    let woken = changes(Duration::from_millis(length));
    assert!(woken.is_empty(), "somebody woke within {length} ms of nothing to do: {woken:#?}");

    // And it is there when it is wanted.
    tx.send(()).expect("somebody receives");
    assert!(waiting.join().expect("no panic"));
}
