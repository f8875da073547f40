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

use crate::{
    guard::Guard,
    handle::Gc,
    heap::Tag,
    space::{Kind, Space},
    trace::Tracer,
};
use core::{fmt, ptr::NonNull};
use std::collections::{BTreeMap, HashMap};

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
    pub fn types(&self) -> Vec<Population> {
        let mut by_name = BTreeMap::new();
        for object in &self.objects {
            let none = Population { name: object.name, objects: 0, bytes: 0 };
            let population: &mut Population = by_name.entry(object.name).or_insert(none);
            population.objects += 1;
            population.bytes += object.bytes;
        }
        let mut types: Vec<_> = by_name.into_values().collect();
        types.sort_by_key(|population| core::cmp::Reverse(population.bytes));
        types
    }

    /// Why an object is alive. `None`: no root led to it.
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
        let mut place = *self.places.get(&address)?;
        let mut path = vec![self.objects[place]];
        while let Some(from) = self.objects[place].from {
            path.push(self.objects[from]);
            place = from;
        }
        path.reverse();
        Some(Path(path))
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
        let engine = &self.core().engine;
        let mut walk = Walk { space: &engine.space, objects: Vec::new(), places: HashMap::new() };
        let mut roots = 0;
        engine.roots.scan(|cell| {
            roots += 1;
            // SAFETY: a root led there, and our guard keeps it.
            unsafe { walk.reach(cell, None) };
        });
        let (mut next, mut edges) = (0, Tracer::default());
        while next < walk.objects.len() {
            let (cell, kind, _) = walk.objects[next];
            if let Some(trace) = kind.trace {
                // SAFETY: the object is of its cell's kind, and our guard keeps it.
                unsafe { trace(cell, &mut edges) };
            }
            while let Some(cell) = edges.pop() {
                walk.objects[next].2.edges += 1;
                // SAFETY: an edge led there, and our guard keeps it.
                unsafe { walk.reach(cell, Some(next)) };
            }
            next += 1;
        }
        let objects = walk.objects.into_iter().map(|(_, _, object)| object).collect();
        Dump { objects, places: walk.places, roots }
    }
}

struct Walk<'a, S> {
    space: &'a S,
    objects: Vec<(NonNull<u8>, &'static Kind, Object)>,
    places: HashMap<usize, usize>,
}

impl<S: Space> Walk<'_, S> {
    /// # Safety
    ///
    /// The cell is an object's, and a guard keeps it.
    unsafe fn reach(&mut self, cell: NonNull<u8>, from: Option<usize>) {
        let (address, place) = (cell.addr().get(), self.objects.len());
        if *self.places.entry(address).or_insert(place) != place {
            return;
        }
        // SAFETY: the caller's.
        let (kind, bytes) = unsafe { (self.space.kind(cell), self.space.bytes(cell)) };
        let object = Object { address, name: (kind.name)(), bytes, edges: 0, from };
        self.objects.push((cell, kind, object));
    }
}
