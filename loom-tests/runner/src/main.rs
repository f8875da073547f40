//! Plants faults in the source, one at a time, and wants each model to turn red.
//!
//! # Problem
//!
//! A model that has never failed proves nothing: it may assert too little, or never reach the
//! interleaving it is for. So each model comes with faults that it must find. The production code
//! carries no switches for them: a fault is a change of the text.
//!
//! # A fault file
//!
//! `loom-tests/faults/<model>/<name>.fault`:
//!
//! ```text
//! model: sched_queue  steal
//! file: sched-core/src/queue/local.rs
//! why: one line
//! --- old
//! text that occurs once
//! --- new
//! other text
//! ```
//!
//! After the model's name may stand a filter for its tests. A fault may have several pairs of `old`
//! and `new`. An old text that does not occur exactly once is an error, so that faults follow the
//! code. A line `ends: abort`, `ends: crash` or `ends: limit` names another ending that counts beside a failed test
//! (`ending.rs`).
//!
//! # Algorithm
//!
//! 1. Copy the workspace into scratch folders, one per core, only files that differ, so that builds stay
//!    incremental. The scratch folders lie in `target-loom/faults`, or in `faults` of `CARGO_TARGET_DIR`.
//! 2. Run on a clean copy the tests that the faults name: they must be green. These are builds of another kind than
//!    those in which models are run on purpose: part by part, and not optimized.
//! 3. In each folder, for the next fault that nobody has taken: change the text, build, run the model until one of
//!    its tests fails, put the text back.
//!
//! | verdict | meaning |
//! |---|---|
//! | found | a test failed, or the run ended as the fault's file says |
//! | UNSEEN | the model stayed green: it is too weak |
//! | no evidence | the run ended in another way: of that, the fault need not be the cause |
//! | does not build | no evidence either: the fault is badly made |
//! | does not apply | the old text is gone, or not unique |
//!
//! All but the first make the command fail.
//!
//! ```text
//! cargo run -p faults [-- FILTER]
//! ```

mod ending;
mod fault;
mod lab;
mod mirror;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use ending::Ending;
use fault::{Fault, read_faults};
use lab::{Lab, part, scratch};

/// Folders in which faults are built at once, at most: each takes half a gigabyte.
const MOST_LABS: usize = 8;

const USAGE: &str = "\
usage: faults [FILTER]

Plants each fault whose name, MODEL/NAME, contains FILTER (all, without one), and runs its model, which must
turn red. The tests that the faults name run without faults first and must be green.

Exit code: 0 if every fault was found, 1 if one was not, 2 if it could not be tried.";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let (options, filters): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    if options.iter().any(|option| option == "--help" || option == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if !options.is_empty() || filters.len() > 1 {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    match run(filters.first().map_or("", String::as_str)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::from(2)
        }
    }
}

/// True if every fault whose name contains `filter` was found.
fn run(filter: &str) -> Result<bool> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace")?;
    let faults: Vec<Fault> = read_faults(&workspace.join("loom-tests/faults"))?
        .into_iter()
        .filter(|fault| fault.name.contains(filter))
        .collect();
    if faults.is_empty() {
        return Err(format!("no fault's name contains {filter:?}").into());
    }
    let cores = thread::available_parallelism()?.get().min(MOST_LABS);
    let scratch = scratch(workspace)?;
    let labs = (0..cores.min(faults.len()))
        .map(|number| Lab::new(workspace, &scratch, number))
        .collect::<Result<Vec<_>>>()?;
    eprintln!(
        "{} faults; {} builds at a time in {} (the first of each takes a minute)",
        faults.len(),
        labs.len(),
        scratch.display()
    );
    in_turn(&labs, &parts(&faults), |lab, models| {
        let began = Instant::now();
        lab.try_clean(models)?;
        let names: Vec<_> = models.iter().map(|model| model.name).collect();
        eprintln!(
            "green without faults after {:.1} s: {}",
            began.elapsed().as_secs_f64(),
            names.join(", ")
        );
        Ok(())
    })?;
    let missed = try_faults(&labs, &faults)?;
    eprintln!("{} of {} faults found", faults.len() - missed, faults.len());
    Ok(missed == 0)
}

