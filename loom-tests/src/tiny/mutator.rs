//! What a thread does with the heap: guards, loads and stores, allocations, weak pointers, locks.

use core::ptr::NonNull;
use gc_core::engine::{Engine, Link};
use gc_core::handshake::Pin;
use gc_core::local::{Local, Operation};
use gc_core::lock::raw::Want;
use gc_core::roots::RootSlot;
use loom::sync::Arc;
use loom::sync::atomic::{Ordering, fence};
use loom::thread;

use super::{Cell, Edge, Heap, KIND, Tiny, cell};

/// Runs `body` on a thread of its own, with a local state.
pub fn mutate(
    heap: &Arc<Heap>,
    local: usize,
    body: impl FnOnce(Mutator<'_>) + Send + 'static,
) -> thread::JoinHandle<()> {
    let heap = heap.clone();
    thread::spawn(move || body(Mutator { heap: &heap, local: &heap.world.0[local] }))
}

/// A thread with a local state.
#[derive(Debug)]
pub struct Mutator<'a> {
    /// The heap.
    pub heap: &'a Heap,
    /// Its own.
    pub local: &'a Local<Tiny>,
}

impl Mutator<'_> {
    /// Enters a guard.
    pub fn enter(&self) -> Pin {
        // SAFETY: each local state of a model has one thread.
        unsafe { self.heap.engine.enter(self.local, || fence(Ordering::SeqCst)) }
    }

    /// Leaves a guard.
    pub fn leave(&self, pin: Pin) {
        // SAFETY: the pin is of `enter`, and each is left once.
        unsafe { self.heap.engine.leave(self.local, pin) };
        self.heap.left.notify();
    }

    /// Runs `body` under a guard.
    pub fn guard(&self, body: impl FnOnce(Pin)) {
        let pin = self.enter();
        body(pin);
        self.leave(pin);
    }

    /// Follows a pointer: the object must be there.
    pub fn look(&self, address: NonNull<u8>) {
        // SAFETY: cells stay in place; whether the object does is what is checked.
        let alive = unsafe { cell(address) }.alive.with(|alive| unsafe { *alive });
        assert!(alive, "a pointer leads to a cell that was freed");
    }

    /// What an object's edge leads to.
    pub fn load(&self, from: NonNull<u8>) -> Link {
        self.look(from);
        // SAFETY: as in `look`.
        unsafe { cell(from) }.next.load()
    }

    /// Runs one operation.
    pub fn operate<R>(&self, f: impl FnOnce(&Engine<Tiny>, &Operation<'_, Tiny>) -> R) -> R {
        // SAFETY: the local state is this thread's, and operations do not nest.
        let operation = unsafe { Operation::begin(self.local, || fence(Ordering::SeqCst)) };
        let result = f(&self.heap.engine, &operation);
        drop(operation);
        self.heap.left.notify();
        result
    }

    /// The target of a weak pointer, unless it is dead.
    pub fn upgrade(&self, weak: NonNull<u8>) -> Link {
        self.look(weak);
        // SAFETY: a guard is held, and the cell is a weak object's.
        let found = self.operate(|engine, me| unsafe { engine.upgrade(me, &cell(weak).next) });
        found.expect("the logs of a model are long enough")
    }

    /// Exchanges the edge under a lock. Waits by yielding.
    pub fn exchange(&self, place: NonNull<u8>, new: Link) -> Link {
        self.look(place);
        // SAFETY: as in `look`.
        let Edge::Locked { lock, reported, edge } = &unsafe { cell(place) }.edge else {
            unreachable!("the edge is under a lock")
        };
        let report = loop {
            match self.operate(|engine, me| engine.take_exclusive(me, lock, reported)) {
                Some(report) => break report,
                None => thread::yield_now(),
            }
        };
        while lock.is_traced() {
            thread::yield_now();
        }
        if let Some(report) = report {
            // SAFETY: the lock is held; loom checks it.
            if let Some(old) = edge.with(|edge| unsafe { *edge }) {
                // SAFETY: a guard is held.
                let logged = self.operate(|engine, me| unsafe { engine.log(me, old) });
                logged.expect("the logs of a model are long enough");
            }
            self.heap.engine.reported(report, reported);
            self.heap.left.notify();
        }
        // SAFETY: as above.
        let old = edge.with_mut(|edge| unsafe { core::mem::replace(&mut *edge, new) });
        assert!(!lock.leave(Want::Exclusive), "nobody waits in the lot");
        old
    }

    /// Takes a root away. Returns what it held, which the guard that is held keeps.
    pub fn unroot(&self, root: RootSlot) -> Link {
        // SAFETY: the table is the heap's.
        let held = unsafe { root.slot() }.load();
        held.into_iter().for_each(|held| self.look(held));
        self.unroot_unguarded(root);
        held
    }

    /// Takes a root away, as its end does.
    pub fn unroot_unguarded(&self, root: RootSlot) {
        // SAFETY: the table is the heap's.
        let slot = unsafe { root.slot() };
        // SAFETY: the root is ours.
        let clear = |engine: &Engine<Tiny>, me: &Operation<'_, Tiny>| unsafe {
            engine.clear_root(me, slot, || fence(Ordering::SeqCst))
        };
        self.operate(clear).expect("the logs of a model are long enough");
        // SAFETY: the root is of the heap, and was just emptied.
        unsafe { self.heap.engine.roots.recycle(root) };
    }

    /// What lies under a lock.
    pub fn peek(&self, place: NonNull<u8>) -> Link {
        let edge = self.exchange(place, None);
        self.exchange(place, edge);
        edge
    }

    /// Exchanges an edge.
    pub fn swap(&self, place: NonNull<u8>, new: Link) -> Link {
        self.look(place);
        // SAFETY: a guard is held, and the place is as in `look`.
        let old = self.operate(|engine, me| unsafe { engine.swap(me, &cell(place).next, new) });
        old.expect("the logs of a model are long enough")
    }

    /// Exchanges an edge, without the log.
    pub fn swap_unlogged(&self, place: NonNull<u8>, new: Link) -> Link {
        self.look(place);
        // SAFETY: as in `swap`.
        self.operate(|engine, me| unsafe { engine.swap_unlogged(me, &cell(place).next, new) })
    }

    /// Sets an edge.
    pub fn set(&self, place: NonNull<u8>, new: Link) {
        self.look(place);
        // SAFETY: as in `swap`.
        let done = self.operate(|engine, me| unsafe { engine.store(me, &cell(place).next, new) });
        done.expect("the logs of a model are long enough");
    }

    /// Sets an edge without a fence, as where the barrier's heavy side has that of both.
    pub fn set_unfenced(&self, place: NonNull<u8>, new: Link) {
        self.look(place);
        // SAFETY: the local state is this thread's, and operations do not nest.
        let operation = unsafe { Operation::begin(self.local, || ()) };
        // SAFETY: as in `swap`.
        let done = unsafe { self.heap.engine.store(&operation, &cell(place).next, new) };
        done.expect("the logs of a model are long enough");
    }

    /// Makes an object whose edge leads nowhere, in the short way of an allocation.
    pub fn alloc(&self, pin: Pin) -> NonNull<u8> {
        self.operate(|engine, me| {
            // SAFETY: the pin is of a guard that is held; `write` makes an object of the cell.
            unsafe { engine.allocate_cached(me, pin, &KIND, 8, |address| write(address, |_| ())) }
        })
        .expect("the model has room")
    }

    /// Makes a weak object, of a free cell that is for one, in the long way.
    pub fn downgrade(&self, pin: Pin, target: NonNull<u8>) -> NonNull<u8> {
        self.look(target);
        let fill = |weak: &Cell| weak.next.fill(Some(target));
        self.operate(|engine, me| {
            // SAFETY: as in `alloc`.
            unsafe { engine.allocate(me, pin, &KIND, 8, |address| write(address, fill)) }
        })
        .expect("the model has room")
        .cell
    }
}

/// Makes an object of a free cell that was taken for it.
fn write(address: NonNull<u8>, fill: impl FnOnce(&Cell)) {
    // SAFETY: a free cell, taken for this object.
    let cell = unsafe { cell(address) };
    // SAFETY: as above.
    cell.alive.with_mut(|alive| unsafe { *alive = true });
    fill(cell);
}
