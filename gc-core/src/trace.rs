//! What may lie in the heap: [`Trace`] reports edges, [`Rebind`] changes the lifetime.
//!
//! # Problem
//!
//! The collector must find every edge of an object and nothing else, and the type system must
//! make sure that nothing in the heap borrows from outside or escapes from a guard. Both are
//! properties of a type, so both are traits, and `#[derive(Trace)]` writes them:
//!
//! ```
//! use gc_core::{Gc, GcCell, Trace};
//!
//! #[derive(Trace)]
//! struct Node<'g> {
//!     value: u64,
//!     parent: Option<Gc<'g, Node<'g>>>, // an edge that never changes
//!     next: GcCell<'g, Node<'g>>,       // an edge that does
//!     #[leaf]
//!     name: std::sync::Arc<str>, // not looked into
//! }
//! ```
//!
//! A type with edges has one lifetime, that of the guard under which it is seen. The same object
//! is a `Node<'a>` under one guard and a `Node<'b>` under another; `Node<'static>` is its name
//! where there is no guard, as in [`Root<Node<'static>>`](crate::Root). [`Rebind::At`] is the
//! function from lifetimes to these types.
//!
//! # What does not get in
//!
//! Anything with interior mutability around edges (`Cell`, `RefCell`, `Mutex`, `OnceCell`…): a
//! store without the barrier. `Rc` and `Arc` around edges: a destructor that would follow edges to
//! objects that are gone, and shared ownership outside the heap. Anything borrowed. Anything that
//! is not `Send + Sync`: the marker and the destructors run on other threads. As a `#[leaf]` all
//! of these are welcome if they are `'static + Send + Sync`: then they hold no edge.
//!
//! What gets in of std, leaves and collections that own what they hold, is in `standard`.

mod standard;

use crate::{engine::Slot, heap::Tag, mark::Overflow, space::Exhausted};
use core::{alloc::Layout, ptr::NonNull};
use std::alloc::handle_alloc_error;

/// Items of an array that are traced at a time: as much as an ordinary object, so that a slice of
/// marking stays short however long an array is.
const PIECE: usize = 128;

/// Takes the edges that an object reports.
#[derive(Debug, Default)]
pub struct Tracer {
    edges: Vec<NonNull<u8>>,
    /// What is left of long arrays.
    pieces: Vec<Piece>,
    /// Slots of weak objects.
    weaks: Vec<NonNull<Slot>>,
    /// Whether arrays are cut. Only of objects that stay as they are until the pieces are dealt with.
    cuts: bool,
    full: Full,
}

/// What becomes of edges for which there is no room.
#[derive(Debug, Default)]
enum Full {
    /// The process ends.
    #[default]
    Ends,
    /// They are marked.
    Marks(Overflow),
    /// They are lost. Whether there were any.
    Loses(bool),
}

impl Full {
    fn has_happened(&self) -> bool {
        match self {
            Self::Ends => false,
            Self::Marks(overflow) => overflow.has_happened(),
            Self::Loses(some) => *some,
        }
    }
}

// SAFETY: a tracer holds addresses. Pieces are of objects, which any thread may read, and an overflow leads to a
// space, which any thread may use.
unsafe impl Send for Tracer {}

/// The end of an array in an object, yet to be traced.
#[derive(Debug)]
pub(crate) struct Piece {
    items: NonNull<u8>,
    length: usize,
    trace: fn(NonNull<u8>, usize, &mut Tracer),
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        (self.items, self.length) == (other.items, other.length)
    }
}

impl Eq for Piece {}

impl Tracer {
    /// Reports an edge. A model's own objects call it; types call
    /// [`Trace::trace`] of their fields.
    #[inline]
    pub fn edge(&mut self, cell: NonNull<u8>) {
        if self.edges.len() == self.edges.capacity() {
            return self.edge_slow(cell);
        }
        self.edges.push(cell);
    }

    #[cold]
    #[inline(never)]
    fn edge_slow(&mut self, cell: NonNull<u8>) {
        // Not asked again for each edge: an allocator that has nothing takes long to say so.
        if !self.full.has_happened() && self.edges.try_reserve(1).is_ok() {
            return self.edges.push(cell);
        }
        match &mut self.full {
            Full::Ends => handle_alloc_error(Layout::new::<NonNull<u8>>()),
            Full::Marks(overflow) => overflow.mark(cell),
            Full::Loses(some) => *some = true,
        }
    }

    /// Notes the slot of a weak object, which is no edge; unless there is no room for it: then it is one, in this
    /// cycle.
    pub fn weak(&mut self, slot: NonNull<Slot>) {
        match self.weaks.try_reserve(1) {
            Ok(()) => self.weaks.push(slot),
            Err(_) => self.keep(slot),
        }
    }

    /// Reports what a weak object leads to as an edge.
    fn keep(&mut self, slot: NonNull<Slot>) {
        match &mut self.full {
            Full::Ends => handle_alloc_error(Layout::new::<NonNull<Slot>>()),
            Full::Marks(_) => {}
            Full::Loses(some) => return *some = true,
        }
        // SAFETY: the slot is of an object that is traced in this cycle.
        if let Some(target) = unsafe { slot.as_ref() }.load() {
            self.edge(target);
        }
    }

