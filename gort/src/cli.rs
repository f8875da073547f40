//! The command line: what was asked for, or one line that says what is wrong with it.
//!
//! Words pass through the same tokeniser as the files, so `Foo-bar` asks for files that hold both
//! `foo` and `bar`; a word that is named twice counts once. One with letters beyond ASCII is refused: of
//! `café` the files have the word `caf`, which is not what was meant.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::tokenize::{Tokenizer, Word};

#[derive(Debug, Parser)]
#[command(name = "gort", version, about = "A text search engine on goroutines")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find the files that hold all words, most occurrences first
    Search(Search),
}

#[derive(Debug, Args)]
struct Search {
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
    /// Build the index so many times, dropping the former one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// Run on so many processors, 1 to 9999 [default: GOMAXPROCS, or as many as there are]
    // Fewer than the runtime may have threads.
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..=9_999))]
    procs: Option<u16>,
    /// Where to look
    dir: PathBuf,
    /// What to look for: runs of ASCII letters, digits and _, in any case
    #[arg(required = true)]
    words: Vec<OsString>,
}

/// A search as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) json: bool,
    pub(crate) repeat: u32,
    pub(crate) procs: Option<usize>,
    pub(crate) dir: PathBuf,
    /// Distinct, at least one.
    pub(crate) words: Vec<Word>,
}

/// Why there is nothing to run.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help or version was asked for; the text to print.
    Help(String),
    /// One line about what is wrong.
    Usage(String),
}

/// Reads the command line, program name first.
pub(crate) fn parse(
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
) -> Result<Request, Refusal> {
    let Cli { command: Command::Search(search) } =
        Cli::try_parse_from(arguments).map_err(refuse)?;
    if let Some(word) = search.words.iter().find(|word| !word.as_bytes().is_ascii()) {
        return Err(Refusal::Usage(format!("{word:?} is no word: {LETTERS}")));
    }
    let words = words(&search.words);
    if words.is_empty() {
        return Err(Refusal::Usage(format!("no word to search for: {LETTERS}")));
    }
    let procs = search.procs.map(usize::from);
    Ok(Request { json: search.json, repeat: search.repeat, procs, dir: search.dir, words })
}

const LETTERS: &str = "words hold ASCII letters, digits and _";

fn refuse(error: clap::Error) -> Refusal {
    use clap::error::ErrorKind::{
        DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
    };
    let text = error.render().to_string();
    match error.kind() {
        DisplayHelp | DisplayVersion => return Refusal::Help(text),
        // Its text is the help.
        DisplayHelpOnMissingArgumentOrSubcommand => {
            return Refusal::Usage("usage: gort search DIR WORD... (try --help)".into());
        }
        _ => {}
    }
    // clap's first paragraph says what is wrong, the others how to do better.
    let problem = text.split("\n\n").next().unwrap_or_default();
    let problem = problem.trim_start_matches("error: ");
    let line = problem.split_whitespace().collect::<Vec<_>>().join(" ");
    Refusal::Usage(format!("{line} (try --help)"))
}

fn words(arguments: &[OsString]) -> Vec<Word> {
    let mut words = Vec::new();
    for argument in arguments {
        let mut tokenizer = Tokenizer::new();
        let mut keep = |word: &[u8]| {
            if !words.iter().any(|known: &Word| **known == *word) {
                words.push(word.into());
            }
        };
        tokenizer.feed(argument.as_bytes(), &mut keep);
        tokenizer.finish(&mut keep);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(arguments: &[&str]) -> Result<Request, Refusal> {
        parse(["gort", "search"].iter().chain(arguments))
    }

    #[test]
    fn words_are_split_lowered_and_named_once() {
        let request = search(&["--procs", "2", "dir", "Foo-bar", "FOO", "x_1"]).unwrap();
        assert_eq!(request.words, [b"foo".as_slice(), b"bar", b"x_1"].map(Word::from));
        assert_eq!((request.procs, request.repeat, request.json), (Some(2), 1, false));
    }

    #[test]
    fn what_is_wrong_takes_one_line() {
        let cases: [&[&str]; 7] = [
            &[],
            &["dir"],
            &["dir", "--", "--"],
            &["dir", "word", "café"],
            &["--procs", "0", "dir", "word"],
            &["--repeat", "0", "dir", "word"],
            &["--what", "dir", "word"],
        ];
        for case in cases {
            let Err(Refusal::Usage(line)) = search(case) else { panic!("{case:?} passed") };
            assert!(!line.contains('\n') && line.len() > 10, "{case:?}: {line}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let said = |answer| match answer {
            Err(Refusal::Usage(line)) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(said(parse(["gort"])), "usage: gort search DIR WORD... (try --help)");
        let cafe = said(search(&["dir", "word", "café"]));
        assert_eq!(cafe, "\"café\" is no word: words hold ASCII letters, digits and _");
        let none = said(search(&["dir", "!"]));
        assert_eq!(none, "no word to search for: words hold ASCII letters, digits and _");
    }

    #[test]
    fn processors_are_fewer_than_threads() {
        let procs = |count| search(&["--procs", count, "dir", "word"]);
        assert_eq!(procs("9999").unwrap().procs, Some(9_999));
        for count in ["10000", "65535", "65536"] {
            let Err(Refusal::Usage(line)) = procs(count) else { panic!("{count} passed") };
            assert!(line.contains(count) && line.contains("--procs"), "{line}");
        }
    }

    #[test]
    fn help_is_no_error() {
        assert!(matches!(parse(["gort", "--help"]), Err(Refusal::Help(_))));
        assert!(matches!(parse(["gort", "--version"]), Err(Refusal::Help(_))));
    }
}
