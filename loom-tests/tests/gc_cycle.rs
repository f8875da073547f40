//! The cycle on a heap of a few cells, with production's phase word, barrier, guards, logs, marker and
//! driver: nobody ever reaches a cell that sweep has freed.
//!
//! A whole cycle with two mutators that run freely is too long: it did not finish in minutes. So it is
//! cut in three: the start (hands 1 and 2, grey allocation), the end of marking (hand 3, the dirty bit,
//! the deletion barrier) and the change of cycles (hand 4, one reading, colour of new objects). Each
//! begins where its part begins, and runs the driver to the end of the sweep. A second mutator is
//! scripted: it does its part when the driver waits for the first one. The shapes are those that the
//! explicit-state search found: `r → A → B` and a second root `C`, which the marker sees first.
//!
//! A cell's body is a loom cell: it is read by whoever follows a pointer to it, and written by sweep,
//! so a missing ordering shows as well as a missing step.
#![cfg(loom)]

use core::ptr::NonNull;
use core::sync::atomic as plain;
use core::time::Duration;
use gc_core::cycle::{Cycle, Pause};
use gc_core::engine::{Engine, Link, Refused, Slot};
use gc_core::handshake::Pin;
use gc_core::local::{Local, Operation};
use gc_core::mark::crew::Crew;
use gc_core::mark::{Marker, Worker};
use gc_core::space::{Exhausted, Kind, Marked, Space, Taken, Usage};
use gc_core::trace::Tracer;
use gc_core::world::{Nesting, World};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering, fence};
use loom::sync::{Arc, Notify};
use loom::thread;
use loom_tests::model;

/// A cell, and the object in it.
struct Cell {
    next: Slot,
    alive: UnsafeCell<bool>,
    mark: AtomicUsize,
    /// The cycle it may be allocated in; 0 when it is free. Bookkeeping of the model, no protocol.
    stamp: plain::AtomicU64,
}

// SAFETY: whether threads exclude each other on the body is what loom checks.
unsafe impl Send for Cell {}
// SAFETY: as above.
unsafe impl Sync for Cell {}

impl Cell {
    fn new(next: Link, stamp: u64) -> Box<Cell> {
        Box::new(Cell {
            next: Slot::new(next),
            alive: UnsafeCell::new(stamp != 0),
            mark: AtomicUsize::new(0),
            stamp: plain::AtomicU64::new(stamp),
        })
    }

    fn address(&self) -> NonNull<u8> {
        NonNull::from(self).cast()
    }
}

/// # Safety
///
/// `address` is a cell's of a space that lives.
unsafe fn cell<'a>(address: NonNull<u8>) -> &'a Cell {
    // SAFETY: the caller's; cells are only ever shared.
    unsafe { address.cast().as_ref() }
}

unsafe fn trace(address: NonNull<u8>, tracer: &mut Tracer) {
    // SAFETY: the marker passes cells of the model's space.
    if let Some(next) = unsafe { cell(address) }.next.load() {
        tracer.edge(next);
    }
}

static KIND: Kind = Kind { name: || "cell", align: 8, trace: Some(trace), drop: None };

/// A fixed heap. Cells that are free at the start are taken in order; freed ones are not used again,
/// so that whoever meets one knows.
struct Tiny {
    #[expect(clippy::vec_box, reason = "cells know each other by address")]
    cells: Vec<Box<Cell>>,
    cycle: plain::AtomicU64,
    permitted: plain::AtomicBool,
}

const PLAIN: plain::Ordering = plain::Ordering::SeqCst;

// SAFETY: cells stay in place, `take` gives each once with the stamp asked for, sweep frees what is
// stamped before the cycle and not marked, when permitted.
unsafe impl Space for Tiny {
    type Cache = ();

    fn cache(&self) {}