    /// Reports what weak objects lead to as edges: there was no room for the news of them.
    pub(crate) fn keep_all(&mut self, slots: Vec<NonNull<Slot>>) {
        slots.into_iter().for_each(|slot| self.keep(slot));
    }

    /// Edges for which there is no room go there from now on.
    pub(crate) fn attach(&mut self, overflow: Overflow) {
        self.full = Full::Marks(overflow);
    }

    /// They do not any more.
    pub(crate) fn detach(&mut self) -> Option<Overflow> {
        match core::mem::take(&mut self.full) {
            Full::Marks(overflow) => Some(overflow),
            Full::Ends | Full::Loses(_) => None,
        }
    }

    /// A tracer for whoever can do without: edges and weak objects for which there is no room are lost.
    pub(crate) fn losing() -> Self {
        Self { full: Full::Loses(false), ..Self::default() }
    }

    /// Whether any was lost.
    pub(crate) fn has_lost(&self) -> bool {
        matches!(self.full, Full::Loses(true))
    }

    /// Takes back the slots of weak objects; `None` if there are none.
    pub(crate) fn take_weaks(&mut self) -> Option<Vec<NonNull<Slot>>> {
        (!self.weaks.is_empty()).then(|| core::mem::take(&mut self.weaks))
    }

    /// A tracer that leaves the ends of long arrays for later.
    pub(crate) fn cutting() -> Self {
        Self { cuts: true, ..Self::default() }
    }

    /// Sees to room for so many edges.
    pub(crate) fn make_room(&mut self, edges: usize) -> Result<(), Exhausted> {
        self.edges.try_reserve_exact(edges).map_err(|_| Exhausted)
    }

    /// Reports the edges of all items; of a long array, of the first ones, and the rest later.
    #[inline]
    pub(crate) fn items<T: Trace<H>, H: Tag>(&mut self, items: &[T]) {
        let now = if self.cuts { items.len().min(PIECE) } else { items.len() };
        let (now, later) = items.split_at(now);
        if !later.is_empty() {
            if self.pieces.try_reserve(1).is_err() {
                // A long slice is better than a piece that nobody knows of.
                return items.iter().for_each(|item| item.trace(self));
            }
            let (length, trace) = (later.len(), trace_items::<T, H>);
            self.pieces.push(Piece { items: NonNull::from(later).cast(), length, trace });
        }
        now.iter().for_each(|item| item.trace(self));
    }

    /// Runs `f` without cutting arrays: what it traces may change when it is over.
    pub(crate) fn whole(&mut self, f: impl FnOnce(&mut Self)) {
        let cuts = core::mem::replace(&mut self.cuts, false);
        f(self);
        self.cuts = cuts;
    }

    /// Deals with a piece of an array; false if there is none.
    ///
    /// # Safety
    ///
    /// The objects that arrays were cut of are still there, and shared.
    pub(crate) unsafe fn piece(&mut self) -> bool {
        let Some(Piece { items, length, trace }) = self.pieces.pop() else { return false };
        trace(items, length, self);
        true
    }

    /// Takes back a piece, if there are several, and room for one in `pieces`.
    pub(crate) fn take_piece(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let takes = self.pieces.len() > 1 && pieces.try_reserve_exact(1).is_ok();
        if takes {
            pieces.push(self.pieces.swap_remove(0));
        }
        takes
    }

    /// Takes back what was reported last and not taken.
    pub(crate) fn pop(&mut self) -> Option<NonNull<u8>> {
        self.edges.pop()
    }

    /// How many edges are left.
    pub(crate) fn len(&self) -> usize {
        self.edges.len()
    }

    /// Takes back those that were reported after the first `from` ones, but for those asked for.
    pub(crate) fn retain(&mut self, from: usize, keep: impl Fn(NonNull<u8>) -> bool) {
        let mut kept = from;
        for place in from..self.edges.len() {
            let cell = self.edges[place];
            self.edges[kept] = cell;
            kept += usize::from(keep(cell));
        }
        self.edges.truncate(kept);
    }

    /// Moves those that were reported first to `oldest`: half of all, at most so many. False if there
    /// are too few, or no room there.
    pub(crate) fn take_oldest(&mut self, most: usize, oldest: &mut Vec<NonNull<u8>>) -> bool {
        let count = most.min(self.edges.len() / 2);
        let rest = self.edges.len() - count;
        if count == 0 || oldest.try_reserve(count).is_err() {
            return false;
        }
        oldest.extend_from_slice(&self.edges[..count]);
        // The newest fill the gap: who comes when is nobody's business.
        self.edges.copy_within(rest.., 0);
        self.edges.truncate(rest);
        true
    }

    /// Takes back all.
    pub(crate) fn take_all(&mut self) -> (Vec<NonNull<u8>>, Vec<Piece>) {
        (core::mem::take(&mut self.edges), core::mem::take(&mut self.pieces))
    }

