//! The world of plain threads: a local state per thread.
//!
//! A thread registers at its first use of a heap and keeps its local state until it ends; then
//! the state waits for another thread. States are never freed before the heap: guards entered on
//! one may be counted out on another. A thread that goes on after the heap gives its state back when it registers
//! with the next one.
//!
//! The only thread-locals of this crate live here, because a leaf that is useful alone must know
//! its thread. One maps worlds to local states; another, in front, is the last one used. In a thread
//! whose thread-locals are gone (a destructor of another thread-local drops a root), a shared
//! state under a lock takes over; its guards, those that it holds already among them, are counted in a thread-local
//! that has no destructor.

use super::{Barrier, Nesting, World, processors};
use crate::{
    counted::Counted,
    local::Local,
    space::{Exhausted, Space},
};
use std::{
    cell::{Cell, RefCell},
    iter,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// One thread's part in one world.
#[derive(Debug)]
struct Member<S: Space> {
    local: Local<S>,
    nesting: Nesting,
    /// Whether a living thread has it. Taken under the registry's lock, released without.
    taken: AtomicBool,
}

/// A thread's membership in one world. At its end the member is free for another thread.
struct Membership {
    world: u64,
    /// The member, without its type; it is a `Member<S>` of the world's `S`.
    address: *const (),
    /// A share of it, likewise.
    share: NonNull<()>,
    is_last: unsafe fn(NonNull<()>) -> bool,
    nesting: unsafe fn(NonNull<()>) -> *const Nesting,
    release: unsafe fn(NonNull<()>),
}

impl Membership {
    fn new<S: Space>(world: u64, member: Counted<Member<S>>) -> Self {
        let address = ptr::from_ref(&*member).cast();
        let (is_last, nesting, release) = (is_last::<S>, nesting::<S>, release::<S>);
        Self { world, address, share: member.into_raw(), is_last, nesting, release }
    }

    /// Whether the world is gone: it has a share of each of its members.
    fn is_over(&self) -> bool {
        // SAFETY: the two were put together by `new`.
        unsafe { (self.is_last)(self.share) }
    }

    /// How many guards of this world the thread holds.
    fn nesting(&self) -> &Nesting {
        // SAFETY: the two were put together by `new`; the count is there as long as the share is.
        unsafe { &*(self.nesting)(self.share) }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // SAFETY: the two were put together by `new`, and this is the end.
        unsafe { (self.release)(self.share) };
    }
}

/// Whether a share is the last one.
///
/// # Safety
///
/// `share` is a share of a `Member<S>`, without its type.
unsafe fn is_last<S: Space>(share: NonNull<()>) -> bool {
    // SAFETY: the caller's.
    unsafe { borrow::<S>(share) }.is_last()
}

/// How many guards a member's thread holds; there as long as a share is.
///
/// # Safety
///
/// `share` is a share of a `Member<S>`, without its type.
unsafe fn nesting<S: Space>(share: NonNull<()>) -> *const Nesting {
    // SAFETY: the caller's.
    &raw const unsafe { borrow::<S>(share) }.nesting
}

/// A member, by a share that stays where it is.
///
/// # Safety
///
/// `share` is a share of a `Member<S>`, without its type.
unsafe fn borrow<S: Space>(share: NonNull<()>) -> ManuallyDrop<Counted<Member<S>>> {
    // SAFETY: the caller's.
    ManuallyDrop::new(unsafe { Counted::from_raw(share) })
}

/// Gives a member back.
///
/// # Safety
///
/// `share` is a share of a `Member<S>`, without its type, and is used once.
unsafe fn release<S: Space>(share: NonNull<()>) {
    // SAFETY: the caller's.
    let member: Counted<Member<S>> = unsafe { Counted::from_raw(share) };
    // Release: the thread's use of the state is before the next one's; pairs with the
    // Acquire in `Threads::member`.
    member.taken.store(false, Ordering::Release);
}

/// The right to use the state that threads without thread-locals share.
type Turn<'a, S> = MutexGuard<'a, Option<Counted<Member<S>>>>;

/// All of a thread's memberships.
struct Memberships(RefCell<Vec<Membership>>);

impl Memberships {
    /// Forgets the worlds that are gone, and with them the last shares of their members.
    fn forget(&self) {
        let over = || {
            let mut all = self.0.borrow_mut();
            let place = all.iter().position(Membership::is_over)?;
            Some(all.swap_remove(place))
        };
        // A space's cache goes with each, and may be of anybody's make: not under the borrow.
        iter::from_fn(over).for_each(drop);
    }
}

impl Drop for Memberships {
    fn drop(&mut self) {
        // Before they are released: nobody may find a member that is another's.
        LAST.set((0, ptr::null()));
        // Guards that are held on are left as those of a thread that is no member.
        let all = self.0.get_mut();
        DYING.with(|dying| all.iter().for_each(|mine| dying.carry(mine.nesting())));
    }
}

thread_local! {
    static MEMBERSHIPS: Memberships = const { Memberships(RefCell::new(Vec::new())) };

    /// The world whose member the thread was last, by number, and the member; 0 and null before and after.
    /// No destructor, so that a look is a load.
    static LAST: Cell<(u64, *const ())> = const { Cell::new((0, ptr::null())) };

    /// Guards of a thread that is no member, or no longer one, of whatever world, those from before included: a
    /// thread that dies and holds one of one heap is inside a guard for all. No destructor.
    static DYING: Nesting = const { Nesting::new() };
}

/// How long a guard is held up at a time when the heap has outrun its collector.
const RELIEF: Duration = Duration::from_micros(200);

/// Worlds are told apart by number: an address may be used again.
static WORLDS: AtomicU64 = AtomicU64::new(1);

/// The world of plain threads. See the [module](self).
#[derive(Debug)]
pub struct Threads<S: Space = crate::space::blocks::Blocks> {
    number: u64,
    barrier: Barrier,
    processors: u32,
    members: Mutex<Vec<Counted<Member<S>>>>,
    /// For threads without thread-locals.
    spare: Mutex<Option<Counted<Member<S>>>>,
}

impl<S: Space> Default for Threads<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Space> Threads<S> {
    /// A world without members.
    pub fn new() -> Self {
        // Relaxed: the number only has to be unique.
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let barrier = Barrier::probe();
        let processors = processors::count();
        Self { number, barrier, processors, members: Mutex::default(), spare: Mutex::default() }
    }

    /// How many local states there are, those without a thread included.
    ///
    /// ```
    /// use gc_core::{Heap, Plain};
    /// use std::thread;
    ///
    /// let heap = Heap::<Plain>::new().unwrap();
    /// for _ in 0..3 {
    ///     thread::scope(|scope| scope.spawn(|| *heap.enter().alloc(7u64)).join().unwrap());
    /// }
    /// assert_eq!(heap.world().members(), 1, "a thread that ends leaves its state to the next");
    /// ```
    pub fn members(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Counted<Member<S>>>> {
        self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes a member that no thread has, or makes one.
    fn member(&self, space: &S) -> Result<Counted<Member<S>>, Exhausted> {
        let mut members = self.lock();
        // Acquire: the former thread's use is before ours; pairs with `release`.
        let free = members.iter().find(|member| !member.taken.swap(true, Ordering::Acquire));
        if let Some(member) = free {
            member.nesting.pass_on();
            return Ok(member.clone());
        }
        members.try_reserve(1).map_err(|_| Exhausted)?;
        let (local, taken) = (Local::new(space)?, AtomicBool::new(true));
        let member = Member { local, nesting: Nesting::new(), taken };
        let member = Counted::try_new(member).map_err(|_| Exhausted)?;
        members.push(member.clone());
        Ok(member)
    }

    /// The calling thread's member, if it has joined and has thread-locals.
    #[inline(always)]
    fn joined(&self) -> Option<*const Member<S>> {
        self.last().or_else(|| self.search())
    }

    /// The same, if it is of the world that the thread used last.
    #[inline(always)]
    fn last(&self) -> Option<*const Member<S>> {
        let (world, address) = LAST.get();
        let member: *const Member<S> = address.cast();
        // SAFETY: the thread's own member, which `members` holds a share of. Relaxed: the thread wrote it itself.
        let is_ours = |member: *const Member<S>| unsafe { (*member).taken.load(Ordering::Relaxed) };
        debug_assert!(world != self.number || is_ours(member), "a thread uses what it gave back");
        (world == self.number).then_some(member)
    }

    #[cold]
    fn search(&self) -> Option<*const Member<S>> {
        MEMBERSHIPS
            .try_with(|mine| {
                let all = mine.0.borrow();
                let found = all.iter().find(|membership| membership.world == self.number)?;
                LAST.set((found.world, found.address));
                Some(found.address.cast())
            })
            .ok()?
    }

    /// Makes the calling thread a member, if it has thread-locals.
    #[cold]
    fn register(&self, space: &S) -> Result<Option<*const Member<S>>, Exhausted> {
        let registered = MEMBERSHIPS.try_with(|mine| {
            mine.forget();
            // Room first: once a member is taken, nothing is refused.
            mine.0.borrow_mut().try_reserve(1).map_err(|_| Exhausted)?;
            let membership = Membership::new(self.number, self.member(space)?);
            LAST.set((membership.world, membership.address));
            mine.0.borrow_mut().push(membership);
            Ok(())
        });
        registered.unwrap_or(Ok(())).map(|()| self.joined())
    }

    /// Without thread-locals: one state for all such threads, one at a time.
    #[cold]
    fn spare(&self, space: &S) -> Result<(*const Member<S>, Option<Turn<'_, S>>), Exhausted> {
        let mut spare = self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if spare.is_none() {
            *spare = Some(self.member(space)?);
        }
        let member = spare.as_deref().map_or(ptr::null(), ptr::from_ref);
        Ok((member, Some(spare)))
    }

    /// The calling thread's place: its local state, for as long as the value is kept. For worlds that
    /// have threads beside something else; a caller takes one place at a time.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] if this is the thread's first, and the allocator has no memory for one.
    ///
    /// # Safety
    ///
    /// `space` is the one that the world is used with.
    #[inline]
    pub unsafe fn place(&self, space: &S) -> Result<Place<'_, S>, Exhausted> {
        let (member, turn) = match self.joined() {
            Some(own) => (own, None),
            None => self.place_slow(space)?,
        };
        // SAFETY: `members` holds a share of it.
        let local = unsafe { &(*member).local };
        Ok(Place { local, _turn: turn })
    }

    #[cold]
    fn place_slow(&self, space: &S) -> Result<(*const Member<S>, Option<Turn<'_, S>>), Exhausted> {
        match self.register(space)? {
            Some(own) => Ok((own, None)),
            None => self.spare(space),
        }
    }
}

/// The occupancy of a thread's local state. See [`Threads::place`].
#[derive(Debug)]
pub struct Place<'a, S: Space> {
    local: &'a Local<S>,
    _turn: Option<Turn<'a, S>>,
}

impl<'a, S: Space> Place<'a, S> {
    /// The local state.
    #[inline(always)]
    pub fn local(&self) -> &'a Local<S> {
        self.local
    }
}

