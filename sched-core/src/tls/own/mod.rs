//! Own TLS on Linux with a dynamic glibc: x86-64, and AArch64 with the block the other way round.
//!
//! ```text
//!  x86-64
//!
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
//!
//! On AArch64, from the record down: libc's static TLS, the executable's, two words (the dtv) at `tp`,
//! `struct pthread`, the stack. `x86_64` and `aarch64` say which part lies where; everything else is
//! written in distances from the thread pointer.

#[cfg_attr(target_arch = "x86_64", path = "x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "aarch64.rs")]
mod arch;
mod block;
mod dtv;
mod glibc;
mod life;
mod modules;
mod samples;
mod surplus;

pub(crate) use arch::{set_thread_pointer, thread_pointer};
pub(crate) use block::Workshop;
pub use glibc::Layout;
pub(crate) use glibc::probe;
pub(crate) use life::begin as begin_goroutine;
