//! alloc-core as the global allocator without `runtime::Alloc`: no runtime may start.

use alloc_core::global::{GlobalAlloc, ThreadBinding};
use runtime::BuildError;

#[global_allocator]
static ALLOC: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

#[test]
fn a_runtime_refuses_to_start() {
    let error = runtime::Runtime::new().unwrap_err();
    assert!(matches!(error, BuildError::ForeignBinding), "{error}");
    assert!(error.to_string().contains("install `runtime::Alloc` as `#[global_allocator]`"));
}
