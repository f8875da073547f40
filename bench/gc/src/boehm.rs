//! The Boehm–Demers–Weiser collector (Debian's libgc): conservative, stops the world, marks in
//! parallel. Its C interface, called from Rust. It looks at stacks, registers and its own heap, not at
//! what `malloc` gave, so tables of pointers lie in its heap too.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use bench_gc::Mutators;
use bench_gc::batches::{Batches, CHAIN};
use bench_gc::live::{Live, SUBTREE};
use bench_gc::random;
use bench_gc::shared::Shared;
use bench_gc::trees::Trees;

#[repr(C)]
struct StackBase {
    base: *mut c_void,
}

// SAFETY: as `gc.h` of 8.2 declares them.
unsafe extern "C" {
    fn GC_init();
    fn GC_malloc(bytes: usize) -> *mut c_void;
    fn GC_gcollect();
    fn GC_get_gc_no() -> usize;
    fn GC_allow_register_threads();
    fn GC_get_stack_base(base: *mut StackBase) -> c_int;
    fn GC_register_my_thread(base: *const StackBase) -> c_int;
    fn GC_unregister_my_thread() -> c_int;
}

fn main() {
    // SAFETY: once, before anything else, on the main thread.
    unsafe {
        GC_init();
        GC_allow_register_threads();
    }
    let request = harness::Request::from_args("boehm");
    let peer = Boehm { stack: Stack::new(), queue: Queue::new() };
    let known = bench_gc::trees::run(&request, &peer)
        || bench_gc::batches::run(&request, &peer)
        || bench_gc::live::run(&request, &peer)
        || bench_gc::shared::run(&request, &peer);
    if !known {
        request.unknown();
    }
}

/// Lives on the main thread's stack, where the collector finds what it points to.
struct Boehm {
    stack: &'static Stack,
    queue: &'static Queue,
}

/// Moves a value into the collected heap. It stays while a pointer to it can be found.
fn alloc<T: Copy>(value: T) -> &'static mut T {
    // SAFETY: the memory is fresh, large enough, aligned to 16, and whoever can reach the reference
    // keeps it alive.
    unsafe {
        let place = GC_malloc(size_of::<T>()).cast::<T>();
        assert!(!place.is_null(), "out of memory");
        place.write(value);
        &mut *place
    }
}

impl Mutators for Boehm {
    fn mutate(&self, count: usize, work: &(dyn Fn(usize) + Sync)) {
        bench_gc::on_threads(count, &|number| {
            let mut base = StackBase { base: ptr::null_mut() };
            // SAFETY: the thread is registered while it uses the heap.
            unsafe {
                GC_get_stack_base(&mut base);
                GC_register_my_thread(&base);
                work(number);
                GC_unregister_my_thread();
            }
        });
    }
}

#[derive(Clone, Copy)]
struct Tree {
    children: Option<(&'static Tree, &'static Tree)>,
}

impl Tree {
    fn build(depth: u32) -> &'static Self {
        let child = || -> &'static Tree { Self::build(depth - 1) };
        alloc(Self { children: (depth > 0).then(|| (child(), child())) })
    }

    fn count(&self) -> usize {
        self.children.map_or(1, |(left, right)| left.count() + right.count() + 1)
    }
}

impl Trees for Boehm {
    type Kept = &'static Tree;

    fn build_and_count(&self, depth: u32) -> usize {
        Tree::build(depth).count()
    }

    fn keep(&self, depth: u32) -> Self::Kept {
        Tree::build(depth)
    }

    fn count(&self, kept: &Self::Kept) -> usize {
        kept.count()
    }
}

#[derive(Clone, Copy)]
struct Item {
    number: u64,
    before: *mut Item,
    after: *mut Item,
}

#[derive(Clone, Copy)]
struct Node {
    number: u64,
    edges: [*mut Node; 2],
}

#[derive(Clone, Copy)]
#[expect(dead_code, reason = "the collector follows the edges")]
struct Link<const WORDS: usize> {
    next: *mut Link<WORDS>,
    words: [u64; WORDS],
}

impl Batches for Boehm {
    fn list(&self, nodes: usize) -> u64 {
        let item = |number, before| -> *mut Item {
            alloc(Item { number, before, after: ptr::null_mut() })
        };
        let first = item(0, ptr::null_mut());
        let mut last = first;
        for number in 1..nodes as u64 {
            let next = item(number, last);
            // SAFETY: reached from `first`, and nobody else uses it.
            unsafe { (*last).after = next };
            last = next;
        }
        let (mut sum, mut at) = (0, first);
        // SAFETY: null, or an item reached from the list's ends.
        while let Some(item) = unsafe { at.as_ref() } {
            sum += item.number;
            at = item.after;
        }
        at = last;
        // SAFETY: as above.
        while let Some(item) = unsafe { at.as_ref() } {
            sum += item.number;
            at = item.before;
        }
        sum
    }

    fn graph(&self, nodes: usize, mut seed: u64) -> u64 {
        // SAFETY: fresh memory for so many pointers, in the collected heap: they are found.
        let all = unsafe {
            let place = GC_malloc(nodes * size_of::<*mut Node>()).cast::<*mut Node>();
            std::slice::from_raw_parts_mut(place, nodes)
        };
        for (number, place) in (0..).zip(&mut *all) {
            *place = alloc(Node { number, edges: [ptr::null_mut(); 2] });
        }
        for &node in &*all {
            for edge in 0..2 {
                // SAFETY: the table keeps it, and nobody else uses it.
                unsafe { (*node).edges[edge] = all[random(&mut seed) as usize % nodes] };
            }
        }
        let (mut at, mut sum) = (all[0], 0);
        for step in 0..nodes {
            // SAFETY: all edges are set.
            unsafe {
                at = (*at).edges[step % 2];
                sum += (*at).number;
            }
        }
        sum
    }

