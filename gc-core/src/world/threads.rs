//! The world of plain threads: a local state per thread.
//!
//! A thread registers at its first use of a heap and keeps its local state until it ends; then
//! the state waits for another thread. States are never freed before the heap: guards entered on
//! one may be counted out on another.
//!
//! The only thread-locals of this crate live here, because a leaf that is useful alone must know
//! its thread. One maps worlds to local states; the other, in front, is the last one used. In a thread
//! whose thread-locals are gone (a destructor of another thread-local drops a root), a shared
//! state under a lock takes over.

use super::{Barrier, Nesting, World};
use crate::{local::Local, space::Space};
use std::{
    cell::{Cell, RefCell},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard,
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

/// A member, whatever the space.
trait Release: Send + Sync {
    fn release(&self);
}

impl<S: Space> Release for Member<S> {
    fn release(&self) {
        // Release: the thread's use of the state is before the next one's; pairs with the
        // Acquire in `Threads::join`.
        self.taken.store(false, Ordering::Release);
    }
}

/// A thread's membership in one world.
struct Membership {
    world: u64,
    /// The member, without its type; it is a `Member<S>` of the world's `S`.
    address: *const (),
    member: Arc<dyn Release>,
}

/// The right to use the state that threads without thread-locals share.
type Turn<'a, S> = MutexGuard<'a, Option<Arc<Member<S>>>>;

/// All of a thread's memberships.
struct Memberships(RefCell<Vec<Membership>>);

impl Drop for Memberships {
    fn drop(&mut self) {
        LAST.set((0, ptr::null()));
        for membership in self.0.get_mut() {
            membership.member.release();
        }
    }
}

thread_local! {
    static MEMBERSHIPS: Memberships = const { Memberships(RefCell::new(Vec::new())) };

    /// The world whose member the thread was last, by number, and the member; 0 and null before and after.
    /// No destructor, so that a look is a load.
    static LAST: Cell<(u64, *const ())> = const { Cell::new((0, ptr::null())) };
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
    members: Mutex<Vec<Arc<Member<S>>>>,
    /// For threads without thread-locals.
    spare: Mutex<Option<Arc<Member<S>>>>,
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
        let processors = thread::available_parallelism().map_or(1, |count| count.get() as u32);
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

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Member<S>>>> {
        self.members.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes a member that no thread has, or makes one.
    fn join(&self, space: &S) -> Arc<Member<S>> {
        let mut members = self.lock();
        // Acquire: the former thread's use is before ours; pairs with `release`.
        let free = members.iter().find(|member| !member.taken.swap(true, Ordering::Acquire));
        free.inspect(|member| member.nesting.pass_on()).cloned().unwrap_or_else(|| {
            let (local, taken) = (Local::new(space), AtomicBool::new(true));
            let member = Arc::new(Member { local, nesting: Nesting::new(), taken });
            members.push(member.clone());
            member
        })
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
    fn register(&self, space: &S) -> Option<*const Member<S>> {
        MEMBERSHIPS
            .try_with(|mine| {
                let member = self.join(space);
                let address: *const Member<S> = Arc::as_ptr(&member);
                let (world, address) = (self.number, address.cast());
                LAST.set((world, address));
                mine.0.borrow_mut().push(Membership { world, address, member });
            })
            .ok()?;
        self.joined()
    }

    /// Without thread-locals: one state for all such threads, one at a time.
    #[cold]
    fn spare(&self, space: &S) -> (*const Member<S>, Option<Turn<'_, S>>) {
        let mut spare = self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        (Arc::as_ptr(spare.get_or_insert_with(|| self.join(space))), Some(spare))
    }

    /// The calling thread's place: its local state, for as long as the value is kept. For worlds that
    /// have threads beside something else; a caller takes one place at a time.
    #[inline]
    pub fn place(&self, space: &S) -> Place<'_, S> {
        let joined = self.joined().or_else(|| self.register(space));
        let (member, turn) = joined.map_or_else(|| self.spare(space), |own| (own, None));
        // SAFETY: `members` holds a share of it.
        let local = unsafe { &(*member).local };
        Place { local, _turn: turn }
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
// 1. A member is given to its thread alone, from `join` to the thread's end, or, the spare, to
//    the holder of a lock; `f` does not call `with`, so a thread is in it once. `LAST` names it no
//    longer than that: the memberships' destructor empties it first. `taken` and the
//    lock order one thread's use before the next one's.
// 2. Members are pushed under the lock that `each` takes, before they are first given, and
//    never removed.
// 3. The barrier was probed when the world was made.
// 4. What std does for threads does not unwind, while they have a handle. The world keeps none of its own.
unsafe impl<S: Space> World<S> for Threads<S> {
    #[inline]
    unsafe fn with<R>(&self, space: &S, f: impl FnOnce(&Local<S>) -> R) -> R {
        let place = self.place(space);
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
            None => f(&Nesting::new()),
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
