//! `bench-run`: runs ours and the peers side by side. Started by `bench/run`, which builds first.

use std::error::Error;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use harness::Record;
use harness::runner::options::{Options, USAGE};
use harness::runner::plan::Row;
use harness::runner::table::Results;
use harness::runner::{execute, machine};
use serde::Serialize;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let options = Options::parse(words).unwrap_or_else(|mistake| {
        eprintln!("{mistake}\n{USAGE}");
        std::process::exit(2);
    });
    let rows: Vec<&Row> = options.rows().collect();
    if rows.is_empty() {
        return Err("no row matches".into());
    }
    let mut report = Report::create(&options)?;
    let mut results = Results::default();
    for row in &rows {
        measure(row, &options, &mut results, &mut report)?;
    }
    report.finish(&results.markdown(&rows))
}

/// Runs the peers of one row in turn, round after round.
fn measure(
    row: &'static Row,
    options: &Options,
    results: &mut Results,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    for round in 1..=options.rounds_of(row) {
        for peer in options.peers_of(row) {
            if results.failed(row.name, peer) {
                continue;
            }
            show(&format!("{} round {round}: {peer}", row.name));
            let program = programs()?.join(row.area.program(peer));
            match execute::run(&program, peer, row.name, options.quick) {
                Ok(records) => {
                    report.keep(round, &records)?;
                    results.add(records);
                }
                Err(reason) => {
                    show("");
                    eprintln!("{}, {peer}: fails: {reason}", row.name);
                    results.fail(row.name, peer, reason);
                }
            }
        }
    }
    show("");
    Ok(())
}

/// Overwrites the progress line, if somebody watches.
fn show(progress: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{progress}");
    }
}

/// The folder that holds this program and those of the peers.
fn programs() -> Result<PathBuf, Box<dyn Error>> {
    let this = std::env::current_exe()?;
    Ok(this.parent().ok_or("this program lies in no folder")?.into())
}

/// The two files of one run: the tables, and each number that they were made of.
struct Report {
    tables: PathBuf,
    numbers: fs::File,
    head: Vec<String>,
}

/// A record and the round it comes from.
#[derive(Serialize)]
struct Line<'a> {
    round: usize,
    #[serde(flatten)]
    record: &'a Record,
}

impl Report {
    fn create(options: &Options) -> Result<Self, Box<dyn Error>> {
        let label = options.label.clone().unwrap_or_else(|| {
            let suffix = if options.quick { "-quick" } else { "" };
            machine::today() + suffix
        });
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no bench folder")?;
        let results = folder.join("results");
        fs::create_dir_all(&results)?;
        let numbers = fs::File::create(results.join(format!("{label}.jsonl")))?;
        let mut head = vec![format!("# {label}\n")];
        head.extend(machine::describe(&folder.join(".venv/bin/go")));
        if options.quick {
            head.push("- A quick run: a tenth of the work, not to be quoted".into());
        }
        head.push("\nMedian (minimum–maximum) of the rounds; smaller is better everywhere.".into());
        Ok(Self { tables: results.join(format!("{label}.md")), numbers, head })
    }

    fn keep(&mut self, round: usize, records: &[Record]) -> Result<(), Box<dyn Error>> {
        for record in records {
            let line = serde_json::to_string(&Line { round, record })?;
            writeln!(self.numbers, "{line}")?;
        }
        Ok(())
    }

    fn finish(self, tables: &str) -> Result<(), Box<dyn Error>> {
        let text = format!("{}\n{tables}", self.head.join("\n"));
        print!("{text}");
        fs::write(&self.tables, text)?;
        eprintln!("\nwritten: {}", self.tables.display());
        Ok(())
    }
}
