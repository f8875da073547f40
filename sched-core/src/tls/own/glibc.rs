//! Where this glibc keeps what a thread owns: found by looking, at start.
//!
//! Only six places of a thread's header are ABI (`fs:0`, `0x10`, `0x18`, `0x28`, `0x30`, `0x48`).
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

use core::arch::asm;
use core::ffi::{CStr, c_void};
use core::ptr::{NonNull, null_mut};

use super::block::{Image, Workshop};
use super::modules::static_modules;
use super::samples::Samples;
use super::surplus;
use crate::tls::Surplus;

/// Why own TLS is not to be had.
pub(super) type Reason = &'static str;

/// The words of a thread's header that are part of the x86-64 ABI.
pub(super) mod abi {
    /// The header's own address, twice: `tcb` and `self`.
    pub(crate) const TCB: usize = 0;
    pub(crate) const SELF: usize = 0x10;
    /// Non-zero: the process has had a second thread.
    pub(crate) const MULTIPLE_THREADS: usize = 0x18;
    /// The canary compilers check against.
    pub(crate) const STACK_GUARD: usize = 0x28;
    /// The key that `setjmp` mangles pointers with.
    pub(crate) const POINTER_GUARD: usize = 0x30;
    /// CET features in use: bit 1 is the shadow stack.
    pub(crate) const FEATURE_1: usize = 0x48;
    pub(crate) const SHADOW_STACK: u32 = 2;
}

/// `cpu_id` within `struct rseq`, and the value for "not registered".
pub(super) const RSEQ_CPU_ID: isize = 4;

/// Everything the probes found. All offsets are from the thread pointer.
#[derive(Debug)]
pub struct Layout {
    /// `sizeof(struct pthread)`, from the thread pointer upwards.
    pub(super) pthread_bytes: usize,
    /// What the thread pointer must be aligned to.
    pub(super) align: usize,
    /// Bytes below the thread pointer that belong to TLS in a slot.
    pub(super) used: usize,
    /// Bytes below the thread pointer that libc may ever use for static TLS.
    pub(super) static_bytes: usize,
    /// Whether slots have room for libraries loaded later.
    pub(super) surplus: Surplus,
    pub(super) words: isize,
    pub(super) tid: usize,
    pub(super) list: usize,
    pub(super) dtv: usize,
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

/// The running thread's pointer. Needs FSGSBASE, which [`probe`] checks first.
#[inline(always)]
pub(super) fn thread_pointer() -> usize {
    let tp;
    // SAFETY: the ABI keeps the block's own address in its first word.
    unsafe { asm!("mov {}, fs:0", out(reg) tp, options(nostack, preserves_flags, readonly)) };
    tp
}

/// Reads a word of the running thread's header.
pub(super) fn header_word(offset: usize) -> usize {
    // SAFETY: `offset` is one of `abi`'s, or was found within the header.
    unsafe { *((thread_pointer() + offset) as *const usize) }
}

/// Runs all probes.
pub(crate) fn probe(surplus: Surplus) -> Result<Layout, Reason> {
    cpu_allows()?;
    let (total, align) = static_info()?;
    let pthread_bytes = debugger_u32(c"_thread_db_sizeof_pthread")? as usize;
    let static_bytes = total.checked_sub(pthread_bytes).ok_or("odd size of static TLS")?;
    let samples = Samples::take(pthread_bytes)?;
    let rseq = rseq_offset()?;
    // Taken before anyone counts what is in use: after it nobody comes in between.
    let surplus = match surplus {
        Surplus::Take if !surplus::take() => Surplus::Keep,
        asked => asked,
    };
    let modules = static_modules(static_bytes);
    let deepest = modules.iter().map(|module| module.start).max().unwrap_or(0);
    let mut layout = Layout {
        pthread_bytes,
        align: align.max(64),
        used: deepest.max(usize::try_from(-rseq).unwrap_or(0)),
        static_bytes,
        surplus,
        words: samples.words,
        tid: samples.tid,
        list: samples.list,
        dtv: debugger_offset(c"_thread_db_pthread_dtvp")?,
        robust: robust_list()?,
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

fn cpu_allows() -> Result<(), Reason> {
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    // SAFETY: no preconditions.
    if unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE == 0 {
        return Err("the processor or the kernel does not allow wrfsbase");
    }
    if header_word(abi::FEATURE_1) as u32 & abi::SHADOW_STACK != 0 {
        return Err("shadow stacks are on");
    }
    Ok(())
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

/// The kernel was told where the list's head is; the word below points to it while it is empty.
fn robust_list() -> Result<usize, Reason> {
    let (mut head, mut bytes) = (0usize, 0usize);
    // SAFETY: the call writes the two words; 0 is the calling thread.
    let failed = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &mut head, &mut bytes) };
    let offset = head.wrapping_sub(thread_pointer());
    // SAFETY: libc registered a head within its thread header.
    if failed != 0 || offset > 4096 || unsafe { *((head - 8) as *const usize) } != head {
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
