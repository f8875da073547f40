//! Thread-local storage of goroutines.
//!
//! # Problem
//!
//! Rust's std and libc keep what belongs to a thread behind the thread pointer: `thread_local!`,
//! `errno`, the panic count, the owner of a recursive mutex, the allocator's cache. A goroutine
//! that moves between threads and shares their TLS breaks all of that, and not only on migration:
//! two goroutines that interleave on one thread break scoped thread-locals from safe code.
//!
//! # Answer
//!
//! Each goroutine gets a TLS block, made so that libc takes it for a thread's; the switch loads the
//! thread pointer with the stack pointer. To std and libc a goroutine *is* a thread.
//!
//! | file | job |
//! |---|---|
//! | `words` | the scheduler's own [`Words`] in each block, and all statics |
//! | `own/x86_64`, `own/aarch64` | what the ABI says of a thread: which part of a block lies where |
//! | `own/glibc` | start-up probes: where this libc keeps what |
//! | `own/modules` | which libraries have static TLS |
//! | `own/dtv` | libc's table of TLS blocks, one per thread |
//! | `own/block` | makes a block and recycles it |
//! | `own/life` | starts and ends a goroutine as libc starts and ends a thread |
//! | `own/surplus` | keeps libraries loaded later from putting variables into our stacks |
//! | `absent` | the same names on targets without own TLS |
//!
//! # When it cannot be
//!
//! Nothing of a libc's inside is promised. So every number comes from a probe, each probe checks
//! what it found, and the first that fails turns the process to *thread mode*: every goroutine has
//! a kernel thread for life, and a switch hands a baton ([`crate::context`]). Slower, never wrong.
//!
//! # Rejected
//!
//! * *Sharing the M's TLS and pinning goroutines to it*: still interleaves two users of one block.
//! * *Swapping only our own variables at a switch*: std's and libc's stay shared.
//! * *Hard-coded offsets per libc version*: silently wrong on the next distribution's patch.

use core::fmt;

#[cfg(own_tls)]
pub(crate) mod own;

#[cfg(not(own_tls))]
#[path = "absent.rs"]
pub(crate) mod own;

mod words;

pub use own::Layout;
pub use words::{Words, with_words};
pub(crate) use words::{
    all_parkers, barrier, free_parkers, see_to_forks, set_last_act, thread_parker, vigils, words,
};

/// How goroutines get thread-local storage of their own.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// Each has a TLS block beside its stack; a switch is a few instructions.
    OwnTls(&'static Layout),
    /// Each has a kernel thread for its whole life; a switch wakes one thread and parks another.
    Threads {
        /// What stood in the way of own TLS.
        why: &'static str,
    },
}

impl Mode {
    /// Whether goroutines have a TLS block of their own on threads they share.
    pub fn is_own_tls(self) -> bool {
        matches!(self, Mode::OwnTls(_))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::OwnTls(_) => f.write_str("own TLS"),
            Mode::Threads { why } => write!(f, "a thread per goroutine ({why})"),
        }
    }
}

/// What becomes of libc's reserve of static TLS, from which it serves libraries that are loaded
/// later and insist on static TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// Slots have no room for it, and the runtime takes it all itself: such a library then fails to
    /// load, with libc's own message. Saves a page per goroutine.
    Take,
    /// Slots have room for it. For programs that load libGL, libgomp and the like at run time.
    Keep,
}

/// Finds out, once per process, whether goroutines can have TLS of their own.
///
/// The first call decides for all later ones, `surplus` included. It starts two short-lived
/// threads and may load a small generated library; it takes about a millisecond. It never panics:
/// whatever is not as expected yields [`Mode::Threads`] and the reason.
///
/// ```
/// use sched_core::tls::{Mode, Surplus, probe};
///
/// match probe(Surplus::Take) {
///     Mode::OwnTls(layout) => println!("{layout:?}"),
///     Mode::Threads { why } => assert!(!why.is_empty()),
/// }
/// ```
pub fn probe(surplus: Surplus) -> Mode {
    *words::MODE.get_or_init(|| match own::probe(surplus) {
        Ok(layout) => Mode::OwnTls(Box::leak(Box::new(layout))),
        Err(why) => Mode::Threads { why },
    })
}
