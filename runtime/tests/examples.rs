//! The examples that check themselves do what they say.

#[path = "../examples/lisp.rs"]
mod lisp;

#[test]
fn interpreters_in_many_goroutines_agree() {
    lisp::main();
}
