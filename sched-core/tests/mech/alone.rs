//! What a process does once, or ends it: each test runs itself again in a process of its own.

use std::ffi::{CStr, CString};
use std::hint::black_box;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sched_core::tls::{Mode, Surplus, probe};

use crate::driver::{Driver, in_both_modes, own_tls, threads, yield_now};

const ALONE: &str = "MECH_ALONE";

/// In the child: runs `body`, says so, and returns `None`. Else: what the child did.
fn alone(test: &str, body: impl FnOnce()) -> Option<Output> {
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let this = std::env::current_exe().expect("a test has a program");
    let child = Command::new(this).args([test, "--exact", "--nocapture"]).env(ALONE, "1").output();
    Some(child.expect("the test can be run again"))
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
fn credentials_can_be_set_inside_and_outside() {
    assert_success(alone("alone::credentials_can_be_set_inside_and_outside", || {
        in_both_modes(|driver| {
            let set = || {
                // SAFETY: no memory is passed. The same group again: nothing changes.
                assert_eq!(unsafe { libc::setgid(libc::getgid()) }, 0);
            };
            driver.run_with_worker(move || (0..20).for_each(|_| set()));
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

/// Builds a library with one thread-local `int`, 42 at first, of the given TLS model.
fn library(model: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for a library");
    let source = folder.path().join("tls.c");
    let library = folder.path().join("libtls.so");
    std::fs::File::create(&source)
        .and_then(|mut file| {
            file.write_all(b"__thread int value = 42; int *get(void) { return &value; }")
        })
        .expect("the source can be written");
    let status = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
        .args(["-shared", "-fPIC", &format!("-ftls-model={model}"), "-o"])
        .args([&library, &source])
        .status();
    assert!(status.expect("rustc needs a cc as well").success());
    (folder, library)
}

fn open(library: &Path) -> Result<usize, String> {
    let path = CString::new(library.to_str().expect("a plain path")).expect("no NUL");
    // SAFETY: a library without constructors.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        if handle.is_null() {
            return Err(CStr::from_ptr(libc::dlerror()).to_string_lossy().into_owned());
        }
        Ok(libc::dlsym(handle, c"get".as_ptr()) as usize)
    }
}

/// The library's variable in the running thread.
fn value(get: usize) -> &'static mut i32 {
    // SAFETY: `get` is the library's function, and the variable the thread's own.
    unsafe { &mut *std::mem::transmute::<usize, extern "C" fn() -> *mut i32>(get)() }
}

/// Goroutines that are older than the library, and such as come later, in slots used before.
fn goroutines_have_their_own(driver: &Driver, library: &Path, older_see: i32) {
    let address = Arc::new(std::sync::OnceLock::new());
    let get = address.clone();
    let mut older = driver.task(move || {
        yield_now();
        let value = value(*get.get().expect("opened meanwhile"));
        assert_eq!(std::mem::replace(value, 43), older_see);
        yield_now();
        assert_eq!(*value, 43);
    });
    assert!(!driver.resume(&mut older));
    let get = *address.get_or_init(|| open(library).expect("the library can be loaded"));
    assert!(!driver.resume(&mut older));
    for _ in 0..3 {
        driver.run(move || assert_eq!(std::mem::replace(value(get), 44), 42));
    }
    assert!(driver.resume(&mut older));
    assert!(!older.panicked());
}

#[test]
fn a_library_with_dynamic_tls_can_be_loaded() {
    assert_success(alone("alone::a_library_with_dynamic_tls_can_be_loaded", || {
        let (_folder, library) = library("global-dynamic");
        in_both_modes(|driver| goroutines_have_their_own(driver, &library, 42));
    }));
}

#[test]
fn a_library_with_static_tls_is_refused() {
    assert_success(alone("alone::a_library_with_static_tls_is_refused", || {
        let (_folder, library) = library("initial-exec");
        if own_tls().is_own_tls() {
            let refusal = open(&library).expect_err("nothing is left of the surplus");
            assert!(refusal.contains("static TLS"), "{refusal}");
        }
    }));
}

#[test]
fn a_library_with_static_tls_can_be_loaded_if_the_surplus_is_kept() {
    let name = "alone::a_library_with_static_tls_can_be_loaded_if_the_surplus_is_kept";
    assert_success(alone(name, || {
        let (_folder, library) = library("initial-exec");
        let mode = probe(Surplus::Keep);
        if let Mode::OwnTls(_) = mode {
            // libc does not know the goroutines, so older ones miss the variable's first value.
            goroutines_have_their_own(&Driver::new(mode), &library, 0);
        }
    }));
}
