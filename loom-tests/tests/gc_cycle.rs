//! The cycle on a heap of a few cells ([`loom_tests::tiny`]): nobody ever reaches a cell that sweep has
//! freed.
//!
//! A whole cycle with two mutators that run freely is too long: it did not finish in minutes. So it is
//! cut in three: the start (hands 1 and 2, grey allocation), the end of marking (hand 3, the dirty bit,
//! the deletion barrier) and the change of cycles (hand 4, one reading, colour of new objects). Each
//! begins where its part begins, and runs the driver to the end of the sweep. A second mutator is
//! scripted: it does its part when the driver waits for the first one. The shapes are those that the
//! explicit-state search found: `r → A → B` and a second root `C`, which the marker sees first.
#![cfg(loom)]

use core::cell::Cell;
use gc_core::cycle::{Cycle, Pause};
use gc_core::engine::Link;
use gc_core::handshake::Pin;
use gc_core::mark::{Marker, Worker};
use gc_core::space::Space;
use loom::sync::{Arc, Notify};
use loom::thread;
use loom_tests::model;
use loom_tests::tiny::{
    A, B, C, Hands, Heap, Mutator, Tiny, assists, look_behind_c, mark_and_sweep, mutate, root,
};

/// A whole cycle, with a script for the driver's waits.
fn collect(heap: &Heap, script: impl FnMut(Pause)) {
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, script);
    cycle.start(false);
    cycle.shade_roots();
    mark_and_sweep(&mut cycle, heap);
}

/// A mutator that takes `B` out of `A` and forgets it.
fn forget_b(heap: &Arc<Heap>) -> thread::JoinHandle<()> {
    mutate(heap, 0, |me| {
        me.guard(|_| {
            me.swap(me.heap.cell(A), None);
        });
    })
}

/// A guard that comes too late to be waited for, scripted: it finds `B` behind `A`, keeps it in hand, and puts
/// it behind `C`.
struct Late<'a> {
    me: Mutator<'a>,
    came: Cell<bool>,
    held: Cell<Option<(Pin, Link)>>,
}

impl<'a> Late<'a> {
    fn new(heap: &'a Heap) -> Self {
        let me = Mutator { heap, local: &heap.world.0[1] };
        Late { me, came: Cell::new(false), held: Cell::new(None) }
    }

    /// Comes when hand 2 waits for the first time. True if that is now.
    fn comes(&self, pause: Pause) -> bool {
        let now = matches!(pause, Pause::Handshake(_)) && !self.came.replace(true);
        if now {
            let pin = self.me.enter();
            self.held.set(Some((pin, self.me.load(self.me.heap.cell(A)))));
        }
        now
    }

    /// Puts `B` behind `C` and leaves, if it has come and is still there.
    fn leaves(&self) {
        if let Some((pin, b)) = self.held.take() {
            self.me.set(self.me.heap.cell(C), b);
            self.me.leave(pin);
        }
    }

    /// Runs the driver to its end. The late one leaves, at the latest, when `C` is black.
    fn beside(&self, mut cycle: Cycle<'_, Tiny, Hands, impl FnMut(Pause)>) {
        cycle.start(false);
        cycle.shade_roots();
        cycle.mark_slice(1);
        self.leaves();
        mark_and_sweep(&mut cycle, self.me.heap);
    }
}

/// The start: a mutator acts on a reading from before step 1, and moves `B` from `A` to `C`.
#[test]
fn start_with_an_old_guard() {
    model("start with an old guard", 2, || {
        let heap = Heap::new(false, 0, 1);
        root(&heap);
        let old = mutate(&heap, 0, |me| {
            me.guard(|_| {
                let b = me.swap(me.heap.cell(A), None);
                me.set(me.heap.cell(C), b);
            });
        });
        collect(&heap, |_| ());
        old.join().unwrap();
        look_behind_c(&heap);
    });
}

/// The start: one mutator acts on a reading from before step 1 and takes `B` out of `A`; another began after
/// it, has found `B`, and puts it behind `C` when that is black.
#[test]
fn start_with_an_old_and_a_new_guard() {
    model("start with an old and a new guard", 2, || {
        let heap = Heap::new(false, 0, 2);
        root(&heap);
        let old = forget_b(&heap);
        let late = Late::new(&heap);
        let mut marker = Marker::default();
        late.beside(heap.cycle(&mut marker, |pause| _ = late.comes(pause)));
        old.join().unwrap();
        look_behind_c(&heap);
    });
}

