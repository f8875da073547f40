//! What must not compile, with the compiler's words kept.

use trybuild::TestCases;

#[test]
fn against_gc_core() {
    TestCases::new().compile_fail("tests/gc/*.rs");
}

#[test]
fn against_runtime() {
    TestCases::new().compile_fail("tests/runtime/*.rs");
}
