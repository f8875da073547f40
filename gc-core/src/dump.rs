//! [`Dump`]: what is in the heap, and why it is alive.
//!
//! A dump is taken by somebody who holds a guard, and does nothing that a guard's holder may not do: it
//! reads the roots, and follows edges. So nothing stops for it, and nothing that it reaches is freed
//! meanwhile. It is a picture taken by walking about: while others store, an object may be missed that
//! was always there. What lies under a lock that is held exclusively is left out, and a weak pointer is
//! not followed.
//!
//! The walk is breadth first, so each object is first reached by a shortest path from a root, and the
//! object before it on that path is all there is to remember.
//!
//! Whoever wants to know what fills the memory may have none left: a dump is then refused
//! ([`Guard::try_dump`]), and one that was taken is shown without any.

use crate::{
    error::HeapError,
    guard::Guard,
    handle::Gc,
    heap::Tag,
    space::{Exhausted, Kind, Space},
    trace::Tracer,
};
use core::{cmp::Reverse, fmt, ptr::NonNull};
use std::collections::HashMap;

/// An object of a [`Dump`].
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let root = guard.root(guard.alloc_slice([guard.alloc(1u64), guard.alloc(2)]));
/// let dump = guard.dump();
/// let table = dump.objects()[0];
/// assert_eq!((table.edges, table.address), (2, root.get(&guard).as_ptr().addr()));
/// let [one, _] = &dump.objects()[1..] else { unreachable!("two leaves") };
/// assert_eq!((one.name, one.edges), ("u64", 0));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Object {
    /// Where it was. Says nothing once the guard is gone.
    pub address: usize,
    /// The name of its type.
    pub name: &'static str,
    /// What its cell takes.
    pub bytes: usize,
    /// How many edges lead out of it.
    pub edges: usize,
    /// The object that it was first reached from, by its place in [`Dump::objects`]; none: a root.
    from: Option<usize>,
}

/// All objects of one type in a [`Dump`].
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let roots = [1u64, 2, 3].map(|n| guard.root(guard.alloc(n)));
/// let numbers = guard.dump().types()[0];
/// assert_eq!((numbers.name, numbers.objects), ("u64", 3));
/// assert!(numbers.bytes >= 3 * 8);
/// # drop(roots);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Population {
    /// The name of the type.
    pub name: &'static str,
    /// How many there are.
    pub objects: usize,
    /// What their cells take together.
    pub bytes: usize,
}

/// All objects that are reachable from roots. Displayed, it is a table of types, most bytes first.
///
/// ```
/// use gc_core::{GcCell, Heap, Plain, Trace};
///
/// #[derive(Trace)]
/// struct Node<'g> {
///     next: GcCell<'g, Node<'g>>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let last = guard.alloc(Node { next: GcCell::null() });
/// let first = guard.alloc(Node { next: GcCell::new(Some(last)) });
/// let root = guard.root(first);
///
/// let dump = guard.dump();
/// assert_eq!(dump.objects().len(), 2);
/// let why = dump.why(last).expect("it is reachable");
/// assert_eq!(why.objects().len(), 2);
/// assert!(why.to_string().starts_with("root -> "));
/// drop(root);
/// assert!(guard.dump().why(last).is_none(), "nothing leads to it but our hands");
/// ```
#[derive(Clone, Debug)]
pub struct Dump {
    objects: Vec<Object>,
    places: HashMap<usize, usize>,
    types: Vec<Population>,
    roots: usize,
}

/// A shortest path from a root to an object: why it is alive. Displayed, it is one line.
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let guard = heap.enter();
/// let leaf = guard.alloc(7u64);
/// let root = guard.root(guard.alloc(Some(leaf)));
/// let why = guard.dump().why(leaf).expect("a root leads to it");
/// let names: Vec<_> = why.objects().iter().map(|object| object.name).collect();
/// assert!(names[0].contains("Option") && names[1] == "u64");
/// assert_eq!(why.to_string().matches(" -> ").count(), 2);
/// # drop(root);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Path(Vec<Object>);

