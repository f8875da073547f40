//! Std's types in the heap: those without edges, and those that own values with edges.
//!
//! A collection of std's changes behind a unique reference alone, and there is none to a shared object. So it is
//! an edge that never changes, however many there are in it: to change them, put it under a
//! [`GcMutex`](crate::GcMutex), or cells into it. Its destructor drops values, which follow no edges, and looks at
//! none.
//!
//! A list in one piece of memory is traced in portions. A map, a set, a linked list is traced whole.

use super::{Rebind, Trace, Tracer};
use crate::heap::Tag;
use std::{
    cmp::{self, Reverse},
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque},
    num, path,
    sync::atomic,
    time,
};

/// Types without edges: the same under any guard, in any heap.
macro_rules! leaves {
    ($($leaf:ty),* $(,)?) => {$(
        // SAFETY: the type holds no edge, has no guard lifetime and does not unwind.
        unsafe impl<H: Tag> Trace<H> for $leaf {
            #[inline(always)]
            fn trace(&self, _: &mut Tracer) {}
        }
        // SAFETY: there is no lifetime to replace.
        unsafe impl Rebind for $leaf {
            type At<'a> = $leaf;
            const EDGES: bool = false;
        }
    )*};
}

leaves!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    num::NonZeroU8,
    num::NonZeroU16,
    num::NonZeroU32,
    num::NonZeroU64,
    num::NonZeroU128,
    num::NonZeroUsize,
    num::NonZeroI8,
    num::NonZeroI16,
    num::NonZeroI32,
    num::NonZeroI64,
    num::NonZeroI128,
    num::NonZeroIsize,
    cmp::Ordering,
    &'static str,
    String,
    Box<str>,
    path::PathBuf,
    Box<path::Path>,
    std::ffi::OsString,
    time::Duration,
    time::Instant,
    time::SystemTime,
    std::net::IpAddr,
    std::net::SocketAddr,
    atomic::AtomicBool,
    atomic::AtomicU8,
    atomic::AtomicU16,
    atomic::AtomicU32,
    atomic::AtomicU64,
    atomic::AtomicUsize,
    atomic::AtomicI8,
    atomic::AtomicI16,
    atomic::AtomicI32,
    atomic::AtomicI64,
    atomic::AtomicIsize,
);

/// Owners of values that do not change behind a shared reference.
macro_rules! owners {
    ($([$($value:ident),+ $(; $($generic:tt)*)?] $owner:ty => $at:ty, $self:ident $tracer:ident $body:block)*) => {$(
        // SAFETY: the body visits every value that the owner shares, and the owner changes only
        // behind a unique reference, which a shared object does not give.
        unsafe impl<H: Tag, $($value: Trace<H>,)+ $($($generic)*)?> Trace<H> for $owner {
            #[inline]
            fn trace(&$self, $tracer: &mut Tracer) $body
        }
        // SAFETY: the owner's layout does not depend on its values' lifetimes, and the values'
        // own `Rebind` keeps the rules.
        unsafe impl<$($value: Rebind,)+ $($($generic)*)?> Rebind for $owner {
            type At<'a> = $at;
            const EDGES: bool = $($value::EDGES)||+;
        }
    )*};
}

owners! {
    [T] Option<T> => Option<T::At<'a>>, self tracer {
        if let Some(value) = self { value.trace(tracer) }
    }
    [T, E] Result<T, E> => Result<T::At<'a>, E::At<'a>>, self tracer {
        match self {
            Ok(value) => value.trace(tracer),
            Err(value) => value.trace(tracer),
        }
    }
    [T] Reverse<T> => Reverse<T::At<'a>>, self tracer { self.0.trace(tracer) }
    [T] Box<T> => Box<T::At<'a>>, self tracer { (**self).trace(tracer) }
    [T] Vec<T> => Vec<T::At<'a>>, self tracer { tracer.items(self) }
    [T] Box<[T]> => Box<[T::At<'a>]>, self tracer { tracer.items(self) }
    [T; const N: usize] [T; N] => [T::At<'a>; N], self tracer { tracer.items(self) }
    [T] VecDeque<T> => VecDeque<T::At<'a>>, self tracer {
        let (front, back) = self.as_slices();
        tracer.items(front);
        tracer.items(back);
    }
    [T] BinaryHeap<T> => BinaryHeap<T::At<'a>>, self tracer { tracer.items(self.as_slice()) }
    [T] LinkedList<T> => LinkedList<T::At<'a>>, self tracer {
        self.iter().for_each(|value| value.trace(tracer));
    }
    [T] BTreeSet<T> => BTreeSet<T::At<'a>>, self tracer {
        self.iter().for_each(|value| value.trace(tracer));
    }
    [K, V] BTreeMap<K, V> => BTreeMap<K::At<'a>, V::At<'a>>, self tracer {
        self.iter().for_each(|(key, value)| {
            key.trace(tracer);
            value.trace(tracer);
        });
    }
    [T; S: Send + Sync + 'static] HashSet<T, S> => HashSet<T::At<'a>, S>, self tracer {
        self.iter().for_each(|value| value.trace(tracer));
    }
    [K, V; S: Send + Sync + 'static] HashMap<K, V, S> => HashMap<K::At<'a>, V::At<'a>, S>, self tracer {
        self.iter().for_each(|(key, value)| {
            key.trace(tracer);
            value.trace(tracer);
        });
    }
}

macro_rules! tuples {
    ($(($($value:ident $index:tt),+))*) => {$(
        // SAFETY: all parts are visited.
        unsafe impl<H: Tag, $($value: Trace<H>),+> Trace<H> for ($($value,)+) {
            #[inline]
            fn trace(&self, tracer: &mut Tracer) {
                $(self.$index.trace(tracer);)+
            }
        }
        // SAFETY: each part keeps the rules.
        unsafe impl<$($value: Rebind),+> Rebind for ($($value,)+) {
            type At<'a> = ($($value::At<'a>,)+);
            const EDGES: bool = $($value::EDGES)||+;
        }
    )*};
}

tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, I 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, I 7, J 8)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, I 7, J 8, K 9)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, I 7, J 8, K 9, L 10)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, I 7, J 8, K 9, L 10, M 11)
}