    fn chains<const WORDS: usize>(&self, chains: usize) {
        for _ in 0..chains {
            let mut next: *mut Link<WORDS> = ptr::null_mut();
            for number in 0..CHAIN as u64 {
                let mut words = [0; WORDS];
                words[0] = number;
                next = alloc(Link { next, words });
            }
            // SAFETY: the newest link.
            std::hint::black_box(unsafe { (*next).words[0] });
        }
    }
}

#[derive(Clone, Copy)]
struct Big {
    children: [*mut Big; 2],
    _words: [u64; 6],
}

impl Big {
    fn build(depth: u32) -> *mut Self {
        let child = |_| if depth > 0 { Self::build(depth - 1) } else { ptr::null_mut() };
        alloc(Self { children: [0, 1].map(child), _words: [depth.into(); 6] })
    }
}

/// The root of a tree. The value lies on the stack, where the collector finds it.
struct Root(*mut Big);

// SAFETY: each mutator changes its own half only.
unsafe impl Sync for Root {}

impl Live for Boehm {
    type Tree = Root;

    fn grow(&self, height: u32) -> Self::Tree {
        Root(Big::build(height + SUBTREE))
    }

    fn replace(&self, tree: &Self::Tree, height: u32, path: u64) {
        let mut at = tree.0;
        // SAFETY: inner nodes have both children, and this half is the caller's.
        unsafe {
            for level in 0..height - 1 {
                at = (*at).children[(path >> level & 1) as usize];
            }
            (*at).children[(path >> (height - 1) & 1) as usize] = Big::build(SUBTREE);
        }
    }

    fn collect(&self) -> bool {
        // SAFETY: the calling thread is the main thread.
        unsafe { GC_gcollect() };
        true
    }

    fn collections(&self) -> Option<u64> {
        // SAFETY: a counter.
        Some(unsafe { GC_get_gc_no() } as u64)
    }
}

struct Stack(AtomicPtr<Below>);

#[derive(Clone, Copy)]
struct Below {
    value: u64,
    below: *mut Below,
}

struct Queue {
    head: AtomicPtr<Behind>,
    tail: AtomicPtr<Behind>,
}

struct Behind {
    value: u64,
    next: AtomicPtr<Behind>,
}

/// As [`alloc`], for what is not `Copy`: it has no destructor either.
fn place<T>(value: T) -> *mut T {
    // SAFETY: as in `alloc`.
    unsafe {
        let place = GC_malloc(size_of::<T>()).cast::<T>();
        assert!(!place.is_null(), "out of memory");
        place.write(value);
        place
    }
}

impl Stack {
    fn new() -> &'static Self {
        // SAFETY: the caller keeps the pointer on a stack.
        unsafe { &*place(Self(AtomicPtr::default())) }
    }
}

impl Queue {
    fn new() -> &'static Self {
        let taken = place(Behind { value: 0, next: AtomicPtr::default() });
        // SAFETY: as above.
        unsafe { &*place(Self { head: AtomicPtr::new(taken), tail: AtomicPtr::new(taken) }) }
    }
}

impl Shared for Boehm {
    fn push(&self, value: u64) {
        let top = &self.stack.0;
        let mut below = top.load(Ordering::Acquire);
        while let Err(found) = {
            let node: *mut Below = alloc(Below { value, below });
            top.compare_exchange(below, node, Ordering::AcqRel, Ordering::Acquire)
        } {
            below = found;
        }
    }

    fn pop(&self) -> Option<u64> {
        let mut top = self.stack.0.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a node that this pointer keeps alive.
            let node = unsafe { top.as_ref() }?;
            let exchange =
                self.stack.0.compare_exchange(top, node.below, Ordering::AcqRel, Ordering::Acquire);
            match exchange {
                Ok(_) => return Some(node.value),
                Err(found) => top = found,
            }
        }
    }

    fn put(&self, value: u64) {
        let Queue { tail, .. } = self.queue;
        let node = place(Behind { value, next: AtomicPtr::default() });
        loop {
            let last = tail.load(Ordering::Acquire);
            // SAFETY: the tail is never null, and the pointer keeps it alive.
            let next = unsafe { &(*last).next };
            let exchange =
                next.compare_exchange(ptr::null_mut(), node, Ordering::AcqRel, Ordering::Acquire);
            // Whoever fails has been helped.
            let behind = exchange.err().unwrap_or(node);
            let _ = tail.compare_exchange(last, behind, Ordering::AcqRel, Ordering::Acquire);
            if exchange.is_ok() {
                return;
            }
        }
    }

    fn take(&self) -> Option<u64> {
        let Queue { head, tail } = self.queue;
        loop {
            let before = head.load(Ordering::Acquire);
            // SAFETY: the head is never null, and the pointer keeps it alive.
            let first = unsafe { &(*before).next }.load(Ordering::Acquire);
            // SAFETY: null, or likewise.
            let value = unsafe { first.as_ref() }?.value;
            if tail.load(Ordering::Acquire) == before {
                let _ = tail.compare_exchange(before, first, Ordering::AcqRel, Ordering::Acquire);
            }
            if head.compare_exchange(before, first, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Some(value);
            }
        }
    }
}
