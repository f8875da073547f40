//! Trait objects in the heap: `Gc<'g, dyn Shape + 'g>`.
//!
//! The compiler coerces a `Box<Circle>` to a `Box<dyn Shape>`; for a pointer type of a library that
//! takes a feature which is not stable. [`unsize!`](crate::unsize) does it with what is: a *raw* pointer
//! coerces, and that coercion does not change where it points. The object stays what it was: the
//! collector finds its [`Kind`](crate::space::Kind) by its cell, not by the pointer.
//!
//! Under another guard the pointer's type is another one, `dyn Shape + 'a`. A derive cannot say that of
//! a trait; [`rebind_dyn!`](crate::rebind_dyn) does: what differs is a lifetime, which no method table
//! knows.
//!
//! An implementation may know it: `impl Visit<'static> for Leaf` is told by its types that what it is given
//! lives for ever, and a `Leaf` needs no guard that does. So a pointer is coerced to the trait of the guard that
//! it is under alone ([`Gc::coerce`]): to `dyn Visit<'g> + 'g`. For that an implementation has to hold under
//! that guard's lifetime, whichever it is, and then it holds under others. One for `Circle<'static>` alone does
//! if a guard is borrowed for ever, and where that is, nothing is ever freed.
//!
//! A pointer to a trait object is two words: it fits into an immutable field and a lock's interior,
//! not into a [`GcCell`](crate::GcCell). For an edge that changes put it into an object of its own, or
//! use an enum.

use crate::{handle::Gc, trace::Pointee};
use core::{mem, ptr::NonNull};

/// Coerces a pointer to an object into one to a trait object.
///
/// ```
/// use gc_core::{Gc, Heap, Plain, Root, Trace, rebind_dyn, unsize};
///
/// trait Shape: Trace {
///     fn area(&self) -> u64;
/// }
/// rebind_dyn!(Shape);
///
/// #[derive(Trace)]
/// struct Square(u64);
///
/// impl Shape for Square {
///     fn area(&self) -> u64 {
///         self.0 * self.0
///     }
/// }
///
/// #[derive(Trace)]
/// struct Picture<'g> {
///     shape: Gc<'g, dyn Shape + 'g>,
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let picture: Root<Picture<'static>> = {
///     let guard = heap.enter();
///     let shape = unsize!(guard.alloc(Square(3)) => dyn Shape);
///     guard.root(guard.alloc(Picture { shape }))
/// };
/// heap.collect().unwrap();
/// let guard = heap.enter();
/// assert_eq!(picture.get(&guard).shape.area(), 9);
/// ```
#[macro_export]
macro_rules! unsize {
    ($object:expr => dyn $trait:path) => {
        match $object {
            // SAFETY: the closure does nothing but coerce its argument.
            object => unsafe {
                $crate::Gc::coerce(object, |pointer| -> *mut (dyn $trait + '_) { pointer })
            },
        }
    };
}

/// Says what a trait object is under another guard, so that pointers to it can be fields, and be
/// rooted: `rebind_dyn!(Shape)`, or `rebind_dyn!(Shape<'_>)` for a trait with the guard's lifetime.
///
/// ```
/// use gc_core::{Gc, Heap, Plain, Root, Trace, rebind_dyn, unsize};
///
/// trait Visit<'g>: Trace {
///     fn next(&self) -> Option<Gc<'g, u64>>;
/// }
/// rebind_dyn!(Visit<'_>);
///
/// #[derive(Trace)]
/// struct One<'g>(Gc<'g, u64>);
///
/// impl<'g> Visit<'g> for One<'g> {
///     fn next(&self) -> Option<Gc<'g, u64>> {
///         Some(self.0)
///     }
/// }
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let root: Root<dyn Visit<'static>> = {
///     let guard = heap.enter();
///     let one = guard.alloc(One(guard.alloc(7)));
///     guard.root(unsize!(one => dyn Visit<'_>))
/// };
/// heap.collect().unwrap();
/// let guard = heap.enter();
/// assert_eq!(root.get(&guard).next().as_deref(), Some(&7));
/// ```
#[macro_export]
macro_rules! rebind_dyn {
    ($trait:ident) => {
        // SAFETY: the two differ in a lifetime, of which a method table knows nothing.
        unsafe impl<'g> $crate::trace::Pointee for dyn $trait + 'g {
            type At<'a> = dyn $trait + 'a;
        }
    };
    ($trait:ident<'_>) => {
        // SAFETY: the two differ in a lifetime, of which a method table knows nothing.
        unsafe impl<'g> $crate::trace::Pointee for dyn $trait<'g> + 'g {
            type At<'a> = dyn $trait<'a> + 'a;
        }
    };
}

impl<'g, T, H> Gc<'g, T, H> {
    /// What [`unsize!`](crate::unsize) is made of. To the trait under this guard alone: see the
    /// [module](self).
    ///
    /// # Safety
    ///
    /// The closure coerces its argument, and does nothing else.
    #[doc(hidden)]
    pub unsafe fn coerce<U>(object: Self, coercion: impl FnOnce(*mut T) -> *mut U) -> Gc<'g, U, H>
    where
        U: ?Sized + Pointee<At<'g> = U>,
    {
        let pointer = coercion(object.pointer().as_ptr());
        // SAFETY: the caller's: it is the same address, and that of an object.
        unsafe { Gc::from_pointer(NonNull::new_unchecked(pointer)) }
    }
}

/// The same pointer under another lifetime.
///
/// # Safety
///
/// `U` is `T` under another guard's lifetime, as [`Pointee`](crate::trace::Pointee) says.
pub(crate) unsafe fn rebound<T: ?Sized, U: ?Sized>(pointer: NonNull<T>) -> NonNull<U> {
    const { assert!(mem::size_of::<NonNull<T>>() == mem::size_of::<NonNull<U>>()) };
    // SAFETY: the caller's: both are a pointer with the same metadata; they differ in lifetimes alone.
    unsafe { mem::transmute_copy(&pointer) }
}
