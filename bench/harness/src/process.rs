//! This process, as the kernel knows it: its memory, and the thread that runs.

use std::fs;

/// Bytes that are resident now.
///
/// # Panics
///
/// If /proc cannot be read: then there is nothing to measure.
pub fn resident_bytes() -> u64 {
    status_kib("VmRSS:") * 1024
}

/// Bytes of page tables now. They are not among those that are resident.
///
/// # Panics
///
/// If /proc cannot be read.
pub fn page_table_bytes() -> u64 {
    status_kib("VmPTE:") * 1024
}

/// The most bytes that were ever resident.
///
/// # Panics
///
/// If /proc cannot be read.
pub fn peak_bytes() -> u64 {
    status_kib("VmHWM:") * 1024
}

/// The kernel's number of the calling thread. A goroutine's `ThreadId` stays when its thread changes; this does not.
pub fn thread() -> i32 {
    // SAFETY: a system call without arguments.
    unsafe { libc::gettid() }
}

/// A field of /proc/self/status that is given in KiB.
fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|kib| kib.parse().ok()).expect("the kernel reports its memory in KiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_resident() {
        let before = resident_bytes();
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident_bytes() >= before + (60 << 20));
        assert!(peak_bytes() >= touched.len() as u64);
    }
}
