//! The command line of `bench/run`.

use super::plan::{Area, ROWS, Row};

/// What to run and under which name to keep it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    filters: Vec<String>,
    /// Small workloads and three rounds: for development.
    pub quick: bool,
    /// Only these peers; all if empty.
    pub peers: Vec<String>,
    /// The name of the result files; today's date if not given.
    pub label: Option<String>,
    /// Result files of that name may be overwritten.
    pub force: bool,
    rounds: Option<usize>,
}

/// Shown for `--help` and after a mistake.
pub const USAGE: &str = "\
usage: bench/run [FILTER...] [--quick] [--rounds N] [--peers A,B] [--label NAME] [--force]

FILTER       run the rows of that area, or whose name contains it (all rows without one)
--quick      a tenth of the work, three rounds; for development, never to be quoted
--rounds N   how often each program runs at most
--peers A,B  only these peers (ours, go, tokio, may, mimalloc, jemalloc, system, …)
--label NAME write bench/results/NAME.md and NAME.jsonl (default: today's date)
--force      overwrite them if they are there, instead of refusing (DATE-quick, the name that a
             quick run has without --label, is always overwritten)
--help, -h   print this";

impl Options {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    ///
    /// A sentence that says which word is wrong.
    pub fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next().filter(|value| !value.starts_with('-'));
                value.ok_or(format!("{word} needs a value"))
            };
            match word.as_str() {
                "--quick" => options.quick = true,
                "--force" => options.force = true,
                "--rounds" => options.rounds = Some(number(&value()?)?),
                "--peers" => options.peers = peers(&value()?)?,
                "--label" => options.label = Some(label(value()?)?),
                _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
                _ => options.filters.push(word),
            }
        }
        options.check()?;
        Ok(options)
    }

    /// Whether each filter chooses a row, and one of the peers runs one of the rows.
    fn check(&self) -> Result<(), String> {
        let matched = |filter: &&String| ROWS.iter().any(|row| chooses(filter, row));
        let lost: Vec<_> =
            self.filters.iter().filter(|filter| !matched(filter)).map(|it| &**it).collect();
        if !lost.is_empty() {
            return Err(format!("no row matches {}", lost.join(", ")));
        }
        if self.rows().all(|row| self.peers_of(row).next().is_none()) {
            return Err(format!("these rows are not run by {}", self.peers.join(", ")));
        }
        Ok(())
    }

    /// The rows that were asked for.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let wanted = |row: &&Row| {
            self.filters.is_empty() || self.filters.iter().any(|filter| chooses(filter, row))
        };
        ROWS.iter().filter(wanted)
    }

    /// The peers of `row` that were asked for.
    pub fn peers_of(&self, row: &Row) -> impl Iterator<Item = &'static str> {
        let wanted = |peer: &&str| self.peers.is_empty() || self.peers.iter().any(|p| p == peer);
        row.peers().filter(wanted)
    }

    /// How often each peer runs `row`.
    pub fn rounds_of(&self, row: &Row) -> usize {
        self.rounds.unwrap_or(if self.quick { 3 } else { row.rounds })
    }
}

/// Whether `filter` is the row's area, or a part of its name.
fn chooses(filter: &str, row: &Row) -> bool {
    match Area::ALL.iter().find(|area| area.name() == filter) {
        Some(area) => row.area == *area,
        None => row.name.contains(filter),
    }
}

fn peers(list: &str) -> Result<Vec<String>, String> {
    let mut known: Vec<&str> = Vec::new();
    for &peer in Area::ALL.iter().flat_map(|area| area.peers()) {
        if !known.contains(&peer) {
            known.push(peer);
        }
    }
    match list.split(',').find(|peer| !known.contains(peer)) {
        Some(peer) => Err(format!("unknown peer {peer:?}; there are {}", known.join(", "))),
        None => Ok(list.split(',').map(Into::into).collect()),
    }
}

/// The name of two files in one folder, and nothing else.
fn label(word: String) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if word.is_empty() || word.starts_with('.') || !word.bytes().all(plain) {
        return Err(format!(
            "{word:?} is no label: letters, digits, - and _, and . except in front"
        ));
    }
    Ok(word)
}

fn number(word: &str) -> Result<usize, String> {
    match word.parse() {
        Ok(0) | Err(_) => Err(format!("{word} is not a number of rounds")),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::plan::Area;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(Into::into))
    }

    #[test]
    fn filters_choose_rows_by_name_or_area() {
        let names = |line| parse(line).unwrap().rows().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names("yield"), ["yield-2", "yield-1000"]);
        assert_eq!(names("binary"), ["binary-trees-18", "binary-trees-21"]);
        let in_gc = ROWS.iter().filter(|row| row.area == Area::Gc);
        assert_eq!(names("gc"), in_gc.map(|row| row.name).collect::<Vec<_>>());
        assert_eq!(names("").len(), ROWS.len());
    }

    #[test]
    fn peers_and_rounds() {
        let options = parse("--peers go,ours --rounds 4 --quick").unwrap();
        assert_eq!(options.peers_of(&ROWS[0]).collect::<Vec<_>>(), ["ours", "go"]);
        assert_eq!(options.rounds_of(&ROWS[0]), 4);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("--slow", "unknown option --slow"),
            ("--rounds", "--rounds needs a value"),
            ("--rounds 0", "0 is not a number of rounds"),
            ("--peers", "--peers needs a value"),
            ("--peers --quick", "--peers needs a value"),
            ("--peers ours,nobody", "unknown peer \"nobody\"; there are ours, go, tokio, may, "),
            ("--peers ours,", "unknown peer \"\""),
            ("nothing", "no row matches nothing"),
            ("ticker nothing void", "no row matches nothing, void"),
            ("sched --peers jemalloc,epoch", "these rows are not run by jemalloc, epoch"),
        ] {
            let said = parse(line).unwrap_err();
            assert!(said.starts_with(named), "{line}: {said}");
        }
    }

    #[test]
    fn a_label_is_a_plain_name() {
        assert_eq!(parse("--label 2026-12-01_a.b").unwrap().label.unwrap(), "2026-12-01_a.b");
        for word in ["../../x", "no/dir", "/x", "..", ".x", "größe"] {
            let said = parse(&format!("--label {word}")).unwrap_err();
            assert!(said.contains(word) && said.contains("is no label"), "{said}");
        }
        let words = ["--label".to_owned(), String::new()];
        assert!(Options::parse(words).unwrap_err().contains("is no label"));
    }
}
