//! Go's span allocator as a library: `malloc` without locks on its path, and the heap of a collector.
//!
//! ```
//! use alloc_core::global::{self, GlobalAlloc, ThreadBinding};
//!
//! #[global_allocator]
//! static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();
//!
//! let squares: Vec<u64> = (0..1000).map(|n| n * n).collect();
//! assert_eq!(squares[999], 998_001);
//! println!("{}", global::heap().stats());
//! ```
//!
//! Many threads allocate at once, most blocks are small and die young, and many are freed by
//! another thread than the one that made them. Go's answer, which it took from tcmalloc, is a
//! hierarchy in which each step is rarer and dearer than the one before:
//!
//! ```text
//!   Cache         one user at a time: a processor or a thread        no lock, no atomic RMW
//!     │ a span of cells of one size
//!   central       a list of half-empty spans per class               a lock per class
//!     │
//!   page cache    64 pages of the cache's own, for new spans         no lock
//!     │
//!   page heap     runs of 8 KiB pages, first fit by address          one lock
//!     │
//!   PageSource    arenas of 64 MiB: mmap, a fixed region, …          a system call
//! ```
//!
//! [`Stats`] counts how often each step was taken.
//!
//! # Words
//!
//! * A *span* is a run of pages with one use. Small blocks are *cells* of a span, all of one size, so
//!   there are no headers; a page map leads from any address to its span.
//! * A *small* span serves `malloc` and `free`. One cache owns it; others free into it through
//!   marks and a count.
//! * A *managed* span holds cells of one type that a collector marks and sweeps ([`managed`]).
//! * A *large* block has a span of its own.
//!
//! # Parts
//!
//! The feature `global` (on by default) has the heap of the process and [`global::GlobalAlloc`], with the cache of
//! each thread found by a [`global::Binding`]. Below it [`Heap`] and [`Cache`] are values and need neither std nor
//! statics: any number of heaps live side by side, over any [`pages::PageSource`].
//!
//! ```
//! use alloc_core::{Heap, pages::os::Os};
//! use std::alloc::Layout;
//!
//! let heap = Heap::new(Os::new());
//! let mut cache = heap.cache();
//! let layout = Layout::new::<[u32; 6]>();
//! let block = cache.alloc(layout)?;
//! // SAFETY: the block is ours and large enough, and freed once.
//! unsafe {
//!     block.cast::<[u32; 6]>().write([7; 6]);
//!     let block = cache.realloc(block, layout, 4000)?;
//!     assert_eq!(block.cast::<[u32; 6]>().read(), [7; 6]);
//!     cache.free(block);
//! }
//! # Ok::<(), alloc_core::Error>(())
//! ```
//!
//! # Examples
//!
//! `fixed_region` (no operating system), `failing_source` (fault injection), `global_allocator`,
//! `toy_collector` (a language's heap): `cargo run -p alloc-core --example …`.
//!
//! # Promises
//!
//! * Memory that is short is an [`Error`], never a panic or an abort.
//! * [`Heap::free`] never waits for a lock; a signal handler may call it.
//! * Loom runs the protocols between threads: `loom-tests/tests/alloc_*`. For that their types are public, and for
//!   that alone: what has no page here may change in any release.
//!
//! Sources: Go 1.27 `malloc.go`, `mheap.go`, `mcentral.go`, `mcache.go`; Ghemawat and Menage, "TCMalloc"
//! (2005); Leijen, Zorn and de Moura, "Mimalloc: Free List Sharding in Action" (2019).
#![no_std]
#[cfg(test)]
extern crate std;

mod cache;
#[doc(hidden)]
pub mod cache_pool;
mod central;
#[doc(hidden)]
pub mod errno;
mod error;
#[cfg(feature = "global")]
pub mod global;
#[doc(hidden)]
pub mod handover;
pub mod harden;
mod heap;
mod holdings;
mod holes;
mod homeward;
mod kept;
#[doc(hidden)]
pub mod large_cache;
#[doc(hidden)]
pub mod lend;
mod list;
mod magazine;
pub mod managed;
mod meta;
mod outgoing;
mod owned;
mod page_cache;
pub mod page_heap;
mod page_map;
pub mod pages;
#[cfg(feature = "global")]
mod prefetch;
pub mod profile;
mod realloc;
#[doc(hidden)]
pub mod remote;
pub mod scavenge;
pub mod size_class;
mod span;
#[doc(hidden)]
pub mod span_set;
pub mod stack;
mod stats;
mod stirred;
#[doc(hidden)]
pub mod sync;
#[cfg(test)]
mod task;
mod undisturbed;

pub use cache::Cache;
pub use error::Error;
pub use heap::Heap;
#[doc(hidden)]
pub use stats::Account;
pub use stats::{Json, Stats};
