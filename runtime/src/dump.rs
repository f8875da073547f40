//! Where all goroutines are: [`Dump`].
//!
//! The scheduler gives a copy of each stack ([`Scheduler::stacks`]); here they are unwound and their
//! functions named, when nobody waits any more. Unwinding goes by the tables that every program carries
//! for its panics (`.eh_frame`), which also know the switch and the injected call, so the frames of a
//! parked goroutine and of one that was preempted reach back to its beginning.
//! The tables are copied once per dump: a library may be unloaded meanwhile.
//!
//! Tables and stacks are read by framehop, names and lines by backtrace; both are what profilers use.

use std::ffi::c_void;
use std::fmt;

use sched_core::{Goroutine, Scheduler, StackCopy};

/// All goroutines of a runtime, each with its backtrace. Shown as text it is Go's list.
///
/// ```
/// let rt = runtime::Runtime::new().unwrap();
/// let (tx, rx) = runtime::chan::rendezvous::<()>();
/// let reader = rt.go(move || rx.recv());
/// let dump = rt.dump();
/// let found = dump.goroutines.iter().find(|one| one.goroutine.id == reader.id()).unwrap();
/// println!("{found:?}, and all of them:\n{dump}");
/// # drop(tx);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// By number.
    pub goroutines: Vec<Backtrace>,
}

/// A goroutine and where it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Backtrace {
    /// Who it is.
    pub goroutine: Goroutine,
    /// Innermost first, without the scheduler's own. None of one that has not run yet, or, but where goroutines
    /// are kernel threads, was preempted where it stands
    /// ([`Preemption::ParkThread`](crate::Preemption::ParkThread)).
    pub frames: Vec<Frame>,
}

/// A call, inlined ones included.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Frame {
    /// The function, or its address.
    pub function: String,
    /// File and line, if the program has them.
    pub place: Option<String>,
}

impl Dump {
    /// Of all goroutines of `scheduler`.
    pub(crate) fn take(scheduler: &Scheduler) -> Self {
        let copies = scheduler.stacks();
        let mut unwinder = unwind::Unwinder::new();
        let trace = |copy: StackCopy| {
            let addresses = unwinder.addresses(&copy);
            Backtrace { goroutine: copy.goroutine, frames: user_frames(addresses) }
        };
        Dump { goroutines: copies.into_iter().map(trace).collect() }
    }
}

/// The functions at these addresses, less the scheduler's at either end and, at the outer one, those by
/// which std catches panics.
fn user_frames(addresses: Vec<usize>) -> Vec<Frame> {
    let sources = sched_core::dump::sources();
    let caller = format!("{sources}task/raw.rs");
    let frames = addresses.into_iter().flat_map(functions_at);
    let mut frames: Vec<_> = frames
        .skip_while(|frame| frame.is_in("sched_core::", sources) || frame.is_call())
        .take_while(|frame| !frame.is_in("sched_core::task::raw::", &caller))
        .collect();
    if let Some(outermost) = frames.iter().rposition(|frame| !frame.is_std()) {
        frames.truncate(outermost + 1);
    }
    frames
}

impl Frame {
    /// Whether it is a function of this module, or of a file there: where the program has lines, the names of
    /// inlined and of generic functions are without their modules.
    fn is_in(&self, module: &str, file: &str) -> bool {
        let place = self.place.as_ref();
        place.is_some_and(|place| place.contains(file)) || self.function.starts_with(module)
    }

    /// Whether it is one of those by which a closure is called: the scheduler's switch is one.
    fn is_call(&self) -> bool {
        self.is_in("core::ops::function::", "/library/core/src/ops/function.rs")
    }

    /// Whether it is a function of the standard library. The compiler's own, around what may panic, has no place.
    fn is_std(&self) -> bool {
        self.is_in("std::", "/library/std/src/")
            || self.is_in("core::", "/library/core/src/")
            || self.function.starts_with("<core::")
            || self.function == "__rust_try"
    }
}

/// The function at `address` and those that were inlined there, innermost first.
fn functions_at(address: usize) -> Vec<Frame> {
    let mut found = Vec::new();
    // As the address after a call: it looks one byte lower.
    backtrace::resolve((address + 1) as *mut c_void, |symbol| {
        let function = symbol.name().map(|name| format!("{name:#}"));
        let place = symbol.filename().map(|file| {
            let line = symbol.lineno().unwrap_or(0);
            format!("{}:{line}", file.display())
        });
        found.extend(function.map(|function| Frame { function, place }));
    });
    if found.is_empty() {
        found.push(Frame { function: format!("{address:#x}"), place: None });
    }
    found
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.goroutines.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n" };
            write!(f, "{gap}{one}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Backtrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.goroutine)?;
        for frame in &self.frames {
            writeln!(f, "    {}", frame.function)?;
            if let Some(place) = &frame.place {
                writeln!(f, "        at {place}")?;
            }
        }
        Ok(())
    }
}

/// From a copy of a stack to addresses of calls.
#[cfg(target_arch = "x86_64")]
mod unwind {
    use std::ops::Range;

    use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
    use framehop::{ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder as _};
    use sched_core::StackCopy;
    use sched_core::preempt::is_injected;

    /// More than a stack of 64 KiB can hold.
    const MOST_FRAMES: usize = 4096;

    pub(super) struct Unwinder {
        unwinder: UnwinderX86_64<Vec<u8>>,
        cache: CacheX86_64,
    }

