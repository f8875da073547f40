//! The examples that check themselves do what they say.

#[path = "../examples/lisp.rs"]
mod lisp;
#[path = "../examples/million.rs"]
#[allow(dead_code, reason = "its main reads the command line")]
mod million;
#[path = "../examples/pingpong.rs"]
#[allow(dead_code, reason = "its main plays for longer")]
mod pingpong;
#[path = "../examples/pipeline.rs"]
mod pipeline;

#[test]
fn interpreters_in_many_goroutines_agree() {
    lisp::main();
}

/// Two mappings for each would be too many.
#[test]
fn many_goroutines_wait_in_few_mappings() {
    million::wait(20_000);
}

#[test]
fn a_ball_goes_to_and_fro() {
    runtime::Runtime::new().unwrap().run(|| pingpong::play(20_000));
}

#[test]
fn a_pipeline_adds_up() {
    pipeline::main();
}
