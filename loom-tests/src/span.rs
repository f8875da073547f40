//! A small span apart from any heap, for models of its hand-over.

use std::{ops::Deref, ptr::NonNull};

use alloc_core::handover::{Record, Room};
use loom::cell::UnsafeCell;

/// The record of a span, over cells of its own.
#[derive(Debug)]
pub struct Span<const CELLS: usize> {
    record: Record,
    _room: Box<UnsafeCell<Room>>,
    _cells: Box<UnsafeCell<[u64; CELLS]>>,
}

// SAFETY: room and cells are the record's alone, and the protocol decides who touches what of that: it is what the
// models check.
unsafe impl<const CELLS: usize> Sync for Span<CELLS> {}
// SAFETY: as above.
unsafe impl<const CELLS: usize> Send for Span<CELLS> {}

impl<const CELLS: usize> Span<CELLS> {
    /// A span of class `class` in the cache `owner`, all of its cells live.
    pub fn new(class: usize, owner: usize) -> Self {
        let room = Box::new(UnsafeCell::new(Room::default()));
        let cells = Box::new(UnsafeCell::new([0; CELLS]));
        let place = room.with_mut(|room| NonNull::new(room).unwrap());
        let memory = cells.with_mut(|cells| NonNull::new(cells as *mut [u64]).unwrap());
        // SAFETY: both stay in place as long as the span, and only the record uses them.
        let record = unsafe { Record::new(place, memory, class, owner) };
        Self { record, _room: room, _cells: cells }
    }
}

impl<const CELLS: usize> Deref for Span<CELLS> {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.record
    }
}