/// The start of a second cycle: whoever reads *on* sees that sweep has cleared the marks of the first, or
/// it would not log what it takes out. It does so by the fence of its operation, not by the reading.
#[test]
fn start_after_a_sweep() {
    model("start after a sweep", 2, || {
        let heap = Heap::new(false, 0, 2);
        root(&heap);
        let mut marker = Marker::default();
        let mut first = heap.cycle(&mut marker, |_| ());
        first.start(false);
        first.shade_roots();
        let (number, _) = first.mark_to_the_end();
        first.open(number);
        first.end();
        drop(first);
        let old = forget_b(&heap);
        let late = Late::new(&heap);
        let mut second = heap.cycle(&mut marker, |pause| _ = late.comes(pause));
        second.prepare();
        late.beside(second);
        old.join().unwrap();
        look_behind_c(&heap);
    });
}

/// The start: it is taken back while an old guard is held, and one that comes meanwhile finds `B`, which
/// the old one takes out unlogged. It puts `B` behind `C` when hand 2 waits for it, or when `C` is black.
#[test]
fn start_taken_back() {
    model("start taken back", 2, || {
        let heap = Heap::new(false, 0, 2);
        root(&heap);
        let old = forget_b(&heap);
        let late = Late::new(&heap);
        let mut marker = Marker::default();
        let cycle = heap.cycle(&mut marker, |pause| {
            if !late.comes(pause) && matches!(pause, Pause::Handshake(_)) {
                late.leaves();
            }
        });
        late.beside(cycle.patient(0));
        old.join().unwrap();
        look_behind_c(&heap);
    });
}

/// The start: a new object is made by one who sees the barrier (scripted, while hand 1 waits), and gets
/// its edge from one who does not.
#[test]
fn start_with_a_new_object() {
    model("start with a new object", 2, || {
        let heap = Heap::new(false, 1, 2);
        root(&heap);
        let old = mutate(&heap, 0, |me| {
            me.guard(|_| {
                let b = me.swap(me.heap.cell(A), None);
                if let Some(new) = me.load(me.heap.cell(C)) {
                    me.set(new, b);
                }
            });
        });
        let new = Mutator { heap: &heap, local: &heap.world.0[1] };
        let mut made = false;
        collect(&heap, |_| {
            if !std::mem::replace(&mut made, true) {
                new.guard(|pin| new.set(heap.cell(C), Some(new.alloc(pin))));
            }
        });
        old.join().unwrap();
        look_behind_c(&heap);
    });
}

/// The start: an object is made between hand 2 and step 5, and put behind `C` late.
#[test]
fn start_with_an_allocation() {
    model("start with an allocation", 2, || {
        let heap = Heap::new(false, 1, 1);
        root(&heap);
        let maker = mutate(&heap, 0, |me| {
            me.guard(|pin| {
                let object = me.alloc(pin);
                me.swap(me.heap.cell(C), Some(object));
            });
        });
        collect(&heap, |_| ());
        maker.join().unwrap();
        look_behind_c(&heap);
    });
}

/// The start: a mutator takes the only root of `B` away, and puts `B` behind `C` late.
#[test]
fn start_with_a_root() {
    model("start with a root", 2, || {
        let heap = Heap::new(false, 0, 1);
        heap.engine.roots.add(heap.cell(C)).unwrap();
        let rooted = heap.engine.roots.add(heap.cell(B)).unwrap();
        let mover = mutate(&heap, 0, |me| {
            me.guard(|_| {
                let b = me.unroot(rooted);
                me.swap(me.heap.cell(C), b);
            });
        });
        collect(&heap, |_| ());
        mover.join().unwrap();
        look_behind_c(&heap);
    });
}

/// A new object is whole for whoever finds it, by an edge that was stored before a cycle or in one: by
/// the edge alone, for the light fence of a store may be none.
fn a_new_object(marking: bool) {
    let heap = Heap::new(false, 1, 2);
    root(&heap);
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    if marking {
        cycle.start(false);
        cycle.shade_roots();
    }
    let maker = mutate(&heap, 0, |me| {
        me.guard(|pin| me.set_unfenced(me.heap.cell(C), Some(me.alloc(pin))));
    });
    let finder = Mutator { heap: &heap, local: &heap.world.0[1] };
    finder.guard(|_| finder.load(heap.cell(C)).into_iter().for_each(|found| finder.look(found)));
    maker.join().unwrap();
}

#[test]
fn a_new_object_is_whole_for_whoever_finds_it() {
    model("a new object, found while no cycle runs", 2, || a_new_object(false));
    model("a new object, found while a cycle runs", 2, || a_new_object(true));
}