    unsafe fn take(
        &self,
        _: &mut (),
        _: &'static Kind,
        _: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted> {
        let free = self.cells.iter().find(|cell| cell.stamp.load(PLAIN) == 0).ok_or(Exhausted)?;
        free.stamp.store(cycle, PLAIN);
        Ok(Taken { cell: free.address(), bytes: 8, slow: None })
    }

    unsafe fn kind(&self, _: NonNull<u8>) -> &'static Kind {
        &KIND
    }

    unsafe fn mark(&self, address: NonNull<u8>) -> Option<Marked> {
        // SAFETY: the caller's.
        let old = unsafe { cell(address) }.mark.swap(1, Ordering::Relaxed);
        (old == 0).then_some(Marked { kind: &KIND, bytes: 8 })
    }

    unsafe fn is_marked(&self, address: NonNull<u8>) -> bool {
        // SAFETY: the caller's.
        unsafe { cell(address) }.mark.load(Ordering::Relaxed) != 0
    }

    unsafe fn is_of_cycle(&self, address: NonNull<u8>, cycle: u64) -> bool {
        // SAFETY: the caller's.
        unsafe { cell(address) }.stamp.load(PLAIN) == cycle
    }

    unsafe fn open(&self, cycle: u64) {
        self.cycle.store(cycle, PLAIN);
        self.permitted.store(false, PLAIN);
    }

    unsafe fn permit(&self) {
        self.permitted.store(true, PLAIN);
    }

    fn sweep(&self, _: usize) -> bool {
        let cycle = self.cycle.load(PLAIN);
        for cell in &self.cells {
            let stamp = cell.stamp.load(PLAIN);
            if stamp == 0 || stamp >= cycle || !self.permitted.load(PLAIN) {
                continue;
            }
            cell.stamp.store(cycle, PLAIN);
            if cell.mark.swap(0, Ordering::Relaxed) == 0 {
                // SAFETY: nobody can reach the cell, says the collector; loom checks it.
                cell.alive.with_mut(|alive| unsafe { *alive = false });
            }
        }
        true
    }

    fn destruct(&self, _: &mut dyn FnMut(NonNull<u8>, &'static Kind)) -> usize {
        0
    }

    unsafe fn walk(&self, _: &mut dyn FnMut(NonNull<u8>, &'static Kind)) {}

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Local states that the model hands out itself.
struct Hands(Vec<Local<Tiny>>);

// SAFETY: the model gives each local state to one thread.
unsafe impl World<Tiny> for Hands {
    fn with<R>(&self, _: &Tiny, f: impl FnOnce(&Local<Tiny>) -> R) -> R {
        f(&self.0[0])
    }

    fn each(&self, f: &mut dyn FnMut(&Local<Tiny>)) {
        self.0.iter().for_each(f);
    }

    fn nesting<R>(&self, f: impl FnOnce(&Nesting) -> R) -> R {
        f(&Nesting::new())
    }

    fn nap(&self, _: Duration) {
        thread::yield_now();
    }
}

struct Heap {
    engine: Engine<Tiny>,
    world: Hands,
    crew: Crew,
    /// A guard was left, or an operation is over. The driver waits for this and does not yield: loom runs a thread that has
    /// yielded only when no other can go on, which would hide what is looked for.
    left: Notify,
}

/// Positions of the cells.
const B: usize = 0;
const A: usize = 1;
const C: usize = 2;

impl Heap {
    /// `r → A → B → more`, a second root `C`, free cells, and so many local states.
    fn new(more: bool, free: usize, locals: usize) -> Arc<Heap> {
        let end = Cell::new(None, 1);
        let b = Cell::new(more.then(|| end.address()), 1);
        let a = Cell::new(Some(b.address()), 1);
        let mut cells = vec![b, a, Cell::new(None, 1), end];
        cells.extend((0..free).map(|_| Cell::new(None, 0)));
        let (cycle, permitted) = (plain::AtomicU64::new(1), plain::AtomicBool::new(true));
        let engine = Engine::new(Tiny { cells, cycle, permitted });
        let world = Hands((0..locals).map(|_| Local::new(&engine.space)).collect());
        Arc::new(Heap { engine, world, crew: Crew::default(), left: Notify::new() })
    }

    fn cell(&self, index: usize) -> NonNull<u8> {
        self.engine.space.cells[index].address()
    }

    /// A driver. `script` is called whenever it has to wait, before others get their turn.
    fn cycle<'a>(
        &'a self,
        marker: &'a mut Marker,
        script: impl FnMut(Pause),
    ) -> Cycle<'a, Tiny, Hands, impl FnMut(Pause)> {
        self.cycle_in_slices(8, marker, script)
    }

    fn cycle_in_slices<'a>(
        &'a self,
        slice: usize,
        marker: &'a mut Marker,
        mut script: impl FnMut(Pause),
    ) -> Cycle<'a, Tiny, Hands, impl FnMut(Pause)> {
        let pause = move |pause| {
            script(pause);
            match pause {
                Pause::Handshake(_) | Pause::Operation(_) => self.left.wait(),
                // Not even a chance to switch, unless it is needed: see `left`.
                Pause::Slice | Pause::Busy(_) => {}
                Pause::Starved(_) => thread::yield_now(),
            }
        };
        // SAFETY: each model drives one cycle, in order, with the world whose local states it uses.
        unsafe { Cycle::new(&self.engine, &self.world, marker, slice, pause, &self.crew) }
    }
}

