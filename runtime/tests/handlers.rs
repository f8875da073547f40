//! Handlers of the program's signals, on the thread of a goroutine that they interrupt in the middle of what takes
//! the heap's locks: an allocation from its P's cache, a fork, an allocation of the collected heap, a method of the
//! heap itself; or anywhere. They allocate, and fork. Each test ends by a signal if it hangs.

use std::alloc::Layout;
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use runtime::{Runtime, gc};

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

/// Signals and the alarm are the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// Takes the lock of the page heap: above 2 MiB no block waits in a slot.
const LOCKS: Layout = Layout::new::<[u8; 3 << 20]>();

/// Handlers that have ended.
static SERVED: AtomicUsize = AtomicUsize::new(0);

fn pair() {
    // SAFETY: the block is used within its length, and freed once.
    unsafe {
        let block = std::alloc::alloc(LOCKS);
        // A panic would unwind out of the handler.
        if block.is_null() {
            libc::abort();
        }
        block.write_bytes(7, 100);
        std::alloc::dealloc(block, LOCKS);
    }
}

/// Forks, and waits for the child, which allocates and ends.
fn fork() {
    // SAFETY: the child uses the allocator, and ends at once.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::alarm(300);
            pair();
            libc::_exit(7);
        }
        let mut status = 0;
        while libc::waitpid(child, &mut status, 0) < 0 {}
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 7 {
            libc::abort();
        }
    }
}

extern "C" fn on_signal_allocate(_signal: libc::c_int) {
    (0..5).for_each(|_| pair());
    SERVED.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn on_signal_fork(_signal: libc::c_int) {
    fork();
    SERVED.fetch_add(1, Ordering::Relaxed);
}

/// The kernel's number of the calling thread, as libc's is the goroutine's own.
fn thread_id() -> i32 {
    // SAFETY: no preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Allocates for longer than a slice, on one thread and one stack.
extern "C" fn on_signal_take_long(_signal: libc::c_int) {
    let (thread, canaries) = (thread_id(), std::hint::black_box([0x5eed_usize; 256]));
    for n in 0..8_000 {
        drop(std::hint::black_box(vec![1_u8; 10 + n % 1_000]));
        if thread_id() != thread {
            // SAFETY: no preconditions.
            unsafe { libc::abort() };
        }
    }
    if std::hint::black_box(canaries).iter().any(|&canary| canary != 0x5eed) {
        // SAFETY: no preconditions.
        unsafe { libc::abort() };
    }
    SERVED.fetch_add(1, Ordering::Relaxed);
}

fn install(handler: extern "C" fn(libc::c_int), flags: libc::c_int) {
    // SAFETY: zeros are a valid `sigaction`, and the handlers use the allocator, `fork` and atomics only.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART | flags;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()), 0);
    }
}

/// Sends the signal to the thread that `target` names, as soon as it names one, and waits for its handler; `times`
/// times.
fn send(target: &AtomicI32, times: usize) {
    let end = SERVED.load(Ordering::Relaxed) + times;
    while SERVED.load(Ordering::Relaxed) < end {
        let before = SERVED.load(Ordering::Relaxed);
        let target = target.load(Ordering::Relaxed);
        if target == 0 {
            thread::yield_now();
            continue;
        }
        // SAFETY: the default action of the alarm ends the process if no handler ends any more; a thread of this
        // process, whose runtime ends later.
        unsafe {
            libc::alarm(600);
            libc::syscall(libc::SYS_tgkill, libc::getpid(), target, libc::SIGUSR1);
        }
        while SERVED.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
    }
}

/// Has a goroutine do `work` again and again, and a signal for which there is `handler` interrupt it `times` times.
fn interrupt(handler: extern "C" fn(libc::c_int), times: usize, work: impl Fn() + Sync) {
    let _alone = ALONE.lock().unwrap();
    install(handler, libc::SA_ONSTACK);
    let (done, target) = (AtomicBool::new(false), AtomicI32::new(0));
    let rt = Runtime::builder().procs(1).build().unwrap();
    thread::scope(|threads| {
        threads.spawn(|| {
            send(&target, times);
            done.store(true, Ordering::Relaxed);
        });
        rt.run(|| {
            let _stays = runtime::lock_os_thread();
            target.store(thread_id(), Ordering::Relaxed);
            while !done.load(Ordering::Relaxed) {
                work();
            }
        });
    });
}

#[test]
fn a_handler_that_interrupts_a_goroutines_allocation_may_fork() {
    interrupt(on_signal_fork, 100, pair);
}

#[test]
fn a_handler_that_would_interrupt_a_goroutines_fork_comes_after_it() {
    interrupt(on_signal_allocate, 20_000, fork);
}

#[test]
fn a_handler_that_interrupts_a_collected_allocation_may_allocate() {
    // Each slice has a span of its own, and so takes the lock of the page heap.
    interrupt(on_signal_allocate, 1_000, || {
        std::hint::black_box(gc::enter().alloc_slice(std::iter::repeat_n(0_u8, 70_000)));
    });
}

#[test]
fn a_handler_that_interrupts_a_free_by_the_heap_itself_may_allocate() {
    interrupt(on_signal_allocate, 1_000, || {
        // SAFETY: the layout has a size, and the block is freed once.
        unsafe {
            let block = NonNull::new(std::alloc::alloc(LOCKS)).unwrap();
            alloc_core::global::heap().free(block);
        }
    });
}

#[test]
fn a_handler_that_allocates_stays_on_its_thread_though_others_wait() {
    for flags in [libc::SA_ONSTACK, 0] {
        let _alone = ALONE.lock().unwrap();
        install(on_signal_take_long, flags);
        let (done, target) = (AtomicBool::new(false), AtomicI32::new(0));
        let slice = Duration::from_micros(300);
        let rt = Runtime::builder().procs(2).preempt_after(slice).stack_bytes(256 << 10).build();
        let rt = rt.unwrap();
        thread::scope(|threads| {
            threads.spawn(|| {
                send(&target, 20);
                done.store(true, Ordering::Relaxed);
            });
            rt.scope(|scope| {
                for _ in 0..3 {
                    scope.go(|| {
                        while !done.load(Ordering::Relaxed) {
                            target.store(thread_id(), Ordering::Relaxed);
                        }
                    });
                }
            });
        });
    }
}
