//! What C promises of each function, tried in a process of this binary that runs on the library.
//!
//! Rust's own allocations go to libc's functions as well, so the test harness itself runs on it there.

#[path = "../common/mod.rs"]
mod common;
mod scavenge;

use std::{
    env,
    ffi::{c_int, c_void},
    os::unix::process::ExitStatusExt,
    ptr, thread,
};

use common::{CHILD, command, preloaded};

unsafe extern "C" {
    fn pvalloc(size: usize) -> *mut c_void;
    fn valloc(size: usize) -> *mut c_void;
}

fn set_errno(value: c_int) {
    // SAFETY: errno is this thread's.
    unsafe { *libc::__errno_location() = value };
}

fn errno() -> c_int {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() }
}

/// Calls `f` and returns its result with the errno that it left, which was 0.
fn with_errno<T>(f: impl FnOnce() -> T) -> (T, c_int) {
    set_errno(0);
    let value = f();
    (value, errno())
}

fn fill(block: *mut c_void, bytes: usize) {
    // SAFETY: the block is live and that long.
    unsafe { block.cast::<u8>().write_bytes(0xa5, bytes) };
}

const SIZES: [usize; 12] = [0, 1, 8, 15, 16, 24, 100, 4_096, 32_768, 32_769, 1 << 20, 100 << 20];

#[test]
fn blocks_are_aligned_and_as_long_as_asked() {
    preloaded("blocks_are_aligned_and_as_long_as_asked", || {
        for size in SIZES {
            // SAFETY: each block is used within its length, and freed once.
            unsafe {
                let (block, error) = with_errno(|| libc::malloc(size));
                assert!(!block.is_null() && block.addr() % 16 == 0 && error == 0);
                let usable = libc::malloc_usable_size(block);
                assert!(usable >= size && usable <= size + size / 4 + 8_192, "{size}: {usable}");
                fill(block, usable);
                set_errno(5);
                libc::free(block);
                assert_eq!(errno(), 5, "free leaves errno alone");
                let zeroed = libc::calloc(size, 1).cast::<u8>();
                assert!((0..size).all(|i| *zeroed.add(i) == 0));
                libc::free(zeroed.cast());
            }
        }
        // SAFETY: null is allowed.
        unsafe {
            libc::free(ptr::null_mut());
            assert_eq!(libc::malloc_usable_size(ptr::null_mut()), 0);
        }
    });
}

#[test]
fn sizes_that_cannot_be_are_refused_with_enomem() {
    preloaded("sizes_that_cannot_be_are_refused_with_enomem", || {
        let most = isize::MAX as usize;
        // SAFETY: no block is made but the first, which each call leaves as it is.
        unsafe {
            let block = libc::malloc(100);
            fill(block, 100);
            for size in [most - 8, most + 1, usize::MAX - 4_096, usize::MAX] {
                let refused = (ptr::null_mut(), libc::ENOMEM);
                assert_eq!(with_errno(|| libc::malloc(size)), refused);
                assert_eq!(with_errno(|| libc::calloc(size, 1)), refused);
                assert_eq!(with_errno(|| libc::realloc(block, size)), refused);
                assert_eq!(with_errno(|| libc::memalign(4_096, size)), refused);
                assert_eq!(with_errno(|| valloc(size)), refused);
                assert_eq!(with_errno(|| pvalloc(size)), refused);
                let mut out = ptr::null_mut();
                assert_eq!(libc::posix_memalign(&mut out, 64, size), libc::ENOMEM);
                assert!(out.is_null());
            }
            let half = 1 << 33;
            assert_eq!(with_errno(|| libc::calloc(half, half)).1, libc::ENOMEM);
            assert_eq!(with_errno(|| libc::reallocarray(block, half, half)).1, libc::ENOMEM);
            assert!((0..100).all(|i| *block.cast::<u8>().add(i) == 0xa5));
            libc::free(block);
        }
    });
}

#[test]
fn realloc_keeps_contents_and_knows_null_and_zero() {
    preloaded("realloc_keeps_contents_and_knows_null_and_zero", || {
        // SAFETY: the block is used within the length that it has at the time.
        unsafe {
            let mut block = libc::realloc(ptr::null_mut(), 1).cast::<u8>();
            let mut length = 1;
            *block = 1;
            let steps = [2, 17, 33, 1_000, 40_000, 39_000, 3 << 20, 90 << 20, 5_000, 600, 3, 200];
            for step in steps {
                block = libc::realloc(block.cast(), step).cast();
                assert_eq!(block.addr() % 16, 0);
                for i in 0..step.min(length) {
                    assert_eq!(*block.add(i), (i % 251) as u8 + 1, "{i} of {length} to {step}");
                }
                (0..step).for_each(|i| *block.add(i) = (i % 251) as u8 + 1);
                length = step;
            }
            let block = libc::reallocarray(block.cast(), 10, 30);
            assert_eq!(*block.cast::<u8>().add(199), 200);
            // As glibc: freed, null, and no error.
            assert_eq!(with_errno(|| libc::realloc(block, 0)), (ptr::null_mut(), 0));
            let empty = libc::realloc(ptr::null_mut(), 0);
            assert!(!empty.is_null());
            libc::free(empty);
        }
    });
}

