//! [`Dumper`]: the list of goroutines on standard error, when a signal comes.
//!
//! # Problem
//!
//! A program hangs, and whoever stands before it has a keyboard. A handler can look at nothing: it may have
//! interrupted the allocator, or the scheduler with one of its locks.
//!
//! # How
//!
//! Each runtime that asked has a thread that listens to a bell of the process, one bell per signal, which the
//! handler rings ([`rings`](crate::rings)). The thread takes the dump and writes it, and waits for nobody who may
//! be hanging: no goroutine, and not the lock of std's standard error. Signals that come during a dump are one
//! dump more.
//!
//! # Whose signal it is
//!
//! The handler stays when it has been installed, as another may have been put on top of it. While no runtime
//! listens, and in the child of a fork, the signal does what it did before. A handler that was there before is
//! called in any case.
//!
//! # Source
//!
//! Go's `sighandler` for `_SigThrow` with `SIGQUIT` (`signal_unix.go`), which ends the process with the list.
//!
//! # Rejected
//!
//! *The attendant's errand*: to wake it takes its waiter, which a handler can find only in a table that
//! outlives runtimes; and it may be busy giving memory back. *`signalfd`, `sigwait`*: they want the signal
//! blocked in all threads, and not all are ours.

use std::ffi::{c_int, c_void};
use std::fmt::Write;
use std::io;
use std::mem::{transmute, zeroed};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use sched_core::Scheduler;
use sched_core::preempt::Stderr;

use crate::dump::Dump;
use crate::rings::{Listener, Rings};

/// Signals that people send, and that end a process which has no handler for them.
const SIGNALS: [(c_int, &str); 6] = [
    (libc::SIGHUP, "SIGHUP"),
    (libc::SIGINT, "SIGINT"),
    (libc::SIGQUIT, "SIGQUIT"),
    (libc::SIGUSR1, "SIGUSR1"),
    (libc::SIGUSR2, "SIGUSR2"),
    (libc::SIGTERM, "SIGTERM"),
];

/// By the place in [`SIGNALS`].
static BELLS: [Bell; SIGNALS.len()] = [const { Bell::new() }; SIGNALS.len()];

/// What the handler of one signal knows.
struct Bell {
    rings: Rings,
    dumpers: AtomicUsize,
    /// The process whose threads they are.
    home: AtomicI32,
    /// What the signal did before; or the error of its installation.
    before: OnceLock<Result<libc::sigaction, i32>>,
}

/// Writes dumps at a signal, until it is told to end.
pub(super) struct Dumper {
    name: &'static str,
    bell: &'static Bell,
    listener: Listener<'static>,
}

impl Dumper {
    /// For `signal`, from now on.
    pub(super) fn new(signal: c_int) -> io::Result<Self> {
        let place = place_of(signal).ok_or_else(|| no_choice(signal))?;
        let ((_, name), bell) = (SIGNALS[place], &BELLS[place]);
        bell.before.get_or_init(|| install(signal)).map_err(io::Error::from_raw_os_error)?;
        let listener = Listener::new(&bell.rings);
        bell.join();
        Ok(Dumper { name, bell, listener })
    }

    /// Its thread's life.
    pub(super) fn serve(&self, scheduler: &Scheduler) {
        scheduler.adopt_thread();
        self.listener.listen(|| self.write(scheduler));
    }

    fn write(&self, scheduler: &Scheduler) {
        let (dump, futures) = (Dump::take(scheduler), scheduler.futures());
        let (name, count) = (self.name, dump.goroutines.len());
        let text =
            format!("runtime: {name}: {count} goroutines; {futures} futures wait\n\n{dump}\n");
        // At one go, as other threads write as well. It tells of no error.
        let _ = Stderr.write_str(&text);
    }

    /// Ends [`serve`](Self::serve), after a dump that has begun.
    pub(super) fn end(&self) {
        self.listener.end();
    }
}

impl Drop for Dumper {
    fn drop(&mut self) {
        // Relaxed: see `is_heard`.
        self.bell.dumpers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Dumper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dumper").field(&self.name).finish()
    }
}

impl Bell {
    const fn new() -> Self {
        Bell {
            rings: Rings::new(),
            dumpers: AtomicUsize::new(0),
            home: AtomicI32::new(0),
            before: OnceLock::new(),
        }
    }

    /// One dumper more.
    fn join(&self) {
        // SAFETY: it only tells a number.
        let process = unsafe { libc::getpid() };
        // Relaxed, all: see `is_heard`. Those of the parent of a fork are not here.
        if self.home.swap(process, Ordering::Relaxed) != process {
            self.dumpers.store(0, Ordering::Relaxed);
        }
        self.dumpers.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a dumper waits. For the handler.
    fn is_heard(&self) -> bool {
        // Relaxed, both: a signal that races with the beginning or the end of a runtime came before it or after.
        self.dumpers.load(Ordering::Relaxed) > 0
            // SAFETY: it only tells a number.
            && self.home.load(Ordering::Relaxed) == unsafe { libc::getpid() }
    }
}

fn place_of(signal: c_int) -> Option<usize> {
    SIGNALS.iter().position(|(known, _)| *known == signal)
}

/// What is said of a signal that is none of [`SIGNALS`].
fn no_choice(signal: c_int) -> io::Error {
    let names = SIGNALS.map(|(_, name)| name).join(", ");
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{signal} is none of those that can be chosen: {names}"),
    )
}

/// Puts our handler in the place of what was there, which is returned.
fn install(signal: c_int) -> Result<libc::sigaction, i32> {
    // SAFETY: plain data; all signals are blocked in the handler, which is one, and runs on the signal stack of
    // a thread that has one.
    unsafe {
        let (mut new, mut before) = (zeroed::<libc::sigaction>(), zeroed::<libc::sigaction>());
        new.sa_sigaction = on_signal as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        libc::sigfillset(&mut new.sa_mask);
        match libc::sigaction(signal, &new, &mut before) {
            0 => Ok(before),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
        }
    }
}

/// # Safety
///
/// Installed with `SA_SIGINFO` for a signal of [`SIGNALS`], all signals blocked.
unsafe extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the running thread's, or goroutine's, which shall not notice.
    let errno = unsafe { *libc::__errno_location() };
    if let Some(bell) = place_of(signal).map(|place| &BELLS[place]) {
        let heard = bell.is_heard();
        if heard {
            bell.rings.ring();
        }
        // SAFETY: in the handler, with its arguments.
        unsafe { as_before(bell, heard, signal, info, context) };
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// Calls the handler that was there before. If there was none, and nobody hears the signal, it ends the
/// process on the return from the handler, unless it was ignored.
///
/// # Safety
///
/// In the handler of `signal`, with its arguments.
unsafe fn as_before(
    bell: &Bell,
    heard: bool,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    // A signal between the installation and its result finds nothing: it was sent to a runtime that begins.
    let Some(Ok(before)) = bell.before.get() else { return };
    // SAFETY: neither default nor ignored, so it is a function, of the kind that the flag says. The other calls
    // may be made in a handler. The signal is this thread's: if it were the process's, another thread could take it,
    // and come too late with its core file if this one exits.
    unsafe {
        match before.sa_sigaction {
            libc::SIG_IGN => {}
            libc::SIG_DFL if heard => {}
            libc::SIG_DFL => {
                libc::sigaction(signal, before, null_mut());
                libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), signal);
            }
            function if before.sa_flags & libc::SA_SIGINFO != 0 => {
                transmute::<usize, unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void)>(
                    function,
                )(signal, info, context);
            }
            function => transmute::<usize, unsafe extern "C" fn(c_int)>(function)(signal),
        }
    }
}
