//! [`scope`]: goroutines that borrow from the stack of whoever starts them.
//!
//! # Problem
//!
//! [`go`](crate::go()) wants `'static` closures, as a goroutine may outlive its creator. Often it does
//! not: a function starts ten goroutines over its own slice and waits for them. The borrow is sound
//! if the function cannot return, nor unwind, before they have ended.
//!
//! # Why it is sound
//!
//! 1. `scope` does not return and does not unwind before the count of its goroutines is zero: the
//!    wait lies after a `catch_unwind` of the user's closure, and it is not cancelled by anything.
//! 2. A goroutine is counted until its closure has returned, its captures are dropped, and its
//!    result is either in the hands of its handle or dropped. All that it borrows is used only before.
//! 3. The handle cannot leave the scope: `'scope` is invariant and chosen by `scope`, and a handle
//!    that is leaked is never dropped.
//! 4. [`run_on`], which has no closure of the user's between, waits in a destructor: also if it unwinds.
//! 5. What is left after the count has fallen (the destructors of thread-locals, the end of the
//!    goroutine itself) holds only `'static` things.
//!
//! These are the rules of `std::thread::scope`; they hold here because a goroutine's stack is never
//! freed before it has ended, and never moved.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use sched_core::Scheduler;

use crate::spawn::{self, GoError};
use crate::sync::{Mutex, WaitGroup};

/// What a panic carries.
type Payload = Box<dyn Any + Send>;

/// Starts goroutines that may borrow from the surroundings, and waits for all of them.
///
/// # Panics
///
/// Outside a runtime; with the panic of `f`; or with that of a goroutine that was not joined. In
/// each case only after all goroutines of the scope have ended.
///
/// ```
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// let words = vec!["to", "be", "or", "not"];
/// let (short, long) = runtime::scope(|s| {
///     let short = s.go(|| words.iter().filter(|w| w.len() < 3).count());
///     let long = s.go(|| words.iter().filter(|w| w.len() >= 3).count());
///     (short.join().unwrap(), long.join().unwrap())
/// });
/// assert_eq!((short, long), (3, 1));
/// # });
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    match spawn::current() {
        Ok(scheduler) => scope_on(scheduler, f),
        Err(error) => panic!("{error}"),
    }
}

/// [`scope`] with the goroutines on a given scheduler.
pub(crate) fn scope_on<'env, F, T>(scheduler: Scheduler, f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope::new(scheduler);
    let result = panic::catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.shared.running.wait();
    let unjoined = scope.shared.panic.lock().take();
    match (result, unjoined) {
        (Err(payload), _) | (Ok(_), Some(payload)) => panic::resume_unwind(payload),
        (Ok(value), None) => value,
    }
}

/// Runs `f` on a goroutine, and waits for it. Without the closure of [`scope_on`]: the goroutine is to say
/// that our caller started it, and inside a closure that is not known.
#[track_caller]
pub(crate) fn run_on<F, T>(scheduler: Scheduler, f: F) -> T
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let scope = Scope::new(scheduler);
    let ended = Ended(&scope.shared);
    let result = scope.go(f).join();
    drop(ended);
    result.unwrap_or_else(|payload| panic::resume_unwind(payload))
}

/// Waits for all of a scope when dropped.
struct Ended<'a>(&'a Shared);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.running.wait();
    }
}

/// Where goroutines that borrow are started. Made by [`scope`].
///
/// ```
/// # let rt = runtime::Runtime::new().unwrap();
/// let mut numbers = [1, 2, 3, 4];
/// rt.scope(|s| {
///     for number in &mut numbers {
///         s.go(move || *number *= 10);
///     }
/// });
/// assert_eq!(numbers, [10, 20, 30, 40]);
/// ```
pub struct Scope<'scope, 'env: 'scope> {
    scheduler: Scheduler,
    shared: Arc<Shared>,
    /// Invariant, as the goroutines may write through what they borrow.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// What a scope shares with its goroutines; it outlives the scope's frame, as the last one to count
/// down may still be at it when the scope returns.
struct Shared {
    running: WaitGroup,
    /// The first panic that no handle was there for.
    panic: Mutex<Option<Payload>>,
}

