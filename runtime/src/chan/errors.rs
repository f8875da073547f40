//! What a channel operation can come back with. An error gives the value back.

use std::error::Error;
use std::fmt;

use super::core::Failure;

/// All receivers are gone; here is the value.
///
/// ```
/// let (tx, rx) = runtime::chan::bounded(1);
/// drop(rx);
/// assert_eq!(tx.send(7).unwrap_err().0, 7);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

/// The channel is empty, and all senders are gone.
///
/// ```
/// let (tx, rx) = runtime::chan::bounded::<u8>(1);
/// drop(tx);
/// assert_eq!(rx.recv(), Err(runtime::chan::RecvError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

/// Why [`try_send`](super::Sender::try_send) did not send.
///
/// ```
/// use runtime::chan::{bounded, TrySendError};
/// let (tx, rx) = bounded(1);
/// tx.send(1).unwrap();
/// assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
/// drop(rx);
/// assert_eq!(tx.try_send(2), Err(TrySendError::Closed(2)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// No room, and no receiver waits.
    Full(T),
    /// All receivers are gone.
    Closed(T),
}

/// Why [`send_timeout`](super::Sender::send_timeout) did not send.
///
/// ```
/// use runtime::chan::{rendezvous, SendTimeoutError};
/// use std::time::Duration;
/// let (tx, _rx) = rendezvous();
/// assert_eq!(tx.send_timeout(2, Duration::ZERO), Err(SendTimeoutError::Timeout(2)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendTimeoutError<T> {
    /// The time is over.
    Timeout(T),
    /// All receivers are gone.
    Closed(T),
}

/// Why [`try_recv`](super::Receiver::try_recv) did not receive.
///
/// ```
/// use runtime::chan::{bounded, TryRecvError};
/// let (tx, rx) = bounded::<u8>(1);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
/// drop(tx);
/// assert_eq!(rx.try_recv(), Err(TryRecvError::Closed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing there, and no sender waits.
    Empty,
    /// Nothing there, and all senders are gone.
    Closed,
}

/// Why [`recv_timeout`](super::Receiver::recv_timeout) did not receive.
///
/// ```
/// use runtime::chan::{bounded, RecvTimeoutError};
/// use std::time::Duration;
/// let (_tx, rx) = bounded::<u8>(1);
/// assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// The time is over.
    Timeout,
    /// Nothing there, and all senders are gone.
    Closed,
}

impl<T> TrySendError<T> {
    pub(super) fn new((value, why): (T, Failure)) -> Self {
        match why {
            Failure::Busy => TrySendError::Full(value),
            Failure::Closed => TrySendError::Closed(value),
        }
    }

    /// The value that was not sent.
    ///
    /// ```
    /// # use runtime::chan::rendezvous;
    /// let (tx, _rx) = rendezvous();
    /// assert_eq!(tx.try_send("x").unwrap_err().into_inner(), "x");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Closed(value) => value,
        }
    }
}

impl<T> SendTimeoutError<T> {
    pub(super) fn new((value, why): (T, Failure)) -> Self {
        match why {
            Failure::Busy => SendTimeoutError::Timeout(value),
            Failure::Closed => SendTimeoutError::Closed(value),
        }
    }

    /// The value that was not sent.
    ///
    /// ```
    /// # use runtime::chan::rendezvous;
    /// # use std::time::Duration;
    /// let (tx, _rx) = rendezvous();
    /// assert_eq!(tx.send_timeout("x", Duration::ZERO).unwrap_err().into_inner(), "x");
    /// ```
    pub fn into_inner(self) -> T {
        match self {
            SendTimeoutError::Timeout(value) | SendTimeoutError::Closed(value) => value,
        }
    }
}

impl TryRecvError {
    pub(super) fn new(why: Failure) -> Self {
        match why {
            Failure::Busy => TryRecvError::Empty,
            Failure::Closed => TryRecvError::Closed,
        }
    }
}

impl RecvTimeoutError {
    pub(super) fn new(why: Failure) -> Self {
        match why {
            Failure::Busy => RecvTimeoutError::Timeout,
            Failure::Closed => RecvTimeoutError::Closed,
        }
    }
}

const ALL_RECEIVERS_GONE: &str = "sending on a channel whose receivers are gone";
const ALL_SENDERS_GONE: &str = "receiving on an empty channel whose senders are gone";

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALL_RECEIVERS_GONE)
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALL_SENDERS_GONE)
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "sending on a full channel",
            TrySendError::Closed(_) => ALL_RECEIVERS_GONE,
        })
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "timed out sending on a full channel",
            SendTimeoutError::Closed(_) => ALL_RECEIVERS_GONE,
        })
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "receiving on an empty channel",
            TryRecvError::Closed => ALL_SENDERS_GONE,
        })
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvTimeoutError::Timeout => "timed out receiving on an empty channel",
            RecvTimeoutError::Closed => ALL_SENDERS_GONE,
        })
    }
}

// The values need not be `Debug` for the errors to be: `unwrap` stays usable with any channel.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendTimeoutError::Timeout(_) => "Timeout(..)",
            SendTimeoutError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> Error for SendError<T> {}
impl Error for RecvError {}
impl<T> Error for TrySendError<T> {}
impl<T> Error for SendTimeoutError<T> {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}
