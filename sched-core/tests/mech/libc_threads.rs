//! What libc itself keeps per thread: owners of mutexes, signals to oneself, credentials, children.

use std::mem::{MaybeUninit, zeroed};
use std::ptr::null;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sched_core::tls::Mode;

use crate::driver::{Driver, hop, in_both_modes, own_tls, yield_now};

/// A mutex of libc's, of a kind that std does not use.
struct Mutex(Box<std::cell::UnsafeCell<libc::pthread_mutex_t>>);

// SAFETY: it is a mutex.
unsafe impl Send for Mutex {}
// SAFETY: it is a mutex.
unsafe impl Sync for Mutex {}

impl Mutex {
    fn new(
        set: unsafe extern "C" fn(*mut libc::pthread_mutexattr_t, libc::c_int) -> libc::c_int,
        kind: libc::c_int,
    ) -> Arc<Mutex> {
        // SAFETY: attributes and mutex are initialised before use, and the mutex does not move.
        unsafe {
            let mut attr = MaybeUninit::uninit();
            libc::pthread_mutexattr_init(attr.as_mut_ptr());
            assert_eq!(set(attr.as_mut_ptr(), kind), 0);
            let mutex = Mutex(Box::new(zeroed()));
            assert_eq!(libc::pthread_mutex_init(mutex.0.get(), attr.as_ptr()), 0);
            Arc::new(mutex)
        }
    }

    fn recursive() -> Arc<Mutex> {
        Mutex::new(libc::pthread_mutexattr_settype, libc::PTHREAD_MUTEX_RECURSIVE)
    }

    fn lock(&self) -> libc::c_int {
        // SAFETY: an initialised mutex.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    fn try_lock(&self) -> libc::c_int {
        // SAFETY: an initialised mutex.
        unsafe { libc::pthread_mutex_trylock(self.0.get()) }
    }

    fn unlock(&self) -> libc::c_int {
        // SAFETY: an initialised mutex.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) }
    }
}

#[test]
fn a_recursive_mutex_is_the_goroutines_and_not_the_threads() {
    in_both_modes(|driver| {
        let mutex = Mutex::recursive();
        let held = mutex.clone();
        let mut owner = driver.task(move || {
            assert_eq!((held.lock(), held.lock()), (0, 0));
            yield_now();
            assert_eq!(held.lock(), 0);
            assert_eq!((held.unlock(), held.unlock(), held.unlock()), (0, 0, 0));
        });
        assert!(!driver.resume(&mut owner));
        let wanted = mutex.clone();
        driver.run(move || assert_eq!(wanted.try_lock(), libc::EBUSY));
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(driver.resume(&mut owner)));
        });
        assert!(!owner.panicked());
        driver.run(move || assert_eq!((mutex.try_lock(), mutex.unlock()), (0, 0)));
    });
}

#[test]
fn a_robust_mutex_can_be_used() {
    in_both_modes(|driver| {
        let mutex = Mutex::new(libc::pthread_mutexattr_setrobust, libc::PTHREAD_MUTEX_ROBUST);
        driver.run_migrating(move || {
            for _ in 0..10 {
                assert_eq!(mutex.lock(), 0);
                hop();
                assert_eq!(mutex.unlock(), 0);
            }
        });
    });
}

#[test]
fn a_signal_to_oneself_arrives() {
    static HITS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn hit(_: libc::c_int) {
        HITS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only counts.
    unsafe { libc::signal(libc::SIGUSR1, hit as extern "C" fn(libc::c_int) as usize) };
    in_both_modes(|driver| {
        HITS.store(0, Ordering::Relaxed);
        driver.run_migrating(|| {
            for _ in 0..5 {
                // SAFETY: the signal has a handler.
                unsafe {
                    assert_eq!(libc::raise(libc::SIGUSR1), 0);
                    assert_eq!(libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1), 0);
                }
                hop();
            }
        });
        assert_eq!(HITS.load(Ordering::Relaxed), 10);
    });
}

/// A goroutine's number is none of the kernel's: what libc would ask the kernel by it is refused, and not
/// answered for another thread.
#[test]
fn what_is_asked_of_the_kernel_by_number_is_refused() {
    let Mode::OwnTls(_) = own_tls() else { return };
    Driver::new(own_tls()).run_migrating(|| {
        // SAFETY: plain data, and libc's own functions about the caller.
        unsafe {
            let me = libc::pthread_self();
            let mut set = zeroed::<libc::cpu_set_t>();
            let affinity = libc::pthread_getaffinity_np(me, size_of_val(&set), &mut set);
            let (mut policy, mut param) = (0, zeroed::<libc::sched_param>());
            let scheduling = libc::pthread_getschedparam(me, &mut policy, &mut param);
            let (mut clock, mut time) = (0, zeroed::<libc::timespec>());
            let named = libc::pthread_getcpuclockid(me, &mut clock) == 0;
            let told = named && libc::clock_gettime(clock, &mut time) == 0;
            let attributes = libc::pthread_getattr_np(me, &mut zeroed());
            let refused = [affinity, scheduling, attributes].map(|error| error != 0);
            assert_eq!((refused, told), ([true; 3], false));
        }
    });
}

