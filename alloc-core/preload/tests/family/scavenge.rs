//! The thread that gives memory back: when it starts, when it acts, and forks beside it.

use std::{
    env,
    hint::black_box,
    io::Read,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::{CHILD, command, fill, preloaded};

/// Threads of this process that give memory back.
fn scavengers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    // A thread that ends meanwhile has no name any more.
    names.filter(|name| name.as_ref().is_ok_and(|name| name == "scavenger\n")).count()
}

/// How often the thread that gives memory back has slept.
fn naps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let told = tasks.filter_map(|task| std::fs::read_to_string(task.join("status")).ok());
    let own = told.filter(|status| status.starts_with("Name:\tscavenger\n"));
    let line = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    own.map(line).sum()
}

/// Takes and frees 64 MiB, and waits until they are no longer resident.
fn burst() {
    // SAFETY: the block is used within its length and freed once; the calls have no preconditions.
    unsafe {
        let block = libc::malloc(64 << 20);
        fill(block, 64 << 20);
        libc::free(block);
        while libc::mallinfo2().fordblks > 8 << 20 {
            libc::sched_yield();
        }
    }
}

#[test]
fn memory_goes_back_by_itself_also_in_a_child() {
    preloaded("scavenge::memory_goes_back_by_itself_also_in_a_child", || {
        // SAFETY: the child runs code of ours, and ends without exit handlers; the alarm ends
        // whoever waits in vain.
        unsafe {
            libc::alarm(300);
            assert_eq!(scavengers(), 0, "small processes have no such thread");
            burst();
            assert_eq!(scavengers(), 1);
            let child = libc::fork();
            if child == 0 {
                libc::alarm(300);
                burst();
                libc::_exit(if scavengers() == 1 { 7 } else { 8 });
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status:#x}");
        }
    });
}

/// Beside 512 MiB in use 64 MiB are freed, of which `share` keeps a tenth of the others.
#[test]
fn the_environment_chooses_when_memory_goes_back() {
    let name = "scavenge::the_environment_chooses_when_memory_goes_back";
    if env::var_os(CHILD).is_some() {
        // SAFETY: as in `burst`.
        unsafe {
            libc::alarm(300);
            let (used, block) = (libc::malloc(512 << 20), libc::malloc(64 << 20));
            fill(block, 64 << 20);
            libc::free(block);
            let free = || libc::mallinfo2().fordblks >> 20;
            match env::var("ALLOC_SCAVENGE").unwrap().as_str() {
                "never" => assert!(scavengers() == 0 && free() > 52),
                "share" => {
                    while free() > 52 {
                        libc::sched_yield();
                    }
                    let before = naps();
                    while naps() < before + 3 {
                        libc::sched_yield();
                    }
                    assert!(free() > 48, "a tenth stays");
                }
                _ => {
                    while free() > 8 {
                        libc::sched_yield();
                    }
                }
            }
            libc::free(used);
        }
        return;
    }
    for (policy, odd) in [("never", false), ("share", false), ("eager", false), ("often", true)] {
        let ran = command(name).env("ALLOC_SCAVENGE", policy).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{policy}: {said}");
        let line =
            "alloc_preload: ALLOC_SCAVENGE takes age, share, eager or never: taken for age\n";
        assert_eq!(said.contains(line), odd, "{policy}: {said}");
    }
}

/// Threads of this process. Allocates nothing, and so starts none.
fn threads() -> usize {
    let mut text = [0; 4096];
    let length = std::fs::File::open("/proc/self/status").unwrap().read(&mut text).unwrap();
    let (text, name) = (&text[..length], b"\nThreads:\t");
    let at = text.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

#[test]
fn a_heap_that_grows_by_calloc_alone_gets_the_thread() {
    preloaded("scavenge::a_heap_that_grows_by_calloc_alone_gets_the_thread", || {
        let before = threads();
        // SAFETY: the call has no preconditions.
        let block = unsafe { libc::calloc(64, 1 << 20) };
        assert_eq!(threads(), before + 1);
        // SAFETY: freed once.
        unsafe { libc::free(black_box(block)) };
    });
}

#[test]
fn a_heap_that_grows_by_realloc_alone_gets_the_thread() {
    preloaded("scavenge::a_heap_that_grows_by_realloc_alone_gets_the_thread", || {
        // SAFETY: the calls have no preconditions; what the second returns is freed once.
        unsafe {
            let block = libc::malloc(1 << 20);
            let before = threads();
            let block = libc::realloc(block, 64 << 20);
            assert_eq!(threads(), before + 1);
            libc::free(black_box(block));
        }
    });
}

static FORKS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn fork_in_handler(_signal: libc::c_int) {
    // SAFETY: the child ends at once.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(7);
        }
        let mut status = 0;
        while libc::waitpid(child, &mut status, 0) < 0 {}
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 7 {
            libc::abort();
        }
    }
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Is inside of the allocator most of the time, with the lock of the page heap, which the scavenger wants as well.
fn churn(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let blocks: Vec<_> = (33..48).map(|n| Vec::<u8>::with_capacity(n << 16)).collect();
        drop(black_box(blocks));
    }
}

/// The scavenger is in the middle of a step most of the time, too.
#[test]
fn a_handler_that_interrupts_the_allocator_may_fork_beside_the_thread() {
    let name = "scavenge::a_handler_that_interrupts_the_allocator_may_fork_beside_the_thread";
    if env::var_os(CHILD).is_none() {
        let ran = command(name).env("ALLOC_SCAVENGE", "eager").output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        return;
    }
    // SAFETY: zeros are a valid `sigaction`; the handler calls what such may; the alarm ends whoever waits in vain.
    unsafe {
        libc::alarm(300);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = fork_in_handler as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (to, from) = mpsc::channel();
        let done = &done;
        scope.spawn(move || {
            // SAFETY: the call has no preconditions.
            to.send(unsafe { libc::pthread_self() }).unwrap();
            churn(done);
        });
        let target = from.recv().unwrap();
        // Interrupted again and again, it might not come so far before the end.
        while scavengers() == 0 {
            thread::yield_now();
        }
        while FORKS.load(Ordering::Relaxed) < 200 {
            let before = FORKS.load(Ordering::Relaxed);
            // SAFETY: the thread runs until `done`.
            unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
            while FORKS.load(Ordering::Relaxed) == before {
                thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    // The kernel's list is cut short where the other thread, which has just ended, stood in it.
    assert!((0..1000).any(|_| scavengers() == 1));
}
