//! [`Guard`]: the right to hold pointers into the heap.
//!
//! Entering a guard counts it in the current epoch; it costs two stores and waits for nothing; at
//! the outermost level it helps to mark when the heap outruns its collector (bounded, see
//! [`Heap::enter`](crate::Heap::enter), also for collections that stop the world). A guard held for long delays the
//! end of a cycle and with it the reuse of memory; it never delays another mutator.
//!
//! Everything that a guard does to the heap runs inside
//! [`World::with`](crate::world::World::with), on the local state of wherever the task runs at
//! that moment. A guard may be left on another one than it was entered on.
//!
//! | file | job |
//! |---|---|
//! | `alloc` | new objects |
//! | `store` | stores into objects |

mod alloc;
mod store;

use crate::{
    action::Watch,
    counted::Counted,
    dynamic::rebound,
    engine::{Engine, Refused},
    error::{AllocError, HeapError},
    handle::Gc,
    handshake::Pin,
    heap::Tag,
    inner::Core,
    local::Operation,
    log::Chunk,
    root::Root,
    trace::Pointee,
};
use core::{fmt, marker::PhantomData};

/// The right to hold pointers into a heap, and to change it. Comes from
/// [`Heap::enter`](crate::Heap::enter).
///
/// ```
/// use gc_core::{Heap, Plain};
///
/// let heap = Heap::<Plain>::new().unwrap();
/// let kept = {
///     let guard = heap.enter();
///     let word = guard.alloc_str("held");
///     let kept = guard.root(word);
///     assert_eq!(word.as_str(), "held");
///     kept
/// }; // `word` ends here, at the latest
/// heap.collect().unwrap();
/// assert_eq!(kept.get(&heap.enter()).as_str(), "held");
/// ```
pub struct Guard<'h, H: Tag = crate::Plain> {
    core: &'h Counted<Core<H>>,
    /// None only while `repin` is outside.
    pin: Option<Pin>,
    /// The guard is counted for its task; it stays there.
    not_send: PhantomData<*mut ()>,
}

/// What an object's root is, whichever guard the object was seen under.
type RootOf<T, H> = Root<<T as Pointee>::At<'static>, H>;

impl<'h, H: Tag> Guard<'h, H> {
    #[inline]
    pub(crate) fn enter(core: &'h Counted<Core<H>>) -> Self {
        Self { core, pin: Some(core.pin()), not_send: PhantomData }
    }

    pub(crate) fn try_enter(core: &'h Counted<Core<H>>) -> Result<Self, HeapError> {
        core.try_pin().map(|pin| Self { core, pin: Some(pin), not_send: PhantomData })
    }

    /// Leaves and enters again, so that a cycle need not wait for a long-lived guard.
    ///
    /// No pointer survives: they borrow the guard, and this asks for all of it.
    ///
    /// ```compile_fail,E0502
    /// use gc_core::{Heap, Plain};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let mut guard = heap.enter();
    /// let answer = guard.alloc(42u64);
    /// guard.repin();
    /// assert_eq!(*answer, 42);
    /// ```
    pub fn repin(&mut self) {
        self.leave();
        let outside = Outside(self);
        outside.0.core.relieve();
    }

    /// Counts the guard out.
    fn leave(&mut self) {
        if let Some(pin) = self.pin.take() {
            // SAFETY: the pin came from `pin` of this core, and is taken out: it is left once.
            unsafe { self.core.unpin(pin) };
        }
    }

    /// Keeps an object alive beyond the guard.
    ///
    /// # Panics
    ///
    /// If there is no memory for a root; [`try_root`](Self::try_root) returns that as a value.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, Root};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let kept: Root<u64> = {
    ///     let guard = heap.enter();
    ///     guard.root(guard.alloc(7u64))
    /// };
    /// heap.collect().unwrap();
    /// assert_eq!(*kept.get(&heap.enter()), 7);
    /// ```
    pub fn root<'g, T>(&'g self, object: Gc<'g, T, H>) -> RootOf<T, H>
    where
        T: ?Sized + Pointee,
    {
        self.try_root(object).unwrap_or_else(|refused| refused.panic())
    }

