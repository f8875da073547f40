//! Calls that leave errno alone, whatever comes of them: an allocation that succeeds must not change it, nor must a
//! free, and a system call that fails on the way need not mean that they do. The preloaded library has such calls too.

/// Makes a call, and puts errno back.
pub fn kept<R>(call: impl FnOnce() -> R) -> R {
    // SAFETY: errno is this thread's, and in place as long as the thread.
    unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let answer = call();
        *errno = before;
        answer
    }
}
