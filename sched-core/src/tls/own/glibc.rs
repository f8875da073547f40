//! Where this glibc keeps what a thread owns: found by looking, at start.
//!
//! Few places of a thread's header are ABI (`x86_64`, `aarch64`).
//! The rest moves from version to version, and is found in one of four ways:
//!
//! * libc exports it for debuggers: size of `struct pthread`, the tid, the list node, the dtv, the
//!   values of pthread keys (`_thread_db_…`);
//! * the kernel knows it: the robust list, which libc registered;
//! * a public symbol tells: rseq (`__rseq_offset`), the resolver's state (`__resp`);
//! * two threads differ in it: one that was given its stack (`pthread_attr_setstack`) holds the
//!   stack's address and size, and a mark that the stack is the user's. The mark is 1 in a byte on
//!   2.36 and an enum's 2 on 2.43, so the *value* is copied from the thread, not assumed.
//!
//! Everything found is checked against something else where there is a something else; a probe that
//! finds nothing, two things, or a contradiction gives its reason, and the process runs in thread
//! mode. `tests/glibc/run` tries it with glibc 2.36, 2.41 and 2.43, and with two that are doctored.

use core::ffi::{CStr, c_void};
use core::ops::Range;
use core::ptr::{NonNull, null_mut};
use std::io;

use super::arch;
use super::block::{Image, Workshop};
use super::modules::{Module, static_modules};
use super::samples::Samples;
use super::surplus;
use crate::tls::Surplus;

/// Why own TLS is not to be had.
pub(super) type Reason = &'static str;

/// `cpu_id` within `struct rseq`, and the value for "not registered".
pub(super) const RSEQ_CPU_ID: isize = 4;

/// More than any kernel's `struct rseq` has.
const RSEQ_BYTES: isize = 64;

/// Everything the probes found. Offsets that are `isize` are from the thread pointer, others from the
/// header (`struct pthread`).
#[derive(Debug)]
pub struct Layout {
    /// `sizeof(struct pthread)`.
    pub(super) pthread_bytes: usize,
    /// What the thread pointer must be aligned to.
    pub(super) align: usize,
    /// Bytes of static TLS in a slot, the nearest to the thread pointer.
    pub(super) used: usize,
    /// Bytes that libc may ever use for static TLS.
    pub(super) static_bytes: usize,
    /// Whether slots have room for libraries loaded later.
    pub(super) surplus: Surplus,
    pub(super) words: isize,
    pub(super) tid: usize,
    pub(super) list: usize,
    pub(super) dtv: isize,
    pub(super) robust: usize,
    pub(super) stack_block: usize,
    /// Offset and value of the mark "the stack is the user's".
    pub(super) user_stack: (usize, u8),
    /// The variable `__resp`, and the resolver's state in `struct pthread` that it points to.
    pub(super) resolver: (isize, usize),
    pub(super) rseq: isize,
    pub(super) keys: Keys,
    pub(super) calls: Calls,
    /// What a fresh block's `used` bytes hold.
    pub(super) image: Image,
}

/// pthread keys: libc's table of destructors, and a thread's values.
#[derive(Debug)]
pub(super) struct Keys {
    /// `__pthread_keys`: an array of `{ seq: usize, destructor: fn }`.
    pub(super) table: usize,
    /// 32 pointers to blocks of 32 `{ seq: usize, value: *mut void }` each.
    pub(super) specific: usize,
    /// The first of these blocks, which is part of the header.
    pub(super) first: usize,
    /// A byte: 1 once the thread has given a key a value.
    pub(super) used: usize,
}

/// libc's private functions that we call.
#[derive(Debug)]
pub(super) struct Calls {
    pub(super) allocate_tls: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    pub(super) init_tls: unsafe extern "C" fn(*mut c_void, bool) -> *mut c_void,
    pub(super) call_tls_dtors: unsafe extern "C" fn(),
}

impl Layout {
    /// Where the static TLS of a block lies, from the thread pointer.
    pub(super) fn tls(&self) -> Range<isize> {
        arch::static_tls(self.used)
    }

    /// Where the header of a block lies, from the thread pointer.
    pub(super) fn header(&self) -> Range<isize> {
        arch::header(self.pthread_bytes)
    }

    /// The header of the block at `tp`.
    pub(super) fn header_of(&self, tp: usize) -> usize {
        tp.wrapping_add_signed(self.header().start)
    }
}

/// The running thread's header, which is so long.
pub(super) fn running_header(pthread_bytes: usize) -> usize {
    arch::thread_pointer().wrapping_add_signed(arch::header(pthread_bytes).start)
}

/// Runs all probes.
pub(crate) fn probe(surplus: Surplus) -> Result<Layout, Reason> {
    arch::allowed()?;
    let (total, align) = static_info()?;
    let pthread_bytes = debugger_u32(c"_thread_db_sizeof_pthread")? as usize;
    let static_bytes = arch::static_bytes(total, pthread_bytes)?;
    let samples = Samples::take(pthread_bytes)?;
    let rseq = rseq_offset()?;
    // Taken before anyone counts what is in use: after it nobody comes in between.
    let surplus = match surplus {
        Surplus::Take if !surplus::take() => Surplus::Keep,
        asked => asked,
    };
    let modules = static_modules(static_bytes);
    let mut layout = Layout {
        pthread_bytes,
        align: align.max(64),
        used: used(&modules, rseq, pthread_bytes),
        static_bytes,
        surplus,
        words: samples.words,
        tid: samples.tid,
        list: samples.list,
        dtv: arch::dtv()?,
        robust: robust_list(&samples, pthread_bytes)?,
        stack_block: samples.stack_block()?,
        user_stack: samples.user_stack()?,
        resolver: samples.resolver,
        rseq,
        keys: keys(&samples)?,
        calls: calls()?,
        image: Image::default(),
    };
    if !modules.iter().any(|module| module.holds(layout.words)) {
        return Err("the scheduler's words are not in static TLS");
    }
    if layout.surplus == Surplus::Keep {
        layout.used = layout.used.max(static_bytes);
    }
    layout.used = layout.used.next_multiple_of(16);
    layout.image = Workshop::new(&layout)?.image(&layout, &modules)?;
    Ok(layout)
}

