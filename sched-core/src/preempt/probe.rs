//! A look at the stack of a goroutine that runs: its own thread copies it, in the signal's handler.
//!
//! Whoever asks lends the M a [`Probe`] and signals its thread. The handler takes the probe, copies
//! three registers and the stack above them, and says that it is done. The copying is all that happens
//! on the goroutine; whoever asked unwinds and names functions later, from the copy.
//!
//! ```text
//!   asker                                   handler, on the M's thread
//!     lend: probe (Release); SIGURG           take: swap probe to null (Acquire)
//!     wait until the verdict (Acquire)        copy; verdict (Release)
//!     too long: swap probe to null
//! ```
//!
//! One of the two swaps gets the probe. If it is the asker's, the thread was not there to answer (it
//! sleeps in the kernel for good, or blocks the signal), and never will. If it is the handler's, the
//! verdict comes within microseconds, and the asker waits for it, as the probe is its own memory.
//!
//! It is answered wherever the thread is, inside the runtime as well: nothing but the stack is read. On
//! another stack than the goroutine's (the M's own, a signal stack) there is nothing to copy.

use core::cell::UnsafeCell;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::{MThread, Registers, copy};
use crate::context::ThreadId;

/// How long a thread may take to answer.
const PATIENCE: Duration = Duration::from_millis(50);

const OPEN: u32 = 0;
const COPIED: u32 = 1;
const NOTHING: u32 = 2;

/// Room for a copy of a stack, and what was found.
#[derive(Debug)]
pub(crate) struct Probe {
    verdict: AtomicU32,
    found: UnsafeCell<Found>,
}

#[derive(Debug)]
struct Found {
    g: *mut (),
    registers: Registers,
    /// Filled up to its capacity at most: never grown by the handler.
    bytes: Vec<u8>,
}

// SAFETY: `found` is the handler's from its swap to the verdict, and the asker's before and after.
unsafe impl Sync for Probe {}

impl Probe {
    /// Copies as much as there is room for in `bytes`, which come back with the answer.
    pub(crate) fn with_room(bytes: Vec<u8>) -> Probe {
        let found = Found { g: core::ptr::null_mut(), registers: Registers::default(), bytes };
        Probe { verdict: AtomicU32::new(OPEN), found: UnsafeCell::new(found) }
    }

    /// Has the thread in the role of `m` copy the stack of goroutine `g`. The bytes above the stack pointer, and
    /// the registers; without these, it was not to be had.
    pub(crate) fn ask(
        self,
        m: &MThread,
        thread: ThreadId,
        g: *mut (),
    ) -> (Vec<u8>, Option<Registers>) {
        let copied = m.lend(&self, thread) && self.await_verdict(m) == COPIED;
        let found = self.found.into_inner();
        (found.bytes, (copied && found.g == g).then_some(found.registers))
    }

    /// Afterwards the probe is the asker's.
    fn await_verdict(&self, m: &MThread) -> u32 {
        let begin = Instant::now();
        loop {
            match self.verdict() {
                OPEN if begin.elapsed() > PATIENCE && m.take_back(self) => return NOTHING,
                OPEN => std::thread::yield_now(),
                verdict => return verdict,
            }
        }
    }

    fn verdict(&self) -> u32 {
        // Acquire: the copy; pairs with the Release in `answer`.
        self.verdict.load(Ordering::Acquire)
    }

    /// The handler's part: `stack` is the goroutine's that runs here, `None` if there is none.
    pub(super) fn answer(&self, g: *mut (), stack: Option<Range<usize>>, registers: Registers) {
        // SAFETY: between the swap that took the probe and the verdict it is the handler's.
        let found = unsafe { &mut *self.found.get() };
        let verdict = match stack.filter(|stack| stack.contains(&registers.sp)) {
            Some(stack) => {
                (found.g, found.registers) = (g, registers);
                // SAFETY: the running goroutine's own stack, which waits for this handler.
                unsafe { copy(&stack, registers.sp, &mut found.bytes) };
                COPIED
            }
            None => NOTHING,
        };
        // Release: the copy; pairs with the Acquire in `verdict`.
        self.verdict.store(verdict, Ordering::Release);
    }
}
