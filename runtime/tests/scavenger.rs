//! A user's own policy decides what free memory goes back: it is asked, and what it leaves stays. Alone in its process,
//! whose heap has one policy at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use runtime::scavenge::{Never, Plan, ScavengePolicy, Sight};

#[global_allocator]
static ALLOCATOR: runtime::Alloc = runtime::Alloc::new();

const MB: usize = 1 << 20;

/// Free bytes that the policy leaves.
static KEEP: AtomicUsize = AtomicUsize::new(40 * MB);
/// Times that it was asked.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Gives back at once what is beyond [`KEEP`].
struct Keep;

impl ScavengePolicy for Keep {
    fn plan(&mut self, sight: &Sight) -> Plan {
        // Relaxed, both: numbers that say no more than themselves.
        ASKED.fetch_add(1, Ordering::Relaxed);
        let bytes = sight.free.saturating_sub(KEEP.load(Ordering::Relaxed));
        Plan { age: 0, bytes, again: Some(Duration::from_millis(5)) }
    }
}

fn free() -> usize {
    alloc_core::global::heap().stats().free
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}: {} bytes are free", free());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until the policy was asked so many times more.
fn wait_for_steps(steps: usize) {
    // Relaxed: as above.
    let target = ASKED.load(Ordering::Relaxed) + steps;
    wait_until("the policy is not asked", || ASKED.load(Ordering::Relaxed) >= target);
}

#[test]
fn a_users_own_policy_says_what_goes_back() {
    let rt = runtime::Builder::new().scavenger(|| Keep).build().unwrap();
    rt.run(|| drop((0..32).map(|_| vec![1_u8; 3 * MB]).collect::<Vec<_>>()));
    wait_until("too much stays", || free() <= 42 * MB);
    // By age, all of it would have gone after six steps of a fifth of a second; here it stays for any number.
    wait_for_steps(20);
    assert!((38 * MB..=42 * MB).contains(&free()), "{}", free());
    // Relaxed: as above.
    KEEP.store(0, Ordering::Relaxed);
    wait_until("what is not kept any more stays", || free() < 2 * MB);
    assert!(rt.shutdown(None).is_complete());

    // Whoever does not want to be asked again is not, and the next runtime's policy is its own.
    let rt = runtime::Builder::new().scavenger(|| Never).build().unwrap();
    rt.run(|| drop(vec![1_u8; 64 * MB]));
    let asked = ASKED.load(Ordering::Relaxed);
    rt.run(|| (0..100).for_each(|_| runtime::sleep(Duration::from_millis(1))));
    assert!(free() >= 60 * MB, "{}", free());
    assert_eq!(ASKED.load(Ordering::Relaxed), asked);
}
