//! Channels: values handed from goroutine to goroutine, first in, first out.
//!
//! A [`bounded`] channel holds up to `capacity` values; a [`rendezvous`] channel holds none: a send
//! returns when its receive has happened. Any number of [`Sender`]s and [`Receiver`]s share one, on
//! goroutines of any `Runtime` and on plain threads alike. When the last sender is dropped the
//! channel is closed: receivers get what is left, then an error. When the last receiver is dropped
//! every send fails, and gives its value back.
//!
//! ```
//! use runtime::chan;
//!
//! let (tx, rx) = chan::bounded(4);
//! let sum = std::thread::scope(|s| {
//!     for part in 0..4 {
//!         let tx = tx.clone();
//!         s.spawn(move || (0..100).for_each(|i| tx.send(part * 100 + i).unwrap()));
//!     }
//!     drop(tx); // else the loop below never ends
//!     rx.iter().sum::<i32>()
//! });
//! assert_eq!(sum, (0..400).sum());
//! ```
//!
//! To wait on several at once, see [`select!`](crate::select!).
//!
//! # Differences from Go
//!
//! Nobody closes a channel by hand, so nothing panics on a closed one. There is no nil channel; in
//! `select!` a case can be switched off instead.

mod core;
mod errors;
mod future;
mod iter;
mod ring;
mod state;

pub use errors::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use future::{RecvFuture, SendFuture};
pub use iter::{IntoIter, Iter, TryIter};

pub(crate) use self::core::{Chan, Side};
pub(crate) use self::state::Look;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::wait::Patience;

/// A channel that holds up to `capacity` values. With 0 it is a [`rendezvous`].
///
/// The buffer is allocated here, once, and sending and receiving do without, but for what is seldom: a thread
/// that is no goroutine has a record made when it first waits for anything; the table of deadlines grows when
/// more wait with one than ever before; the buffer does when a [`RecvFuture`] is dropped that has a value
/// already, and there is no place for that any more. A waker of another executor may allocate when it is cloned.
///
/// # Panics
///
/// If a buffer of that size cannot exist.
///
/// ```
/// let (tx, rx) = runtime::chan::bounded(2);
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// assert!(tx.try_send(3).is_err());
/// assert_eq!((rx.recv(), rx.recv()), (Ok(1), Ok(2)));
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let chan = Arc::new(Chan::new(capacity));
    (Sender { chan: Arc::clone(&chan) }, Receiver { chan })
}

/// A channel that holds nothing: sender and receiver meet.
///
/// ```
/// let (tx, rx) = runtime::chan::rendezvous();
/// std::thread::scope(|s| {
///     s.spawn(|| tx.send("hello").unwrap());
///     assert_eq!(rx.recv(), Ok("hello"));
/// });
/// ```
pub fn rendezvous<T>() -> (Sender<T>, Receiver<T>) {
    bounded(0)
}

/// The side that sends. Clone it for more senders.
///
/// ```
/// let (tx, rx) = runtime::chan::bounded(2);
/// let other = tx.clone();
/// tx.send('a').unwrap();
/// other.send('b').unwrap();
/// drop((tx, other));
/// assert_eq!(rx.into_iter().collect::<String>(), "ab");
/// ```
pub struct Sender<T> {
    chan: Arc<Chan<T>>,
}

