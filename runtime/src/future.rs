//! Futures: tasks that have no stack while they wait.
//!
//! A goroutine that waits keeps its stack, a page at least; a future keeps what it will need. So for a
//! million tasks that mostly wait, [`spawn_future`] is the cheaper way. What a future may do is not less:
//! it is polled on the stack of a goroutine, and a poll may lock, send, receive, sleep, block in the
//! kernel or compute for ever, while the others go on.
//!
//! ```
//! use runtime::{chan, future::{block_on, spawn_future}, go};
//!
//! # let rt = runtime::Runtime::new().unwrap();
//! # rt.run(|| {
//! let (tx, rx) = chan::bounded(4);
//! let sum = spawn_future(async move {
//!     let mut sum = 0;
//!     while let Ok(n) = rx.recv_async().await {
//!         sum += n;
//!     }
//!     sum
//! });
//! go(move || (1..=10).for_each(|n| tx.send(n).unwrap())); // a goroutine sends to a future
//! assert_eq!(block_on(sum).unwrap(), 55);
//! # });
//! ```
//!
//! # The same handle
//!
//! A [`JoinHandle`] is a future itself, whether it is of a goroutine or of a future: awaited, it gives what
//! [`join`](JoinHandle::join) gives. Dropped, it lets the task run on;
//! [`abort`](JoinHandle::abort) ends a future between two polls, and its handle says [`Cancelled`]. A
//! future that nobody can wake any more, since its wakers and its handle are gone, ends so by itself.
//!
//! # What a future may assume
//!
//! Within a poll, what a goroutine may. From one poll to the next it may come to another goroutine on
//! another thread: a thread-local that shall outlive an `await` does not.
//!
//! # Other people's futures
//!
//! Anything that only needs a waker works here: the channels, locks and streams of the `futures` family,
//! async-io with its own reactor thread. What looks for its own executor in a thread-local (tokio's
//! sockets and timers) needs that executor entered for the poll. Our handles and channels can be awaited
//! on any executor.

pub use sched_core::future::{Cancelled, block_on};

use crate::runtime::Runtime;
use crate::spawn::{GoError, JoinHandle};

/// Runs `future` as a task of the runtime that the caller runs on, on no stack of its own.
///
/// # Panics
///
/// Outside a runtime, when it is shutting down, and without [memory](GoError::NoMemory); see [`try_spawn_future`].
///
/// ```
/// use runtime::future::{block_on, spawn_future};
/// # let rt = runtime::Runtime::new().unwrap();
/// # rt.run(|| {
/// let both = spawn_future(async { spawn_future(async { 6 }).await.unwrap() * 7 });
/// assert_eq!(block_on(both).unwrap(), 42);
/// # });
/// ```
#[track_caller]
pub fn spawn_future<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match try_spawn_future(future) {
        Ok(handle) => handle,
        Err(error) => panic!("{error}"),
    }
}

/// As [`spawn_future`], but tells when that is impossible.
///
/// # Errors
///
/// Outside a runtime, when it is shutting down, and without [memory](GoError::NoMemory) for it; `future` is dropped.
/// What is missing later, a stack or a record for who polls it, is waited for.
///
/// ```
/// // No runtime here.
/// assert!(runtime::future::try_spawn_future(async {}).is_err());
/// ```
#[track_caller]
pub fn try_spawn_future<F>(future: F) -> Result<JoinHandle<F::Output>, GoError>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Ok(sched_core::spawn_future(future).ok_or(GoError::NoRuntime)??)
}

impl Runtime {
    /// Starts a future, from wherever the caller is. See [`future`](crate::future).
    ///
    /// # Panics
    ///
    /// If the runtime is shutting down, and without [memory](GoError::NoMemory); see
    /// [`try_spawn_future`](Self::try_spawn_future).
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// assert_eq!(rt.spawn_future(async { 7 }).join().unwrap(), 7);
    /// ```
    #[track_caller]
    pub fn spawn_future<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match self.try_spawn_future(future) {
            Ok(handle) => handle,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`spawn_future`](Self::spawn_future), but tells when that is impossible.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down, and without [memory](GoError::NoMemory) for it; `future` is dropped.
    ///
    /// ```
    /// let rt = runtime::Runtime::new().unwrap();
    /// assert!(rt.try_spawn_future(async {}).is_ok());
    /// ```
    #[track_caller]
    pub fn try_spawn_future<F>(&self, future: F) -> Result<JoinHandle<F::Output>, GoError>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Ok(self.scheduler().spawn_future(future)?)
    }
}