/// Runs `body` on a thread of its own, with a local state.
fn mutate(
    heap: &Arc<Heap>,
    local: usize,
    body: impl FnOnce(Mutator<'_>) + Send + 'static,
) -> thread::JoinHandle<()> {
    let heap = heap.clone();
    thread::spawn(move || body(Mutator { heap: &heap, local: &heap.world.0[local] }))
}

/// A thread with a local state.
struct Mutator<'a> {
    heap: &'a Heap,
    local: &'a Local<Tiny>,
}

impl Mutator<'_> {
    fn enter(&self) -> Pin {
        self.heap.engine.enter(self.local, || fence(Ordering::SeqCst))
    }

    fn leave(&self, pin: Pin) {
        // SAFETY: the pin is of `enter`, and each is left once.
        unsafe { self.heap.engine.leave(self.local, pin) };
        self.heap.left.notify();
    }

    fn guard(&self, body: impl FnOnce(Pin)) {
        let pin = self.enter();
        body(pin);
        self.leave(pin);
    }

    /// Follows a pointer: the object must be there.
    fn look(&self, address: NonNull<u8>) {
        // SAFETY: cells stay in place; whether the object does is what is checked.
        let alive = unsafe { cell(address) }.alive.with(|alive| unsafe { *alive });
        assert!(alive, "a pointer leads to a cell that was freed");
    }

    fn load(&self, from: NonNull<u8>) -> Link {
        self.look(from);
        // SAFETY: as in `look`.
        unsafe { cell(from) }.next.load()
    }

    fn operate<R>(&self, f: impl FnOnce(&Engine<Tiny>, &Operation<'_, Tiny>) -> R) -> R {
        // SAFETY: the local state is this thread's, and operations do not nest.
        let operation = unsafe { Operation::begin(self.local, || fence(Ordering::SeqCst)) };
        let result = f(&self.heap.engine, &operation);
        drop(operation);
        self.heap.left.notify();
        result
    }

    fn swap(&self, place: NonNull<u8>, new: Link) -> Link {
        self.look(place);
        // SAFETY: a guard is held, and the place is as in `look`.
        let old = self.operate(|engine, me| unsafe { engine.swap(me, &cell(place).next, new) });
        old.expect("the logs of a model are long enough")
    }

    fn set(&self, place: NonNull<u8>, new: Link) {
        self.look(place);
        // SAFETY: as in `swap`.
        let done = self.operate(|engine, me| unsafe { engine.store(me, &cell(place).next, new) });
        done.expect("the logs of a model are long enough");
    }

    fn alloc(&self, pin: Pin) -> NonNull<u8> {
        let write = |address: NonNull<u8>| {
            // SAFETY: a free cell, taken for this object.
            unsafe { cell(address) }.alive.with_mut(|alive| unsafe { *alive = true });
        };
        // SAFETY: the pin is of a guard that is held.
        let taken = self.operate(|engine, me| unsafe { engine.allocate(me, pin, &KIND, 8, write) });
        match taken {
            Ok(taken) => taken.cell,
            Err(Refused::LogFull | Refused::Exhausted) => unreachable!("the model has room"),
        }
    }
}