/// The side that receives. Clone it for more receivers; each value goes to one of them.
///
/// ```
/// let (tx, rx) = runtime::chan::bounded(2);
/// let other = rx.clone();
/// tx.send(1).unwrap();
/// tx.send(2).unwrap();
/// assert_eq!((rx.recv(), other.recv()), (Ok(1), Ok(2)));
/// ```
pub struct Receiver<T> {
    chan: Arc<Chan<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, waiting until a receiver has it or it fits into the buffer.
    ///
    /// # Errors
    ///
    /// Gives the value back when all receivers are gone.
    ///
    /// ```
    /// let (tx, rx) = runtime::chan::bounded(1);
    /// assert!(tx.send(1).is_ok());
    /// drop(rx);
    /// assert_eq!(tx.send(2).unwrap_err().0, 2);
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.chan.send(value, Patience::Forever).map_err(|(value, _)| SendError(value))
    }

    /// As [`send`](Self::send), for a future: it waits without holding a goroutine. On any executor.
    ///
    /// If what is returned is dropped before it is ready, the value is dropped with it, unless a receiver
    /// has it already.
    ///
    /// ```
    /// let (tx, rx) = runtime::chan::rendezvous();
    /// let sender = std::thread::spawn(move || runtime::block_on(tx.send_async(1)));
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert_eq!(sender.join().unwrap(), Ok(()));
    /// ```
    pub fn send_async(&self, value: T) -> SendFuture<'_, T> {
        SendFuture::new(&self.chan, value)
    }

    /// Sends `value` if that is possible at once.
    ///
    /// # Errors
    ///
    /// Gives the value back when the channel is full or all receivers are gone.
    ///
    /// ```
    /// use runtime::chan::{rendezvous, TrySendError};
    /// let (tx, rx) = rendezvous();
    /// assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    /// # drop(rx);
    /// ```
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.chan.send(value, Patience::None).map_err(TrySendError::new)
    }

    /// Sends `value`, waiting for at most `timeout`; for ever, if that is
    /// [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock).
    ///
    /// # Errors
    ///
    /// Gives the value back when the time is over or all receivers are gone.
    ///
    /// ```
    /// use runtime::chan::{bounded, SendTimeoutError};
    /// use std::time::Duration;
    /// let (tx, _rx) = bounded(1);
    /// let ms = Duration::from_millis(1);
    /// assert!(tx.send_timeout(1, ms).is_ok());
    /// assert_eq!(tx.send_timeout(2, ms), Err(SendTimeoutError::Timeout(2)));
    /// ```
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.chan.send(value, crate::time::until(timeout)).map_err(SendTimeoutError::new)
    }

    /// Sends `value`, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`send_timeout`](Self::send_timeout).
    ///
    /// ```
    /// use std::time::Instant;
    /// let (tx, _rx) = runtime::chan::rendezvous();
    /// assert!(tx.send_deadline(1, Instant::now()).is_err());
    /// ```
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.chan.send(value, Patience::Until(deadline)).map_err(SendTimeoutError::new)
    }

    pub(crate) fn chan(&self) -> &Chan<T> {
        &self.chan
    }
}

impl<T> Receiver<T> {
    /// Receives a value, waiting until there is one.
    ///
    /// # Errors
    ///
    /// When the channel is empty and all senders are gone.
    ///
    /// ```
    /// let (tx, rx) = runtime::chan::bounded(1);
    /// tx.send(1).unwrap();
    /// drop(tx);
    /// assert_eq!(rx.recv(), Ok(1));
    /// assert!(rx.recv().is_err());
    /// ```
    pub fn recv(&self) -> Result<T, RecvError> {
        self.chan.recv(Patience::Forever).map_err(|_| RecvError)
    }