impl Dump {
    /// All objects, those near the roots first.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// How many roots there were.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let root = guard.root(guard.alloc(7u64));
    /// let same = root.clone();
    /// let dump = guard.dump();
    /// assert_eq!((dump.roots(), dump.objects().len()), (2, 1));
    /// # drop(same);
    /// ```
    pub fn roots(&self) -> usize {
        self.roots
    }

    /// The types, those with most bytes first.
    pub fn types(&self) -> &[Population] {
        &self.types
    }

    /// Why an object is alive. `None`: no root led to it.
    ///
    /// # Panics
    ///
    /// As [`path`](Self::path).
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let (kept, loose) = (guard.alloc(1u64), guard.alloc(2u64));
    /// let root = guard.root(kept);
    /// let dump = guard.dump();
    /// assert!(dump.why(kept).is_some() && dump.why(loose).is_none());
    /// # drop(root);
    /// ```
    pub fn why<T: ?Sized, H>(&self, object: Gc<'_, T, H>) -> Option<Path> {
        self.path(object.cell().addr().get())
    }

    /// Why the object at an address is alive, for whoever has a dump but no pointer.
    ///
    /// # Panics
    ///
    /// If there is no memory for the path; [`try_path`](Self::try_path) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let root = guard.root(guard.alloc(Some(guard.alloc(7u64))));
    /// let dump = guard.dump();
    /// let leaf = dump.objects().iter().find(|object| object.edges == 0).unwrap();
    /// assert_eq!(dump.path(leaf.address).unwrap().objects().len(), 2);
    /// ```
    pub fn path(&self, address: usize) -> Option<Path> {
        self.try_path(address).unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// As [`path`](Self::path).
    ///
    /// # Errors
    ///
    /// [`HeapError::Memory`]
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let object = guard.alloc(7u64);
    /// let root = guard.root(object);
    /// let path = guard.dump().try_path(object.as_ptr().addr()).unwrap();
    /// assert_eq!(path.unwrap().objects().len(), 1);
    /// # drop(root);
    /// ```
    pub fn try_path(&self, address: usize) -> Result<Option<Path>, HeapError> {
        let (mut path, mut place) = (Vec::new(), self.places.get(&address).copied());
        while let Some(object) = place.map(|place| self.objects[place]) {
            push(&mut path, object)?;
            place = object.from;
        }
        path.reverse();
        Ok((!path.is_empty()).then_some(Path(path)))
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.objects.iter().map(|object| object.bytes).sum();
        writeln!(f, "{} roots, {} objects, {bytes} bytes", self.roots, self.objects.len())?;
        for Population { name, objects, bytes } in self.types() {
            writeln!(f, "{bytes:>12} {objects:>9} {name}")?;
        }
        Ok(())
    }
}

impl Path {
    /// The objects on the way, the one that a root holds first, the one asked for last.
    pub fn objects(&self) -> &[Object] {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("root")?;
        self.0.iter().try_for_each(|object| write!(f, " -> {} {:#x}", object.name, object.address))
    }
}

impl<H: Tag> Guard<'_, H> {
    /// Walks the heap from its roots. Takes time and memory by the number of objects.
    ///
    /// # Panics
    ///
    /// If there is no memory for it; [`try_dump`](Self::try_dump) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let roots = [1u64, 2, 3].map(|n| guard.root(guard.alloc(n)));
    /// let dump = guard.dump();
    /// let numbers = dump.types()[0];
    /// assert_eq!((numbers.name, numbers.objects), ("u64", 3));
    /// println!("{dump}");
    /// ```
    pub fn dump(&self) -> Dump {
        self.try_dump().unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// As [`dump`](Self::dump).
    ///
    /// # Errors
    ///
    /// [`HeapError::Memory`]
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let root = heap.enter().root(heap.enter().alloc(7u64));
    /// let dump = heap.enter().try_dump().unwrap();
    /// assert_eq!((dump.roots(), dump.objects().len()), (1, 1));
    /// # drop(root);
    /// ```
    pub fn try_dump(&self) -> Result<Dump, HeapError> {
        let engine = &self.core().engine;
        let mut walk = Walk::of(&engine.space);
        let (mut roots, mut reached) = (0, Ok(()));
        engine.roots.scan(|cell| {
            roots += 1;
            if reached.is_ok() {
                // SAFETY: a root led there, and our guard keeps it.
                reached = unsafe { walk.reach(cell, None) };
            }
        });
        reached?;
        let mut edges = Tracer::losing();
        let mut next = 0;
        while next < walk.cells.len() {
            // SAFETY: our guard keeps all that was reached.
            unsafe { walk.follow(next, &mut edges) }?;
            next += 1;
        }
        let types = types(&walk.objects)?;
        Ok(Dump { objects: walk.objects, places: walk.places, types, roots })
    }
}

struct Walk<'a, S> {
    space: &'a S,
    /// Those that were reached; `objects` says more of each.
    cells: Vec<(NonNull<u8>, &'static Kind)>,
    objects: Vec<Object>,
    places: HashMap<usize, usize>,
}

impl<'a, S: Space> Walk<'a, S> {
    fn of(space: &'a S) -> Self {
        Self { space, cells: Vec::new(), objects: Vec::new(), places: HashMap::new() }
    }

