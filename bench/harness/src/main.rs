//! `bench-run`: builds ours and the peers by `bench/build`, and runs them side by side. Started by `bench/run`.

use std::error::Error;
use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use harness::Record;
use harness::runner::options::{Options, USAGE};
use harness::runner::plan::Row;
use harness::runner::table::Results;
use harness::runner::{execute, machine};
use serde::Serialize;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err(mistake) => {
            eprintln!("{mistake}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let files = Files::of(options)?;
    files.check(options)?;
    build(&files.bench)?;
    let rows: Vec<&Row> = options.rows().collect();
    let mut report = Report::create(files, options)?;
    let mut results = Results::default();
    for row in &rows {
        measure(row, options, &mut results, &mut report)?;
    }
    report.finish(&results.markdown(&rows), results.is_empty())
}

/// Builds the peers' programs. Not before the command line is known to be right: it takes minutes.
fn build(bench: &Path) -> Result<(), Box<dyn Error>> {
    let built = Command::new(bench.join("build")).status()?;
    if built.success() { Ok(()) } else { Err(format!("bench/build fails: {built}").into()) }
}

/// Runs the peers of one row in turn, round after round; each round begins with another one, since the first may
/// find a machine that has slept, or that must get memory from its host.
fn measure(
    row: &'static Row,
    options: &Options,
    results: &mut Results,
    report: &mut Report,
) -> Result<(), Box<dyn Error>> {
    let mut peers: Vec<_> = options.peers_of(row).collect();
    for round in 1..=options.rounds_of(row) {
        for &peer in &peers {
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
        peers.rotate_left(1);
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
struct Files {
    bench: PathBuf,
    label: String,
    tables: PathBuf,
    numbers: PathBuf,
}

impl Files {
    fn of(options: &Options) -> Result<Self, Box<dyn Error>> {
        let label = options.label.clone().unwrap_or_else(|| {
            let suffix = if options.quick { "-quick" } else { "" };
            machine::today() + suffix
        });
        let bench = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no bench folder")?;
        let file = |kind: &str| bench.join("results").join(format!("{label}.{kind}"));
        let (tables, numbers) = (file("md"), file("jsonl"));
        Ok(Self { bench: bench.into(), label, tables, numbers })
    }

    /// Refuses to overwrite a run, unless it was a quick one without a name.
    fn check(&self, options: &Options) -> Result<(), Box<dyn Error>> {
        let free = options.force || (options.quick && options.label.is_none());
        match [&self.tables, &self.numbers].into_iter().find(|file| file.exists()) {
            Some(file) if !free => Err(format!(
                "{} is there: --label gives another name, --force overwrites it",
                file.display()
            )
            .into()),
            _ => Ok(()),
        }
    }
}

/// What is written in the course of a run.
struct Report {
    files: Files,
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
    fn create(files: Files, options: &Options) -> Result<Self, Box<dyn Error>> {
        fs::create_dir_all(files.bench.join("results"))?;
        files.check(options)?;
        let numbers = fs::File::create(&files.numbers)?;
        let mut head = vec![format!("# {}\n", files.label)];
        head.extend(machine::describe(&files.bench.join(".venv/bin/go")));
        if options.quick {
            head.push("- A quick run: a tenth of the work, not to be quoted".into());
        }
        head.push("\nMedian (minimum–maximum) of the rounds; smaller is better everywhere.".into());
        Ok(Self { files, numbers, head })
    }

    fn keep(&mut self, round: usize, records: &[Record]) -> Result<(), Box<dyn Error>> {
        for record in records {
            let line = serde_json::to_string(&Line { round, record })?;
            writeln!(self.numbers, "{line}")?;
        }
        Ok(())
    }

    /// Prints the tables and writes them; a run without a number leaves no files.
    fn finish(self, tables: &str, empty: bool) -> Result<(), Box<dyn Error>> {
        let text = format!("{}\n{tables}", self.head.join("\n"));
        print!("{text}");
        if empty {
            fs::remove_file(&self.files.numbers)?;
            return Err("no program gave a number: nothing is written".into());
        }
        fs::write(&self.files.tables, text)?;
        eprintln!("\nwritten: {}", self.files.tables.display());
        Ok(())
    }
}
