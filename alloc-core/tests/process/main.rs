//! The allocator where a process is at its edges: before `main`, at exit, in handlers that interrupt
//! handlers, in children of forks. Each test runs alone in a process of its own, which ends by a signal
//! if it hangs.

mod forks;
mod handlers;
mod idle;
mod resident;

use std::{
    env,
    hint::black_box,
    process::Command,
    ptr::NonNull,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering},
    },
    thread,
};

use alloc_core::global::{GlobalAlloc, ThreadBinding, heap};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

const CHILD: &str = "ALLOC_CORE_TEST";

/// Runs `body` in a new process of this binary, which must succeed; returns what it printed.
fn alone(name: &str, body: fn()) -> String {
    if env::var_os(CHILD).is_some() {
        // SAFETY: the default action of the alarm ends the process.
        unsafe { libc::alarm(600) };
        body();
        return String::new();
    }
    let binary = env::current_exe().unwrap();
    let ran = Command::new(binary).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output();
    let ran = ran.unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{name}: {}\n{out}\n{err}", ran.status);
    out.into_owned()
}

/// A block whose bytes all depend on `seed`, and its check.
fn filled(seed: usize) -> Vec<u8> {
    (0..20 + seed * 37 % 3_000).map(|i| (i + seed) as u8).collect()
}

fn is_whole(block: &[u8], seed: usize) -> bool {
    block.len() == 20 + seed * 37 % 3_000
        && block.iter().enumerate().all(|(i, &byte)| byte == (i + seed) as u8)
}

fn is_from_main_heap(block: &[u8]) -> bool {
    heap().contains(NonNull::from(block).cast())
}

static EARLY: AtomicPtr<Vec<u8>> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn before_main() {
    EARLY.store(Box::into_raw(Box::new(filled(77))), Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

#[test]
fn a_block_from_before_main_is_like_any_other() {
    // SAFETY: made by `Box::into_raw` before `main`, and taken once.
    let early = unsafe { Box::from_raw(EARLY.swap(std::ptr::null_mut(), Ordering::Relaxed)) };
    assert!(is_whole(&early, 77) && is_from_main_heap(&early));
}

struct AtTheEnd;

impl Drop for AtTheEnd {
    fn drop(&mut self) {
        let block = filled(5);
        println!("thread-local {}", is_whole(&block, 5));
    }
}

thread_local! {
    static AT_THE_END: AtTheEnd = const { AtTheEnd };
}

extern "C" fn at_exit() {
    let block = filled(6);
    println!("atexit {}", is_whole(&block, 6));
}

#[test]
fn exit_handlers_and_thread_locals_allocate_at_exit() {
    let said = alone("exit_handlers_and_thread_locals_allocate_at_exit", || {
        AT_THE_END.with(|_| ());
        // SAFETY: the handler fits.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        std::process::exit(0);
    });
    if env::var_os(CHILD).is_none() {
        assert!(said.contains("thread-local true") && said.contains("atexit true"), "{said}");
    }
}

static KEY: AtomicUsize = AtomicUsize::new(0);

/// Runs in each of the four rounds that libc grants.
extern "C" fn late(round: *mut libc::c_void) {
    let round = round.addr();
    let block = filled(round);
    assert!(is_whole(&block, round));
    // The cache is there until the last round, whatever the order of the keys.
    assert!(round == 4 || is_from_main_heap(&block), "round {round}");
    let key = KEY.load(Ordering::Relaxed) as libc::pthread_key_t;
    // SAFETY: the key is there.
    unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(round + 1)) };
}

#[test]
fn destructors_of_keys_find_the_cache_until_the_last_round() {
    alone("destructors_of_keys_find_the_cache_until_the_last_round", || {
        let mut key = 0;
        // SAFETY: the destructor fits the values.
        assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(late)) }, 0);
        KEY.store(key as usize, Ordering::Relaxed);
        let storm = || {
            for seed in 0..100 {
                let thread = thread::spawn(move || {
                    // SAFETY: the key was made above.
                    unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(1)) };
                    filled(seed)
                });
                assert!(is_whole(&thread.join().unwrap(), seed));
            }
        };
        storm();
        let before = heap().stats();
        (0..5).for_each(|_| storm());
        let after = heap().stats();
        assert!(after.small <= before.small + (1 << 20), "caches were lost: {before:?} {after:?}");
    });
}

/// Allocates and checks until told to end.
fn churn(done: &AtomicBool) {
    let mut kept: Vec<(usize, Vec<u8>)> = Vec::new();
    let mut seed = 0;
    while !done.load(Ordering::Relaxed) {
        seed += 1;
        kept.push((seed, filled(seed)));
        if kept.len() > 200 {
            let (seed, block) = kept.swap_remove(seed * 7_919 % 200);
            assert!(is_whole(&block, seed));
        }
        // Most of the time shall be spent in the allocator: some of them find no slot and go to the page heap.
        drop(black_box((5..40).map(|n| Vec::<u8>::with_capacity(n << 16)).collect::<Vec<_>>()));
    }
}

/// Is inside of the allocator most of the time: blocks above 2 MiB never wait in slots, and so take the lock of the
/// page heap. What it wrote to them, in each 64 KiB and at the beginning, it finds again.
fn churn_large(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let blocks: Vec<_> = (33..48).map(marked).collect();
        for (block, n) in black_box(blocks).iter_mut().zip(33..) {
            let mut rest = block.spare_capacity_mut().iter().skip(MARKS).step_by(MARKS);
            // SAFETY: `marked` wrote these.
            let marks = rest.all(|mark| unsafe { mark.assume_init() } == n as u8);
            // A panic would leave those waiting who send signals here.
            if !marks || !is_whole(block, n) {
                std::process::abort();
            }
        }
    }
}

/// From one mark in a block to the next.
const MARKS: usize = 1 << 16;

fn marked(n: usize) -> Vec<u8> {
    let mut block = Vec::with_capacity(n * MARKS);
    block.extend_from_slice(&filled(n));
    for mark in block.spare_capacity_mut().iter_mut().skip(MARKS).step_by(MARKS) {
        mark.write(n as u8);
    }
    block
}
