//! Cuts slabs into slots, and furnishes these: the slow half of the stock.
//!
//! Everything here asks libc or the kernel for something, and so runs on the service thread only.

use core::ptr::NonNull;
#[cfg(own_tls)]
use core::sync::atomic::Ordering;
use std::sync::Arc;

use super::slot::Record;
use super::{StackError, StackSource, page_bytes, thread};
use crate::context::{Context, ThreadId};
use crate::tls::Mode;
#[cfg(own_tls)]
use crate::tls::own::Workshop;

/// The least a goroutine can do anything useful on, besides TLS and guard.
#[cfg(own_tls)]
const LEAST_STACK: usize = 8 * 1024;
/// What `pthread_create` asks for, which differs between machines, and TLS.
const LEAST_THREAD_STACK: usize = libc::PTHREAD_STACK_MIN + 16 * 1024;

/// Alignment of records: a cache line, and what a thread pointer below them may need.
const RECORD_ALIGN: usize = 64;

struct Slab {
    base: NonNull<u8>,
    /// Slots made in it so far; the first `made` are furnished.
    made: usize,
    /// Whether the slot after those has its guard: it could not be furnished.
    ahead: bool,
}

/// Makes slots.
pub(super) struct Maker {
    mode: Mode,
    source: Arc<dyn StackSource>,
    slot_bytes: usize,
    slots_per_slab: usize,
    page: usize,
    slabs: Vec<Slab>,
    #[cfg(own_tls)]
    workshop: Option<Workshop>,
    #[cfg(own_tls)]
    libc_segment: Vec<u8>,
}

// SAFETY: slabs are the maker's own memory, bound to no thread.
unsafe impl Send for Maker {}

impl Maker {
    pub(super) fn new(
        mode: Mode,
        source: Arc<dyn StackSource>,
        stack_bytes: usize,
        slots_per_slab: usize,
    ) -> Maker {
        let page = page_bytes();
        let least = page + size_of::<Record>() + RECORD_ALIGN + least(mode);
        Maker {
            mode,
            source,
            // The most that can be asked for is refused by the source.
            slot_bytes: stack_bytes.clamp(least, usize::MAX - page).next_multiple_of(page),
            slots_per_slab: slots_per_slab.max(1),
            page,
            slabs: Vec::new(),
            #[cfg(own_tls)]
            workshop: None,
            #[cfg(own_tls)]
            libc_segment: Vec::new(),
        }
    }

    /// A new slot, ready for a goroutine.
    pub(super) fn make(&mut self) -> Result<NonNull<Record>, StackError> {
        if self.slabs.last().is_none_or(|slab| slab.made == self.slots_per_slab) {
            self.slabs.try_reserve(1).map_err(|_| StackError::NoMemory)?;
            let bytes = self.slot_bytes.checked_mul(self.slots_per_slab);
            let base = self.source.reserve(bytes.ok_or(StackError::NoMemory)?)?;
            self.slabs.push(Slab { base, made: 0, ahead: false });
        }
        let slab = self.slabs.last_mut().ok_or(StackError::NoMemory)?;
        // SAFETY: `made` is less than the number of slots in the slab.
        let lo = unsafe { slab.base.add(slab.made * self.slot_bytes) };
        if !slab.ahead {
            // SAFETY: the first page of a slot that nobody uses, of a slab of this source.
            unsafe { self.source.guard(lo)? };
            slab.ahead = true;
        }
        let record = self.furnish(lo)?;
        if let Some(slab) = self.slabs.last_mut() {
            slab.made += 1;
            slab.ahead = false;
        }
        Ok(record)
    }

    /// Where the record of the slot at `lo` is.
    fn record_at(&self, lo: NonNull<u8>) -> NonNull<Record> {
        let offset = (self.slot_bytes - size_of::<Record>()) & !(RECORD_ALIGN - 1);
        // SAFETY: within the slot; pages and so slots are aligned to far more than a record.
        unsafe { lo.add(offset).cast() }
    }