#[test]
fn alignments_are_kept_or_refused() {
    preloaded("alignments_are_kept_or_refused", || {
        // SAFETY: each block is used within its length, and freed once.
        unsafe {
            for shift in 3..=26 {
                for size in [0, 1, 100, 5_000, 70_000] {
                    let align = 1 << shift;
                    let mut block = ptr::null_mut();
                    assert_eq!(libc::posix_memalign(&mut block, align, size), 0);
                    for block in [
                        block,
                        libc::aligned_alloc(align, size),
                        libc::memalign(align, size),
                        libc::memalign(align - 1, size),
                    ] {
                        assert!(!block.is_null() && block.addr() % align == 0, "{align} {size}");
                        fill(block, size);
                        let block = libc::realloc(block, size + 1);
                        libc::free(block);
                    }
                }
            }
            let mut out = ptr::null_mut();
            for align in [0, 1, 4, 24, usize::MAX] {
                set_errno(0);
                assert_eq!(libc::posix_memalign(&mut out, align, 10), libc::EINVAL);
                assert_eq!((errno(), out.is_null()), (0, true));
            }
            assert_eq!(with_errno(|| libc::aligned_alloc(24, 48)), (ptr::null_mut(), libc::EINVAL));
            let refused = (ptr::null_mut(), libc::EINVAL);
            assert_eq!(with_errno(|| libc::memalign(usize::MAX / 2 + 2, 8)), refused);
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let (one, whole) = (valloc(10), pvalloc(page + 1));
            assert!(one.addr() % page == 0 && whole.addr() % page == 0);
            assert!(libc::malloc_usable_size(whole) >= 2 * page);
            libc::free(one);
            libc::free(whole);
        }
    });
}

#[test]
fn memory_given_back_lowers_the_account() {
    preloaded("memory_given_back_lowers_the_account", || {
        // SAFETY: the block is freed once; the calls have no preconditions.
        unsafe {
            let block = libc::malloc(50 << 20);
            fill(block, 50 << 20);
            assert!(libc::mallinfo2().hblkhd >= 50 << 20);
            assert!((50 << 20..60 << 20).contains(&libc::mallinfo().hblkhd));
            // Never touched; more than the older function can tell.
            let huge = libc::malloc(3 << 30);
            assert_eq!(libc::mallinfo().hblkhd, c_int::MAX);
            libc::free(huge);
            libc::free(block);
            libc::malloc_trim(0);
            let left = libc::mallinfo2();
            assert!(left.hblkhd < 50 << 20 && left.fordblks < 10 << 20);
            assert_eq!(libc::malloc_trim(0), 0);
        }
    });
}

#[test]
fn mistakes_are_named_if_the_environment_asks_for_it() {
    let name = "mistakes_are_named_if_the_environment_asks_for_it";
    if env::var_os(CHILD).is_some() {
        // SAFETY: it is not; that is what the test is about. The second call does not return.
        unsafe {
            let block = libc::malloc(40);
            libc::free(block);
            libc::free(block);
        }
        return;
    }
    let ran = command(name).env("ALLOC_HARDEN", "1").output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.signal(), Some(libc::SIGABRT));
    assert!(said.contains("double free"), "{said}");
}

#[test]
fn threads_work_after_a_library_with_thread_locals_was_loaded() {
    preloaded("threads_work_after_a_library_with_thread_locals_was_loaded", || {
        let work = || (0..100).map(|n| n.to_string()).collect::<String>().len();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    assert_eq!(work(), 190);
                    // SAFETY: the name ends with a zero; what it loads has plain initialisers.
                    let loaded =
                        unsafe { libc::dlopen(c"libstdc++.so.6".as_ptr(), libc::RTLD_NOW) };
                    // Without that library the threads are still tried.
                    if loaded.is_null() {
                        println!("no libstdc++.so.6");
                    }
                    assert_eq!(work(), 190);
                    assert_eq!(thread::spawn(work).join().unwrap(), 190);
                });
            }
        });
    });
}

#[test]
fn a_foreign_pointer_ends_the_program_with_a_message() {
    let name = "a_foreign_pointer_ends_the_program_with_a_message";
    if env::var_os(CHILD).is_some() {
        let mut word = 0_u64;
        // SAFETY: the call does not return.
        unsafe { libc::free(ptr::from_mut(&mut word).cast()) };
        return;
    }
    let ran = command(name).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.signal(), Some(libc::SIGABRT));
    assert!(said.contains("is not a block of this allocator"), "{said}");
}