    impl Unwinder {
        /// With the tables of all that is loaded now.
        pub(super) fn new() -> Self {
            let mut unwinder = UnwinderX86_64::new();
            super::modules::all().into_iter().for_each(|module| {
                let sections = ExplicitModuleSectionInfo {
                    eh_frame_hdr_svma: Some(module.index.range.clone()),
                    eh_frame_hdr: Some(module.index.bytes),
                    eh_frame_svma: Some(module.table.range.clone()),
                    eh_frame: Some(module.table.bytes),
                    ..Default::default()
                };
                let loaded: Range<u64> = module.loaded;
                unwinder.add_module(Module::new(String::new(), loaded, module.base, sections));
            });
            Unwinder { unwinder, cache: CacheX86_64::new() }
        }

        /// Innermost first; each within the call that it stands for.
        pub(super) fn addresses(&mut self, copy: &StackCopy) -> Vec<usize> {
            let Some(at) = copy.registers else { return Vec::new() };
            let mut read = |address: u64| {
                let offset = (address as usize).checked_sub(at.sp).ok_or(())?;
                let word = copy.bytes.get(offset..offset + size_of::<u64>()).ok_or(())?;
                word.try_into().map(u64::from_ne_bytes).map_err(drop)
            };
            let mut registers = UnwindRegsX86_64::new(at.ip as u64, at.sp as u64, at.fp as u64);
            let (unwinder, cache) = (&self.unwinder, &mut self.cache);
            let caller = |frame: &FrameAddress| {
                let caller =
                    unwinder.unwind_frame(*frame, &mut registers, cache, &mut read).ok()??;
                // Who was made to call did not: where it was is no return address.
                match is_injected(frame.address() as usize) {
                    true => Some(FrameAddress::from_instruction_pointer(caller)),
                    false => FrameAddress::from_return_address(caller),
                }
            };
            let innermost = FrameAddress::from_instruction_pointer(at.ip as u64);
            std::iter::successors(Some(innermost), caller)
                .map(|frame| frame.address_for_lookup() as usize)
                .take(MOST_FRAMES)
                .collect()
        }
    }
}

/// Elsewhere stacks are not unwound.
#[cfg(not(target_arch = "x86_64"))]
mod unwind {
    use sched_core::StackCopy;

    pub(super) struct Unwinder;

    impl Unwinder {
        pub(super) fn new() -> Self {
            Unwinder
        }

        pub(super) fn addresses(&mut self, copy: &StackCopy) -> Vec<usize> {
            copy.registers.iter().map(|registers| registers.ip).collect()
        }
    }
}

/// The unwinding tables of all that is loaded, copied.
#[cfg(target_arch = "x86_64")]
mod modules {
    use std::ffi::{c_int, c_void};
    use std::ops::Range;

    /// A part of a loaded file, with the addresses that the file gives it.
    pub(super) struct Section {
        pub(super) range: Range<u64>,
        pub(super) bytes: Vec<u8>,
    }

    /// The program, or a library.
    pub(super) struct Module {
        /// Where it lies.
        pub(super) loaded: Range<u64>,
        /// What to add to the file's addresses.
        pub(super) base: u64,
        /// `.eh_frame_hdr`.
        pub(super) index: Section,
        /// `.eh_frame`, and what follows it in its segment.
        pub(super) table: Section,
    }

    /// All that have tables.
    pub(super) fn all() -> Vec<Module> {
        let mut all = Vec::<Module>::new();
        // SAFETY: the function fits the argument, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut all).cast()) };
        all
    }

    /// # Safety
    ///
    /// As `dl_iterate_phdr` calls it: `info` is of a loaded file, which stays during the call; `all` is a
    /// vector of modules.
    unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, all: *mut c_void) -> c_int {
        // SAFETY: our caller's promise.
        unsafe {
            let info = &*info;
            let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
            (*all.cast::<Vec<Module>>()).extend(read(info.dlpi_addr, headers));
        }
        0
    }

    /// # Safety
    ///
    /// `headers` are those of a file that is loaded at `base`.
    unsafe fn read(base: u64, headers: &[libc::Elf64_Phdr]) -> Option<Module> {
        let range = |header: &libc::Elf64_Phdr| header.p_vaddr..header.p_vaddr + header.p_memsz;
        let loads = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD).map(range);
        let index = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
        let index = range(index);
        // SAFETY: the header's range is loaded and readable.
        let copy = |range: &Range<u64>| unsafe {
            let start = (base + range.start) as *const u8;
            std::slice::from_raw_parts(start, (range.end - range.start) as usize).to_vec()
        };
        let index = Section { bytes: copy(&index), range: index };
        let table = table_of(&index)?;
        let segment = loads().find(|load| load.contains(&table))?;
        let table = table..segment.end;
        let loaded = loads().map(|load| load.start).min()?..loads().map(|load| load.end).max()?;
        Some(Module {
            loaded: base + loaded.start..base + loaded.end,
            base,
            table: Section { bytes: copy(&table), range: table },
            index,
        })
    }

    /// Where the index says that its table begins: four bytes of version and encodings, then the
    /// distance from here, as all linkers write it.
    fn table_of(index: &Section) -> Option<u64> {
        const RELATIVE_4_BYTES: u8 = 0x1b;
        let [1, RELATIVE_4_BYTES, _, _, distance @ ..] = index.bytes.get(..8)? else { return None };
        let distance = i32::from_ne_bytes(distance.try_into().ok()?);
        (index.range.start + 4).checked_add_signed(distance.into())
    }
}
