//! All statics and thread-locals of this crate.
//!
//! A thread-local of a goroutine is the goroutine's own: it follows it from thread to thread. (In
//! thread mode the goroutine *is* a thread.)

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gc_core::Claim;
use gc_core::world::Nesting;

use crate::gc::Heap;
use crate::wire::{Collectors, Numbers};

/// Whether an allocation ever came through [`Alloc`](crate::Alloc).
pub(crate) static ALLOC_IS_OURS: AtomicBool = AtomicBool::new(false);

/// Whether it was said that goroutines are slow on this machine.
pub(crate) static SLOW_MODE: Once = Once::new();

/// Whether it was said what of the environment is ignored.
pub(crate) static IGNORED: Once = Once::new();

/// Whoever makes a runtime holds it: see [`Limit`](crate::wire::Limit).
pub(crate) static LIMITING: Mutex<()> = Mutex::new(());

/// The numbers of all Ps of all runtimes.
pub(crate) static NUMBERS: Numbers = Numbers::new();

/// Whether the collected heap is there.
pub(crate) static HEAP_CLAIM: Claim = Claim::new();

/// The collected heap while it is being made: whoever finds no memory for all of it leaves here what there is. It is
/// not ended, for the cells below know one heap in their life.
pub(crate) static MAKING_HEAP: Mutex<Option<Heap>> = Mutex::new(None);

/// The collected heap, from its first use to the end of the process.
pub(crate) static HEAP: OnceLock<Heap> = OnceLock::new();

/// Who collects it.
pub(crate) static COLLECTORS: Collectors = Collectors::new();

/// Whether each collection writes a line.
pub(crate) static GCTRACE: AtomicBool = AtomicBool::new(false);

/// Seeds handed out so far.
static SEEDS: AtomicU64 = AtomicU64::new(0x9e37_79b9_7f4a_7c15);

thread_local! {
    /// How many guards of the collected heap this thread holds; a goroutine's count is in its record.
    /// No destructor: guards may be entered until the very end.
    static NESTING: AtomicU64 = const { AtomicU64::new(0) };
    /// State of this goroutine's or thread's generator; 0 before the first use.
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Shows `f` how many guards the caller holds.
#[inline]
pub(crate) fn nesting<R>(f: impl FnOnce(&Nesting) -> R) -> R {
    NESTING.with(|own| sched_core::holds_or(own, |word| f(Nesting::of(word))))
}

/// A number good enough to be fair with (xorshift64), from a generator of the caller's own.
pub(crate) fn random() -> u64 {
    RANDOM.with(|state| {
        let mut word = match state.get() {
            0 => seed(),
            word => word,
        };
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        state.set(word);
        word
    })
}

/// A seed that no other call gets: a Weyl sequence, mixed as in splitmix64.
fn seed() -> u64 {
    // Relaxed: only the difference of the numbers matters.
    let mut word = SEEDS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word ^ (word >> 31)) | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_get_different_numbers() {
        let ours = random();
        let theirs = std::thread::spawn(random).join().unwrap();
        assert_ne!(ours, theirs);
        assert_ne!(random(), ours);
    }
}