    /// Keeps an object alive beyond the guard.
    ///
    /// # Errors
    ///
    /// [`AllocError`] with the object, if there is no memory for a root.
    ///
    /// ```
    /// use gc_core::{Heap, Plain, Root};
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// let guard = heap.enter();
    /// let kept: Root<u64> = guard.try_root(guard.alloc(7u64)).unwrap();
    /// assert_eq!(*kept.get(&guard), 7);
    /// ```
    pub fn try_root<'g, T>(
        &'g self,
        object: Gc<'g, T, H>,
    ) -> Result<RootOf<T, H>, AllocError<Gc<'g, T, H>>>
    where
        T: ?Sized + Pointee,
    {
        // SAFETY: the object is a `T`, which is a `T::At<'static>` under another lifetime.
        unsafe { Root::new(self.core, rebound(object.pointer())) }.ok_or(AllocError::new(object))
    }

    #[inline(always)]
    fn pin(&self) -> Pin {
        self.pin.expect("only `repin` is without, and that has the guard to itself")
    }

    #[inline(always)]
    pub(crate) fn core(&self) -> &'h Counted<Core<H>> {
        self.core
    }

    /// One operation, if the local state is at hand. `None` if it is not, or if `act` declines.
    #[inline(always)]
    fn quickly<R>(
        &self,
        act: impl FnOnce(&Engine<H::Space>, &Operation<'_, H::Space>) -> Option<R>,
    ) -> Option<R> {
        self.core.try_operate(|operation| act(&self.core.engine, operation)).flatten()
    }

    /// Repeats a store until the log had room for it; or it is done without the log, if that finds no memory.
    #[inline]
    fn retry<R>(
        &self,
        store: impl Fn(&Engine<H::Space>, &Operation<'_, H::Space>) -> Result<R, Refused>,
        unlogged: impl FnOnce(&Engine<H::Space>, &Operation<'_, H::Space>) -> R,
    ) -> R {
        loop {
            match self.core.operate(|operation| store(&self.core.engine, operation)) {
                Ok(value) => return value,
                Err(_full) if self.core.extend_log() => {}
                Err(_full) => return self.core.operate(|me| unlogged(&self.core.engine, me)),
            }
        }
    }
}

impl<H: Tag> Core<H> {
    /// Gives the local log a new chunk; false if there is no memory for one, and none in reserve. The chunk is
    /// made, and an unneeded one dropped, outside `with`.
    #[cold]
    pub(crate) fn extend_log(&self) -> bool {
        let watch = Watch::start(&self.world);
        let Some(chunk) = Chunk::boxed().or_else(|| self.reserve.take()) else { return false };
        // SAFETY: `with` makes us the occupant, that is the writer.
        let unneeded = self.with(|local| unsafe { local.log.extend(chunk) });
        drop(unneeded);
        let took = watch.stop(&self.world);
        self.with(|local| local.diary().logs.note(took));
        true
    }
}

/// A guard that is counted out, and is counted in again, also if waiting in between unwinds: who catches that
/// still has the guard. So no refusal may unwind from here: the guard would be used, and count for nobody.
struct Outside<'a, 'h, H: Tag>(&'a mut Guard<'h, H>);

impl<H: Tag> Drop for Outside<'_, '_, H> {
    fn drop(&mut self) {
        self.0.pin = Some(self.0.core.try_pin().unwrap_or_else(|refused| uncounted(refused)));
    }
}

/// Ends the process.
#[cold]
fn uncounted(refused: HeapError) -> ! {
    eprintln!(
        "gc-core: a guard that was counted out by `repin` cannot be counted in again: {refused}"
    );
    std::process::abort()
}

impl<H: Tag> Drop for Guard<'_, H> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<H: Tag> fmt::Debug for Guard<'_, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("pin", &self.pin).finish_non_exhaustive()
    }
}