/// Whatever is reachable from `C` is alive.
fn look_behind_c(heap: &Arc<Heap>) {
    let mutator = Mutator { heap, local: &heap.world.0[0] };
    mutator.guard(|_| {
        let mut at = Some(heap.cell(C));
        while let Some(address) = at {
            mutator.look(address);
            at = mutator.load(address);
        }
    });
}

fn root(heap: &Heap) {
    heap.engine.roots.add(heap.cell(C));
    heap.engine.roots.add(heap.cell(A));
}

/// Steps 5 to 9, from wherever marking stands.
fn mark_and_sweep(cycle: &mut Cycle<'_, Tiny, Hands, impl FnMut(Pause)>, heap: &Heap) {
    let (number, _) = cycle.mark_to_the_end();
    cycle.open(number);
    cycle.end();
    heap.engine.space.sweep(usize::MAX);
}

/// A whole cycle, with a script for the driver's waits.
fn collect(heap: &Heap, script: impl FnMut(Pause)) {
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, script);
    cycle.start();
    cycle.shade_roots();
    mark_and_sweep(&mut cycle, heap);
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

/// The start: one mutator acts on a reading from before step 1, the other began after it.
///
/// The first takes `B` out of `A` and forgets it. The second, scripted, enters while hand 2 waits, too
/// late to be waited for; it finds `B`, and puts it behind `C` when that is black.
#[test]
fn start_with_an_old_and_a_new_guard() {
    model("start with an old and a new guard", 2, || {
        let heap = Heap::new(false, 0, 2);
        root(&heap);
        let old = mutate(&heap, 0, |me| {
            me.guard(|_| {
                me.swap(me.heap.cell(A), None);
            });
        });
        let new = Mutator { heap: &heap, local: &heap.world.0[1] };
        let held = std::cell::Cell::new(None);
        let mut marker = Marker::default();
        let mut cycle = heap.cycle(&mut marker, |pause| {
            if matches!(pause, Pause::Handshake(_)) && held.get().is_none() {
                let pin = new.enter();
                held.set(Some((pin, new.load(heap.cell(A)))));
            }
        });
        cycle.start();
        cycle.shade_roots();
        cycle.mark_slice(1);
        if let Some((pin, b)) = held.take() {
            new.set(heap.cell(C), b);
            new.leave(pin);
        }
        mark_and_sweep(&mut cycle, &heap);
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

/// Marks `C`, lets `mover` begin, and runs the cycle to its end.
fn end_of_marking(heap: &Arc<Heap>, mover: impl FnOnce(Mutator<'_>) + Send + 'static) {
    root(heap);
    let mut marker = Marker::default();
    let mut cycle = heap.cycle(&mut marker, |_| ());
    cycle.start();
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
/// move is full news only after hand 3, and the second move's is later still.
#[test]
fn end_with_two_moves() {
    model("end with two moves", 2, || {
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
        cycle.start();
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
        // The table gives them back as `A`, `B`, `C`: the driver looks into `C` and shares `A`.
        for index in [B, A, C] {
            heap.engine.roots.add(heap.cell(index));
        }
        let mut marker = Marker::default();
        let mut cycle = heap.cycle_in_slices(1, &mut marker, |_| ());
        cycle.start();
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
