//! What the kernel tells of a thread of this process: for tests that wait until one waits.

use std::{format, fs, string::String};

/// The number of the calling thread.
pub(crate) fn number() -> libc::pid_t {
    // SAFETY: the call has no preconditions.
    unsafe { libc::gettid() }
}

/// A line of what is told; `None` of a thread that has ended.
fn line(thread: libc::pid_t, of: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(':'))?;
    Some(String::from(line.trim()))
}

/// Whether it sleeps.
pub(crate) fn sleeps(thread: libc::pid_t) -> bool {
    line(thread, "State").is_some_and(|state| state.starts_with('S'))
}

/// Whether it keeps a signal off.
pub(crate) fn blocks(thread: libc::pid_t, signal: libc::c_int) -> bool {
    let mask = line(thread, "SigBlk").expect("a thread that is there");
    u64::from_str_radix(&mask, 16).unwrap() & 1 << (signal - 1) != 0
}
