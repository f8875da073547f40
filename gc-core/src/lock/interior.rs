//! [`Interior`]: a value under a lock, and the rule of the barrier for it. See the
//! [module](super).

use super::{
    raw::{RawLock, Want},
    report::{Report, Reported},
};
use crate::{
    action::Watch,
    guard::Guard,
    heap::Tag,
    sync::UnsafeCell,
    trace::{Trace, Tracer},
    world::World,
};
use core::time::Duration;

/// Looks at a lock before its waiter parks, and pauses in each.
const SPINS: u32 = 4;
const PAUSES: u32 = 30;

/// A value that one task at a time may change.
#[derive(Debug)]
pub(super) struct Interior<T> {
    lock: RawLock,
    reported: Reported,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by one exclusive holder or by many shared ones, tracers included.
unsafe impl<T: Send + Sync> Sync for Interior<T> {}

impl<T> Interior<T> {
    #[cfg(not(loom))]
    pub(super) const fn new(value: T) -> Self {
        let (lock, reported) = (RawLock::new(), Reported::never());
        Self { lock, reported, value: UnsafeCell::new(value) }
    }

    #[cfg(loom)]
    pub(super) fn new(value: T) -> Self {
        let (lock, reported) = (RawLock::new(), Reported::never());
        Self { lock, reported, value: UnsafeCell::new(value) }
    }

    /// The value.
    ///
    /// # Safety
    ///
    /// The caller holds the lock, or nobody changes the value any more.
    #[inline(always)]
    pub(super) unsafe fn get(&self) -> &T {
        // SAFETY: the caller's.
        self.value.with(|value| unsafe { &*value })
    }

    /// The value.
    ///
    /// # Safety
    ///
    /// The caller holds the lock exclusively, and has no other reference to the value.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "the lock says who is alone")]
    pub(super) unsafe fn get_mut(&self) -> &mut T {
        // SAFETY: the caller's.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Takes the lock; waits as long as it takes.
    #[inline]
    pub(super) fn take<H: Tag>(&self, guard: &Guard<'_, H>, want: Want)
    where
        T: Trace<H>,
    {
        if !self.try_take(guard, want) {
            self.take_slow(guard, want);
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(super) fn try_take<H: Tag>(&self, guard: &Guard<'_, H>, want: Want) -> bool
    where
        T: Trace<H>,
    {
        match want {
            Want::Shared => self.lock.try_take(want),
            Want::Exclusive => self.try_take_exclusive(guard),
        }
    }

    #[cold]
    fn take_slow<H: Tag>(&self, guard: &Guard<'_, H>, want: Want)
    where
        T: Trace<H>,
    {
        for _ in 0..SPINS {
            for _ in 0..PAUSES {
                core::hint::spin_loop();
            }
            if self.try_take(guard, want) {
                return;
            }
        }
        let mut late = false;
        while !self.try_take(guard, want) {
            guard.core().wait_for(&self.lock, want, late);
            late = true;
        }
    }

    #[inline]
    fn try_take_exclusive<H: Tag>(&self, guard: &Guard<'_, H>) -> bool
    where
        T: Trace<H>,
    {
        let core = guard.core();
        let taken = core
            .operate(|operation| core.engine.take_exclusive(operation, &self.lock, &self.reported));
        let Some(report) = taken else { return false };
        while self.lock.is_traced() {
            core.world.nap(Duration::ZERO);
        }
        if let Some(report) = report {
            self.report(guard, report);
        }
        true
    }

    /// Logs all edges: see the rules of the [module](super).
    #[cold]
    fn report<H: Tag>(&self, guard: &Guard<'_, H>, report: Report)
    where
        T: Trace<H>,
    {
        let core = guard.core();
        let watch = Watch::start(&core.world);
        // SAFETY: the caller has the lock exclusively.
        guard.log_all(|tracer| unsafe { self.get() }.trace(tracer));
        core.engine.reported(report, &self.reported);
        let took = watch.stop(&core.world);
        core.with(|local| local.diary().reports.note(took));
    }

    /// Gives the lock back.
    #[inline]
    pub(super) fn leave<H: Tag>(&self, guard: &Guard<'_, H>, held: Want) {
        if self.lock.leave(held) {
            guard.core().wake(&self.lock);
        }
    }

    /// Reports all edges, unless somebody is exclusive.
    pub(super) fn trace<H: Tag>(&self, tracer: &mut Tracer)
    where
        T: Trace<H>,
    {
        self.lock.trace(|| {
            // SAFETY: inside, nobody is exclusive.
            tracer.whole(|tracer| unsafe { self.get() }.trace(tracer));
        });
    }
}

/// A lock of the heap, which is an interior and the heap's name: what locks differ in is by whom, and for
/// what, they are held.
macro_rules! interior_of {
    ($(#[$doc:meta])* $lock:ident) => {
        $(#[$doc])*
        pub struct $lock<T, H = crate::Plain> {
            interior: super::interior::Interior<T>,
            heap: core::marker::PhantomData<fn(H) -> H>,
        }

        impl<T, H> $lock<T, H> {
            /// A free lock.
            #[cfg(not(loom))]
            pub const fn new(value: T) -> Self {
                let interior = super::interior::Interior::new(value);
                Self { interior, heap: core::marker::PhantomData }
            }

            /// A free lock.
            #[cfg(loom)]
            pub fn new(value: T) -> Self {
                let interior = super::interior::Interior::new(value);
                Self { interior, heap: core::marker::PhantomData }
            }
        }

        impl<T: Default, H> Default for $lock<T, H> {
            fn default() -> Self {
                Self::new(T::default())
            }
        }

        impl<T, H> core::fmt::Debug for $lock<T, H> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                // Looking inside takes a guard.
                f.debug_struct(stringify!($lock)).finish_non_exhaustive()
            }
        }

        // SAFETY: the interior reports its edges, whenever somebody else does not do it for the marker;
        // it changes only under its lock, held exclusively.
        unsafe impl<T: Trace<H>, H: Tag> Trace<H> for $lock<T, H> {
            fn trace(&self, tracer: &mut crate::trace::Tracer) {
                self.interior.trace(tracer);
            }
        }

        // SAFETY: the lifetime is replaced in the value by its own `Rebind`.
        unsafe impl<T: crate::trace::Rebind, H: Tag> crate::trace::Rebind for $lock<T, H> {
            type At<'a> = $lock<T::At<'a>, H>;
            const EDGES: bool = T::EDGES;
        }
    };
}

pub(super) use interior_of;
