//! Own TLS on x86-64 Linux with a dynamic glibc.
//!
//! ```text
//!  slot_hi ─┬───────────────────────┐
//!           │ record of the slot    │  crate::stack
//!           ├───────────────────────┤
//!           │ struct pthread        │  2368 bytes on glibc 2.36; tid, dtv, robust list, …
//!  tp ──────┼───────────────────────┤  the thread pointer, 64-byte aligned: fs:0
//!           │ TLS of the executable │  `Words` among it
//!           │ TLS of libc, …        │
//!           │ (rseq area, ≥ 2.41)   │
//!  tp-used ─┼───────────────────────┤
//!           │ stack                 │  grows down, in the same page at first
//!           ⋮                       ⋮
//!           ├───────────────────────┤
//!           │ guard page            │
//!  slot_lo ─┴───────────────────────┘
//! ```

mod block;
mod dtv;
mod glibc;
mod life;
mod modules;
mod samples;
mod surplus;

pub(crate) use block::Workshop;
pub use glibc::Layout;
pub(crate) use glibc::probe;
pub(crate) use life::begin as begin_goroutine;
