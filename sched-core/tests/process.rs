//! What concerns the whole process: a stack overflow, a forked child.

mod common;

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
};

use common::{MODES, in_both_modes, scheduler};

/// Set in the child that overflows: which mode.
const CHILD: &str = "SCHED_TEST_OVERFLOW";

#[inline(never)]
fn deep(level: u64) -> u64 {
    let ballast = std::hint::black_box([level; 64]);
    if level == u64::MAX { 0 } else { deep(level + 1) + ballast[(level % 64) as usize] }
}

#[test]
fn an_overflow_names_the_goroutine_and_aborts() {
    if let Some(mode) = env::var_os(CHILD) {
        let scheduler = scheduler(1, mode == "true");
        let _ = scheduler.spawn(|| deep(0)).expect("it is open").join();
        unreachable!("an overflow is survived by nobody");
    }
    for mode in MODES {
        let child = Command::new(env::current_exe().expect("a test has a path"))
            .args(["an_overflow_names_the_goroutine_and_aborts", "--exact", "--nocapture"])
            .env(CHILD, mode.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .expect("the test can be run again");
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(said.contains("goroutine 1 has overflowed its stack"), "{said}");
    }
}

#[test]
fn a_forked_child_allocates_and_enters_without_a_p() {
    in_both_modes(2, |scheduler| {
        let status = scheduler.spawn(|| {
            // SAFETY: the child is one thread; it allocates, enters, and exits.
            match unsafe { libc::fork() } {
                0 => {
                    let text = format!("{:?}", vec![1, 2, 3]);
                    let entered = sched_core::entry::enter();
                    let fine = text.len() == 9 && entered.proc_index().is_none();
                    drop(entered);
                    // SAFETY: ends the child without running the parent's exit handlers.
                    unsafe { libc::_exit(if fine { 42 } else { 1 }) }
                }
                child => {
                    let mut status = 0;
                    // SAFETY: waits for the child just made.
                    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
                    libc::WEXITSTATUS(status)
                }
            }
        });
        assert_eq!(status.expect("it is open").join().expect("no panic"), 42);
    });
}