    fn furnish(&mut self, lo: NonNull<u8>) -> Result<NonNull<Record>, StackError> {
        let (at, start) = (self.record_at(lo), lo.addr().get() + self.page);
        let top = at.addr().get();
        match self.mode {
            #[cfg(own_tls)]
            Mode::OwnTls(layout) => {
                let tp = layout.thread_pointer_below(top);
                let bounds = start..layout.stack_top(tp);
                let mut record = Record::new(Context::of_block(tp), bounds);
                record.block = Some((layout, tp));
                record.words.store(layout.words_of(tp).cast_mut(), Ordering::Relaxed);
                let workshop = match &mut self.workshop {
                    Some(workshop) => workshop,
                    none => none.insert(Workshop::new(layout).map_err(StackError::NoTls)?),
                };
                // SAFETY: the slot is ours, unused, mapped as long as the slab.
                unsafe {
                    workshop.furnish(layout, tp, start..top).map_err(StackError::NoTls)?;
                    at.write(record);
                }
            }
            #[cfg(not(own_tls))]
            Mode::OwnTls(layout) => match *layout {},
            Mode::Threads { .. } => {
                let context = Context::of_future_thread();
                let record = Record::new(context, start..top & !15);
                // SAFETY: the slot is ours, unused, mapped as long as the slab.
                unsafe {
                    at.write(record);
                    thread::start(at.as_ref())?;
                }
            }
        }
        Ok(at)
    }

    /// Makes a slot that was used ready for the next goroutine.
    ///
    /// # Safety
    ///
    /// The slot is the caller's, and its goroutine has ended.
    pub(super) unsafe fn renew(&mut self, record: NonNull<Record>) -> Result<(), StackError> {
        // SAFETY: the caller has the slot.
        let record = unsafe { record.as_ref() };
        match self.mode {
            #[cfg(own_tls)]
            // SAFETY: the caller's promise; this is the service thread, which may call libc.
            Mode::OwnTls(layout) => unsafe {
                layout.rebuild(record.tp(), &mut self.libc_segment);
                Ok(())
            },
            #[cfg(not(own_tls))]
            Mode::OwnTls(layout) => match *layout {},
            // SAFETY: the caller's promise: the thread has run its errand.
            Mode::Threads { .. } => unsafe {
                thread::join(record);
                *record.errand.get() = None;
                thread::start(record)
            },
        }
    }

    /// Thread mode: the threads of all slots, but for those that are about to end.
    pub(super) fn threads(&self) -> impl Iterator<Item = ThreadId> {
        let records = self.slabs.iter().flat_map(|slab| {
            (0..slab.made).map(|index| {
                // SAFETY: one of the slab's slots, which are furnished and stay.
                unsafe { self.record_at(slab.base.add(index * self.slot_bytes)).as_ref() }
            })
        });
        records.filter_map(|record| record.context.thread())
    }

    /// How many slots there are.
    pub(super) fn made(&self) -> usize {
        self.slabs.iter().map(|slab| slab.made).sum()
    }

    /// Gives everything back: threads, dtvs, slabs.
    ///
    /// # Safety
    ///
    /// No slot is used any more: each is as `make`, `renew` or its goroutine left it.
    pub(super) unsafe fn dissolve(&mut self) {
        for slab in core::mem::take(&mut self.slabs) {
            for index in 0..slab.made {
                // SAFETY: one of the slab's furnished slots; the caller's promise.
                unsafe {
                    let record = self.record_at(slab.base.add(index * self.slot_bytes));
                    self.vacate(record.as_ref());
                }
            }
            let (bytes, guards) = (self.slot_bytes * self.slots_per_slab, slab.made);
            // SAFETY: ours, and nothing in it is used any more.
            unsafe { self.source.release(slab.base, bytes, guards + usize::from(slab.ahead)) };
        }
    }

    /// # Safety
    ///
    /// As [`Maker::dissolve`].
    unsafe fn vacate(&self, record: &Record) {
        match self.mode {
            #[cfg(own_tls)]
            // SAFETY: the caller's promise.
            Mode::OwnTls(layout) => unsafe { layout.abandon(record.tp()) },
            #[cfg(not(own_tls))]
            Mode::OwnTls(layout) => match *layout {},
            // SAFETY: the caller's promise.
            Mode::Threads { .. } => unsafe { thread::end(record) },
        }
    }
}

fn least(mode: Mode) -> usize {
    match mode {
        #[cfg(own_tls)]
        Mode::OwnTls(layout) => layout.block_bytes() + LEAST_STACK,
        #[cfg(not(own_tls))]
        Mode::OwnTls(layout) => match *layout {},
        Mode::Threads { .. } => LEAST_THREAD_STACK,
    }
}
