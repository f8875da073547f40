//! A progress bar on a terminal, nothing elsewhere.
//!
//! The walk finds files while others are read, so the end of the bar moves; both numbers are shown.

use indicatif::{ProgressBar, ProgressStyle};

/// Files found and files done. Cheap to call from many goroutines: a hidden bar counts only.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on stderr, hidden if that is no terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let style =
            ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} files {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    /// One more file to read.
    pub(crate) fn found(&self) {
        self.bar.inc_length(1);
    }

    /// One file less to read.
    pub(crate) fn done(&self) {
        self.bar.inc(1);
    }

    /// Writes a line to stderr, above the bar if there is one.
    pub(crate) fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
