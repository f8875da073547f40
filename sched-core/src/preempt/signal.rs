//! All statics of preemption, and the installation of handlers.
//!
//! A signal handler is a fact of the process: there is one per signal, it knows nothing but what is
//! static or behind the thread pointer. So what it needs is kept here, written once before the
//! handler is installed, and only read after.
//!
//! Handlers that were there before ours are called for whatever is not ours: a SIGURG without an
//! M's mark, a fault outside a guard page.

use core::ffi::c_int;
use core::mem::zeroed;
use core::ptr::{null, null_mut};
use std::io;
use std::sync::OnceLock;

use super::{Glue, fault, urgent};
use crate::tls::Mode;

/// What a handler is: `sa_sigaction`.
pub(super) type Handler =
    unsafe extern "C" fn(c_int, *mut libc::siginfo_t, context: *mut libc::c_void);

static GLUE: OnceLock<Glue> = OnceLock::new();
static BEFORE_URGENT: OnceLock<libc::sigaction> = OnceLock::new();
static BEFORE_SEGV: OnceLock<libc::sigaction> = OnceLock::new();
static BEFORE_BUS: OnceLock<libc::sigaction> = OnceLock::new();
#[cfg(own_tls)]
pub(super) static BEFORE_SETXID: OnceLock<Handler> = OnceLock::new();
/// The register state of this machine; set before any injection.
#[cfg(injection)]
pub(super) static XSAVE: super::xsave::Area = super::xsave::Area::unknown();
/// Whether this process has its handlers: `Err` with the error number if one could not be had.
static INSTALLED: OnceLock<Result<(), i32>> = OnceLock::new();

/// Installs the handlers, once per process: the first call's `glue` is for all schedulers.
///
/// # Errors
///
/// What `sigaction` says.
///
/// # Safety
///
/// `glue`'s functions keep their promises for whatever anyone stores in [`Words`] from now on.
///
/// [`Words`]: crate::tls::Words
pub unsafe fn install(glue: Glue, mode: Mode) -> io::Result<()> {
    let installed = INSTALLED.get_or_init(|| install_all(glue, mode));
    installed.map_err(io::Error::from_raw_os_error)
}

fn install_all(glue: Glue, mode: Mode) -> Result<(), i32> {
    GLUE.get_or_init(|| glue);
    #[cfg(own_tls)]
    if mode.is_own_tls() {
        #[cfg(injection)]
        XSAVE.measure();
        super::setxid::wrap();
    }
    #[cfg(not(own_tls))]
    let _ = mode;
    replace(libc::SIGURG, urgent::on_urgent, libc::SA_RESTART, &BEFORE_URGENT)?;
    replace(libc::SIGSEGV, fault::on_segv, 0, &BEFORE_SEGV)?;
    replace(libc::SIGBUS, fault::on_bus, 0, &BEFORE_BUS)
}

/// Puts `handler` in the place of the one before, which is kept in `before`.
fn replace(
    signal: c_int,
    handler: Handler,
    flags: c_int,
    before: &OnceLock<libc::sigaction>,
) -> Result<(), i32> {
    // SAFETY: plain data; asking changes nothing.
    let mut old = unsafe { zeroed::<libc::sigaction>() };
    // SAFETY: as above.
    if unsafe { libc::sigaction(signal, null(), &mut old) } != 0 {
        return Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL));
    }
    before.get_or_init(|| old);
    // SAFETY: plain data, filled in below.
    let mut new = unsafe { zeroed::<libc::sigaction>() };
    new.sa_sigaction = handler as usize;
    new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | flags;
    // SAFETY: `new` is ours; the handler is one, and what it reads is set.
    let failed = unsafe {
        libc::sigfillset(&mut new.sa_mask);
        libc::sigaction(signal, &new, null_mut())
    };
    match failed {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)),
    }
}

/// What the scheduler registered; there is something as soon as a handler can run.
pub(super) fn glue() -> Option<&'static Glue> {
    GLUE.get()
}

/// Has the handler before ours see the signal. False if there is none: the default is wanted.
///
/// # Safety
///
/// In our handler of `signal`, with its arguments.
pub(super) unsafe fn pass_on(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) -> bool {
    let before = match signal {
        libc::SIGURG => &BEFORE_URGENT,
        libc::SIGSEGV => &BEFORE_SEGV,
        _ => &BEFORE_BUS,
    };
    let Some(before) = before.get() else { return false };
    if before.sa_sigaction == libc::SIG_DFL || before.sa_sigaction == libc::SIG_IGN {
        return false;
    }
    // SAFETY: neither default nor ignore, so it is a function, of the kind that the flag says.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            core::mem::transmute::<usize, Handler>(before.sa_sigaction)(signal, info, context);
        } else {
            core::mem::transmute::<usize, unsafe extern "C" fn(c_int)>(before.sa_sigaction)(signal);
        }
    }
    true
}
