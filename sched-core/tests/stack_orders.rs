//! A goroutine may ask for a larger stack.

mod common;
#[path = "common/dig.rs"]
mod dig;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use common::{MODES, in_both_modes, with};
use dig::dig;
use sched_core::{
    Config, Error, NoHooks, Scheduler, Spawn, SpawnError,
    stack::{LARGEST_STACK, Slots, SlotsConfig, StackError},
    tls::{Surplus, probe},
};

#[test]
fn each_size_is_had_and_can_be_used() {
    in_both_modes(2, |scheduler| {
        let usual = scheduler.config().stack_bytes;
        for bytes in [0, usual, usual + 1, 4 * usual, 4 * usual + 1, 20 << 20, LARGEST_STACK] {
            let how = Spawn::new().stack_bytes(bytes);
            // A quarter is left for TLS, guard, and other frames.
            let depth = bytes.max(usual) / 4 * 3;
            let deep = scheduler.spawn_with(how, move || dig(depth)).expect("it is open");
            assert!(deep.join().expect("no panic") >= depth);
        }
    });
}

#[test]
fn a_size_that_no_stack_has_is_an_error_that_tells_the_largest() {
    in_both_modes(1, |scheduler| {
        let refused = scheduler.spawn_with(Spawn::new().stack_bytes(usize::MAX), || ());
        let Err(SpawnError::StackTooLarge { most }) = refused else {
            panic!("it was let in: {refused:?}");
        };
        let largest = scheduler.spawn_with(Spawn::new().stack_bytes(most), || 7);
        assert_eq!(largest.expect("it is had").join().expect("no panic"), 7);
    });
}

#[test]
fn a_usual_size_of_nothing_is_the_least_that_works() {
    for thread_mode in MODES {
        let scheduler = with(Config { procs: 1, stack_bytes: 0, thread_mode, ..Config::default() });
        let large = Spawn::new().stack_bytes(1 << 20);
        assert_eq!(scheduler.spawn(|| 7).expect("it is open").join().expect("no panic"), 7);
        assert!(scheduler.spawn_with(large, || dig(1 << 19)).expect("it is open").join().is_ok());
        assert_eq!(scheduler.shutdown(None).left, []);
    }
}

#[test]
fn usual_sizes_beyond_the_address_space_are_errors() {
    // The last two are nothing, and little, if the bytes of a slab are counted without care.
    for stack_bytes in [usize::MAX, usize::MAX / 2, 1 << 47, 1 << 58, (1 << 58) + 4096] {
        for thread_mode in MODES {
            let config = Config { procs: 1, stack_bytes, thread_mode, ..Config::default() };
            let refused = Scheduler::new(config, Arc::new(NoHooks));
            assert!(matches!(refused, Err(Error::Stacks(StackError::NoMemory))), "{refused:?}");
        }
        let slots =
            Slots::new(SlotsConfig { stack_bytes, ..SlotsConfig::default() }, probe(Surplus::Take));
        assert_eq!(slots.prepare(1), Err(StackError::NoMemory));
    }
}

#[test]
fn sizes_do_not_mix() {
    in_both_modes(2, |scheduler| {
        let sizes = [0, 1 << 20, 4 << 20];
        let ended = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..300)
            .map(|n| {
                let (bytes, ended) = (sizes[n % 3], Arc::clone(&ended));
                let deep = move || {
                    let dug = dig(bytes / 4 * 3);
                    sched_core::yield_now();
                    ended.fetch_add(1, Ordering::Relaxed);
                    dug
                };
                scheduler.spawn_with(Spawn::new().stack_bytes(bytes), deep).expect("it is open")
            })
            .collect();
        for (n, goroutine) in all.into_iter().enumerate() {
            assert!(goroutine.join().expect("no panic") >= sizes[n % 3] / 4 * 3);
        }
        assert_eq!(ended.load(Ordering::Relaxed), 300);
    });
}
