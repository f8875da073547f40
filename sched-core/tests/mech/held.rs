//! What a goroutine may hold over a park: guards of locks, panics in flight, a scoped thread-local.
//!
//! Each step of a goroutine here is on another kernel thread; [`hop`] makes sure of it.

use std::cell::Cell;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, RwLock, TryLockError};
use std::thread;

use crate::driver::{Driver, Task, hop, in_both_modes};

/// Resumes `task` on a thread of its own: whether it has ended.
fn step(driver: &Driver, task: &mut Task) -> bool {
    thread::scope(|s| s.spawn(|| driver.resume(task)).join().unwrap())
}

#[test]
fn guards_of_locks_are_held_by_the_goroutine_and_by_nobody_else() {
    in_both_modes(|driver| {
        let shared = Arc::new((Mutex::new(0), RwLock::new(0)));
        let held = shared.clone();
        let mut holder = driver.task(move || {
            let (mutex, rwlock) = &*held;
            let (mut one, mut other) = (mutex.lock().unwrap(), rwlock.write().unwrap());
            for _ in 0..10 {
                hop();
                *one += 1;
                *other += 1;
            }
            drop((one, other));
            let _read = rwlock.read().unwrap();
            hop();
            assert_eq!(*mutex.lock().unwrap(), 10);
        });
        assert!(!step(driver, &mut holder));
        let seen = shared.clone();
        driver.run(move || {
            assert!(matches!(seen.0.try_lock(), Err(TryLockError::WouldBlock)));
            assert!(matches!(seen.1.try_read(), Err(TryLockError::WouldBlock)));
        });
        (0..10).for_each(|_| assert!(!step(driver, &mut holder)));
        assert_eq!((*shared.0.lock().unwrap(), *shared.1.read().unwrap()), (10, 10));
        assert!(shared.1.try_write().is_err(), "it still reads");
        assert!(step(driver, &mut holder) && !holder.panicked());
    });
}

#[test]
fn a_lock_is_poisoned_by_the_goroutine_that_panics_and_not_by_its_neighbour() {
    in_both_modes(|driver| {
        let (hers, his) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        let (a, b) = (hers.clone(), his.clone());
        /// Lets the neighbour run while it is dropped, and keeps the lock.
        struct Yields<'a>(#[expect(dead_code, reason = "held")] MutexGuard<'a, ()>);
        impl Drop for Yields<'_> {
            fn drop(&mut self) {
                hop();
            }
        }
        let mut panics = driver.task(move || {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _held = Yields(a.lock().unwrap());
                resume_unwind(Box::new(()));
            }));
            assert!(caught.is_err());
        });
        assert!(!step(driver, &mut panics), "it is unwinding");
        // A guard that is dropped while its own thread unwinds would poison.
        driver.run(move || drop(b.lock().unwrap()));
        assert!(step(driver, &mut panics) && !panics.panicked());
        assert!(hers.is_poisoned() && !his.is_poisoned());
    });
}

#[test]
fn panics_nest_over_migrations() {
    fn level(depth: u32) -> u32 {
        struct Below(u32);
        impl Drop for Below {
            fn drop(&mut self) {
                hop();
                assert!(thread::panicking());
                if self.0 > 0 {
                    assert_eq!(level(self.0 - 1), self.0 - 1, "a panic inside of a panic");
                }
                assert!(thread::panicking(), "the outer one goes on");
            }
        }
        let caught = catch_unwind(|| {
            hop();
            let _below = Below(depth);
            resume_unwind(Box::new(depth));
        });
        hop();
        *caught.expect_err("it panics").downcast_ref().expect("its own payload")
    }
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            assert_eq!(level(3), 3);
            assert!(!thread::panicking());
            // By way of the hook, which prints, and counts.
            let caught = catch_unwind(|| catch_unwind(|| panic_any(1)).map_err(|_| panic_any(2)));
            assert_eq!(caught.expect_err("the outer one").downcast_ref(), Some(&2));
        });
    });
}

#[test]
fn the_lock_of_stdout_is_held_over_migrations() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            // Re-entrant: std compares the thread's id.
            let mut outer = io::stdout().lock();
            for _ in 0..5 {
                hop();
                let mut inner = io::stdout().lock();
                inner.write_all(b"").unwrap();
                hop();
                drop(inner);
                outer.flush().unwrap();
            }
        });
    });
}

/// The pattern of scoped-tls, of rustc's `tls::enter`, of tokio's and tracing's contexts: a pointer
/// to the stack in a thread-local, put back on the way out. Two users that interleave on one
/// thread-local would leave a pointer to a frame that is gone.
#[test]
fn a_scoped_thread_local_is_safe_across_parks() {
    thread_local!(static TOP: Cell<*const u64> = const { Cell::new(std::ptr::null()) });
    fn scoped<R>(value: &u64, f: impl FnOnce() -> R) -> R {
        let before = TOP.replace(value);
        let result = f();
        assert!(std::ptr::eq(TOP.replace(before), value), "somebody else's scope");
        result
    }
    fn innermost() -> u64 {
        // SAFETY: `scoped` is still on the stack.
        unsafe { *TOP.get() }
    }
    in_both_modes(|driver| {
        let mut tasks = (0..4u64)
            .map(|own| {
                let body = move || {
                    for round in 0..own + 3 {
                        scoped(&(own * 10), || {
                            hop();
                            scoped(&(own * 10 + round), || {
                                hop();
                                assert_eq!(innermost(), own * 10 + round);
                            });
                            hop();
                            assert_eq!(innermost(), own * 10);
                        });
                    }
                    assert!(TOP.get().is_null());
                };
                driver.task(body)
            })
            .collect::<Vec<_>>();
        while !tasks.is_empty() {
            tasks.retain_mut(|task| {
                let ended = step(driver, task);
                assert!(!task.panicked());
                !ended
            });
        }
        assert!(TOP.get().is_null());
    });
}
