//! To std and libc a goroutine is a thread: what belongs to a thread belongs to it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::panic::{catch_unwind, panic_any};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use crate::driver::{hop, in_both_modes, own_tls, yield_now};
use sched_core::tls::Mode;

thread_local! {
    static NOTES: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<usize> = const { Cell::new(7) };
}

#[test]
fn a_goroutine_runs_and_ends() {
    in_both_modes(|driver| {
        let ran = Arc::new(AtomicUsize::new(0));
        let seen = ran.clone();
        driver.run(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_borrowed_thread_local_stays_borrowed_over_migrations() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            NOTES.with_borrow_mut(|notes| {
                for step in 0..20 {
                    notes.push(step);
                    hop();
                    assert_eq!(notes.len(), step + 1);
                }
            });
        });
        NOTES.with_borrow(|notes| assert!(notes.is_empty(), "it was not the driver's variable"));
    });
}

#[test]
fn interleaved_goroutines_have_their_own() {
    in_both_modes(|driver| {
        let mut tasks = (0..4)
            .map(|own| {
                driver.task(move || {
                    for step in 0..10 {
                        COUNT.set(own * 100 + step);
                        yield_now();
                        assert_eq!(COUNT.get(), own * 100 + step);
                    }
                })
            })
            .collect::<Vec<_>>();
        while !tasks.is_empty() {
            tasks.retain_mut(|task| !driver.resume(task));
        }
    });
}

#[test]
fn errno_is_kept() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            for value in 1..20 {
                // SAFETY: the running thread's errno.
                unsafe { *libc::__errno_location() = value };
                hop();
                // SAFETY: as above.
                assert_eq!(unsafe { *libc::__errno_location() }, value);
            }
        });
    });
}

#[test]
fn panics_are_counted_and_caught_where_they_happen() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            struct YieldsInDrop;
            impl Drop for YieldsInDrop {
                fn drop(&mut self) {
                    assert!(thread::panicking());
                    hop();
                    assert!(thread::panicking(), "the panic count stayed behind");
                }
            }
            let caught = catch_unwind(|| {
                let _unwound = YieldsInDrop;
                panic_any(42);
            });
            assert_eq!(caught.expect_err("it panics").downcast_ref(), Some(&42));
            assert!(!thread::panicking());
        });
        assert!(!thread::panicking());
    });
}

#[test]
fn destructors_of_thread_locals_run_at_the_end_and_before_finish() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            yield_now();
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local!(static HELD: RefCell<Option<Counts>> = const { RefCell::new(None) });
    in_both_modes(|driver| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let counts = Counts(dropped.clone());
        driver.run(move || HELD.set(Some(counts)));
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_recycled_slot_has_fresh_thread_locals() {
    in_both_modes(|driver| {
        let ids = Arc::new(Mutex::new(HashSet::<ThreadId>::new()));
        for _ in 0..20 {
            let ids = ids.clone();
            driver.run(move || {
                assert_eq!(COUNT.replace(1000), 7);
                NOTES.with_borrow_mut(|notes| {
                    assert!(notes.is_empty());
                    notes.push(1);
                });
                assert!(ids.lock().expect("no panic").insert(thread::current().id()));
            });
        }
        assert!(driver.slots.stock() + driver.slots.used() <= 1, "one slot served all");
    });
}

#[test]
fn malloc_format_and_collections_work_over_migrations() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let mut kept = Vec::new();
            for step in 0..200 {
                kept.push(format!("{step} {:?}", thread::current().id()));
                if step % 10 == 0 {
                    hop();
                    kept.truncate(50);
                }
            }
        });
    });
}

#[test]
fn pthread_keys_follow_the_goroutine_and_are_destroyed_with_it() {
    static DESTROYED: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn destroy(value: *mut libc::c_void) {
        DESTROYED.fetch_add(value as usize, Ordering::Relaxed);
    }
    let mut key = 0;
    // SAFETY: a key of our own.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(destroy)) }, 0);
    in_both_modes(|driver| {
        for _ in 0..3 {
            DESTROYED.store(0, Ordering::Relaxed);
            driver.run_migrating(move || {
                // SAFETY: the key exists for the whole test.
                unsafe {
                    assert!(libc::pthread_getspecific(key).is_null());
                    libc::pthread_setspecific(key, 5 as *const libc::c_void);
                    hop();
                    assert_eq!(libc::pthread_getspecific(key) as usize, 5);
                }
            });
            assert_eq!(DESTROYED.load(Ordering::Relaxed), 5);
        }
    });
}

#[test]
fn this_machine_has_own_tls_or_says_why_not() {
    match own_tls() {
        Mode::OwnTls(_) => {}
        // What a processor, a kernel or a libc may lack; a probe that fails is another matter.
        Mode::Threads { why } => {
            assert!(
                ["wrfsbase", "shadow stacks", "own TLS exists"]
                    .iter()
                    .any(|lack| why.contains(lack)),
                "{why}"
            );
        }
    }
}
