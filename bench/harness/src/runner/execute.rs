//! Runs one peer's program once, within a time limit.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output};

use crate::Record;

/// After this many seconds a program counts as hung.
const LIMIT_SECONDS: u32 = 120;

/// Runs `PROGRAM ROW [--quick]` and reads its records.
///
/// `peer` replaces the name in the records: the tables know a program by the plan's name. The program finds it
/// in `BENCH_PEER`, if it serves several.
///
/// # Errors
///
/// Why the program gave no numbers, in a few words.
pub fn run(program: &Path, peer: &str, row: &str, quick: bool) -> Result<Vec<Record>, String> {
    if !program.exists() {
        return Err("not built".into());
    }
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &LIMIT_SECONDS.to_string()]).arg(program).arg(row);
    command.env("BENCH_PEER", peer);
    if quick {
        command.arg("--quick");
    }
    let output = command.output().map_err(|error| format!("cannot start: {error}"))?;
    if !output.status.success() {
        return Err(reason(&output));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let records = text.lines().map(|line| read(line, peer)).collect::<Result<Vec<_>, _>>()?;
    if records.is_empty() { Err("no numbers".into()) } else { Ok(records) }
}

fn read(line: &str, peer: &str) -> Result<Record, String> {
    let record: Record =
        serde_json::from_str(line).map_err(|error| format!("bad line {line:?}: {error}"))?;
    Ok(Record { peer: peer.into(), ..record })
}

/// The way it ended, and the most telling line of what it said on stderr.
fn reason(output: &Output) -> String {
    let ending = ending(output.status);
    let said = String::from_utf8_lossy(&output.stderr);
    match telling_line(&said) {
        Some(line) => format!("{ending}: {line}"),
        None => ending,
    }
}

/// What the exit status means. `timeout` reports a signal to its child as 128 + signal or by
/// dying of it itself, and its own limit as 124.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(124), _) => format!("no end after {LIMIT_SECONDS} s"),
        (Some(code @ 129..), _) => format!("signal {}", code - 128),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// The first line that names an error or a panic's message; else the last line. Cut to 120
/// characters.
fn telling_line(said: &str) -> Option<String> {
    let mut lines: VecDeque<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    let message = lines.iter().position(|line| line.contains("panicked at")).map(|at| at + 1);
    let error = || lines.iter().position(|line| line.to_lowercase().contains("error"));
    let at = message.or_else(error).filter(|&at| at < lines.len());
    let line = at.map(|at| lines[at]).or_else(|| lines.pop_back())?;
    Some(line.trim().chars().take(120).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result<Vec<Record>, String> {
        let folder = std::env::temp_dir().join(format!("bench-run-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let name: String = script.chars().filter(char::is_ascii_alphanumeric).collect();
        let program = folder.join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        run(&program, "peer", "row", false)
    }

    #[test]
    fn a_record_gets_the_name_of_the_plan() {
        let line = r#"{"row":"r","peer":"x","metric":"m","unit":"ns","value":2}"#;
        let records = shell(&format!("echo '{line}'")).unwrap();
        assert_eq!((records[0].peer.as_str(), records[0].value), ("peer", 2.0));
    }

    #[test]
    fn failures_say_why() {
        assert_eq!(shell("exit 3").unwrap_err(), "exit code 3");
        assert_eq!(shell("true").unwrap_err(), "no numbers");
        assert!(shell("echo nonsense").unwrap_err().starts_with("bad line"));
        let panicked = shell("echo 'thread main panicked at x.rs:1:'; kill -ABRT $$");
        assert!(panicked.unwrap_err().starts_with("signal 6"));
        assert_eq!(run(Path::new("/nowhere"), "p", "r", true).unwrap_err(), "not built");
    }

    #[test]
    fn the_panic_message_is_found_among_other_lines() {
        let said = "\nthread 'main' panicked at src/x.rs:1:\nout of slots\nnote: run with …\n";
        assert_eq!(telling_line(said).unwrap(), "out of slots");
        assert_eq!(telling_line("first\nlast\n").unwrap(), "last");
        assert_eq!(telling_line(""), None);
    }
}
