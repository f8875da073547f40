//! A test of one's own data structure against memory that runs out.
//!
//! `Fail` refuses the n-th call for memory, for every n in turn, so each place where the structure
//! allocates fails once. The structure here is a stack of linked blocks. It is right if a push that fails
//! leaves it as it was, and nothing leaks.
//!
//! `cargo run -p alloc-core --example failing_source`

use std::{alloc::Layout, ptr::NonNull};

use alloc_core::{
    Cache, Error, Heap,
    pages::{PageSource, fail::Fail, os::Os},
};

/// A page of a document: large, so that it needs memory often.
struct Node {
    next: Option<NonNull<Node>>,
    text: [u8; 3000],
}

struct Stack<'h, S: PageSource> {
    cache: Cache<'h, S>,
    top: Option<NonNull<Node>>,
    len: usize,
}

impl<'h, S: PageSource> Stack<'h, S> {
    fn new(heap: &'h Heap<S>) -> Self {
        Stack { cache: heap.cache(), top: None, len: 0 }
    }

    fn push(&mut self, letter: u8) -> Result<(), Error> {
        let node = self.cache.alloc(Layout::new::<Node>())?.cast::<Node>();
        // SAFETY: fresh memory for a node.
        unsafe { node.write(Node { next: self.top, text: [letter; 3000] }) };
        self.top = Some(node);
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<u8> {
        let node = self.top?;
        // SAFETY: the node is the stack's, and nobody uses it afterwards.
        let Node { next, text } = unsafe { node.read() };
        // SAFETY: as above; freed once.
        unsafe { self.cache.free(node.cast()) };
        self.top = next;
        self.len -= 1;
        Some(text[2999])
    }
}

impl<S: PageSource> Drop for Stack<'_, S> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

pub(crate) fn main() {
    let mut refused = 0;
    loop {
        let heap = Heap::new(Fail::after(Os::new(), refused));
        let mut stack = Stack::new(&heap);
        let failed = (0..5_000_u32).find_map(|n| Some((n, stack.push(n as u8).err()?)));
        let Some((n, error)) = failed else { break };
        println!("refused after {refused} calls: push {n} says {error}");
        assert_eq!((stack.len, error), (n as usize, Error::OutOfMemory));
        assert_eq!(stack.pop(), n.checked_sub(1).map(|last| last as u8));
        drop(stack);
        heap.release();
        assert_eq!(heap.stats().small, 0, "nothing leaks");
        // SAFETY: every node was freed.
        unsafe { heap.destroy() };
        refused += 1;
    }
    println!("5000 pushes need {refused} calls");
    assert!(refused > 5);
}
