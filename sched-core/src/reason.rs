//! [`WaitReason`]: what a goroutine says when it parks.

use core::fmt;

/// Why a goroutine waits, for dumps and for those who diagnose deadlocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum WaitReason {
    /// A bare [`park`](crate::park::park).
    Park,
    /// The end of another goroutine.
    Join,
    /// Room in a channel.
    Send,
    /// A value from a channel.
    Receive,
    /// Any of several channels.
    Select,
    /// A lock that parks: a mutex, a semaphore, a condition.
    Lock,
    /// A group of goroutines.
    Group,
    /// A point in time.
    Sleep,
    /// Work of the collector.
    Collect,
    /// A future that it polls where it stands.
    Future,
}

impl WaitReason {
    const ALL: [(WaitReason, &'static str); 10] = [
        (WaitReason::Park, "park"),
        (WaitReason::Join, "join"),
        (WaitReason::Send, "send"),
        (WaitReason::Receive, "receive"),
        (WaitReason::Select, "select"),
        (WaitReason::Lock, "lock"),
        (WaitReason::Group, "group"),
        (WaitReason::Sleep, "sleep"),
        (WaitReason::Collect, "collect"),
        (WaitReason::Future, "future"),
    ];

    /// The reason with this number.
    #[cfg(not(loom))]
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).map(|(reason, _)| *reason)
    }
}

impl fmt::Display for WaitReason {
    /// One word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL[*self as usize].1)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_listed_by_their_numbers() {
        for (number, (reason, _)) in (0..).zip(WaitReason::ALL) {
            assert_eq!(reason as u8, number);
        }
        assert_eq!(WaitReason::of_number(WaitReason::ALL.len() as u8), None);
    }
}
