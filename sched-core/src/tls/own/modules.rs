//! Which loaded objects have static TLS, and where in a block.
//!
//! libc lays the static TLS of all objects out at fixed distances from the thread pointer. The
//! public `dl_iterate_phdr` tells, for each object, its segment and where the *calling* thread's
//! copy lies; the difference to the calling thread's pointer is the distance for every thread.

use core::ffi::{CStr, c_int, c_void};
use core::ops::Range;

use super::arch;
use super::surplus;

/// The static TLS of one loaded object.
#[derive(Clone, Debug)]
pub(super) struct Module {
    /// libc's number for it: its index in a dtv.
    pub(super) id: usize,
    /// Its bytes, from the thread pointer.
    pub(super) range: Range<isize>,
}

impl Module {
    /// Whether the variable at `tp + offset` is one of this object's.
    pub(super) fn holds(&self, offset: isize) -> bool {
        self.range.contains(&offset)
    }

    /// Its bytes as indices into `tls`, which holds them.
    pub(super) fn within(&self, tls: &Range<isize>) -> Range<usize> {
        let index = |at: isize| (at - tls.start).unsigned_abs();
        index(self.range.start)..index(self.range.end)
    }
}

/// All objects whose TLS lies in the calling thread's `static_bytes`, but for the one that only takes
/// the rest.
pub(super) fn static_modules(static_bytes: usize) -> Vec<Module> {
    let (tp, area) = (arch::thread_pointer(), arch::static_tls(static_bytes));
    let mut search = Search { tp, area, found: Vec::new() };
    // SAFETY: `visit` takes the pointer for the `Search` it is, and nobody else has it meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

struct Search {
    tp: usize,
    area: Range<isize>,
    found: Vec<Module>,
}

unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    search: *mut c_void,
) -> c_int {
    // SAFETY: libc passes a valid record, and the pointer `static_modules` gave it.
    let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
    // SAFETY: the record's own array of program headers, `dlpi_phnum` long.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    // SAFETY: libc's name for the object, a C string.
    let ours = surplus::is_resident(unsafe { CStr::from_ptr(info.dlpi_name) });
    let tls = headers.iter().find(|header| header.p_type == libc::PT_TLS && !ours);
    let data = info.dlpi_tls_data as usize;
    // A null pointer: the calling thread has no copy yet, so the TLS is dynamic.
    let start = data.wrapping_sub(search.tp) as isize;
    if let Some(tls) = tls.filter(|_| data != 0 && search.area.contains(&start)) {
        let end = start.saturating_add(tls.p_memsz as isize).min(search.area.end);
        search.found.push(Module { id: info.dlpi_tls_modid, range: start..end });
    }
    0
}
