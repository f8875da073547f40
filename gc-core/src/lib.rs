//! A concurrent tri-colour mark-sweep collector that never stops the world.
//!
//! You want a graph with cycles, or a lock-free structure, shared by threads, and nobody to say
//! who frees what and when. Here objects live in a [`Heap`]; a thread that holds a [`Guard`] may
//! hold pointers ([`Gc`]) to them; edges that change are [`GcCell`]s; what must stay when no guard
//! is held is kept by a [`Root`]. Unreachable objects go away beside the running program.
//!
//! ```
//! use gc_core::{GcCell, Heap, Plain, Root, Trace};
//!
//! #[derive(Trace)]
//! struct Node<'g> {
//!     value: u64,
//!     next: GcCell<'g, Node<'g>>,
//! }
//!
//! let heap = Heap::<Plain>::new().unwrap();
//! let ring: Root<Node<'static>> = {
//!     let guard = heap.enter();
//!     let one = guard.alloc(Node { value: 1, next: GcCell::null() });
//!     let two = guard.alloc(Node { value: 2, next: GcCell::new(Some(one)) });
//!     one.next.set(&guard, Some(two));
//!     guard.root(one)
//! };
//! heap.collect().unwrap();
//! let guard = heap.enter();
//! let one = ring.get(&guard);
//! assert_eq!(one.next.load().unwrap().next.load().unwrap().value, 1);
//! ```
//!
//! # Why this is safe, in three sentences
//!
//! A `Gc<'g, T>` borrows its guard, so the borrow checker ends every pointer before the guard
//! ends. A cycle frees only what was unreachable at a moment after which every guard from before
//! has ended, so no held pointer leads to freed memory. Everything in the heap is
//! `Send + Sync`, holds no borrowed data, and changes only through `GcCell` and the heap's locks, so the
//! marker may read it at any time.
//!
//! # Words
//!
//! - *Guard*: the right to hold pointers. Cheap, nests, delays the end of a cycle while held.
//! - *Cycle*: nine steps from "barrier on" to sweep, see [`cycle`].
//! - *Handshake*: waiting until every guard, or every store and allocation, from before is gone, see
//!   [`handshake`].
//! - *Barrier*: logging what is taken out of a slot while marking, see [`engine`].
//! - *Interior*: what lies under a [`GcMutex`] or [`GcRwLock`]: plain data with edges, see [`lock`].
//! - *Weak*: a pointer that does not keep its object, see [`weak`]; news of deaths: [`cleanup`].
//! - [`Space`](space::Space): where objects lie. [`World`](world::World): who mutates. Both can
//!   be replaced; alone, this crate brings blocks from `malloc` and plain threads.
//!
//! These pages show what programs use, and what a space or a world is made with. The rest that is public is for the
//! models in loom and for the runtime: it is hidden, and unsafe where it could break a heap.

pub mod cleanup;
pub mod collector;
#[doc(hidden)]
pub mod counted;
pub mod cycle;
#[doc(hidden)]
pub mod derive;
pub mod dump;
pub mod engine;
pub mod handshake;
pub mod heap;
pub mod local;
pub mod lock;
#[doc(hidden)]
pub mod log;
#[doc(hidden)]
pub mod mark;
pub mod pacer;
#[doc(hidden)]
pub mod phase;
pub mod policy;
#[doc(hidden)]
pub mod roots;
pub mod space;
pub mod stats;
#[doc(hidden)]
pub mod sync;
pub mod trace;
pub mod weak;
pub mod world;

mod action;
mod boxed;
mod cell;
mod dynamic;
mod error;
mod gate;
mod guard;
mod handle;
mod histogram;
mod inner;
mod pace;
mod root;
mod slice;
mod waiters;

pub use crate::{
    cell::GcCell,
    cleanup::CleanupQueue,
    collector::Collector,
    error::{AllocError, HeapError, SliceError},
    guard::Guard,
    handle::Gc,
    heap::{Claim, Heap, HeapBuilder, Plain, Tag},
    lock::{GcMutex, GcOnce, GcRwLock},
    root::Root,
    slice::{Slice, Str},
    trace::{Rebind, Trace},
    weak::Weak,
};
#[doc(hidden)]
pub use gc_derive::RuntimeTrace;
pub use gc_derive::Trace;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