/// The kernel counts processor time by thread: after a migration the clock is another thread's, and may go back.
#[test]
fn processor_time_and_the_kernels_number_are_the_threads() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let before = processor_time();
            // More than a thread takes to begin.
            while processor_time() < before + Duration::from_millis(50) {}
            // SAFETY: no memory is passed.
            let tid = || unsafe { libc::gettid() };
            let (thread, spent) = (tid(), processor_time());
            hop();
            assert_eq!(tid() != thread, processor_time() < spent);
        });
    });
}

/// What the calling thread has spent.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel fills in our value.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn the_processor_number_is_not_made_up() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            // SAFETY: plain data; the mask is ours, and the thread is gone after this step.
            let allowed = unsafe {
                let mut set = zeroed::<libc::cpu_set_t>();
                libc::sched_getaffinity(0, size_of_val(&set), &mut set);
                set
            };
            let last = (0..libc::CPU_SETSIZE as usize)
                // SAFETY: within the set.
                .rfind(|&cpu| unsafe { libc::CPU_ISSET(cpu, &allowed) })
                .expect("we run somewhere");
            // SAFETY: as above.
            unsafe {
                let mut set = zeroed::<libc::cpu_set_t>();
                libc::CPU_SET(last, &mut set);
                assert_eq!(libc::sched_setaffinity(0, size_of_val(&set), &set), 0);
                for _ in 0..100 {
                    assert_eq!(libc::sched_getcpu(), last as i32);
                }
                libc::sched_setaffinity(0, size_of_val(&allowed), &allowed);
            }
        });
    });
}

#[test]
fn a_forked_child_can_allocate_start_threads_and_exit() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            hop();
            for _ in 0..5 {
                // SAFETY: the child allocates, starts a thread and exits, as any thread's may with
                // glibc, which takes its own locks over a fork.
                let child = unsafe { libc::fork() };
                if child == 0 {
                    let text = format!("{:?}", std::collections::HashMap::from([(1, 2)]));
                    let length = std::thread::spawn(move || text.len()).join().unwrap_or(0);
                    // SAFETY: ends the child without its parent's exit handlers.
                    unsafe { libc::_exit(if length == 6 { 5 } else { 6 }) };
                }
                let mut status = 0;
                // SAFETY: our child.
                assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                assert_eq!((libc::WIFEXITED(status), libc::WEXITSTATUS(status)), (true, 5));
            }
        });
    });
}

#[test]
fn commands_and_threads_can_be_started_inside() {
    in_both_modes(|driver| {
        driver.run_migrating(|| {
            let output = std::process::Command::new("/bin/echo").arg("hello").output();
            assert_eq!(output.expect("echo runs").stdout, b"hello\n");
            hop();
            let answer = std::thread::spawn(|| 42).join().expect("it does not panic");
            assert_eq!(answer, 42);
        });
    });
}

/// libc's macros read tables of characters through thread-locals that it sets up in each thread.
#[test]
fn tables_of_characters_are_there() {
    unsafe extern "C" {
        fn __ctype_b_loc() -> *const *const u16;
        fn __ctype_toupper_loc() -> *const *const i32;
        fn __ctype_tolower_loc() -> *const *const i32;
    }
    in_both_modes(|driver| {
        for _ in 0..2 {
            driver.run_migrating(|| {
                for letter in ['a', 'z', '7', ' '] {
                    let c = letter as usize;
                    // SAFETY: each points to a table from -128 to 255.
                    let (bits, upper, lower) = unsafe {
                        let bits = *(*__ctype_b_loc()).add(c);
                        let upper = *(*__ctype_toupper_loc()).add(c);
                        (bits, upper, *(*__ctype_tolower_loc()).add(upper as usize))
                    };
                    assert_eq!(upper, letter.to_ascii_uppercase() as i32);
                    assert_eq!(lower, letter as i32);
                    // `_ISalpha`, on little-endian machines.
                    assert_eq!(bits & 0x400 != 0, letter.is_ascii_alphabetic());
                    hop();
                }
                // SAFETY: a number, and no place for its end.
                let number = unsafe { libc::strtod(c" 2.5x".as_ptr(), std::ptr::null_mut()) };
                assert_eq!(number, 2.5);
            });
        }
    });
}

#[test]
fn the_locale_does_not_come_from_the_slots_last_goroutine() {
    in_both_modes(|driver| {
        for _ in 0..3 {
            driver.run(|| {
                // SAFETY: names of locales; the global one is there always.
                unsafe {
                    let global = libc::uselocale(null::<libc::c_void>().cast_mut().cast());
                    assert_eq!(global as isize, -1, "the last goroutine's locale is in use");
                    let other =
                        libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), std::ptr::null_mut());
                    assert!(!other.is_null());
                    libc::uselocale(other);
                }
            });
        }
    });
}
