//! [`runtime::Alloc`] under stress from goroutines that are preempted every millisecond and migrate in
//! the middle of anything, beside plain threads that come and go, and one that takes every idle cache and gives
//! everything back that it finds; alloc-core's oracle reports two live blocks at one address at once. `ALLOC_STRESS_SECONDS` sets how long (1 by default).

#[path = "../../alloc-core/tests/mixer/mod.rs"]
mod mixer;

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mixer::{Memory, Mixer, Shared};

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

/// The global allocator. A block of no bytes is one of eight to it.
struct Global;

fn at_least_a_word(layout: Layout) -> Layout {
    Layout::from_size_align(layout.size().max(8), layout.align()).unwrap()
}

impl Memory for Global {
    fn alloc(&mut self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
        let layout = at_least_a_word(layout);
        // SAFETY: the size is not zero.
        NonNull::new(unsafe {
            if zeroed { alloc::alloc_zeroed(layout) } else { alloc::alloc(layout) }
        })
    }

    unsafe fn realloc(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: passed on.
        NonNull::new(unsafe {
            alloc::realloc(block.as_ptr(), at_least_a_word(layout), size.max(8))
        })
    }

    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: passed on.
        unsafe { alloc::dealloc(block.as_ptr(), at_least_a_word(layout)) }
    }
}

fn seconds() -> Duration {
    let seconds = std::env::var("ALLOC_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1))
}

/// One of those who work, until this is dropped.
struct Working<'a>(&'a AtomicUsize);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        // Relaxed: a number that says no more than itself.
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Steps of a goroutine and of a thread in a round, and the requests of all at least: of 16 steps 7 allocate.
const STEPS: usize = 3_000;
const REQUESTS: usize = 12 * STEPS * 7 / 20;

fn live(shared: &Shared, seed: u64) {
    let mut mixer = Mixer::new(shared, Global, seed);
    for _ in 0..STEPS {
        if seed.is_multiple_of(10) { mixer.only_receive() } else { mixer.step() }
    }
    mixer.end();
}

#[test]
fn live_blocks_never_overlap_though_goroutines_are_preempted_anywhere() {
    let runtime = runtime::Runtime::builder()
        .procs(2)
        .preempt_after(Duration::from_millis(1))
        .build()
        .unwrap();
    let shared = Shared::new();
    let end = Instant::now() + seconds();
    let mut round = 0;
    while round == 0 || Instant::now() < end {
        round += 1;
        let working = AtomicUsize::new(1);
        thread::scope(|threads| {
            let (shared, at_work) = (&shared, Working(&working));
            threads.spawn(|| {
                // Relaxed: as above.
                while working.load(Ordering::Relaxed) > 0 {
                    ALLOC.release();
                    thread::yield_now();
                }
            });
            for n in 0..2 {
                threads.spawn(move || live(shared, round * 100 + 90 + n));
            }
            runtime.run(|| {
                runtime::scope(|scope| {
                    for n in 0..12 {
                        scope.go(move || live(shared, round * 100 + n));
                    }
                })
            });
            drop(at_work);
        });
        assert!(Mixer::new(&shared, Global, 1).end(), "every block that was entered was freed");
        let (served, refused) = shared.outcomes();
        assert!(served > REQUESTS && refused == 0, "{served} served, {refused} refused");
    }
}
