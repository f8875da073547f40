//! What an M needs on its thread, and what a monitor may ask about a thread.
//!
//! | asked | by | cost |
//! |---|---|---|
//! | has it used processor time? | its CPU clock, [`cpu_time`] | 0.4 µs |
//! | does it run, or sleep in the kernel? | the state letter of /proc, [`StatFile`] | 5 µs |
//! | make it yield | a mark and a signal, [`MThread::interrupt`] | 1 µs |
//!
//! In this order: the handler of the signal uses processor time itself, so a thread that is asked
//! to yield first never again looks blocked.

use core::ffi::{c_int, c_void};
use core::marker::PhantomData;
use core::mem::{MaybeUninit, zeroed};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use super::Probe;
use crate::context::ThreadId;
use crate::stack::page_bytes;
use crate::tls::Mode;

/// An alternate stack's size: handlers of the program run here as well as ours.
const ALT_STACK_BYTES: usize = 64 * 1024;

/// The thread part of an M.
///
/// Plain data, which may outlive the thread and be dropped by any other. In thread mode it must
/// outlive the kernel threads of all goroutines that have run on the M: a late signal finds it
/// through their words. So an M goes after the [`Slots`](crate::stack::Slots).
///
/// ```
/// use sched_core::preempt::{AltStack, MThread};
/// use sched_core::tls::{Surplus, probe};
///
/// let alt_stack = AltStack::install()?;
/// let thread = MThread::of_this_thread(probe(Surplus::Take));
/// assert_eq!(thread.injected(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct MThread {
    id: ThreadId,
    /// The thread's own pointer, where it is not the goroutine's.
    #[cfg(own_tls)]
    thread_pointer: Option<usize>,
    /// What the kernel has as the thread's mask while user code runs undisturbed.
    #[cfg(injection)]
    base_mask: u64,
    /// Set by who wants the M interrupted, taken by the handler.
    mark: AtomicBool,
    /// Lent by who wants to see a stack, taken by the handler or taken back.
    probe: AtomicPtr<Probe>,
    /// Written by the handler alone.
    injected: AtomicU64,
    /// Written by the handler alone: refusals since the last success.
    refused: AtomicU64,
}

