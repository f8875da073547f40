//! Slots of a slab are usable to the last byte, their guards are not, and giving memory back keeps
//! the slot.

use alloc_core::{Heap, pages::os::Os, stack::Slab};

/// Whether the byte can be read: the kernel tells, by refusing to copy it into a pipe.
fn readable(address: usize) -> bool {
    let mut pipe = [0; 2];
    // SAFETY: the kernel checks the address; the descriptors are our own.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let written = libc::write(pipe[1], address as *const _, 1);
        libc::close(pipe[0]);
        libc::close(pipe[1]);
        written == 1
    }
}

#[test]
fn each_slot_has_a_guard_below_and_nothing_else_in_the_way() {
    let heap = Heap::new(Os::new());
    let slab = Slab::new(&heap, 100, 64 << 10).unwrap();
    for slot in (0..slab.slots()).map(|slot| slab.slot(slot)) {
        assert!(!readable(slot.start - 1), "the guard of {slot:x?}");
        assert!(readable(slot.start) && readable(slot.end - 1));
        // SAFETY: the slot is ours and mapped.
        unsafe { (slot.start as *mut u8).write_bytes(1, slot.len()) };
    }
    let slot = slab.slot(50);
    // SAFETY: nobody needs the contents.
    unsafe { slab.discard(slot.start..slot.end) };
    // SAFETY: the slot is ours and mapped.
    assert_eq!(unsafe { ((slot.end - 8) as *const u64).read() }, 0);
    assert!(!readable(slot.start - 1), "the guard is still there");
    // SAFETY: as above.
    assert_eq!(unsafe { ((slab.slot(49).end - 1) as *const u8).read() }, 1);
}

#[test]
fn a_slab_without_address_space_is_an_error() {
    let heap = Heap::new(Os::new());
    assert!(Slab::new(&heap, 1 << 40, 1 << 20).is_err());
    assert!(Slab::new(&heap, 1, usize::MAX).is_err());
    assert_eq!(heap.stats().stacks, 0);
}
