//! Starting goroutines: [`spawn`], and [`Spawn`] for those that want more than that.

use core::{panic::Location, ptr::NonNull};

use crate::{
    entry::enter,
    error::SpawnError,
    future::{
        cell::{self, Poller, Room},
        state::State,
        waker::{self, FutureRef},
    },
    goroutine,
    policy::Class,
    shared::Shared,
    supply::Order,
    task::{Kind, TaskRef, join::JoinHandle, raw},
};

/// How a goroutine is to be started: a value like std's `thread::Builder`.
///
/// Each goroutine has the usual stack ([`Config::stack_bytes`](crate::Config::stack_bytes)) unless it
/// asks for a larger one. Larger ones come in sizes of four times the one before; only what is touched
/// costs memory, and what was touched goes back when the stack has lain unused for a while. They are
/// pooled like the others, though none is made ahead of need: the first spawns of a size wait
/// some microseconds for it.
///
/// ```
/// use sched_core::Spawn;
/// let deep = Spawn::new().stack_bytes(8 << 20);
/// assert_ne!(deep, Spawn::new());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spawn {
    stack_bytes: usize,
    class: Class,
}

impl Spawn {
    /// As [`spawn`] starts them.
    pub const fn new() -> Self {
        Spawn { stack_bytes: 0, class: Class::Normal }
    }

    /// At least so many bytes of address space for the stack, TLS and guard included, up to
    /// [`LARGEST_STACK`](crate::stack::LARGEST_STACK). Less than the usual is the usual.
    pub const fn stack_bytes(self, bytes: usize) -> Self {
        Spawn { stack_bytes: bytes, ..self }
    }

    /// How urgent it is, for policies that look at it ([`Priority`](crate::policy::Priority)). Goroutines that
    /// it starts do not inherit it.
    ///
    /// ```
    /// use sched_core::{Config, NoHooks, Scheduler, Spawn, policy::{Chosen, Class, Priority}};
    /// # use std::sync::Arc;
    /// let config = Config { policy: Chosen::new(Priority::new()), ..Config::default() };
    /// let scheduler = Scheduler::new(config, Arc::new(NoHooks))?;
    /// let report = scheduler.spawn_with(Spawn::new().class(Class::Background), || 1)?;
    /// let answer = scheduler.spawn_with(Spawn::new().class(Class::Urgent), || 2)?;
    /// assert_eq!(report.join().unwrap() + answer.join().unwrap(), 3);
    /// # scheduler.shutdown(None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn class(self, class: Class) -> Self {
        Spawn { class, ..self }
    }

    fn order(self, shared: &Shared) -> Result<Order, SpawnError> {
        let order = shared.supplies.order_for(self.stack_bytes);
        order.map_err(|most| SpawnError::StackTooLarge { most })
    }
}

/// Starts a goroutine of the scheduler that the caller runs on. As `current()?.spawn(f)`, but no
/// handle is made and dropped on the way, which takes six atomic additions. `None` on a plain
/// thread; `f` is dropped.
///
/// ```
/// assert!(sched_core::spawn(|| 1).is_none()); // no scheduler here
/// ```
#[track_caller]
pub fn spawn<T, F>(f: F) -> Option<Result<JoinHandle<T>, SpawnError>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn_with(Spawn::new(), f)
}

/// As [`spawn`], as `how` says. See
/// [`Scheduler::spawn_with`](crate::Scheduler::spawn_with).
#[track_caller]
pub fn spawn_with<T, F>(how: Spawn, f: F) -> Option<Result<JoinHandle<T>, SpawnError>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let origin = Location::caller();
    goroutine::with_own(|task| spawn_on(task.shared(), how, f, origin))
}

pub(crate) fn spawn_on<T, F>(
    shared: &Shared,
    how: Spawn,
    f: F,
    origin: &'static Location<'static>,
) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let kind = Kind { order: how.order(shared)?, class: how.class };
    if let Some(reason) = shared.refusal(kind.order) {
        return Err(SpawnError::Stacks(reason));
    }
    start(shared, f, || shared.one_more(), |packet| shared.launch(packet, kind, origin))
}

/// Packs `f`, which `come_in` lets into the gate and `launch` makes a goroutine.
fn start<T, F>(
    shared: &Shared,
    f: F,
    come_in: impl FnOnce() -> bool,
    launch: impl FnOnce(NonNull<raw::Header>) -> Option<TaskRef>,
) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let packet = raw::pack(f).ok_or(SpawnError::NoMemory)?;
    let launched = match come_in() {
        true => launch(packet).ok_or_else(|| {
            shared.turn_back();
            SpawnError::NoMemory
        }),
        false => Err(SpawnError::ShutDown),
    };
    match launched {
        // SAFETY: the packet was packed with this `T`, and this is its goroutine's one handle.
        Ok(task) => Ok(unsafe { JoinHandle::new(task, packet) }),
        Err(refusal) => {
            // SAFETY: no goroutine has it.
            unsafe { raw::free_packet(packet) };
            Err(refusal)
        }
    }
}

/// As [`spawn`], for a future; see [`Scheduler::spawn_future`](crate::Scheduler::spawn_future).
///
/// ```
/// assert!(sched_core::spawn_future(async { 1 }).is_none()); // no scheduler here
/// ```
#[track_caller]
pub fn spawn_future<F>(future: F) -> Option<Result<JoinHandle<F::Output>, SpawnError>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let origin = Location::caller();
    goroutine::with_own(|task| spawn_future_on(task.shared(), future, origin))
}

pub(crate) fn spawn_future_on<F>(
    shared: &Shared,
    future: F,
    origin: &'static Location<'static>,
) -> Result<JoinHandle<F::Output>, SpawnError>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let room = Room::new().ok_or(SpawnError::NoMemory)?;
    if !shared.one_more() {
        return Err(SpawnError::ShutDown);
    }
    let birth = shared.future_birth(origin);
    let header = room.fill(cell::Kind::Spawned, future, State::scheduled(), shared.arc(), birth);
    // SAFETY: a scheduled one has two references, which are ours: the handle's and the run reference.
    let (handle, run) = unsafe { (FutureRef::from_raw(header), Poller::from_raw(header)) };
    waker::ready(shared, run, &enter());
    // SAFETY: this is the future's output, and its one handle.
    Ok(unsafe { JoinHandle::of_future(handle) })
}

pub(crate) fn serve_on<T, F>(
    shared: &Shared,
    f: F,
    origin: &'static Location<'static>,
) -> Result<JoinHandle<T>, SpawnError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if let Some(reason) = shared.supplies.get(Order::USUAL).shortage() {
        return Err(SpawnError::Stacks(reason));
    }
    let come_in = || shared.gate.enter_to_serve();
    start(shared, f, come_in, |packet| shared.launch_urgently(packet, origin))
}