impl<'scope> Scope<'scope, '_> {
    fn new(scheduler: Scheduler) -> Self {
        Scope {
            scheduler,
            shared: Arc::new(Shared { running: WaitGroup::new(), panic: Mutex::new(None) }),
            scope: PhantomData,
            env: PhantomData,
        }
    }

    /// Starts a goroutine.
    ///
    /// # Panics
    ///
    /// If the runtime is shutting down, or stacks or memory are refused; see [`GoError`]. Not for what the scope itself
    /// keeps for each goroutine, its result's place and its closure: as of any `Box`, a refusal of these ends the process.
    ///
    /// ```
    /// # let rt = runtime::Runtime::new().unwrap();
    /// let text = String::from("hello");
    /// let len = rt.scope(|s| s.go(|| text.len()).join().unwrap());
    /// assert_eq!(len, 5);
    /// ```
    #[track_caller]
    pub fn go<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let packet = Arc::new(Packet {
            ready: WaitGroup::new(),
            result: Mutex::new(None),
            shared: Arc::clone(&self.shared),
        });
        packet.ready.add(1);
        let theirs = Arc::clone(&packet);
        let job = Job::new(&self.shared, move || {
            theirs.deliver(panic::catch_unwind(AssertUnwindSafe(f)));
        });
        if let Err(error) = self.scheduler.spawn(move || job.run()) {
            panic!("{}", GoError::from(error));
        }
        ScopedJoinHandle { packet, scope: PhantomData }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("running", &self.shared.running.count())
            .finish_non_exhaustive()
    }
}

/// What a goroutine of a scope does. Dropped before it ran, it counts down as well.
struct Job {
    /// Before `running`: fields are dropped in order, and the count falls last.
    body: Option<Box<dyn FnOnce() + Send>>,
    running: Running,
}

/// One in the scope's count, until dropped.
struct Running(Arc<Shared>);

impl Job {
    fn new<'scope>(shared: &Arc<Shared>, body: impl FnOnce() + Send + 'scope) -> Self {
        shared.running.add(1);
        let body: Box<dyn FnOnce() + Send + 'scope> = Box::new(body);
        // SAFETY: only the lifetime changes. The box is consumed or dropped before `running`, and
        // `scope` waits for that before it lets `'scope` end (the module's essay, 1 and 2).
        let body: Box<dyn FnOnce() + Send + 'static> = unsafe { std::mem::transmute(body) };
        Job { body: Some(body), running: Running(Arc::clone(shared)) }
    }

    fn run(mut self) {
        let Some(body) = self.body.take() else { return };
        // The closure's own panic is caught inside and belongs to its handle. What can come out here
        // is that of the destructor of a result that nobody wanted.
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(body)) {
            self.running.0.note(payload);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.done();
    }
}

impl Shared {
    /// Keeps the first panic that no handle was there for.
    fn note(&self, payload: Payload) {
        let mut first = self.panic.lock();
        let later = if first.is_none() { first.replace(payload) } else { Some(payload) };
        drop(first);
        drop(later);
    }
}

/// The result on its way from a goroutine to its handle.
struct Packet<T> {
    ready: WaitGroup,
    result: Mutex<Option<Result<T, Payload>>>,
    shared: Arc<Shared>,
}

impl<T> Packet<T> {
    fn deliver(&self, result: Result<T, Payload>) {
        *self.result.lock() = Some(result);
        self.ready.done();
    }
}

impl<T> Drop for Packet<T> {
    fn drop(&mut self) {
        if let Some(Err(payload)) = self.result.get_mut().take() {
            self.shared.note(payload);
        }
    }
}

/// Waits for a goroutine of a [`Scope`].
///
/// ```
/// # let rt = runtime::Runtime::new().unwrap();
/// let three = rt.scope(|s| s.go(|| 1 + 2).join().unwrap());
/// assert_eq!(three, 3);
/// ```
pub struct ScopedJoinHandle<'scope, T> {
    packet: Arc<Packet<T>>,
    scope: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// Waits for the goroutine's end, and gives its result.
    ///
    /// # Errors
    ///
    /// What the goroutine panicked with; the scope itself then does not panic.
    ///
    /// ```
    /// # let rt = runtime::Runtime::new().unwrap();
    /// let caught = rt.scope(|s| s.go(|| panic!("oh")).join().is_err());
    /// assert!(caught);
    /// ```
    pub fn join(self) -> Result<T, Box<dyn Any + Send>> {
        self.packet.ready.wait();
        let result = self.packet.result.lock().take();
        result.expect("delivered before ready, and taken once")
    }

    /// Whether the goroutine has ended.
    ///
    /// ```
    /// # let rt = runtime::Runtime::new().unwrap();
    /// let (tx, rx) = runtime::chan::rendezvous::<()>();
    /// rt.scope(|s| {
    ///     let handle = s.go(move || rx.recv());
    ///     assert!(!handle.is_finished());
    ///     tx.send(()).unwrap();
    /// });
    /// ```
    pub fn is_finished(&self) -> bool {
        self.packet.ready.count() == 0
    }
}

impl<T> fmt::Debug for ScopedJoinHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJoinHandle").field("finished", &self.is_finished()).finish()
    }
}