    /// Puts back what was taken, and returns the buffer that is free now. Takes no memory if nothing is left here,
    /// or if it was taken from here.
    pub(crate) fn put(
        &mut self,
        mut edges: Vec<NonNull<u8>>,
        mut pieces: Vec<Piece>,
    ) -> Vec<NonNull<u8>> {
        if self.pieces.is_empty() {
            core::mem::swap(&mut self.pieces, &mut pieces);
        }
        self.pieces.append(&mut pieces);
        if self.edges.is_empty() && self.edges.capacity() < edges.len() {
            return core::mem::replace(&mut self.edges, edges);
        }
        self.edges.append(&mut edges);
        edges
    }

    /// Whether no edge is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty() && self.pieces.is_empty()
    }
}

fn trace_items<T: Trace<H>, H: Tag>(items: NonNull<u8>, length: usize, tracer: &mut Tracer) {
    // SAFETY: a piece is made of a slice of `T`s in an object, and dealt with while that is there and
    // shared: see `Tracer::piece`.
    let items = unsafe { NonNull::slice_from_raw_parts(items.cast::<T>(), length).as_ref() };
    tracer.items(items);
}

/// Reports the edges of an object in a heap with tag `H`.
///
/// Use `#[derive(Trace)]`.
///
/// # Safety
///
/// An implementation guarantees:
///
/// 1. `trace` calls `trace` of everything in the object through which an edge can be reached
///    by safe code, does nothing else, and does not unwind.
/// 2. Every edge in the object is a [`GcCell`](crate::GcCell) or lies in memory that does not
///    change while the object is shared.
/// 3. All its edges are of heaps with tag `H`.
/// 4. Its destructor does not follow edges, and holds no borrowed data to follow.
///
/// A container that the derive cannot see into does it by hand:
///
/// ```
/// use gc_core::{Gc, Heap, Plain, Rebind, Root, Trace, trace::Tracer};
///
/// /// What is left of a list.
/// struct Queue<'g>(std::vec::IntoIter<Gc<'g, u64>>);
///
/// // SAFETY: all edges are visited; a shared iterator does not change; there is no destructor of its own.
/// unsafe impl Trace for Queue<'_> {
///     fn trace(&self, tracer: &mut Tracer) {
///         self.0.as_slice().iter().for_each(|edge| edge.trace(tracer));
///     }
/// }
///
/// // SAFETY: the lifetime is that of the edges, and nothing else differs.
/// unsafe impl Rebind for Queue<'_> {
///     type At<'a> = Queue<'a>;
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let queue: Root<Queue<'static>> = {
///     let guard = heap.enter();
///     guard.root(guard.alloc(Queue(vec![guard.alloc(1), guard.alloc(2)].into_iter())))
/// };
/// assert_eq!(heap.collect().unwrap().marked_objects, 3);
/// assert_eq!(*queue.get(&heap.enter()).0.as_slice()[1], 2);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in the collected heap `{H}`",
    label = "this does not implement `Trace<{H}>`",
    note = "derive it with `#[derive(Trace)]`, or mark the field `#[leaf]` if it holds no edge \
            and is `'static + Send + Sync`",
    note = "borrowed data, `Rc`, `Arc`, `Cell`, `RefCell` and locks around edges are never `Trace`"
)]
pub unsafe trait Trace<H: Tag = crate::Plain>: Send + Sync {
    /// Reports all edges.
    fn trace(&self, tracer: &mut Tracer);
}

/// The same type under another guard's lifetime.
///
/// Use `#[derive(Trace)]`, which implements this as well.
///
/// # Safety
///
/// An implementation guarantees:
///
/// 1. `At<'a>` is the implementing type with its guard lifetime replaced by `'a`, in every field;
///    nothing else differs, so the layout is the same.
/// 2. It is idempotent: `<Self::At<'a> as Rebind>::At<'b>` is `Self::At<'b>`.
/// 3. A type with `EDGES == false` has no edges.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no form under another guard's lifetime",
    note = "derive it with `#[derive(Trace)]`"
)]
pub unsafe trait Rebind {
    /// The type under the lifetime `'a`.
    type At<'a>: 'a;

    /// Whether there can be an edge in it. Objects without are never read by the marker.
    const EDGES: bool = true;
}

/// What a [`Gc`](crate::Gc) may point to: every type that is [`Rebind`], and trait objects by
/// [`rebind_dyn!`](crate::rebind_dyn).
///
/// # Safety
///
/// As [`Rebind`], rules 1 and 2; a pointer to the type has the same metadata as one to `At<'a>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no form under another guard's lifetime",
    note = "derive it with `#[derive(Trace)]`; for a trait object see `rebind_dyn!`"
)]
pub unsafe trait Pointee {
    /// The type under the lifetime `'a`.
    type At<'a>: ?Sized + 'a;
}

// SAFETY: `Rebind` promises it; the type is sized, so there is no metadata.
unsafe impl<T: Rebind> Pointee for T {
    type At<'a> = T::At<'a>;
}
