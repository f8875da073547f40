//! A path that could not be read, and why: one line on stderr, and the search goes on.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong with one file or folder.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// Relative to the directory that is searched.
    pub(crate) path: PathBuf,
    pub(crate) error: io::Error,
}

impl Trouble {
    pub(crate) fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.to_owned(), error }
    }
}

impl fmt::Display for Trouble {
    /// One line, whatever the name holds.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.to_string_lossy();
        let name = if name.is_empty() { "." } else { &name };
        write!(formatter, "{}: {}", name.escape_debug(), self.error)
    }
}

impl std::error::Error for Trouble {}
