//! What a process does once, or ends it: each test runs itself again in a process of its own.

mod libraries;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::driver::{Driver, hop, in_both_modes, own_tls, threads};

const ALONE: &str = "MECH_ALONE";

/// In the child: runs `body`, says so, and returns `None`. Else: what the child did.
fn alone(test: &str, body: impl FnOnce()) -> Option<Output> {
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let this = std::env::current_exe().expect("a test has a program");
    let mut child = Command::new(this);
    child.args([test, "--exact", "--nocapture"]).env(ALONE, "1").env("RUST_BACKTRACE", "1");
    Some(child.output().expect("the test can be run again"))
}

fn assert_success(child: Option<Output>) {
    if let Some(child) = child {
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{}: {said}", child.status);
        assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "it ran nothing");
    }
}

#[inline(never)]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == 0 { 0 } else { recurse(depth + 1) + frame[3] }
}

fn overflow(driver: &Driver) {
    driver.install();
    let _alt_stack = sched_core::preempt::AltStack::install().expect("memory for a stack");
    driver.run(|| {
        black_box(recurse(1));
    });
}

fn assert_overflow_reported(child: Option<Output>) {
    let Some(child) = child else { unreachable!("the child does not survive") };
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
    assert!(said.contains("has no stack left"), "{said}");
}

#[test]
fn an_overflow_is_reported_with_own_tls() {
    assert_overflow_reported(alone("alone::an_overflow_is_reported_with_own_tls", || {
        overflow(&Driver::new(own_tls()));
    }));
}

#[test]
fn an_overflow_is_reported_in_thread_mode() {
    assert_overflow_reported(alone("alone::an_overflow_is_reported_in_thread_mode", || {
        overflow(&Driver::new(threads()));
    }));
}

#[test]
fn another_fault_is_not_taken_for_an_overflow() {
    let child = alone("alone::another_fault_is_not_taken_for_an_overflow", || {
        let driver = Driver::new(own_tls());
        driver.install();
        // SAFETY: a fault is what is wanted.
        driver.run(|| unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) });
    });
    let Some(child) = child else { unreachable!("the child does not survive") };
    assert_eq!(child.status.signal(), Some(libc::SIGSEGV));
    assert!(!String::from_utf8_lossy(&child.stderr).contains("has no stack left"));
}

#[test]
fn a_panics_message_shows_the_goroutines_frames() {
    #[inline(never)]
    fn marked_frame() {
        hop();
        panic!("said by a goroutine");
    }
    let child = alone("alone::a_panics_message_shows_the_goroutines_frames", || {
        in_both_modes(|driver| {
            driver.run_migrating(|| assert!(std::panic::catch_unwind(marked_frame).is_err()));
        });
    });
    let Some(child) = child else { return };
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{said}");
    let messages: Vec<_> = said.split("said by a goroutine").skip(1).collect();
    assert_eq!(messages.len(), 2, "one for each mode: {said}");
    for message in messages {
        let trace = message.split_once("stack backtrace:").expect("it was asked for").1;
        let frames: Vec<_> = ["marked_frame", "body_of"].map(|name| trace.find(name)).into();
        assert!(frames.is_sorted() && frames[0].is_some(), "{said}");
    }
}

/// The process's supplementary groups.
fn groups() -> Vec<libc::gid_t> {
    let mut groups = vec![0; 1 << 16];
    // SAFETY: room for as many as there can be.
    let count = unsafe { libc::getgroups(groups.len() as i32, groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).expect("they can be had"));
    groups
}

/// Sets group, user and supplementary groups to what they are: what each call returns.
fn set_credentials(groups: &[libc::gid_t]) -> [i32; 3] {
    // SAFETY: a list of groups with its length.
    unsafe {
        [
            libc::setgid(libc::getgid()),
            libc::setuid(libc::getuid()),
            libc::setgroups(groups.len(), groups.as_ptr()),
        ]
    }
}

#[test]
fn credentials_can_be_set_inside_and_outside() {
    assert_success(alone("alone::credentials_can_be_set_inside_and_outside", || {
        in_both_modes(|driver| {
            let groups = groups();
            let expected = set_credentials(&groups);
            assert_eq!(expected[..2], [0, 0], "one's own are always to be had");
            let set = move || assert_eq!(set_credentials(&groups), expected);
            let set_inside = set.clone();
            driver.run_with_worker(move || (0..20).for_each(|_| set_inside()));
            // And from a plain thread, while a goroutine computes.
            let begun = Arc::new(AtomicBool::new(false));
            let done = Arc::new(AtomicBool::new(false));
            std::thread::scope(|scope| {
                let (begins, ends) = (begun.clone(), done.clone());
                scope.spawn(|| {
                    driver.run_with_worker(move || {
                        begins.store(true, Ordering::Relaxed);
                        while !ends.load(Ordering::Relaxed) {
                            std::hint::spin_loop();
                        }
                    });
                });
                while !begun.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                set();
                done.store(true, Ordering::Relaxed);
            });
        });
    }));
}
