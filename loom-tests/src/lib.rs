//! Models of the lock-free parts, run by loom over every interleaving within a bound.
//!
//! Each file in `tests/` models one protocol of a leaf crate. The code that runs in a model is the
//! production code: a leaf's `sync` module names loom's atomics under `--cfg loom` and the
//! standard library's otherwise.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p loom-tests --target-dir target-loom
//! ```
//!
//! Without `--cfg loom` the models are left out, and one test says how to run them.

/// Runs `body` under loom in every interleaving with at most `preemptions` involuntary switches.
///
/// `LOOM_MAX_PREEMPTIONS` in the environment overrides the bound, so that a longer search needs
/// no change of the source.
#[cfg(loom)]
pub fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    assert!(cfg!(debug_assertions), "models check debug assertions; build them without --release");
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        builder.preemption_bound = Some(preemptions);
    }
    eprintln!("model {name}: bound {:?}", builder.preemption_bound);
    builder.check(body);
}