/// Marks `C`, lets `mover` begin, and runs the cycle to its end.
fn end_of_marking(heap: &Arc<Heap>, mover: impl FnOnce(Mutator<'_>) + Send + 'static) {
    root(heap);
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    cycle.start(false);
    cycle.shade_roots();
    cycle.mark_slice(1);
    // SAFETY: both are objects of the model's space.
    let black = |index| unsafe { heap.engine.space.is_marked(heap.cell(index)) };
    assert!(black(C) && !black(A), "the marker looks into `C` first");
    let begun = Arc::new(Notify::new());
    let mover = mutate(heap, 0, {
        let begun = begun.clone();
        move |me| {
            begun.notify();
            mover(me);
        }
    });
    // The switch to the mover is no involuntary one, so it does not count.
    begun.wait();
    mark_and_sweep(&mut cycle, heap);
    mover.join().unwrap();
    look_behind_c(heap);
}

/// The end of marking: `C` is black, `A` is not yet, and a mutator moves `B` from one to the other.
#[test]
fn end_with_a_move() {
    model("end with a move", 2, || {
        let heap = Heap::new(false, 0, 1);
        end_of_marking(&heap, |me| {
            me.guard(|_| {
                let b = me.swap(me.heap.cell(A), None);
                me.swap(me.heap.cell(C), b);
            });
        });
    });
}

/// The end of marking: the same, and then a second guard moves what is behind `B`. The log of the first
/// move is full news only after hand 3, and the second move's is later still. (One involuntary switch is
/// enough to overlook it; with two there are 300,000 executions.)
#[test]
fn end_with_two_moves() {
    model("end with two moves", 1, || {
        let heap = Heap::new(true, 0, 1);
        end_of_marking(&heap, |me| {
            let (a, c) = (me.heap.cell(A), me.heap.cell(C));
            let mut b = None;
            me.guard(|_| {
                b = me.swap(a, None);
                me.swap(c, b);
            });
            me.guard(|_| {
                let end = b.and_then(|b| me.swap(b, None));
                me.swap(c, end);
            });
        });
    });
}

/// The change of cycles: everything old is marked; a mutator makes an object and puts it behind `C`.
#[test]
fn allocation_at_the_end() {
    model("allocation at the end", 3, || {
        let heap = Heap::new(false, 1, 1);
        root(&heap);
        let mut marker = Marker::default();
        let mut cycle = heap.cycle(&mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        let maker = mutate(&heap, 0, |me| {
            me.guard(|pin| {
                let object = me.alloc(pin);
                me.set(me.heap.cell(C), Some(object));
            });
        });
        mark_and_sweep(&mut cycle, &heap);
        maker.join().unwrap();
        look_behind_c(&heap);
    });
}

/// Marking: the driver shares what it has with a helper, in slices of one object, and nobody leaves
/// before all is marked.
#[test]
fn marking_together() {
    model("marking together", 2, || {
        let heap = Heap::new(true, 0, 1);
        // The table gives them back as `B`, `A`, `C`, and the line turns the rest round: the driver looks
        // into `C` and shares `A`, which nothing else leads to.
        for index in [A, B, C] {
            heap.engine.roots.add(heap.cell(index)).unwrap();
        }
        let mut marker = Marker::default();
        let mut cycle = heap.cycle_in_slices(1, &mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        let helper = thread::spawn({
            let heap = heap.clone();
            move || {
                let worker = Worker::new(&heap.engine, &heap.world, &heap.crew, &|| (), 1);
                let pause = |pause| {
                    if let Pause::Starved(_) = pause {
                        thread::yield_now();
                    }
                };
                // SAFETY: all three are one heap's.
                unsafe { worker.help(&mut Marker::default(), &mut { pause }) };
            }
        });
        mark_and_sweep(&mut cycle, &heap);
        helper.join().unwrap();
        let mutator = Mutator { heap: &heap, local: &heap.world.0[0] };
        mutator.guard(|_| {
            mutator.look(heap.cell(C));
            let mut at = Some(heap.cell(A));
            while let Some(address) = at {
                at = mutator.load(address);
            }
        });
    });
}

/// Marking: a mutator that assists takes what the driver has shared, marks one object of it, and puts
/// the rest back; nobody leaves before all is marked.
#[test]
fn marking_with_an_assist() {
    model("marking with an assist", 2, || {
        let heap = Heap::new(true, 0, 1);
        // As in `marking_together`, but it shares `B`, and the end is behind that alone.
        for index in [B, A, C] {
            heap.engine.roots.add(heap.cell(index)).unwrap();
        }
        let mut marker = Marker::default();
        let mut cycle = heap.cycle_in_slices(1, &mut marker, |_| ());
        cycle.start(false);
        cycle.shade_roots();
        let mutator = assists(&heap);
        mark_and_sweep(&mut cycle, &heap);
        mutator.join().unwrap();
        let mutator = Mutator { heap: &heap, local: &heap.world.0[0] };
        mutator.guard(|_| {
            let mut at = Some(heap.cell(A));
            while let Some(address) = at {
                at = mutator.load(address);
            }
        });
    });
}
