//! An allocator in one buffer of the program, which asks the operating system for no memory.
//!
//! For a plugin's sandbox, or shared memory: the heap fills up, says so as a value, and serves other sizes when
//! something was freed.
//!
//! `cargo run -p alloc-core --example fixed_region`

use std::{alloc::Layout, mem::MaybeUninit};

use alloc_core::{Error, Heap, pages::fixed::Fixed};

const REGION: usize = 4 << 20;

pub(crate) fn main() -> Result<(), Error> {
    let mut region = vec![MaybeUninit::<u8>::uninit(); REGION];
    let heap = Heap::new(Fixed::new(&mut region));
    let mut cache = heap.cache();

    let message = Layout::new::<[u8; 1500]>();
    let mut messages = Vec::new();
    let full = loop {
        match cache.alloc(message) {
            Ok(block) => messages.push(block),
            Err(error) => break error,
        }
    };
    let held = messages.len() * message.size();
    println!("{} messages fill {held} of {REGION} bytes, then: {full}", messages.len());
    assert_eq!(full, Error::OutOfMemory);
    assert!(held > REGION / 2);

    for block in messages {
        // SAFETY: each is ours and freed once.
        unsafe { cache.free(block) };
    }
    cache.flush();
    let frame = cache.alloc(Layout::new::<[u8; 2 << 20]>())?;
    println!("and when they are freed, a frame of 2 MiB fits at {frame:p}");
    // SAFETY: ours, freed once.
    unsafe { cache.free(frame) };
    println!("{:?}", heap.stats());
    Ok(())
}
