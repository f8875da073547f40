//! How many processors the process may use, told without memory: std asks the same, and ends the process if its
//! buffers are refused.
//!
//! What the scheduler allows is one number; the quota of a control group (version 2), or of one around it, may be
//! less. Names and numbers are read onto the stack, and a name that is too long for that counts as no quota.

use std::thread;

/// How many threads can run at once.
pub(super) fn count() -> u32 {
    let allowed = system::allowed().unwrap_or_else(|| {
        thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
    });
    system::quota().map_or(allowed, |quota| allowed.min(quota))
}

#[cfg(all(target_os = "linux", not(loom)))]
mod system {
    use std::{
        ffi::OsStr,
        fs::File,
        io::{Read, Write},
        os::unix::ffi::OsStrExt,
        path::Path,
    };

    /// More than a name that std hands to the kernel from its stack.
    const NAME: usize = 256;

    /// The processors of the mask.
    pub(super) fn allowed() -> Option<u32> {
        // SAFETY: integers, and all zeroes are an empty set.
        let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
        // SAFETY: the kernel writes no more than the size of the set.
        let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) } == 0;
        // SAFETY: it counts bits.
        let count = unsafe { libc::CPU_COUNT(&set) };
        u32::try_from(count).ok().filter(|count| done && *count != 0)
    }

    /// The least quota of the process's control groups, in whole processors.
    pub(super) fn quota() -> Option<u32> {
        let mut own = [0; 4 << 10];
        let length = File::open("/proc/self/cgroup").ok()?.read(&mut own).ok()?;
        least(&own[..length], |name| {
            let mut limit = [0; 64];
            let length = File::open(name).ok()?.read(&mut limit).ok()?;
            parse(&limit[..length])
        })
    }

    /// The least of what `read` finds in the files of the group that a process is said to be in, and of those around
    /// it.
    pub(super) fn least(own: &[u8], read: impl Fn(&Path) -> Option<u32>) -> Option<u32> {
        let mut lines = own.split(|byte| *byte == b'\n');
        let group = lines.find_map(|line| line.strip_prefix(b"0::"))?;
        let limit = |group: &Path| {
            let (mut name, group) = ([0; NAME], group.as_os_str().as_bytes());
            let mut rest = &mut name[..];
            let parts = [b"/sys/fs/cgroup", group, b"/cpu.max"];
            parts.iter().try_for_each(|part| rest.write_all(part)).ok()?;
            let length = NAME - rest.len();
            read(Path::new(OsStr::from_bytes(&name[..length])))
        };
        Path::new(OsStr::from_bytes(group)).ancestors().filter_map(limit).min()
    }

    /// Time in a period, and the period.
    pub(super) fn parse(limit: &[u8]) -> Option<u32> {
        let mut numbers =
            str::from_utf8(limit).ok()?.split_ascii_whitespace().map(str::parse::<u64>);
        let (time, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        u32::try_from(time.checked_div(period)?.max(1)).ok()
    }
}

#[cfg(not(all(target_os = "linux", not(loom))))]
mod system {
    pub(super) fn allowed() -> Option<u32> {
        None
    }

    pub(super) fn quota() -> Option<u32> {
        None
    }
}

#[cfg(all(test, target_os = "linux", not(loom)))]
mod tests {
    use super::{system::*, *};
    use std::{cell::RefCell, path::Path};

    /// Std looks at version 1 as well.
    #[test]
    fn it_is_stds_number() {
        let std = thread::available_parallelism().map_or(1, |count| count.get() as u32);
        assert!((std..=allowed().unwrap()).contains(&count()));
    }

    #[test]
    fn the_least_quota_on_the_way_up_counts() {
        let asked = RefCell::new(Vec::new());
        let read = |name: &Path| {
            asked.borrow_mut().push(name.to_str().unwrap().to_owned());
            [None, Some(2), Some(3), None][asked.borrow().len() - 1]
        };
        assert_eq!(least(b"1:cpu:/x\n0::/a/b c/d\n", read), Some(2));
        let under = |group: &str| format!("/sys/fs/cgroup{group}/cpu.max");
        assert_eq!(*asked.borrow(), ["/a/b c/d", "/a/b c", "/a", "/"].map(under));
        assert_eq!(least(b"1:cpu:/x\n", |_| Some(1)), None);
        let long = [b"0::/a/".as_slice(), &[b'x'; 300]].concat();
        assert_eq!(least(&long, |name| Some(name.as_os_str().len() as u32)), Some(23));
    }

    #[test]
    fn a_quota_is_time_in_a_period() {
        let some = [("150000 100000\n", Some(1)), ("400000 100000\n", Some(4)), ("1 2", Some(1))];
        let none = ["max 100000\n", "", "1", "1 0", "a b"].map(|limit| (limit, None));
        for (limit, quota) in some.into_iter().chain(none) {
            assert_eq!(parse(limit.as_bytes()), quota, "{limit:?}");
        }
    }
}
