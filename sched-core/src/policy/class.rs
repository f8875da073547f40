//! How urgent a goroutine is.

use core::fmt;

/// How urgent a goroutine is: what it was started with. Policies other than
/// [`Priority`](super::Priority) do not look at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Class {
    /// Somebody waits for each step.
    Urgent,
    /// Before most others.
    High,
    /// As most are.
    #[default]
    Normal,
    /// When there is time.
    Background,
}

impl Class {
    /// All of them, the most urgent first.
    pub const ALL: [Class; 4] = [Class::Urgent, Class::High, Class::Normal, Class::Background];

    /// The class with this number, the last one for numbers that are too large.
    #[cfg(not(loom))]
    pub(crate) fn of_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Class::Background)
    }
}

impl fmt::Display for Class {
    /// One word.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Urgent => "urgent",
            Class::High => "high",
            Class::Normal => "normal",
            Class::Background => "background",
        })
    }
}
