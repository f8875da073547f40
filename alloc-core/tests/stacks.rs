//! A slab of stacks is usable to its last byte but for its guards, is on the heap's account, and
//! every refusal of the source is an error that leaves nothing behind.

use core::{ops::Range, ptr::NonNull};

use alloc_core::{
    Error, Heap,
    pages::{Guard, PageSource, fail::Fail, fixed::Fixed, os::Os},
};

const SLOT: usize = 64 << 10;
const SLAB: usize = 16 * SLOT;

/// Whether the byte can be read: the kernel tells, asked as a debugger asks. valgrind takes an address that is
/// given to `write` for a mistake of the program.
fn readable(address: usize) -> bool {
    let mut byte = 0_u8;
    let to = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let from = libc::iovec { iov_base: address as *mut _, iov_len: 1 };
    // SAFETY: the kernel checks the address, which is this process's, and writes the byte if it can.
    unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) == 1 }
}

/// The kernel's pages, before 6.13: no marks.
struct Old(Os);

// SAFETY: passed on to `Os`, or refused.
unsafe impl PageSource for Old {
    type Index = <Os as PageSource>::Index;

    fn addresses(&self) -> Range<usize> {
        self.0.addresses()
    }
    fn arena_bytes(&self) -> usize {
        self.0.arena_bytes()
    }
    fn reserve(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        self.0.reserve(bytes, align)
    }
    unsafe fn commit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on.
        unsafe { self.0.commit(at, bytes) }
    }
    unsafe fn decommit(&self, at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: passed on.
        unsafe { self.0.decommit(at, bytes) }
    }
    unsafe fn release(&self, at: NonNull<u8>, bytes: usize) {
        // SAFETY: passed on.
        unsafe { self.0.release(at, bytes) }
    }
    unsafe fn guard(&self, at: NonNull<u8>, bytes: usize, how: Guard) -> bool {
        // SAFETY: passed on.
        how == Guard::Mapping && unsafe { self.0.guard(at, bytes, how) }
    }
}

/// Uses every byte of a slab that is guarded at the low end of each slot.
fn guards_hold<S: PageSource>(source: S) {
    let heap = Heap::new(source);
    let slab = heap.stacks().reserve(SLAB).unwrap();
    assert_eq!(heap.stats().stacks, SLAB);
    let starts = (0..SLAB / SLOT).map(|slot| slab.as_ptr() as usize + slot * SLOT);
    for start in starts.clone() {
        // SAFETY: in the slab, which is ours and not used yet.
        unsafe { heap.stacks().guard(NonNull::new(start as *mut u8).unwrap()).unwrap() };
    }
    for start in starts {
        assert!(!readable(start) && !readable(start + 4095), "the guard at {start:x}");
        // SAFETY: the rest of the slot is ours, readable and writable.
        unsafe {
            assert_eq!(((start + 4096) as *const u8).read(), 0);
            ((start + 4096) as *mut u8).write_bytes(1, SLOT - 4096);
        }
    }
    // SAFETY: nobody uses it any more.
    unsafe { heap.stacks().release(slab, SLAB, SLAB / SLOT) };
    assert_eq!(heap.stats().stacks, 0);
    assert!(!readable(slab.as_ptr() as usize + 4096), "the address space is gone");
}

#[test]
fn each_slot_has_a_guard_below_and_nothing_else_in_the_way() {
    guards_hold(Os::new());
}

#[test]
fn old_kernels_have_guards_as_well() {
    guards_hold(Old(Os::new()));
}

#[test]
fn every_refusal_of_the_source_is_an_error() {
    let heap = Heap::new(Fail::after(Os::new(), 0));
    assert_eq!(heap.stacks().reserve(SLAB), Err(Error::OutOfMemory), "no address space");
    heap.source().allow(1);
    assert_eq!(heap.stacks().reserve(SLAB), Err(Error::OutOfMemory), "no memory");
    assert_eq!(heap.stats().stacks, 0);
    heap.source().allow(2);
    let slab = heap.stacks().reserve(SLAB).unwrap();
    // SAFETY: a page of the slab, which nobody uses; then the slab itself.
    unsafe {
        assert_eq!(heap.stacks().guard(slab), Err(Error::Guard), "no guard");
        heap.stacks().release(slab, SLAB, 0);
    }
    assert_eq!(heap.stats().stacks, 0);
}

#[test]
fn slabs_and_blocks_share_the_heaps_limit() {
    const LARGE: usize = 16 << 20;
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    heap.set_limit(2 * LARGE + (4 << 20));
    let block = cache.alloc(std::alloc::Layout::new::<[u8; LARGE]>()).unwrap();
    let slab = heap.stacks().reserve(LARGE).unwrap();
    let before = heap.stats();
    assert_eq!(heap.stacks().reserve(LARGE), Err(Error::Limit));
    assert_eq!(heap.stats().stacks, before.stacks, "what was refused is not counted");
    assert_eq!(cache.alloc(std::alloc::Layout::new::<[u8; LARGE]>()), Err(Error::Limit));
    // SAFETY: ours, and freed once. Its pages are given back to make room.
    unsafe { cache.free(block) };
    let second = heap.stacks().reserve(LARGE).unwrap();
    assert!(heap.stats().resident_at_most() + 2 * LARGE <= heap.limit(), "{}", heap.stats());
    // SAFETY: nobody uses them, and they have no guards.
    unsafe {
        heap.stacks().release(slab, LARGE, 0);
        heap.stacks().release(second, LARGE, 0);
    }
    assert!(cache.alloc(std::alloc::Layout::new::<[u8; LARGE]>()).is_ok());
}

#[test]
fn a_slab_without_address_space_is_an_error() {
    let heap = Heap::new(Os::new());
    assert_eq!(heap.stacks().reserve(1 << 50), Err(Error::OutOfMemory));
    assert_eq!(heap.stacks().reserve(usize::MAX), Err(Error::TooLarge));
    assert_eq!(heap.stats().stacks, 0);
}

#[test]
fn a_source_without_guards_has_no_stacks() {
    let mut region = vec![core::mem::MaybeUninit::uninit(); 1 << 20];
    let heap = Heap::new(Fixed::new(&mut region));
    let slab = heap.stacks().reserve(SLOT).unwrap();
    // SAFETY: a page of the slab, which nobody uses.
    assert_eq!(unsafe { heap.stacks().guard(slab) }, Err(Error::Guard));
}
