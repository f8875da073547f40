//! A program with libc's malloc: its locks are user code's, and nobody in the runtime waits for them.
//!
//! Every test binary without an allocator of its own is such a program. A goroutine may be preempted
//! in the middle of `malloc`, with an arena's lock in its hand. It gets on only if somebody runs it;
//! so whoever that takes must not wait for the lock: the holder of a P while it is inside the
//! runtime, the monitor, the timer thread.
//!
//! | file | |
//! |---|---|
//! | `rule` | an allocator that knows who may call it |
//! | `soak` | goroutines that allocate, read and wait, preempted ten times as often as usual |

mod rule;
mod soak;

#[global_allocator]
static ALLOC: rule::Witness = rule::Witness;
