//! [`select!`](crate::select!): waiting on several channels at once.
//!
//! The macro turns each arm into a *case* (`RecvCase`, `SendCase`): a channel and a slot on the
//! stack. `run` decides which case wins, see its file for the algorithm; then the arm of the
//! winner takes its result out of the slot and runs. What the macro uses is public but hidden, as
//! every macro's inside must be; only the macro itself is meant to be called.

mod case;
mod run;

#[doc(hidden)]
pub use case::{Alarmed, Case, OptionalReceiver, RecvCase, SendCase, TimerCase};
#[doc(hidden)]
pub use run::{DEFAULT, run};

#[doc(hidden)]
pub use crate::wait::Patience as Wait;

use std::time::Duration;

/// The patience of a `select!` that gives up after `timeout`.
#[doc(hidden)]
pub fn after(timeout: Duration) -> Wait {
    crate::time::until(timeout)
}

/// Waits for the first of several channel operations.
///
/// Exactly one case wins: its operation has happened, and no other one has. If several are ready,
/// one of them is taken at random, so that none starves. A closed channel counts as ready.
///
/// - `recv(rx) -> value => …` receives; `value` is a `Result<T, RecvError>`. `rx` is a `&Receiver`
///   (or an `Option<&Receiver>`: `None` switches the case off).
/// - `send(tx, slot) -> result => …` sends the value in `slot: &mut Option<T>`; `result` is a
///   `Result<(), SendError<T>>`. A case that does not win leaves its value in the slot, so nothing
///   is lost; an empty slot switches the case off.
/// - `timer(alarm) -> at => …` is taken when the alarm's time has come: a [`Timer`](crate::time::Timer) or a
///   [`Ticker`](crate::time::Ticker), or an `Arc` or other pointer to one, by reference; `at` is the `Instant`
///   for which it was set.
/// - `default => …` is taken when nothing is ready now.
/// - `default(timeout) => …` is taken when nothing gets ready in that time; never, if that is
///   [beyond the end of the clock](crate::time#beyond-the-end-of-the-clock).
///
/// The value is that of the arm taken. Arms may `break`, `continue`, `return` and use `?`. Without
/// a default, and with all cases switched off, it waits for ever, as in Go.
///
/// ```
/// use runtime::{chan, select};
///
/// let (numbers, rx) = chan::bounded(1);
/// let (words, ry) = chan::bounded::<&str>(1);
/// numbers.send(7).unwrap();
/// let got = select! {
///     recv(&rx) -> n => format!("number {}", n.unwrap()),
///     recv(&ry) -> w => format!("word {}", w.unwrap()),
/// };
/// assert_eq!(got, "number 7");
///
/// let got = select! {
///     recv(&rx) -> n => n.unwrap(),
///     default => -1,
/// };
/// assert_eq!(got, -1);
///
/// let mut out = Some("hello");
/// select! {
///     send(&words, &mut out) -> sent => sent.unwrap(),
///     recv(&rx) -> _ => unreachable!("no number was sent"),
/// }
/// assert_eq!((out, ry.recv()), (None, Ok("hello")));
/// # drop(numbers);
/// ```
#[macro_export]
macro_rules! select {
    ($($arms:tt)+) => { $crate::__select!(@arm [] [] $($arms)+) };
}