    /// As [`recv`](Self::recv), for a future: it waits without holding a goroutine. On any executor.
    ///
    /// It can be given up at any time: a value that had reached it when it is dropped goes to the next
    /// receiver, before those that were sent later. At the end of the channel it need not even be dropped: when all
    /// senders are gone and nothing else is left, who receives gets what has reached a future that has not looked,
    /// and that one finds the channel closed.
    ///
    /// ```
    /// let (tx, rx) = runtime::chan::bounded(1);
    /// let receiver = std::thread::spawn(move || runtime::block_on(rx.recv_async()));
    /// tx.send(1).unwrap();
    /// assert_eq!(receiver.join().unwrap(), Ok(1));
    /// ```
    pub fn recv_async(&self) -> RecvFuture<'_, T> {
        RecvFuture::new(&self.chan)
    }

    /// Receives a value if there is one now.
    ///
    /// # Errors
    ///
    /// When there is none, and whether there may be one later.
    ///
    /// ```
    /// use runtime::chan::{bounded, TryRecvError};
    /// let (tx, rx) = bounded(1);
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.chan.recv(Patience::None).map_err(TryRecvError::new)
    }

    /// Receives a value, waiting for at most `timeout`; for ever, if that is
    /// [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock).
    ///
    /// # Errors
    ///
    /// When the time is over, or the channel is empty and all senders are gone.
    ///
    /// ```
    /// use runtime::chan::{bounded, RecvTimeoutError};
    /// use std::time::Duration;
    /// let (_tx, rx) = bounded::<u8>(1);
    /// let ms = Duration::from_millis(1);
    /// assert_eq!(rx.recv_timeout(ms), Err(RecvTimeoutError::Timeout));
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.chan.recv(crate::time::until(timeout)).map_err(RecvTimeoutError::new)
    }

    /// Receives a value, waiting until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    ///
    /// ```
    /// use std::time::Instant;
    /// let (tx, rx) = runtime::chan::bounded(1);
    /// assert!(rx.recv_deadline(Instant::now()).is_err());
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.recv_deadline(Instant::now()), Ok(1));
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.chan.recv(Patience::Until(deadline)).map_err(RecvTimeoutError::new)
    }

    /// Iterates until the channel is empty and all senders are gone, waiting between values.
    ///
    /// ```
    /// let (tx, rx) = runtime::chan::bounded(3);
    /// (0..3).for_each(|i| tx.send(i).unwrap());
    /// drop(tx);
    /// assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
    /// ```
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(self)
    }

    /// Iterates over what is there now, and never waits.
    ///
    /// ```
    /// let (tx, rx) = runtime::chan::bounded(3);
    /// tx.send(1).unwrap();
    /// assert_eq!(rx.try_iter().count(), 1);
    /// assert_eq!(rx.try_iter().count(), 0);
    /// # drop(tx);
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter::new(self)
    }

    pub(crate) fn chan(&self) -> &Chan<T> {
        &self.chan
    }
}

/// What both sides can tell, and how they are cloned, dropped and printed.
macro_rules! side {
    ($Side:ident, $side:expr) => {
        impl<T> $Side<T> {
            /// How many values lie in the buffer now. More than [`capacity`](Self::capacity), also with a
            /// rendezvous, if some came back from a [receive that was dropped](Receiver::recv_async).
            ///
            /// ```
            /// let (tx, rx) = runtime::chan::bounded(2);
            /// tx.send(1).unwrap();
            /// assert_eq!((tx.len(), rx.len()), (1, 1));
            /// ```
            pub fn len(&self) -> usize {
                self.chan.len()
            }

            /// Whether the buffer holds nothing now.
            ///
            /// ```
            /// let (tx, rx) = runtime::chan::bounded::<u8>(2);
            /// assert!(tx.is_empty() && rx.is_empty());
            /// ```
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// How many values can be sent while nobody receives: 0 for a rendezvous.
            ///
            /// ```
            /// let (tx, rx) = runtime::chan::bounded::<u8>(2);
            /// assert_eq!((tx.capacity(), rx.capacity()), (2, 2));
            /// ```
            pub fn capacity(&self) -> usize {
                self.chan.capacity()
            }
        }

        // As std's: no code of a user's runs while a channel is changed, so a panic leaves it whole.
        impl<T> UnwindSafe for $Side<T> {}
        impl<T> RefUnwindSafe for $Side<T> {}

        impl<T> Clone for $Side<T> {
            fn clone(&self) -> Self {
                self.chan.join($side);
                $Side { chan: Arc::clone(&self.chan) }
            }
        }

        impl<T> Drop for $Side<T> {
            fn drop(&mut self) {
                self.chan.leave($side);
            }
        }

        impl<T> fmt::Debug for $Side<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Side))
                    .field("len", &self.len())
                    .field("capacity", &self.capacity())
                    .finish_non_exhaustive()
            }
        }
    };
}

side!(Sender, Side::Send);
side!(Receiver, Side::Recv);
