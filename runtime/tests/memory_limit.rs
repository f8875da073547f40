//! The memory limit of the process, from one runtime to the next. A process of its own, and one test at a time: the
//! heap and its limit are everybody's.

use std::sync::{Mutex, MutexGuard, PoisonError};

use runtime::{BuildError, Builder, Runtime, gc::pacer::Every};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

static ALONE: Mutex<()> = Mutex::new(());

/// The only test that runs; there is no limit.
fn alone() -> MutexGuard<'static, ()> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = Builder::new().build().unwrap().shutdown(None);
    assert!(fits(LARGE));
    alone
}

const LIMIT: usize = 64 << 20;
const LARGE: usize = 100 << 20;

/// Whether so many bytes are to be had from the system: what was just freed would be had again at any limit.
fn fits(bytes: usize) -> bool {
    ALLOCATOR.release();
    Vec::<u8>::new().try_reserve_exact(bytes).is_ok()
}

#[test]
fn a_limit_ends_where_the_next_runtime_sets_none() {
    let _alone = alone();
    let limited = Builder::new().memory_limit(LIMIT).build().unwrap();
    assert!(!limited.run(|| fits(LARGE)));
    assert!(limited.shutdown(None).is_complete());
    let free = Builder::new().build().unwrap();
    assert!(free.run(|| fits(LARGE)));
}

#[test]
fn a_limit_is_replaced_by_a_larger_and_by_a_smaller_one() {
    let _alone = alone();
    let all: Vec<_> = [LIMIT, 2 * LARGE, LIMIT + (32 << 20)]
        .into_iter()
        .map(|limit| {
            let rt = Builder::new().memory_limit(limit).build().unwrap();
            assert_eq!(rt.run(|| fits(LARGE)), limit > LARGE, "{limit}");
            rt
        })
        .collect();
    assert!(all.iter().all(|rt| !rt.run(|| fits(LARGE))), "the last decides for all");
}

#[test]
fn too_small_a_limit_is_refused_with_the_least_that_would_do() {
    let _alone = alone();
    for bytes in [0, 1, 1 << 20] {
        let error = Builder::new().memory_limit(bytes).build().unwrap_err();
        let text = error.to_string();
        let BuildError::MemoryLimit { bytes: said, least } = error else { panic!("{text}") };
        assert_eq!(said, bytes);
        assert_eq!(
            text,
            format!("memory_limit is {bytes} bytes, and must be at least {least} here")
        );
        // Somewhat more: caches of new threads may have come since.
        let rt = Builder::new().memory_limit(least + (4 << 20)).build().unwrap();
        assert!(rt.run(|| fits(1 << 20) && !fits(LARGE)));
        drop(rt);
        let _ = Builder::new().build().unwrap();
    }
}

#[test]
fn a_runtime_that_cannot_be_made_leaves_the_limit_as_it_was() {
    let _alone = alone();
    let refused = |limit: usize| {
        assert!(Builder::new().memory_limit(1).build().is_err());
        assert!(Builder::new().procs(0).memory_limit(limit).build().is_err());
        assert!(Builder::new().dump_on(libc::SIGKILL).memory_limit(limit).build().is_err());
    };
    refused(LIMIT);
    assert!(fits(LARGE), "no limit");
    let limited = Builder::new().memory_limit(LIMIT).build().unwrap();
    refused(2 * LARGE);
    assert!(!limited.run(|| fits(LARGE)), "the limit of the one that was made");
}

#[test]
fn who_makes_a_pacer_may_make_a_runtime() {
    let _alone = alone();
    let make = || {
        drop(Runtime::new().unwrap());
        Every(64 << 20)
    };
    let rt = Builder::new().pacer(make).memory_limit(LIMIT).build().unwrap();
    assert!(!rt.run(|| fits(LARGE)), "its own limit came last");
}