/// The inside of [`select!`](crate::select!): munches arm by arm into
/// `(variable, constructor, pattern, body)`. Each round's `case` is a variable of its own, by
/// hygiene; it is passed along as a token.
#[doc(hidden)]
#[macro_export]
macro_rules! __select {
    // Receive, with a block, in the middle or at the end.
    (@arm [$($done:tt)*] [$($default:tt)*] recv($rx:expr) -> $got:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@comma [$($done)* (case, $crate::select::RecvCase::new($rx), $got, $body)]
            [$($default)*] $($rest)*)
    };
    (@arm [$($done:tt)*] [$($default:tt)*] recv($rx:expr) -> $got:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@arm [$($done)* (case, $crate::select::RecvCase::new($rx), $got, $body)]
            [$($default)*] $($($rest)*)?)
    };
    (@arm [$($done:tt)*] [$($default:tt)*] send($tx:expr, $slot:expr) -> $got:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@comma [$($done)* (case, $crate::select::SendCase::new($tx, $slot), $got, $body)]
            [$($default)*] $($rest)*)
    };
    (@arm [$($done:tt)*] [$($default:tt)*] send($tx:expr, $slot:expr) -> $got:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@arm [$($done)* (case, $crate::select::SendCase::new($tx, $slot), $got, $body)]
            [$($default)*] $($($rest)*)?)
    };
    (@arm [$($done:tt)*] [$($default:tt)*] timer($alarm:expr) -> $got:pat => $body:block $($rest:tt)*) => {
        $crate::__select!(@comma [$($done)* (case, $crate::select::TimerCase::new($alarm), $got, $body)]
            [$($default)*] $($rest)*)
    };
    (@arm [$($done:tt)*] [$($default:tt)*] timer($alarm:expr) -> $got:pat => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@arm [$($done)* (case, $crate::select::TimerCase::new($alarm), $got, $body)]
            [$($default)*] $($($rest)*)?)
    };
    (@arm [$($done:tt)*] [] default => $body:block $($rest:tt)*) => {
        $crate::__select!(@comma [$($done)*] [($crate::select::Wait::None, $body)] $($rest)*)
    };
    (@arm [$($done:tt)*] [] default => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@arm [$($done)*] [($crate::select::Wait::None, $body)] $($($rest)*)?)
    };
    (@arm [$($done:tt)*] [] default($timeout:expr) => $body:block $($rest:tt)*) => {
        $crate::__select!(@comma [$($done)*] [($crate::select::after($timeout), $body)] $($rest)*)
    };
    (@arm [$($done:tt)*] [] default($timeout:expr) => $body:expr $(, $($rest:tt)*)?) => {
        $crate::__select!(@arm [$($done)*] [($crate::select::after($timeout), $body)] $($($rest)*)?)
    };
    (@comma [$($done:tt)*] [$($default:tt)*] , $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)*] [$($default)*] $($rest)*)
    };
    (@comma [$($done:tt)*] [$($default:tt)*] $($rest:tt)*) => {
        $crate::__select!(@arm [$($done)*] [$($default)*] $($rest)*)
    };

    // All arms are munched.
    (@arm [$($done:tt)*] []) => {
        $crate::__select!(@run [$($done)*] ($crate::select::Wait::Forever,
            ::core::unreachable!("a select! without default has a winner")))
    };
    (@arm [$($done:tt)*] [($wait:expr, $body:expr)]) => {
        $crate::__select!(@run [$($done)*] ($wait, $body))
    };
    (@arm $($other:tt)*) => {
        ::core::compile_error!("select! takes `recv(rx) -> value => …`, `send(tx, slot) -> result => …`, `timer(&t) -> at => …` \
            and at most one `default => …` or `default(timeout) => …`")
    };
    (@run [$(($case:ident, $make:expr, $got:pat, $body:expr))*] ($wait:expr, $default:expr)) => {{
        $(let $case = $make;)*
        let winner = $crate::select::run([$($case.case()),*], $wait);
        $crate::__select!(@pick winner, 0usize, [$(($case, $got, $body))*], $default)
    }};
    (@pick $winner:ident, $index:expr, [], $default:expr) => {{ let _ = $winner; $default }};
    (@pick $winner:ident, $index:expr,
        [($case:ident, $got:pat, $body:expr) $($rest:tt)*], $default:expr) => {
        if $winner == $index {
            let $got = $case.finish();
            $body
        } else {
            $crate::__select!(@pick $winner, $index + 1usize, [$($rest)*], $default)
        }
    };
}
