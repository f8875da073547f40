//! Time for futures: they wait without holding a goroutine.
//!
//! (A plain [`sleep`](crate::sleep) in a poll works as well: its carrier sleeps.)

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

pub use sched_core::Sleep;

/// A future that is ready when `span` has passed since this call, whenever it is first polled.
///
/// It must be polled in a runtime: by a future of one, or on a goroutine.
///
/// One [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock) never is ready, and keeps no waker. So
/// a spawned future that awaits only this, and whose handle is gone, is one that nobody can wake any more: it is
/// dropped at once ([`Cancelled`](crate::future::Cancelled)).
///
/// ```
/// use runtime::{Runtime, time::sleep_async};
/// use std::time::{Duration, Instant};
///
/// let rt = Runtime::new().unwrap();
/// let start = Instant::now();
/// rt.spawn_future(async { sleep_async(Duration::from_millis(2)).await }).join().unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep_async(span: Duration) -> impl Future<Output = ()> + use<> {
    let deadline = Instant::now().checked_add(span);
    async move {
        match deadline {
            Some(deadline) => sched_core::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// A future that is ready when `deadline` has passed. As [`sleep_async`].
///
/// ```
/// use runtime::{Runtime, time::sleep_until_async};
/// use std::time::{Duration, Instant};
///
/// let rt = Runtime::new().unwrap();
/// let deadline = Instant::now() + Duration::from_millis(2);
/// rt.spawn_future(sleep_until_async(deadline)).join().unwrap();
/// assert!(Instant::now() >= deadline);
/// ```
pub fn sleep_until_async(deadline: Instant) -> Sleep {
    sched_core::sleep_until(deadline)
}

/// `future`, if it is ready within `span` from this call, or at its first poll. Else it is dropped. As
/// [`sleep_async`].
///
/// ```
/// use runtime::{Runtime, time::timeout};
/// use std::time::Duration;
///
/// let rt = Runtime::new().unwrap();
/// let (fast, slow) = rt
///     .spawn_future(async {
///         let ms = Duration::from_millis(1);
///         (timeout(ms, async { 1 }).await, timeout(ms, std::future::pending::<()>()).await)
///     })
///     .join()
///     .unwrap();
/// assert_eq!(fast, Ok(1));
/// assert!(slow.is_err());
/// ```
///
/// # Errors
///
/// [`Elapsed`] if it is not.
pub fn timeout<F: Future>(
    span: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    let limit = sleep_async(span);
    async move {
        let (mut future, mut limit) = (pin!(future), pin!(limit));
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => limit.as_mut().poll(cx).map(|()| Err(Elapsed)),
        })
        .await
    }
}

/// The time given to a future is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is over")
    }
}

impl std::error::Error for Elapsed {}
