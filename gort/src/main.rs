//! `gort`, a text search engine on goroutines.
//!
//! ```text
//! gort search [--json] [--repeat N] [--procs P] DIR WORD...
//! ```
//!
//! Prints the files under DIR that hold all WORDs, with the sum of their counts, most first; the
//! last line, on stderr, tells what the runtime did. With `--json` one object holds it all. Words are runs of
//! ASCII letters, digits and `_`. Files that are binary (a zero in the first 8 KiB), folders named `.git` and
//! symbolic links are not searched.
//!
//! It is here to bring one real program through all crates: plain blocking reads on goroutines, an
//! inverted index in the collected heap, malloc from the runtime's allocator.
//!
//! | exit code | |
//! |---|---|
//! | 0 | there are hits |
//! | 1 | there are none |
//! | 2 | bad input: no such directory, no word, one beyond ASCII; or a file could not be read, was named, and the rest was searched |
//!
//! The path of a word: [`walk`] finds a file, [`read`] cuts it into words by [`tokenize`], [`mod@search`]
//! puts them into the [`index`] from many goroutines, [`query`] asks it, [`report`] writes the answer.

mod cli;
mod index;
mod progress;
mod query;
mod read;
mod report;
mod search;
mod tokenize;
mod trouble;
mod walk;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use runtime::{Runtime, gc};

use cli::{Refusal, Request};
use report::{Answer, Facts};
use search::Outcome;

#[global_allocator]
static ALLOC: runtime::Alloc = runtime::Alloc::new();

fn main() -> ExitCode {
    match cli::parse(std::env::args_os()) {
        Ok(request) => search(&request).unwrap_or_else(|problem| refuse(&problem)),
        Err(Refusal::Usage(problem)) => refuse(&problem),
        Err(Refusal::Help(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
    }
}

/// Bad input: one line, and exit code 2.
fn refuse(problem: &str) -> ExitCode {
    eprintln!("gort: {problem}");
    ExitCode::from(2)
}

fn search(request: &Request) -> Result<ExitCode, String> {
    let mut builder = Runtime::builder();
    if let Some(procs) = request.procs {
        builder = builder.procs(procs);
    }
    let runtime = builder.build().map_err(|error| error.to_string())?;
    let outcome =
        runtime.run(|| search::run(request)).map_err(|error| explain(&request.dir, &error))?;
    let answer = answer(outcome, &runtime);
    write(&answer, request.json).map_err(|error| format!("cannot write the answer: {error}"))?;
    if !request.json {
        eprintln!("{}", answer.summary());
    }
    Ok(exit_code(&answer))
}

/// Why a directory cannot be searched, in the words of the command line.
fn explain(dir: &Path, error: &io::Error) -> String {
    let name = dir.display().to_string();
    let name = name.escape_debug();
    match error.kind() {
        ErrorKind::NotFound => format!("{name}: no such directory"),
        ErrorKind::NotADirectory => format!("{name}: not a directory"),
        _ => format!("{name}: {error}"),
    }
}

fn answer(outcome: Outcome, runtime: &Runtime) -> Answer {
    let (scheduler, collector) = (runtime.stats(), gc::stats());
    let facts = Facts {
        goroutines: scheduler.goroutines_created,
        threads: scheduler.threads,
        steals: scheduler.steals,
        handoffs: scheduler.handoffs,
        preemptions: scheduler.preemptions,
        collections: collector.cycles,
        longest_mutator_delay_us: collector.longest_delay.as_micros() as u64,
        heap_live_bytes: gc::heap().live_bytes(),
        peak_rss_bytes: report::peak_rss(),
        index_seconds: outcome.index_seconds,
        query_seconds: outcome.query_seconds,
    };
    Answer { totals: outcome.totals, hits: outcome.hits, runtime: facts }
}

/// Writes to stdout. A reader that has seen enough and left is no error.
fn write(answer: &Answer, json: bool) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = if json { answer.write_json(&mut out) } else { answer.write_lines(&mut out) };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

fn exit_code(answer: &Answer) -> ExitCode {
    match (answer.totals.skipped, answer.hits.len()) {
        (0, 0) => ExitCode::from(1),
        (0, _) => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}
