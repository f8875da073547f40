//! Says what was found: lines, or one JSON object.
//!
//! Plain output is for other programs' eyes as well: `COUNT<tab>PATH` with the path's own bytes,
//! whatever they are. JSON has no bytes, so there a name that is not UTF-8 appears twice: as `path`,
//! with U+FFFD for what cannot be shown, and as `path_bytes`, in hexadecimal.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// A file that holds all words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The words' occurrences, added up.
    pub(crate) count: u64,
    /// Relative to the directory that was searched.
    pub(crate) path: PathBuf,
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    /// Text files read to the end.
    pub(crate) files: u64,
    /// Their size.
    pub(crate) bytes: u64,
    /// Words in them, each occurrence counted.
    pub(crate) words: u64,
    /// Different words.
    pub(crate) terms: u64,
    /// Files left out because they are binary.
    pub(crate) binary: u64,
    /// Files and folders that could not be read.
    pub(crate) skipped: u64,
}

/// What the runtime did meanwhile.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Facts {
    pub(crate) goroutines: u64,
    pub(crate) threads: u64,
    pub(crate) steals: u64,
    pub(crate) handoffs: u64,
    pub(crate) preemptions: u64,
    pub(crate) collections: u64,
    pub(crate) longest_mutator_delay_us: u64,
    pub(crate) heap_live_bytes: u64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) index_seconds: f64,
    pub(crate) query_seconds: f64,
}

/// The whole answer.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    #[serde(flatten)]
    pub(crate) totals: Totals,
    pub(crate) hits: Vec<Hit>,
    pub(crate) runtime: Facts,
}

impl Answer {
    /// `COUNT<tab>PATH` lines.
    pub(crate) fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        for hit in &self.hits {
            write!(out, "{}\t", hit.count)?;
            out.write_all(hit.path.as_os_str().as_bytes())?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// One object and a newline.
    pub(crate) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// The line about the runtime.
    pub(crate) fn summary(&self) -> String {
        let (totals, facts) = (&self.totals, &self.runtime);
        format!(
            "{} files, {} words, {} terms in {:.3} s, query {:.6} s; {} goroutines on {} threads, \
             {} steals, {} hand-offs, {} preemptions, {} collections, longest delay {} µs, heap {}, \
             peak {}",
            totals.files,
            totals.words,
            totals.terms,
            facts.index_seconds,
            facts.query_seconds,
            facts.goroutines,
            facts.threads,
            facts.steals,
            facts.handoffs,
            facts.preemptions,
            facts.collections,
            facts.longest_mutator_delay_us,
            mebibytes(facts.heap_live_bytes),
            mebibytes(facts.peak_rss_bytes),
        )
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

impl Serialize for Hit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            count: u64,
            path: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            path_bytes: Option<String>,
        }
        let path = self.path.to_string_lossy();
        Fields { count: self.count, path: &path, path_bytes: spell_out(&self.path) }
            .serialize(serializer)
    }
}

/// The path in hexadecimal if it is not UTF-8.
fn spell_out(path: &Path) -> Option<String> {
    let bytes = path.as_os_str().as_bytes();
    let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    path.to_str().is_none().then(hex)
}

/// The most memory this process ever had resident, in bytes; 0 where `/proc` is missing.
///
/// Not from `getrusage`: its figure begins with that of the process that was replaced by `exec`.
pub(crate) fn peak_rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kibibytes.map_or(0, |kibibytes: u64| kibibytes << 10)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn answer() -> Answer {
        let hit = |count, name: &[u8]| Hit { count, path: OsStr::from_bytes(name).into() };
        Answer {
            totals: Totals { files: 2, ..Totals::default() },
            hits: vec![hit(7, b"a/b"), hit(1, b"\xff\n")],
            runtime: Facts::default(),
        }
    }

    #[test]
    fn lines_hold_the_bytes_of_names() {
        let mut out = Vec::new();
        answer().write_lines(&mut out).unwrap();
        assert_eq!(out, b"7\ta/b\n1\t\xff\n\n");
    }

    #[test]
    fn json_spells_odd_names_twice() {
        let mut out = Vec::new();
        answer().write_json(&mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["files"], 2);
        assert_eq!(value["hits"][0], serde_json::json!({"count": 7, "path": "a/b"}));
        assert_eq!(
            value["hits"][1],
            serde_json::json!({"count": 1, "path": "\u{fffd}\n", "path_bytes": "ff0a"})
        );
    }

    #[test]
    fn this_process_has_a_size() {
        assert!(peak_rss() > 1 << 20);
    }
}