    /// # Safety
    ///
    /// The cell is an object's, and a guard keeps it.
    unsafe fn reach(&mut self, cell: NonNull<u8>, from: Option<usize>) -> Result<(), Exhausted> {
        let (address, place) = (cell.addr().get(), self.objects.len());
        self.places.try_reserve(1).map_err(|_| Exhausted)?;
        if *self.places.entry(address).or_insert(place) != place {
            return Ok(());
        }
        // SAFETY: the caller's.
        let (kind, bytes) = unsafe { (self.space.kind(cell), self.space.bytes(cell)) };
        push(&mut self.cells, (cell, kind))?;
        push(&mut self.objects, Object { address, name: (kind.name)(), bytes, edges: 0, from })
    }

    /// Reaches what the object at `place` leads to. `edges` is empty, and is left so.
    ///
    /// # Safety
    ///
    /// A guard keeps the object.
    unsafe fn follow(&mut self, place: usize, edges: &mut Tracer) -> Result<(), Exhausted> {
        let (cell, kind) = self.cells[place];
        if let Some(trace) = kind.trace {
            // SAFETY: the object is of its cell's kind, and the caller's guard keeps it.
            unsafe { trace(cell, edges) };
        }
        while let Some(cell) = edges.pop() {
            self.objects[place].edges += 1;
            // SAFETY: an edge led there, and the caller's guard keeps it.
            unsafe { self.reach(cell, Some(place)) }?;
        }
        if edges.has_lost() { Err(Exhausted) } else { Ok(()) }
    }
}

/// The types, those with most bytes first.
fn types(objects: &[Object]) -> Result<Vec<Population>, Exhausted> {
    let mut types: Vec<Population> = Vec::new();
    for object in objects {
        let found = types.binary_search_by_key(&object.name, |population| population.name);
        if let Err(place) = found {
            types.try_reserve(1).map_err(|_| Exhausted)?;
            types.insert(place, Population { name: object.name, objects: 0, bytes: 0 });
        }
        let population = &mut types[found.unwrap_or_else(|place| place)];
        population.objects += 1;
        population.bytes += object.bytes;
    }
    types.sort_unstable_by_key(|population| (Reverse(population.bytes), population.name));
    Ok(types)
}

fn push<T>(list: &mut Vec<T>, item: T) -> Result<(), Exhausted> {
    list.try_reserve(1).map_err(|_| Exhausted)?;
    list.push(item);
    Ok(())
}