// SAFETY:
// 1. A member is given to its thread alone, from `member` to the thread's end, or, the spare, to
//    the holder of a lock; `f` does not call `with`, so a thread is in it once. `LAST` names it no
//    longer than that: the memberships' destructor empties it first. `taken` and the
//    lock order one thread's use before the next one's.
// 2. Members are pushed under the lock that `each` takes, before they are first given, and
//    never removed.
// 3. The barrier was probed when the world was made.
// 4. What std does for threads does not unwind, while they have a handle. The world keeps none of its own.
unsafe impl<S: Space> World<S> for Threads<S> {
    unsafe fn join<R>(&self, space: &S, f: impl FnOnce(&Local<S>) -> R) -> Result<R, Exhausted> {
        // SAFETY: the caller's.
        unsafe { self.place(space) }.map(|place| f(place.local()))
    }

    #[inline]
    unsafe fn with<R>(&self, space: &S, f: impl FnOnce(&Local<S>) -> R) -> R {
        // SAFETY: the caller's.
        let place = unsafe { self.place(space) }.expect("whoever has joined has a place");
        // One call, which is inlined: handed to a function of its own in the rare case, `f` would
        // keep what it captures, such as a new object's value, in memory in the common one.
        f(place.local())
    }

    #[inline(always)]
    unsafe fn try_with<R>(&self, f: impl FnOnce(&Local<S>, &Nesting) -> R) -> Option<R> {
        // SAFETY: the thread's own member, which `members` holds a share of.
        let member = unsafe { &*self.last()? };
        Some(f(&member.local, &member.nesting))
    }

    fn each(&self, f: &mut dyn FnMut(&Local<S>)) {
        self.lock().iter().for_each(|member| f(&member.local));
    }

    fn nesting<R>(&self, f: impl FnOnce(&Nesting) -> R) -> R {
        match self.joined() {
            // SAFETY: as in `with`.
            Some(member) => f(unsafe { &(*member).nesting }),
            None => DYING.with(f),
        }
    }

    #[inline(always)]
    fn light(&self) {
        self.barrier.light();
    }

    fn heavy(&self) {
        self.barrier.heavy();
    }

    fn outrun(&self) -> bool {
        // The kernel wakes a thread that slept before those that compute.
        thread::sleep(RELIEF);
        true
    }

    type Waiter = thread::Thread;

    fn waiter(&self) -> thread::Thread {
        thread::current()
    }

    fn park(&self) {
        thread::park();
    }

    fn unpark(&self, waiter: &thread::Thread) {
        waiter.unpark();
    }

    fn processors(&self) -> u32 {
        self.processors
    }

    fn nap(&self, time: Duration) {
        if time.is_zero() {
            thread::yield_now();
        } else {
            thread::sleep(time);
        }
    }
}
