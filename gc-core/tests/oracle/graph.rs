//! The graph: nodes with every kind of edge there is, each known outside of the heap by its number.
//!
//! In the heap whose tag the root of the tests calls `Oracle`.

use crate::{Oracle, register::Life};
use gc_core::{Gc, GcCell, GcMutex, GcOnce, GcRwLock, Guard, Slice, Str, Trace, Weak};

pub(crate) const SEAL: u64 = 0x5eed_5eed_5eed_5eed;

pub(crate) type Link<'g> = Gc<'g, Node<'g>, Oracle>;
pub(crate) type Edge<'g> = GcCell<'g, Node<'g>, Oracle>;
pub(crate) type Listed<'g> = Gc<'g, Slice<Edge<'g>>, Oracle>;

#[derive(Trace)]
#[trace(heap = Oracle)]
pub(crate) struct Node<'g> {
    pub(crate) seal: u64,
    #[leaf]
    pub(crate) life: Life,
    pub(crate) first: Option<Link<'g>>,
    pub(crate) name: Gc<'g, Str, Oracle>,
    pub(crate) next: Edge<'g>,
    pub(crate) list: GcCell<'g, Slice<Edge<'g>>, Oracle>,
    pub(crate) locked: GcMutex<Vec<Link<'g>>, Oracle>,
    pub(crate) shared: GcRwLock<[Option<Link<'g>>; 2], Oracle>,
    pub(crate) once: GcOnce<Link<'g>, Oracle>,
    pub(crate) weak: GcCell<'g, Known<'g>, Oracle>,
    pub(crate) tail: u64,
}

/// A weak pointer, and whom it is about.
#[derive(Trace)]
#[trace(heap = Oracle)]
pub(crate) struct Known<'g> {
    pub(crate) number: u64,
    pub(crate) node: Gc<'g, Weak<'g, Node<'g>, Oracle>, Oracle>,
}

impl<'g> Known<'g> {
    pub(crate) fn upgrade(&self, guard: &'g Guard<'_, Oracle>) -> Option<Link<'g>> {
        let found = self.node.get().upgrade(guard)?;
        found.check();
        found.next.load().inspect(|next| next.check());
        assert_eq!(found.life.number as u64, self.number, "a weak pointer leads to another node");
        Some(found)
    }
}

impl Node<'_> {
    pub(crate) fn check(&self) {
        assert_eq!((self.seal, self.tail), (SEAL, !SEAL), "a freed node was seen");
        let number = self.life.number;
        assert!(self.life.register.is_alive(number), "node {number} is dropped, and was seen");
        assert_eq!(self.name.as_str(), format!("node {number}"), "its name is gone");
    }
}
