//! Threads of programs that know nothing of us, at their very end: libc frees after the last destructor.

mod common;

use std::{
    ffi::c_void,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use common::preloaded;

/// The kernel's number of the thread that began last.
static NUMBER: AtomicI32 = AtomicI32::new(0);

extern "C" fn only_begin(_: *mut c_void) -> *mut c_void {
    // SAFETY: the call has no preconditions. Relaxed: a number that says no more than itself.
    NUMBER.store(unsafe { libc::gettid() }, Ordering::Relaxed);
    ptr::null_mut()
}

/// Waits until the thread that begins is gone.
fn wait_for_its_end() {
    let number = loop {
        // Relaxed: as above.
        match NUMBER.swap(0, Ordering::Relaxed) {
            0 => std::thread::yield_now(),
            number => break number,
        }
    };
    // SAFETY: no signal is sent; an answer of 0 says that the thread is there.
    while unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), number, 0) } == 0 {
        std::thread::yield_now();
    }
}

/// Runs a detached thread that never allocates on a stack of the program's, and unmaps that. At its end libc frees its
/// table of thread-locals, by the thread itself.
fn detached_life() {
    const STACK: usize = 256 << 10;
    let (rights, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let (mut how, mut thread) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: all values are made by libc's functions before they are used; the stack is the thread's until it is gone.
    unsafe {
        let stack = libc::mmap(ptr::null_mut(), STACK, rights, flags, -1, 0);
        assert_ne!(stack, libc::MAP_FAILED);
        assert_eq!(libc::pthread_attr_init(how.as_mut_ptr()), 0);
        let how = how.as_mut_ptr();
        assert_eq!(libc::pthread_attr_setstack(how, stack, STACK), 0);
        assert_eq!(libc::pthread_attr_setdetachstate(how, libc::PTHREAD_CREATE_DETACHED), 0);
        let begun = libc::pthread_create(thread.as_mut_ptr(), how, only_begin, ptr::null_mut());
        assert_eq!(begun, 0);
        wait_for_its_end();
        assert_eq!(libc::munmap(stack, STACK), 0);
    }
}

#[test]
fn who_frees_after_its_last_destructor_leaves_nothing_behind() {
    preloaded("who_frees_after_its_last_destructor_leaves_nothing_behind", || {
        (0..3).for_each(|_| detached_life());
        // SAFETY: the child only ends.
        unsafe {
            // Both look at what the allocator knows of threads.
            libc::malloc_trim(0);
            let child = libc::fork();
            if child == 0 {
                libc::_exit(7);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &mut status, 0), child);
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{status:#x}");
        }
    });
}

/// Blocks that are freed by a thread which never allocates.
type Parcel = [*mut c_void; 300];

extern "C" fn only_free(parcel: *mut c_void) -> *mut c_void {
    // SAFETY: the caller lends the parcel, and gives its blocks up.
    unsafe { (*parcel.cast::<Parcel>()).iter().for_each(|&block| libc::free(block)) };
    ptr::null_mut()
}

#[test]
fn caches_of_threads_that_only_free_come_back() {
    preloaded("caches_of_threads_that_only_free_come_back", || {
        // SAFETY: blocks are freed once; the threads end before their parcels do.
        let life = || unsafe {
            let mut parcel: Parcel = [ptr::null_mut(); 300];
            parcel.iter_mut().for_each(|block| *block = libc::malloc(4_000));
            let (mut thread, parcel) = (MaybeUninit::uninit(), (&raw mut parcel).cast());
            assert_eq!(
                libc::pthread_create(thread.as_mut_ptr(), ptr::null(), only_free, parcel),
                0
            );
            assert_eq!(libc::pthread_join(thread.assume_init(), ptr::null_mut()), 0);
        };
        // SAFETY: the call has no preconditions.
        let held = || unsafe { libc::mallinfo2() }.uordblks;
        (0..8).for_each(|_| life());
        let before = held();
        (0..40).for_each(|_| life());
        assert!(held() < before + (1 << 20), "{before}, then {}", held());
    });
}
