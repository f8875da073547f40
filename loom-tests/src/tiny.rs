//! A heap of a few cells for the collector's models, with production's phase word, barrier, guards,
//! logs, marker and driver.
//!
//! A cell's body is a loom cell: it is read by whoever follows a pointer to it, and written by sweep,
//! so a missing ordering shows as well as a missing step. An edge is a [`Slot`], or lies under a lock,
//! in a loom cell; or it is weak.

mod mutator;
pub mod scarcity;

pub use mutator::{Mutator, mutate};

use core::ptr::NonNull;
use core::sync::atomic as plain;
use core::time::Duration;
use gc_core::cleanup::Cleanups;
use gc_core::cycle::{Cycle, Pause};
use gc_core::engine::{Engine, Link, Slot};
use gc_core::local::Local;
use gc_core::lock::raw::RawLock;
use gc_core::lock::report::Reported;
use gc_core::mark::crew::Crew;
use gc_core::mark::{Marker, Worker};
use gc_core::space::{Exhausted, Kind, Marked, Space, Taken, Usage};
use gc_core::trace::Tracer;
use gc_core::world::{Nesting, World};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread::{self, JoinHandle};

/// What a cell's one edge is.
#[derive(Debug)]
enum Edge {
    /// `next`.
    Plain,
    /// `next`, and not followed.
    Weak,
    /// Under a lock.
    Locked { lock: RawLock, reported: Reported, edge: UnsafeCell<Link> },
}

/// A cell, and the object in it.
#[repr(C)]
#[derive(Debug)]
struct Cell {
    /// First, as in a weak object.
    next: Slot,
    edge: Edge,
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
            edge: Edge::Plain,
            alive: UnsafeCell::new(stamp != 0),
            mark: AtomicUsize::new(0),
            stamp: plain::AtomicU64::new(stamp),
        })
    }

    fn weak(target: Link) -> Box<Cell> {
        Box::new(Cell { edge: Edge::Weak, ..*Self::new(target, 1) })
    }

    fn locked(edge: Link) -> Box<Cell> {
        let (lock, reported) = (RawLock::new(), Reported::never());
        let edge = Edge::Locked { lock, reported, edge: UnsafeCell::new(edge) };
        Box::new(Cell { edge, ..*Self::new(None, 1) })
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
    let cell = unsafe { cell(address) };
    // SAFETY: nobody writes to an object that the marker looks into, says the collector; loom checks it.
    let whole = cell.alive.with(|alive| unsafe { *alive });
    assert!(whole, "the marker looks into what is no object");
    let mut report = |edge: Link| {
        if scarcity::is_on() && edge.is_some() {
            // What room a stack has is taken: by an edge to the object itself, which is marked.
            (0..ROOM).for_each(|_| tracer.edge(address));
        }
        scarcity::within(|| edge.into_iter().for_each(|edge| tracer.edge(edge)));
    };
    match &cell.edge {
        Edge::Plain => report(cell.next.load()),
        Edge::Weak if cell.next.load().is_some() => tracer.weak(NonNull::from(&cell.next)),
        Edge::Weak => {}
        Edge::Locked { lock, edge, .. } => {
            // SAFETY: inside, nobody changes the edge, says the lock; loom checks it.
            lock.trace(|| report(edge.with(|edge| unsafe { *edge })));
        }
    }
}

/// Edges that an allocator makes room for at once.
const ROOM: usize = 4;

static KIND: Kind = Kind { name: || "cell", align: 8, trace: Some(trace), drop: None };

/// A fixed heap. Cells that are free at the start are taken in order; freed ones are not used again,
/// so that whoever meets one knows.
#[derive(Debug)]
pub struct Tiny {
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

    fn cache(&self) -> Result<(), Exhausted> {
        Ok(())
    }

    unsafe fn take_cached(
        &self,
        _: &mut (),
        _: &'static Kind,
        _: usize,
        cycle: u64,
    ) -> Option<Taken> {
        let free = self.cells.iter().find(|cell| cell.stamp.load(PLAIN) == 0)?;
        free.stamp.store(cycle, PLAIN);
        Some(Taken { cell: free.address(), bytes: 8, slow: None })
    }

