//! jemalloc 5, as tikv-jemallocator builds it by default.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

unsafe extern "C" {
    #[link_name = "_rjem_mallctl"]
    fn mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_bytes: *mut usize,
        new: *mut c_void,
        new_bytes: usize,
    ) -> c_int;
}

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The thread's own cache first, then what all arenas (4096) hold.
fn release() {
    for action in [c"thread.tcache.flush", c"arena.4096.purge"] {
        act(action);
    }
}

fn act(action: &CStr) {
    let none = ptr::null_mut();
    // SAFETY: the name ends with a zero; such an action reads and writes nothing.
    let error = unsafe { mallctl(action.as_ptr(), none, ptr::null_mut(), none, 0) };
    assert_eq!(error, 0, "{action:?}");
}

fn main() {
    bench_alloc::main("jemalloc", Some(release));
}
