//! Wall time and CPU time.

use std::time::{Duration, Instant};

/// The wall time that `work` takes.
pub fn timed(work: impl FnOnce()) -> Duration {
    let began = Instant::now();
    work();
    began.elapsed()
}

/// The CPU time that all threads of this process have used so far, in user space and the kernel.
pub fn process_cpu() -> Duration {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The CPU time that the calling thread has used so far, likewise.
pub fn thread_cpu() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(failed, 0, "there is no clock {clock}");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_cpu_time() {
        let began = process_cpu();
        let mut sum = 0_u64;
        while process_cpu() == began {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(process_cpu() > began);
        assert!(thread_cpu() <= process_cpu());
    }
}