impl MThread {
    /// The calling thread's, called on its own stack before its first goroutine. The thread needs an
    /// [`AltStack`] besides.
    pub fn of_this_thread(mode: Mode) -> MThread {
        #[cfg(not(own_tls))]
        let _ = mode;
        MThread {
            id: ThreadId::current(),
            #[cfg(own_tls)]
            thread_pointer: match mode {
                Mode::OwnTls(layout) => Some(layout.running_thread_pointer()),
                Mode::Threads { .. } => None,
            },
            #[cfg(injection)]
            base_mask: current_mask(),
            mark: AtomicBool::new(false),
            probe: AtomicPtr::new(null_mut()),
            injected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// The kernel's thread.
    pub fn id(&self) -> ThreadId {
        self.id
    }

    /// Asks `thread`, on which this M runs, to yield: own TLS, the M's own; thread mode, that of
    /// the goroutine's context. False if the thread is no more.
    pub fn interrupt(&self, thread: ThreadId) -> bool {
        // Release: what the asker did before, the goroutine's request bits above all, is visible
        // to the handler; pairs with the Acquire in `take_mark`.
        self.mark.store(true, Ordering::Release);
        signal(thread, libc::SIGURG)
    }

    /// How often a goroutine was made to yield here.
    pub fn injected(&self) -> u64 {
        // Relaxed: a count.
        self.injected.load(Ordering::Relaxed)
    }

    /// How often in a row the handler had to let go.
    pub fn refused(&self) -> u64 {
        // Relaxed: a count.
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether the calling thread, the M's, has the M's own signal mask, as it does outside of handlers. A system
    /// call.
    #[cfg(injection)]
    pub(crate) fn is_undisturbed(&self) -> bool {
        current_mask() == self.base_mask
    }

    /// Nothing is known of masks where no calls are injected.
    #[cfg(not(injection))]
    pub(crate) fn is_undisturbed(&self) -> bool {
        true
    }

    #[cfg(injection)]
    pub(super) fn own_tls(&self) -> bool {
        self.thread_pointer.is_some()
    }

    #[cfg(own_tls)]
    pub(super) fn thread_pointer(&self) -> Option<usize> {
        self.thread_pointer
    }

    /// Lends the handler of `thread`, on which this M runs, a probe to fill. False if the thread is no
    /// more.
    pub(super) fn lend(&self, probe: &Probe, thread: ThreadId) -> bool {
        // Release: the probe is empty; pairs with the Acquire in `take_probe`.
        self.probe.store(core::ptr::from_ref(probe).cast_mut(), Ordering::Release);
        signal(thread, libc::SIGURG) || !self.take_back(probe)
    }

    /// Takes the probe back. False if the handler has it: then its verdict is about to come.
    pub(super) fn take_back(&self, probe: &Probe) -> bool {
        let mine = core::ptr::from_ref(probe).cast_mut();
        // Relaxed: whoever gets the probe alone uses it; the verdict orders the handler's use.
        self.probe.compare_exchange(mine, null_mut(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The handler's: a probe to fill.
    pub(super) fn take_probe(&self) -> Option<&Probe> {
        // Relaxed: mostly there is none.
        if self.probe.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // Acquire: pairs with the Release in `lend`.
        let probe = self.probe.swap(null_mut(), Ordering::Acquire);
        // SAFETY: null, or lent by an asker who waits for the verdict.
        unsafe { probe.as_ref() }
    }

    pub(super) fn take_mark(&self) -> bool {
        // Acquire: pairs with the Release in `interrupt`.
        self.mark.swap(false, Ordering::Acquire)
    }

    /// The handler makes a goroutine yield.
    pub(super) fn note_success(&self) {
        // Relaxed, both: one writer, this thread's handler; others read for statistics.
        self.injected.fetch_add(1, Ordering::Relaxed);
        self.refused.store(0, Ordering::Relaxed);
    }

    /// The handler lets a goroutine go.
    #[cfg(injection)]
    pub(super) fn note_refusal(&self) {
        // Relaxed: as above.
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the interrupted code ran under the M's own signal mask.
    #[cfg(injection)]
    pub(super) fn has_base_mask(&self, context: &libc::ucontext_t) -> bool {
        kernel_mask(&context.uc_sigmask) == self.base_mask
    }
}

/// The part of a signal set that the kernel knows.
#[cfg(injection)]
fn kernel_mask(set: &libc::sigset_t) -> u64 {
    // SAFETY: a set begins with the kernel's 64 bits, and is at least as long.
    unsafe { core::ptr::from_ref(set).cast::<u64>().read() }
}

#[cfg(injection)]
fn current_mask() -> u64 {
    // SAFETY: plain data; asking changes nothing.
    unsafe {
        let mut set = zeroed::<libc::sigset_t>();
        libc::pthread_sigmask(libc::SIG_BLOCK, core::ptr::null(), &mut set);
        kernel_mask(&set)
    }
}

fn signal(thread: ThreadId, signal: c_int) -> bool {
    // SAFETY: no memory is passed. The process id keeps a recycled thread id of another process
    // from being hit.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread.tid(), signal) == 0 }
}

/// Processor time that a thread of this process has used so far, in nanoseconds. `None` if the
/// thread is no more.
///
/// ```
/// use sched_core::context::ThreadId;
/// use sched_core::preempt::cpu_time;
///
/// let before = cpu_time(ThreadId::current()).expect("it runs");
/// assert!(cpu_time(ThreadId::current()).expect("still") >= before);
/// ```
pub fn cpu_time(thread: ThreadId) -> Option<u64> {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the call fills the value in, or fails.
    unsafe {
        (libc::clock_gettime(thread.clock(), time.as_mut_ptr()) == 0).then(|| {
            let time = time.assume_init();
            time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
        })
    }
}

/// A thread's line in /proc, kept open: one read per look.
///
/// ```
/// use sched_core::context::ThreadId;
/// use sched_core::preempt::{KernelState, StatFile};
///
/// let file = StatFile::open(ThreadId::current())?;
/// assert_eq!(file.state(), KernelState::Running, "whoever reads it runs");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct StatFile(File);

/// What the kernel says about a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelState {
    /// It runs, or waits for a processor: `R`.
    Running,
    /// It sleeps, and a signal would wake it: `S`.
    Sleeping,
    /// It waits for a device or a page: `D`.
    Waiting,
    /// Something else, or the kernel could not be asked.
    Unknown,
}

impl KernelState {
    /// What the letter in /proc means.
    fn of_letter(letter: u8) -> Self {
        match letter {
            b'R' => KernelState::Running,
            b'S' => KernelState::Sleeping,
            b'D' => KernelState::Waiting,
            _ => KernelState::Unknown,
        }
    }

    /// Whether it does not go on before something happens.
    pub fn is_blocked(self) -> bool {
        matches!(self, KernelState::Sleeping | KernelState::Waiting)
    }
}

impl StatFile {
    /// Opens the line of a thread of this process. Allocates nothing: a monitor that waited for the
    /// allocator's lock would wait for the goroutine that it is about to free.
    ///
    /// # Errors
    ///
    /// No /proc, no thread, no file descriptor.
    pub fn open(thread: ThreadId) -> io::Result<StatFile> {
        let mut path = [0; 48];
        let mut rest = &mut path[..];
        write!(rest, "/proc/self/task/{}/stat", thread.tid())?;
        let spare = rest.len();
        let length = path.len() - spare;
        // Short paths are made into C strings on the stack.
        File::open(OsStr::from_bytes(&path[..length])).map(StatFile)
    }

    /// What it says now. Allocates nothing.
    pub fn state(&self) -> KernelState {
        self.letter().map_or(KernelState::Unknown, KernelState::of_letter)
    }

    /// `None` if the thread is no more.
    fn letter(&self) -> Option<u8> {
        // "tid (name) S …": the name may hold anything, and is 15 bytes long.
        let mut line = [0; 64];
        let bytes = self.0.read_at(&mut line, 0).ok()?;
        let name_end = line[..bytes].iter().rposition(|&byte| byte == b')')?;
        line.get(name_end + 2).copied()
    }
}

/// An alternate signal stack of the calling thread, with a guard; the one before comes back when it
/// is dropped.
#[derive(Debug)]
pub struct AltStack {
    /// Dropped on the thread it was installed on.
    _thread: PhantomData<*mut ()>,
    mapping: usize,
    bytes: usize,
    before: Before,
}

/// What `sigaltstack` had, as plain words.
#[derive(Clone, Copy, Debug)]
struct Before {
    base: usize,
    flags: c_int,
    bytes: usize,
}

impl AltStack {
    /// Maps a stack and makes it the calling thread's. Drop it on the same thread.
    ///
    /// # Errors
    ///
    /// No memory.
    pub fn install() -> io::Result<AltStack> {
        let guard = page_bytes();
        let bytes = ALT_STACK_BYTES + guard;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping touches nobody's memory.
        let base = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = base as usize;
        enable(mapping + guard)
            .map(|before| AltStack { _thread: PhantomData, mapping, bytes, before })
            .inspect_err(|_| {
                // SAFETY: our own mapping, which nothing uses.
                unsafe { libc::munmap(base, bytes) };
            })
    }
}

/// Makes the upper part of a mapping the thread's alternate stack: what was there before.
fn enable(start: usize) -> io::Result<Before> {
    let start = start as *mut c_void;
    let new = libc::stack_t { ss_sp: start, ss_flags: 0, ss_size: ALT_STACK_BYTES };
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: our own mapping, which the thread has until `AltStack::drop` takes it away again.
    unsafe {
        let mut old = zeroed::<libc::stack_t>();
        if libc::mprotect(start, ALT_STACK_BYTES, access) != 0
            || libc::sigaltstack(&new, &mut old) != 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(Before { base: old.ss_sp as usize, flags: old.ss_flags, bytes: old.ss_size })
    }
}

impl Drop for AltStack {
    fn drop(&mut self) {
        let Before { base, flags, bytes } = self.before;
        let old = libc::stack_t { ss_sp: base as *mut c_void, ss_flags: flags, ss_size: bytes };
        // SAFETY: the thread gets back what it had, and then nothing uses our mapping.
        unsafe {
            libc::sigaltstack(&old, null_mut());
            libc::munmap(self.mapping as *mut c_void, self.bytes);
        }
    }
}
