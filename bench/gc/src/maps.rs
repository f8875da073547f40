//! Tables that two mutators share: an ordered map, and a cache that keeps nothing alive.

use std::time::Instant;

use harness::{Request, clock, process};

use crate::{Mutators, SEED, random};

const MUTATORS: usize = 2;

/// Keys of the map; half of them are in it.
const KEYS: u64 = 100_000;

/// Keys of the cache.
pub const PAGES: usize = 1 << 16;

/// Values that a mutator keeps alive, those that it looked up last.
pub const RECENT: usize = 1 << 12;

/// Words of a cached value, the first of which is its key.
pub const WORDS: usize = 6;

/// A lock-free ordered map from numbers to numbers, empty at first.
pub trait OrderedMap: Mutators + Sync {
    /// Puts a value under a key.
    fn insert(&self, key: u64, value: u64);

    /// Takes a key out; whether it was in.
    fn remove(&self, key: u64) -> bool;

    /// The value of a key.
    fn get(&self, key: u64) -> Option<u64>;
}

/// A cache whose values live as long as somebody has them.
pub trait Cache: Mutators + Sync {
    /// What a mutator keeps.
    type Recent;

    /// Room for [`RECENT`] values.
    fn recent(&self) -> Self::Recent;

    /// Looks a key up, makes its value if it has none that lives, and keeps it in `recent` at `place`.
    /// Returns whether it was there.
    fn look_up(&self, key: usize, recent: &mut Self::Recent, place: usize) -> bool;
}

/// Runs the row of the map; false if it is another's.
pub fn run_map(request: &Request, peer: &impl OrderedMap) -> bool {
    if request.row != "map" {
        return false;
    }
    let mut seed = SEED;
    (0..KEYS).filter(|_| random(&mut seed) >> 40 & 1 == 0).for_each(|key| peer.insert(key, key));
    let each = request.count(1_000_000);
    measure(request, each, peer, |number| {
        let (mut seed, mut found) = (SEED.wrapping_add(number as u64), 0);
        for _ in 0..each {
            let key = random(&mut seed) % KEYS;
            match seed >> 40 & 3 {
                0 => peer.insert(key, key),
                1 => _ = peer.remove(key),
                _ => {
                    found += usize::from(
                        peer.get(key).inspect(|&value| assert_eq!(value, key)).is_some(),
                    )
                }
            }
        }
        assert!(found > each / 8, "about half of the keys are in");
        found
    });
    true
}

/// Runs the row of the cache; false if it is another's.
pub fn run_cache(request: &Request, peer: &impl Cache) -> bool {
    if request.row != "cache" {
        return false;
    }
    let each = request.count(2_000_000);
    let hits = measure(request, each, peer, |number| {
        let (mut seed, mut hits) = (SEED.wrapping_add(number as u64), 0);
        let mut recent = peer.recent();
        for step in 0..each {
            // Some keys are asked for far more often than others.
            let key = (random(&mut seed) >> 32 & seed) as usize % PAGES;
            hits += usize::from(peer.look_up(key, &mut recent, step % RECENT));
        }
        hits
    });
    request.report("not found", "%", 100.0 - hits as f64 * 100.0 / (MUTATORS * each) as f64);
    true
}

/// Runs `work` on two mutators; the sum of what they return.
fn measure(
    request: &Request,
    each: usize,
    peer: &impl Mutators,
    work: impl Fn(usize) -> usize + Sync,
) -> usize {
    let sum = std::sync::atomic::AtomicUsize::new(0);
    let (wall, cpu) = (Instant::now(), clock::process_cpu());
    peer.mutate(MUTATORS, &|number| {
        sum.fetch_add(work(number), std::sync::atomic::Ordering::Relaxed);
    });
    request.report_each("wall per operation", wall.elapsed(), MUTATORS * each);
    request.report_each("CPU per operation", clock::process_cpu() - cpu, MUTATORS * each);
    request.report("peak", "MiB", process::peak_bytes() as f64 / (1 << 20) as f64);
    sum.into_inner()
}
