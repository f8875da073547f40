//! The collector rows, written once.
//!
//! | module | rows | what a peer brings |
//! |---|---|---|
//! | [`trees`] | `binary-trees-18`, `-21` | [`Trees`](trees::Trees) |
//! | [`batches`] | `list`, `graph`, `alloc-16`, `-64`, `-256` | [`Batches`](batches::Batches) |
//! | [`live`] | `latency`, `cycle` | [`Live`](live::Live) |
//! | [`shared`] | `stack`, `queue` | [`Shared`](shared::Shared) |
//! | [`maps`] | `map`, `cache` | [`OrderedMap`](maps::OrderedMap), [`Cache`](maps::Cache) |
//! | [`holders`] | `holders` | [`Guards`](holders::Guards) |
//!
//! A peer's program makes its heap, if it needs one, and offers the request to each group that it can
//! run; the last word is [`Request::unknown`].

pub mod batches;
pub mod holders;
pub mod live;
pub mod maps;
pub mod shared;
pub mod trees;

use std::thread;

/// Runs something on several mutators at once.
pub trait Mutators {
    /// Calls `work(0)` … `work(count - 1)`, each on a mutator of its own, and waits for all.
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync));
}

/// Plain threads.
pub fn on_threads(count: usize, work: &(dyn Fn(usize) + Sync)) {
    thread::scope(|scope| {
        for number in 0..count {
            scope.spawn(move || work(number));
        }
    });
}

/// The next of a row of numbers that look random: xorshift64.
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Where a row of random numbers begins.
pub const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