/// Tries all faults, writes the verdicts, and says how many were not found.
fn try_faults(labs: &[Lab], faults: &[Fault]) -> Result<usize> {
    println!("| fault | verdict | seconds |\n|---|---|---|");
    let missed = AtomicUsize::new(0);
    in_turn(labs, faults, |lab, fault| {
        let began = Instant::now();
        let verdict = lab.try_fault(fault)?;
        println!("| {} | {verdict} | {:.1} |", fault.name, began.elapsed().as_secs_f64());
        if !matches!(verdict, Verdict::Found) {
            // Relaxed: read when all threads have ended.
            missed.fetch_add(1, Ordering::Relaxed);
            eprintln!("{}: {verdict}: {}\n{}", fault.name, fault.why, lab.last_words());
        }
        Ok(())
    })?;
    Ok(missed.into_inner())
}

/// A model, and the tests of it that faults name: all, if that is empty.
struct Model<'a> {
    name: &'a str,
    tests: BTreeSet<&'a str>,
}

/// The models that the faults name, by parts: those of one part are built at once. The largest part comes first.
fn parts(faults: &[Fault]) -> Vec<Vec<Model<'_>>> {
    let mut tests = BTreeMap::<&str, BTreeSet<&str>>::new();
    for fault in faults {
        tests.entry(&fault.model).or_default().insert(&fault.test);
    }
    let mut parts = BTreeMap::<&str, Vec<Model<'_>>>::new();
    for (name, mut tests) in tests {
        if tests.contains("") {
            tests.clear();
        }
        parts.entry(part(name)).or_default().push(Model { name, tests });
    }
    let mut parts = Vec::from_iter(parts.into_values());
    parts.sort_by_key(|models| std::cmp::Reverse(models.len()));
    parts
}

/// Does `work` for each item, in whichever lab is free; stops at an error, and gives the first.
fn in_turn<T: Sync>(
    labs: &[Lab],
    items: &[T],
    work: impl Fn(&Lab, &T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let first = Mutex::new(None);
    thread::scope(|scope| {
        for lab in labs {
            scope.spawn(|| {
                // Relaxed: each number is taken once, whoever takes it.
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(lab, item) {
                        next.store(items.len(), Ordering::Relaxed);
                        first.lock().expect("no panic").get_or_insert(error.to_string());
                        return;
                    }
                }
            });
        }
    });
    first.into_inner()?.map_or(Ok(()), |error| Err(error.into()))
}

/// What became of a fault.
#[derive(Debug, PartialEq)]
enum Verdict {
    Found,
    Unseen,
    NoEvidence(Ending),
    DoesNotBuild,
    DoesNotApply,
}

impl Verdict {
    /// Of a run that ended so with a fault that `shows` itself by a failed test or in this way: which of a model's
    /// tests comes first, one that fails or one that aborts, is not settled.
    fn of(shows: Ending, ending: Ending) -> Self {
        match ending {
            Ending::Failed => Self::Found,
            _ if ending == shows => Self::Found,
            Ending::Passed => Self::Unseen,
            _ => Self::NoEvidence(ending),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Found => f.write_str("found"),
            Verdict::Unseen => f.write_str("UNSEEN"),
            Verdict::NoEvidence(ending) => write!(f, "no evidence: {ending}"),
            Verdict::DoesNotBuild => f.write_str("does not build"),
            Verdict::DoesNotApply => f.write_str("does not apply"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_test_and_the_ending_that_was_named_are_finds() {
        assert_eq!(Verdict::of(Ending::Failed, Ending::Failed), Verdict::Found);
        assert_eq!(Verdict::of(Ending::Failed, Ending::Passed), Verdict::Unseen);
        assert_eq!(Verdict::of(Ending::Aborted, Ending::Aborted), Verdict::Found);
        assert_eq!(Verdict::of(Ending::Aborted, Ending::Failed), Verdict::Found);
        for (shows, ending) in [
            (Ending::Failed, Ending::Aborted),
            (Ending::Failed, Ending::Limit),
            (Ending::Failed, Ending::TimedOut),
            (Ending::Failed, Ending::NoTest),
            (Ending::Failed, Ending::Exit(101)),
            (Ending::Aborted, Ending::Signal(11)),
        ] {
            assert_eq!(Verdict::of(shows, ending), Verdict::NoEvidence(ending));
        }
    }
}