    unsafe fn take(
        &self,
        cache: &mut (),
        kind: &'static Kind,
        bytes: usize,
        cycle: u64,
    ) -> Result<Taken, Exhausted> {
        // SAFETY: the caller's.
        unsafe { self.take_cached(cache, kind, bytes, cycle) }.ok_or(Exhausted)
    }

    unsafe fn kind(&self, _: NonNull<u8>) -> &'static Kind {
        &KIND
    }

    unsafe fn bytes(&self, _: NonNull<u8>) -> usize {
        8
    }

    unsafe fn mark(&self, address: NonNull<u8>) -> Option<Marked> {
        // SAFETY: the caller's.
        let old = unsafe { cell(address) }.mark.swap(1, Ordering::Release);
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

    unsafe fn marked(
        &self,
        place: usize,
        each: &mut dyn FnMut(NonNull<u8>, &'static Kind),
    ) -> Option<usize> {
        let cell = self.cells.get(place)?;
        // Acquire: as in the spaces of production.
        if cell.mark.load(Ordering::Acquire) != 0 {
            each(cell.address(), &KIND);
        }
        Some(place + 1)
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// Local states that the model hands out itself.
#[derive(Debug)]
pub struct Hands(pub Vec<Local<Tiny>>);

// SAFETY: the model gives each local state to one thread. A park unwinds when the model has failed, and then no other
// thread goes on.
unsafe impl World<Tiny> for Hands {
    unsafe fn with<R>(&self, _: &Tiny, f: impl FnOnce(&Local<Tiny>) -> R) -> R {
        f(&self.0[0])
    }

    fn each(&self, f: &mut dyn FnMut(&Local<Tiny>)) {
        self.0.iter().for_each(f);
    }

    fn nesting<R>(&self, f: impl FnOnce(&Nesting) -> R) -> R {
        f(&Nesting::new())
    }

    type Waiter = thread::Thread;

    fn waiter(&self) -> thread::Thread {
        thread::current()
    }

    fn park(&self) {
        thread::park();
    }

    fn unpark(&self, waiter: &thread::Thread) {
        waiter.unpark();
    }

    fn nap(&self, _: Duration) {
        thread::yield_now();
    }
}

/// A heap, with all that a model needs.
#[derive(Debug)]
pub struct Heap {
    /// What mutators and driver share.
    pub engine: Engine<Tiny>,
    /// Who mutates.
    pub world: Hands,
    /// Workers.
    pub crew: Crew,
    /// Who is told of deaths.
    pub cleanups: Cleanups<thread::Thread>,
    /// A guard was left, or an operation is over. The driver waits for this and does not yield: loom runs a thread
    /// that has yielded only when no other can go on, which would hide what is looked for.
    left: Notify,
}

/// Positions of the cells.
pub const B: usize = 0;
/// As [`B`].
pub const A: usize = 1;
/// As [`B`].
pub const C: usize = 2;

impl Heap {
    /// `r → A → B → more`, a second root `C`, free cells, and so many local states.
    pub fn new(more: bool, free: usize, locals: usize) -> Arc<Heap> {
        let end = Cell::new(None, 1);
        let b = Cell::new(more.then(|| end.address()), 1);
        let a = Cell::new(Some(b.address()), 1);
        let mut cells = vec![b, a, Cell::new(None, 1), end];
        cells.extend((0..free).map(|_| Cell::new(None, 0)));
        Self::of(cells, locals)
    }

    /// The same with the edges of `A` and `C` under locks.
    pub fn locked(locals: usize) -> Arc<Heap> {
        let b = Cell::new(None, 1);
        let a = Cell::locked(Some(b.address()));
        Self::of(vec![b, a, Cell::locked(None)], locals)
    }

    /// `A` is a weak pointer to `B`, which nothing else leads to.
    pub fn weak(locals: usize) -> Arc<Heap> {
        let b = Cell::new(None, 1);
        let a = Cell::weak(Some(b.address()));
        Self::of(vec![b, a, Cell::new(None, 1)], locals)
    }

    /// `r → A → B` and a second root `C`; the one free cell is for a weak object.
    pub fn to_be_known(locals: usize) -> Arc<Heap> {
        let b = Cell::new(None, 1);
        let a = Cell::new(Some(b.address()), 1);
        let free = Cell { edge: Edge::Weak, ..*Cell::new(None, 0) };
        Self::of(vec![b, a, Cell::new(None, 1), Box::new(free)], locals)
    }

    #[expect(clippy::vec_box, reason = "as in `Tiny`")]
    fn of(cells: Vec<Box<Cell>>, locals: usize) -> Arc<Heap> {
        let (cycle, permitted) = (plain::AtomicU64::new(1), plain::AtomicBool::new(true));
        let engine = Engine::new(Tiny { cells, cycle, permitted });
        let world = Hands(
            (0..locals).map(|_| Local::new(&engine.space).expect("there is memory")).collect(),
        );
        let (crew, cleanups) = (Crew::new().expect("there is memory"), Cleanups::default());
        Arc::new(Heap { engine, world, crew, cleanups, left: Notify::new() })
    }

    /// The address of a cell.
    pub fn cell(&self, index: usize) -> NonNull<u8> {
        self.engine.space.cells[index].address()
    }

    /// A driver. `script` is called whenever it has to wait, before others get their turn.
    pub fn cycle<'a>(
        &'a self,
        marker: &'a mut Marker,
        script: impl FnMut(Pause),
    ) -> Cycle<'a, Tiny, Hands, impl FnMut(Pause)> {
        self.cycle_in_slices(8, marker, script)
    }

    /// A driver that marks so many objects between two pauses.
    pub fn cycle_in_slices<'a>(
        &'a self,
        slice: usize,
        marker: &'a mut Marker,
        mut script: impl FnMut(Pause),
    ) -> Cycle<'a, Tiny, Hands, impl FnMut(Pause)> {
        let pause = move |pause| {
            script(pause);
            match pause {
                Pause::Handshake(_) | Pause::Operation(_) => self.left.wait(),
                Pause::Starved(_) => thread::yield_now(),
                // Not even a chance to switch, unless it is needed: see `left`.
                _ => {}
            }
        };
        // SAFETY: each model drives one cycle, in order, with the world whose local states it uses.
        let cycle = unsafe {
            Cycle::new(&self.engine, &self.world, marker, slice, pause, &self.crew, &self.cleanups)
        };
        cycle.patient(u32::MAX)
    }
}

