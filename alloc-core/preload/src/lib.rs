//! alloc-core as the `malloc` of programs that know nothing of it.
//!
//! ```text
//!   LD_PRELOAD=target/release/liballoc_preload.so program
//! ```
//!
//! The dynamic linker resolves a program's `malloc`, and libc's own, to the first library that has
//! it, and a preloaded one comes first. `operator new` of C++ and the allocations inside libc arrive here
//! as well.
//!
//! # Parts
//!
//! * `family`: what C promises of `malloc`, `free` and theirs. Each function is a few lines over
//!   [`GlobalAlloc`].
//! * `words`: the thread-local that can be used inside of `malloc`.
//! * `scavenge`: the thread that gives memory back; `policy`: when.
//! * `report`: what `mallinfo2` and `malloc_trim` tell.
//!
//! # Rules of this crate
//!
//! * It links std, as a cdylib without it does not build in a workspace that unwinds, and never uses
//!   it: std allocates.
//! * It is a cdylib only, and has no test harness. A test binary that linked it would have its own
//!   `malloc` replaced. Its tests run other programs under it (`tests/`, `run`).

pub mod family;
mod policy;
pub mod report;
mod scavenge;
mod words;

use alloc_core::global::{GlobalAlloc, PerThread};

/// The allocator behind all functions of the family.
static ALLOCATOR: GlobalAlloc<PerThread<words::InitialExec>> = GlobalAlloc::new();

/// Whoever gives memory back.
static ATTENDANT: scavenge::Attendant = scavenge::Attendant::new();
