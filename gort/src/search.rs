//! The search as a whole: walk, read in many goroutines, index, ask.
//!
//! One goroutine walks and starts one goroutine per file. At most [`IN_FLIGHT`] of them exist at a
//! time: each takes a place in a bounded channel before it starts and frees it when it is done, so
//! that a tree of a million files needs no more memory than one of a thousand. Reading is a plain
//! blocking call. When it has to wait for the disk, sysmon gives the processor to another reader.
//!
//! With `--repeat`, each round drops the former index and collects before it builds its own, so the
//! peak of twenty rounds is about that of one.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use runtime::{chan, gc};

use crate::cli::Request;
use crate::index::Index;
use crate::progress::Progress;
use crate::query;
use crate::read::{self, Content, Counts};
use crate::report::{Hit, Totals};
use crate::trouble::Trouble;
use crate::walk::Walk;

/// Files that are read at the same time.
const IN_FLIGHT: usize = 128;

/// What was found, and how long it took.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    pub(crate) hits: Vec<Hit>,
    /// Of all rounds together.
    pub(crate) index_seconds: f64,
    pub(crate) query_seconds: f64,
}

/// Searches. On a goroutine; fails if the directory cannot be walked.
pub(crate) fn run(request: &Request) -> std::io::Result<Outcome> {
    let progress = Progress::new();
    let began = Instant::now();
    let mut built = build(&request.dir, &progress, true)?;
    for _ in 1..request.repeat {
        drop(built);
        // A collection of which nobody holds anything: what the former round left is gone before
        // this one grows. Fails only inside a guard, and there is none here.
        let _ = gc::collect();
        built = build(&request.dir, &progress, false)?;
    }
    progress.finish();
    let index_seconds = began.elapsed().as_secs_f64();
    let (index, totals) = built;

    let began = Instant::now();
    let hits = query::search(&index, &request.words);
    let query_seconds = began.elapsed().as_secs_f64();
    Ok(Outcome { totals, hits, index_seconds, query_seconds })
}

/// Indexes everything under `dir`. Troubles are named on stderr if `loud`.
fn build(dir: &Path, progress: &Progress, loud: bool) -> std::io::Result<(Index, Totals)> {
    let walk = Walk::new(dir)?;
    let build = Build { index: Index::new(), tally: Tally::default(), progress, loud };
    let (take_place, free_place) = chan::bounded(IN_FLIGHT);
    runtime::scope(|scope| {
        for found in walk {
            let Ok(path) = found.map_err(|trouble| build.name(&trouble)) else { continue };
            progress.found();
            // Both ends live until the scope ends: neither call can fail.
            let _ = take_place.send(());
            let (build, free_place) = (&build, &free_place);
            scope.go(move || {
                build.enter(dir, &path);
                let _ = free_place.recv();
            });
        }
    });
    let totals = build.tally.totals(&build.index);
    Ok((build.index, totals))
}

/// What the goroutines of one round share.
struct Build<'a> {
    index: Index,
    tally: Tally,
    progress: &'a Progress,
    loud: bool,
}

impl Build<'_> {
    /// Reads one file and enters its words.
    fn enter(&self, dir: &Path, path: &Path) {
        match read::read(&dir.join(path)) {
            Ok(Content::Text(counts)) => {
                self.index.add(path, &counts);
                self.tally.count(&counts);
            }
            Ok(Content::Binary) => add(&self.tally.binary, 1),
            Ok(Content::Vanished) => {}
            Err(error) => self.name(&Trouble::new(path, error)),
        }
        self.progress.done();
    }

    fn name(&self, trouble: &Trouble) {
        add(&self.tally.skipped, 1);
        if self.loud {
            self.progress.note(&format!("gort: {trouble}"));
        }
    }
}

/// [`Totals`] that many goroutines add to.
#[derive(Debug, Default)]
struct Tally {
    files: AtomicU64,
    bytes: AtomicU64,
    words: AtomicU64,
    binary: AtomicU64,
    skipped: AtomicU64,
}

/// Relaxed, as all here: sums, read after the scope has waited for those who add.
fn add(sum: &AtomicU64, more: u64) {
    // Relaxed: see above.
    sum.fetch_add(more, Ordering::Relaxed);
}

impl Tally {
    fn count(&self, counts: &Counts) {
        add(&self.files, 1);
        add(&self.bytes, counts.bytes);
        add(&self.words, counts.words);
    }

    fn totals(&self, index: &Index) -> Totals {
        // Relaxed: see `add`.
        let read = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        Totals {
            files: read(&self.files),
            bytes: read(&self.bytes),
            words: read(&self.words),
            terms: index.terms(),
            binary: read(&self.binary),
            skipped: read(&self.skipped),
        }
    }
}