/// Whatever is reachable from `C` is alive.
pub fn look_behind_c(heap: &Arc<Heap>) {
    let mutator = Mutator { heap, local: &heap.world.0[0] };
    mutator.guard(|_| {
        let mut at = Some(heap.cell(C));
        while let Some(address) = at {
            mutator.look(address);
            at = mutator.load(address);
        }
    });
}

/// Roots `C` and `A`.
pub fn root(heap: &Heap) {
    heap.engine.roots.add(heap.cell(C)).unwrap();
    heap.engine.roots.add(heap.cell(A)).unwrap();
}

/// A mutator that takes what the driver has shared, marks one object of it, and puts the rest back.
pub fn assists(heap: &Arc<Heap>) -> JoinHandle<()> {
    let heap = heap.clone();
    thread::spawn(move || {
        let worker = Worker::new(&heap.engine, &heap.world, &heap.crew, &|| (), 1);
        // SAFETY: all three are one heap's.
        unsafe { worker.assist(1, || false) };
    })
}

/// Steps 5 to 9, from wherever marking stands.
pub fn mark_and_sweep(cycle: &mut Cycle<'_, Tiny, Hands, impl FnMut(Pause)>, heap: &Heap) {
    let (number, _) = cycle.mark_to_the_end();
    cycle.open(number);
    cycle.end();
    heap.engine.space.sweep(usize::MAX);
}
