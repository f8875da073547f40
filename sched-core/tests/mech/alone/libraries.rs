//! Libraries that are loaded while there are goroutines.

use std::ffi::{CStr, CString};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::thread;

use sched_core::tls::{Mode, Surplus, probe};

use super::{alone, assert_success};
use crate::driver::{Driver, hop, in_both_modes, own_tls, yield_now};

/// A thread-local `int`, 42 at first, and a chain of functions, each bound when it is called first.
const SOURCE: &[u8] = b"\
    __thread int value = 42;\n\
    int *get(void) { return &value; }\n\
    int three(int n) { return n + 3; }\n\
    int two(int n) { return three(n) + 2; }\n\
    int chain(int n) { return two(n) + 1 + *get(); }\n";

/// Builds a library of it, of the given TLS model.
fn library(model: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder for a library");
    let source = folder.path().join("tls.c");
    let library = folder.path().join("libtls.so");
    std::fs::File::create(&source)
        .and_then(|mut file| file.write_all(SOURCE))
        .expect("the source can be written");
    let status = Command::new(std::env::var_os("CC").unwrap_or("cc".into()))
        .args(["-shared", "-fPIC", "-Wl,-z,lazy", &format!("-ftls-model={model}"), "-o"])
        .args([&library, &source])
        .status();
    assert!(status.expect("rustc needs a cc as well").success());
    (folder, library)
}

fn open(library: &Path) -> Result<usize, String> {
    let path = CString::new(library.to_str().expect("a plain path")).expect("no NUL");
    // SAFETY: a library without constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_LAZY) };
    if handle.is_null() {
        // SAFETY: the text of the error that there was just now.
        return Err(unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy().into_owned());
    }
    Ok(handle as usize)
}

/// The address of a function of the library.
fn symbol(handle: usize, name: &CStr) -> usize {
    // SAFETY: an open library.
    let address = unsafe { libc::dlsym(handle as *mut _, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?}");
    address as usize
}

/// The library's variable in the running thread.
fn value(handle: usize) -> &'static mut i32 {
    let get = symbol(handle, c"get");
    // SAFETY: it is the library's function, and the variable the thread's own.
    unsafe { &mut *std::mem::transmute::<usize, extern "C" fn() -> *mut i32>(get)() }
}

/// Goroutines that are older than the library, and such as come later, in slots used before.
fn goroutines_have_their_own(driver: &Driver, library: &Path, older_see: i32) {
    let handle = Arc::new(OnceLock::new());
    let opened = handle.clone();
    let mut older = driver.task(move || {
        yield_now();
        let value = value(*opened.get().expect("opened meanwhile"));
        assert_eq!(std::mem::replace(value, 43), older_see);
        yield_now();
        assert_eq!(*value, 43);
    });
    assert!(!driver.resume(&mut older));
    let handle = *handle.get_or_init(|| open(library).expect("the library can be loaded"));
    assert!(!driver.resume(&mut older));
    for _ in 0..3 {
        driver.run(move || assert_eq!(std::mem::replace(value(handle), 44), 42));
    }
    assert!(driver.resume(&mut older));
    assert!(!older.panicked());
}

#[test]
fn a_library_with_dynamic_tls_can_be_loaded() {
    assert_success(alone("alone::libraries::a_library_with_dynamic_tls_can_be_loaded", || {
        let (_folder, library) = library("global-dynamic");
        in_both_modes(|driver| goroutines_have_their_own(driver, &library, 42));
    }));
}

/// The chain, called in the running thread.
fn chain(handle: usize, n: i32) -> i32 {
    let chain = symbol(handle, c"chain");
    // SAFETY: the library's function.
    unsafe { std::mem::transmute::<usize, extern "C" fn(i32) -> i32>(chain)(n) }
}

/// One goroutine loads the library, between two hops, while others run beside it on other threads. All use
/// its variable, and bind its functions, on a thread each.
fn goroutines_load_and_use(driver: &Driver, library: PathBuf) {
    let handle = Arc::new(OnceLock::new());
    let opened = handle.clone();
    let opener = driver.task(move || {
        hop();
        let handle = open(&library).expect("the library can be loaded");
        opened.set(handle).expect("nobody else opens it");
        hop();
        assert_eq!(std::mem::replace(value(handle), 7), 42);
        hop();
        assert_eq!(chain(handle, 10), 10 + 3 + 2 + 1 + 7);
    });
    let user = |number: i32| {
        let opened = handle.clone();
        driver.task(move || {
            hop();
            let handle = loop {
                match opened.get() {
                    Some(handle) => break *handle,
                    None => std::hint::spin_loop(),
                }
            };
            assert_eq!(std::mem::replace(value(handle), number), 42);
            hop();
            assert_eq!(chain(handle, 10), 10 + 3 + 2 + 1 + number);
            hop();
            assert_eq!(*value(handle), number);
        })
    };
    let mut tasks: Vec<_> = (1..=4).map(user).chain([opener]).collect();
    while !tasks.is_empty() {
        let ended = thread::scope(|scope| {
            let step = |task| scope.spawn(move || driver.resume(task));
            let steps: Vec<_> = tasks.iter_mut().map(step).collect();
            steps.into_iter().map(|step| step.join().expect("it resumes")).collect::<Vec<_>>()
        });
        assert!(tasks.iter().all(|task| !task.panicked()));
        let mut ended = ended.into_iter();
        tasks.retain(|_| !ended.next().expect("one for each"));
    }
}

#[test]
fn a_goroutine_that_moves_can_load_a_library_beside_others() {
    let name = "alone::libraries::a_goroutine_that_moves_can_load_a_library_beside_others";
    assert_success(alone(name, || {
        in_both_modes(|driver| {
            // Another one for each mode: nothing of it is loaded or bound.
            let (_folder, library) = library("global-dynamic");
            goroutines_load_and_use(driver, library);
        });
    }));
}

#[test]
fn a_library_with_static_tls_is_refused() {
    assert_success(alone("alone::libraries::a_library_with_static_tls_is_refused", || {
        let (_folder, library) = library("initial-exec");
        if own_tls().is_own_tls() {
            let refusal = open(&library).expect_err("nothing is left of the surplus");
            assert!(refusal.contains("static TLS"), "{refusal}");
        }
    }));
}

#[test]
fn a_library_with_static_tls_can_be_loaded_if_the_surplus_is_kept() {
    let name = "alone::libraries::a_library_with_static_tls_can_be_loaded_if_the_surplus_is_kept";
    assert_success(alone(name, || {
        let (_folder, library) = library("initial-exec");
        let mode = probe(Surplus::Keep);
        if let Mode::OwnTls(_) = mode {
            // libc does not know the goroutines, so older ones miss the variable's first value.
            goroutines_have_their_own(&Driver::new(mode), &library, 0);
        }
    }));
}
