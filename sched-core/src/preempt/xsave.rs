//! Which register state beyond the general registers there is, and how much room it takes.
//!
//! CPUID leaf 0xD describes the *components* of extended state; XCR0 says which the system has
//! enabled. The injected call saves all of them, with three exceptions:
//!
//! * PKRU (9): memory protection keys belong to the thread, as its signal mask does;
//! * AMX tiles (17, 18): eight kilobytes of stack for what hardly anybody uses;
//! * components that did not exist when this was written: they may belong to the thread, too.
//!
//! A goroutine that is interrupted while one of the last two is in use is not injected.

use core::arch::x86_64::{__cpuid_count, _xgetbv};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

const PKRU: u64 = 1 << 9;
/// x87, SSE, AVX, MPX (2), AVX-512 (3), APX: saved where enabled.
const SAVED: u64 = 0b1111_1111 | 1 << 19;

const LEGACY_BYTES: usize = 512;
const HEADER_BYTES: usize = 64;

/// The save area. Read by the trampoline, by offset.
#[repr(C)]
pub(super) struct Area {
    bytes: AtomicUsize,
    /// What to save; all of it is in the low half.
    mask: AtomicU32,
    /// Whether `xsavec` exists: without gaps, and without what is in its initial state.
    compact: AtomicU32,
}

impl Area {
    pub(super) const BYTES: usize = offset_of!(Area, bytes);
    pub(super) const MASK: usize = offset_of!(Area, mask);
    pub(super) const COMPACT: usize = offset_of!(Area, compact);

    /// Before [`Area::measure`].
    pub(super) const fn unknown() -> Area {
        Area { bytes: AtomicUsize::new(0), mask: AtomicU32::new(0), compact: AtomicU32::new(0) }
    }

    /// Asks the processor. Only where it has XSAVE, as any with FSGSBASE does.
    pub(super) fn measure(&self) {
        // SAFETY: the processor has XSAVE, and the system has enabled it.
        let enabled = unsafe { xcr0() };
        let mask = enabled & SAVED;
        let compact = cpuid(1).eax & 2 != 0;
        // Relaxed: written before the handler is installed, and read by signals only.
        self.bytes.store(area_bytes(mask, compact), Ordering::Relaxed);
        self.mask.store(mask as u32, Ordering::Relaxed);
        self.compact.store(compact.into(), Ordering::Relaxed);
    }

    /// Whether everything in `used` is saved, or belongs to the thread.
    pub(super) fn covers(&self, used: u64) -> bool {
        // Relaxed: written before the handler was installed.
        let mask = u64::from(self.mask.load(Ordering::Relaxed));
        used & !(mask | PKRU) == 0
    }
}

/// The components that interrupted code had in use, from the kernel's signal frame; all bits if the
/// frame does not say.
///
/// # Safety
///
/// `frame` is null or the frame of the running handler.
pub(super) unsafe fn in_use(frame: *const libc::_libc_fpstate) -> u64 {
    /// The kernel's mark, in bytes of the legacy area that the processor leaves to software.
    const MARK_AT: usize = 464;
    const MARK: u32 = 0x4650_5853;
    let frame = frame.cast::<u8>();
    if frame.is_null() {
        return u64::MAX;
    }
    // SAFETY: the legacy area is always there; the header follows if the mark is.
    unsafe {
        match frame.add(MARK_AT).cast::<u32>().read() {
            MARK => frame.add(LEGACY_BYTES).cast::<u64>().read(),
            _ => u64::MAX,
        }
    }
}

fn cpuid(component: u32) -> core::arch::x86_64::CpuidResult {
    // SAFETY: every x86-64 processor with XSAVE has the leaf.
    #[allow(unused_unsafe, reason = "safe since Rust 1.94")]
    unsafe {
        __cpuid_count(0xd, component)
    }
}

/// # Safety
///
/// The processor has XSAVE, and the system has enabled it.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: register 0 exists wherever XSAVE does.
    #[allow(unused_unsafe, reason = "safe in a function with the feature in newer compilers")]
    unsafe {
        _xgetbv(0)
    }
}

/// Bytes of an area for `mask`, a multiple of 64.
fn area_bytes(mask: u64, compact: bool) -> usize {
    let components = (2..32).filter(|component| mask & 1 << component != 0);
    let end = components.fold(LEGACY_BYTES + HEADER_BYTES, |end, component| {
        let about = cpuid(component);
        let (bytes, offset) = (about.eax as usize, about.ebx as usize);
        match (compact, about.ecx & 2 != 0) {
            (false, _) => end.max(offset + bytes),
            (true, aligned) => (if aligned { end.next_multiple_of(64) } else { end }) + bytes,
        }
    });
    end.next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMX: u64 = 1 << 17 | 1 << 18;

    #[test]
    fn the_area_is_no_longer_than_the_processor_says() {
        let area = Area::unknown();
        area.measure();
        let bytes = area.bytes.load(Ordering::Relaxed);
        assert!(bytes >= LEGACY_BYTES + HEADER_BYTES);
        // For all that is enabled, without gaps (1) and with them (0).
        let limit = cpuid(1).ebx.max(cpuid(0).ebx) as usize;
        assert!(bytes <= limit.next_multiple_of(64), "{bytes} > {limit}");
    }

    #[test]
    fn tiles_and_the_unknown_are_not_covered() {
        let area = Area::unknown();
        area.measure();
        assert!(area.covers(0b11), "x87 and SSE");
        assert!(area.covers(PKRU));
        assert!(!area.covers(AMX));
        assert!(!area.covers(1 << 40));
    }
}
