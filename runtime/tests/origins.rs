//! A goroutine says where in the program it was started, whichever function did it.

use std::sync::LazyLock;

use runtime::{Runtime, Spawn, block_on, go, go_with, scope, spawn_future, try_go};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());

/// Where the goroutines that exist now were started.
fn origins() -> Vec<(&'static str, u32)> {
    let all = RUNTIME.goroutines().into_iter();
    all.map(|goroutine| (goroutine.origin.file(), goroutine.origin.line())).collect()
}

/// Checks that so many exist, none of which was started by a file of the library. One that was joined may be there for a
/// moment.
fn all_are_ours(count: usize) {
    loop {
        let origins = origins();
        assert!(origins.iter().all(|(file, _)| *file == file!()), "{origins:?}");
        assert!(origins.len() >= count, "{origins:?}");
        if origins.len() == count {
            return;
        }
        std::thread::yield_now();
    }
}

/// One test, as each counts all goroutines of the runtime.
#[test]
fn the_origin_of_a_goroutine_is_the_call_that_started_it() {
    let rt = &*RUNTIME;
    assert_eq!(rt.run(origins), [(file!(), line!())], "the first of all");
    rt.go(|| all_are_ours(1)).join().unwrap();
    rt.try_go(|| all_are_ours(1)).unwrap().join().unwrap();
    rt.go_with(Spawn::new(), || all_are_ours(1)).unwrap().join().unwrap();
    rt.spawn_future(async { all_are_ours(1) }).join().unwrap();
    rt.scope(|s| s.go(|| all_are_ours(1)).join().unwrap());
    rt.run(|| {
        go(|| all_are_ours(2)).join().unwrap();
        try_go(|| all_are_ours(2)).unwrap().join().unwrap();
        go_with(Spawn::new(), || all_are_ours(2)).unwrap().join().unwrap();
        scope(|s| s.go(|| all_are_ours(2)).join().unwrap());
        block_on(spawn_future(async { all_are_ours(2) })).unwrap();
    });
}
