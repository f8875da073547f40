//! What must not compile, with the compiler's words kept. What must is in `shapes.rs`: a case that
//! passes here has all dependencies built a second time, not only checked.

#[test]
fn what_must_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
