//! What the mechanism costs without a scheduler: a switch, a goroutine from start to end, a slot.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use sched_core::context::{Context, switch};
use sched_core::stack::{Slot, Slots, SlotsConfig};
use sched_core::tls::{Surplus, probe};

/// A pair of contexts that switch to and fro.
struct Pair {
    home: Context,
    away: Cell<*const Context>,
    stop: Cell<bool>,
}

unsafe extern "C" fn bounce(argument: *mut ()) {
    // SAFETY: `argument` is the pair, which outlives the goroutine; both contexts are right.
    let pair = unsafe { &*argument.cast::<Pair>() };
    while !pair.stop.get() {
        // SAFETY: as above.
        unsafe { switch(&*pair.away.get(), &pair.home) };
    }
}

unsafe extern "C" fn go_home(argument: *mut ()) -> *const Context {
    // SAFETY: as in `bounce`.
    unsafe { &raw const (*argument.cast::<Pair>()).home }
}

impl Pair {
    /// Has `slot` run the next goroutine, up to its first switch or its end.
    fn run(&self, slot: &mut Slot) {
        self.away.set(slot.context());
        let argument = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the pair outlives the goroutine, and its home is this thread's.
        unsafe {
            slot.arm(bounce, go_home, argument);
            switch(&self.home, slot.context());
        }
    }
}

fn benches(c: &mut Criterion) {
    let mode = probe(Surplus::Take);
    let slots = Slots::new(SlotsConfig::default(), mode);
    slots.prepare(1).expect("a slot can be made");
    let take = || slots.take().expect("one is in stock");
    let home = Context::of_thread(mode);
    let pair = Pair { home, away: Cell::new(std::ptr::null()), stop: Cell::new(false) };

    let mut slot = take();
    pair.run(&mut slot);
    c.bench_function("switch there and back", |b| {
        // SAFETY: the goroutine is suspended in `bounce`.
        b.iter(|| unsafe { switch(&pair.home, slot.context()) });
    });
    pair.stop.set(true);
    // SAFETY: as above; this is its last turn.
    unsafe { switch(&pair.home, slot.context()) };
    // SAFETY: it is from this stock, and that was its last turn.
    unsafe { slots.give(slot) };

    c.bench_function("take and give", |b| {
        // SAFETY: it is from this stock, and was never armed.
        b.iter(|| unsafe { slots.give(black_box(take())) });
    });
    c.bench_function("take, run an empty goroutine, give", |b| {
        b.iter(|| {
            let mut slot = take();
            pair.run(&mut slot);
            // SAFETY: it is from this stock, and its goroutine has ended.
            unsafe { slots.give(slot) };
        });
    });
    c.bench_function("prepare a slot", |b| {
        b.iter_custom(|count| {
            let slots = Slots::new(SlotsConfig::default(), mode);
            let begin = Instant::now();
            slots.prepare(count as usize).expect("slots can be made");
            begin.elapsed()
        });
    });
}

criterion_group!(mechanism, benches);
criterion_main!(mechanism);
