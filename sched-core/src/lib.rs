//! Go's GMP scheduler: goroutines with their own stack and thread-local storage.
//!
//! The protocol modules below hold no statics and are generic over what they carry, so that the
//! models in `loom-tests` run the same code. Modules that touch the operating system (stacks,
//! contexts, TLS, signals, the scheduler itself) are left out of a model: mark them
//! `#[cfg(not(loom))]` here.

pub mod driver;
pub mod entry;
pub mod idle;
pub mod lock;
pub mod parker;
pub mod queue;
pub mod sync;
pub mod task;
pub mod timer;

#[cfg(not(loom))]
pub mod context;
#[cfg(not(loom))]
pub mod preempt;
#[cfg(not(loom))]
pub mod stack;
#[cfg(not(loom))]
pub mod tls;
