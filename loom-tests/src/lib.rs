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
//! A model is trusted after it was seen to fail: `faults/` holds faults for each, and
//!
//! ```text
//! cargo run -p loom-tests --bin faults
//! ```
//!
//! plants them in a copy of the source, one at a time, and fails if a model overlooks one.
//!
//! Without `--cfg loom` the models are left out, and one test says how to run them.

/// Runs `body` under loom in every interleaving with at most `preemptions` involuntary switches.
///
/// `LOOM_MAX_PREEMPTIONS` in the environment overrides the bound, so that a longer search needs
/// no change of the source.
#[cfg(loom)]
pub fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    const { assert!(cfg!(debug_assertions), "models check debug assertions: no --release") };
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 100_000;
    if std::env::var_os("LOOM_MAX_PREEMPTIONS").is_none() {
        builder.preemption_bound = Some(preemptions);
    }
    let executions = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let (counter, began) = (executions.clone(), std::time::Instant::now());
    builder.check(move || {
        // Relaxed: a count; executions follow one another.
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        body();
    });
    eprintln!(
        "model {name}: {} executions, {:.1} s, bound {:?}",
        // Relaxed: as above.
        executions.load(std::sync::atomic::Ordering::Relaxed),
        began.elapsed().as_secs_f64(),
        builder.preemption_bound,
    );
}