/// How many bytes of static TLS, from the thread pointer, are in use: by modules, and by the rseq area
/// where it is not part of the header.
fn used(modules: &[Module], rseq: isize, pthread_bytes: usize) -> usize {
    let outside = !arch::header(pthread_bytes).contains(&rseq);
    let rseq = outside.then_some(rseq..rseq + RSEQ_BYTES);
    let areas = modules.iter().map(|module| module.range.clone()).chain(rseq);
    let reach = |area: Range<isize>| match arch::static_tls(1).start {
        0 => area.end,
        _ => -area.start,
    };
    areas.filter_map(|area| usize::try_from(reach(area)).ok()).max().unwrap_or(0)
}

fn symbol(name: &CStr, version: &CStr) -> Result<NonNull<c_void>, Reason> {
    // SAFETY: two C strings; a null handle is RTLD_DEFAULT.
    let address = unsafe { libc::dlvsym(null_mut(), name.as_ptr(), version.as_ptr()) };
    NonNull::new(address).ok_or("this libc lacks a private symbol of glibc's")
}

pub(super) fn private(name: &CStr) -> Result<NonNull<c_void>, Reason> {
    symbol(name, c"GLIBC_PRIVATE")
}

fn debugger_u32(name: &CStr) -> Result<u32, Reason> {
    // SAFETY: libc defines these as `const uint32_t`.
    private(name).map(|at| unsafe { *at.cast::<u32>().as_ptr() })
}

/// Debuggers' field descriptors are `{ size in bits, count, offset }`.
pub(super) fn debugger_offset(name: &CStr) -> Result<usize, Reason> {
    // SAFETY: libc defines these as `const uint32_t[3]`.
    private(name).map(|at| unsafe { *at.cast::<u32>().as_ptr().add(2) } as usize)
}

fn static_info() -> Result<(usize, usize), Reason> {
    type Info = unsafe extern "C" fn(*mut usize, *mut usize);
    let (mut size, mut align) = (0, 0);
    let info = private(c"_dl_get_tls_static_info")?;
    // SAFETY: that is the function's signature; it fills in both.
    unsafe { core::mem::transmute::<*mut c_void, Info>(info.as_ptr())(&mut size, &mut align) };
    if align > 4096 || !align.is_power_of_two() {
        return Err("odd alignment of static TLS");
    }
    Ok((size, align))
}

/// The kernel was told where the list's head is; the word below points to it while it is empty. A
/// kernel without such lists (an emulated one) was told nothing: then it is where `samples` find it.
fn robust_list(samples: &Samples, pthread_bytes: usize) -> Result<usize, Reason> {
    let (mut head, mut bytes) = (0usize, 0usize);
    // SAFETY: the call writes the two words; 0 is the calling thread.
    let failed = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &mut head, &mut bytes) } != 0;
    if failed && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        return samples.robust_list();
    }
    let offset = head.wrapping_sub(running_header(pthread_bytes));
    // SAFETY: libc registered a head within its thread header.
    if failed || offset > 4096 || unsafe { *((head - 8) as *const usize) } != head {
        return Err("the robust list is not where glibc keeps it");
    }
    Ok(offset)
}

fn rseq_offset() -> Result<isize, Reason> {
    let at = symbol(c"__rseq_offset", c"GLIBC_2.35")?;
    // SAFETY: a public `const ptrdiff_t`.
    Ok(unsafe { *at.cast::<isize>().as_ptr() })
}

fn keys(samples: &Samples) -> Result<Keys, Reason> {
    let table = private(c"__pthread_keys")?.as_ptr() as usize;
    let specific = debugger_offset(c"_thread_db_pthread_specific")?;
    let two_words = debugger_u32(c"_thread_db_sizeof_pthread_key_struct")? == 16
        && debugger_u32(c"_thread_db_sizeof_pthread_key_data")? == 16
        && debugger_offset(c"_thread_db_pthread_key_struct_destr")? == 8
        && debugger_offset(c"_thread_db_pthread_key_data_data")? == 8;
    if two_words {
        Ok(Keys { table, specific, first: samples.first_values, used: samples.keys_used })
    } else {
        Err("pthread keys look unfamiliar")
    }
}

fn calls() -> Result<Calls, Reason> {
    let allocate = private(c"_dl_allocate_tls")?;
    let init = private(c"_dl_allocate_tls_init")?;
    let dtors = private(c"__call_tls_dtors")?;
    // SAFETY: those are the functions' signatures since glibc 2.35 (`init` got its flag then), and
    // `rseq_offset` has shown that this one is not older.
    unsafe {
        Ok(Calls {
            allocate_tls: core::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(*mut c_void) -> *mut c_void,
            >(allocate.as_ptr()),
            init_tls: core::mem::transmute::<
                *mut c_void,
                unsafe extern "C" fn(*mut c_void, bool) -> *mut c_void,
            >(init.as_ptr()),
            call_tls_dtors: core::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(
                dtors.as_ptr(),
            ),
        })
    }
}
