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
    rounds: Option<usize>,
}

/// Shown for `--help` and after a mistake.
pub const USAGE: &str = "\
usage: bench/run [FILTER...] [--quick] [--rounds N] [--peers A,B] [--label NAME]

FILTER       run the rows of that area, or whose name contains it (all rows without one)
--quick      a tenth of the work, three rounds; for development, never to be quoted
--rounds N   how often each program runs at most
--peers A,B  only these peers (ours, go, tokio, may, mimalloc, jemalloc, system, …)
--label NAME write bench/results/NAME.md and NAME.jsonl (default: today's date)";

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
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--quick" => options.quick = true,
                "--rounds" => options.rounds = Some(number(&value()?)?),
                "--peers" => options.peers = value()?.split(',').map(Into::into).collect(),
                "--label" => options.label = Some(value()?),
                _ if word.starts_with('-') => return Err(format!("unknown option {word}")),
                _ => options.filters.push(word),
            }
        }
        Ok(options)
    }

    /// The rows that were asked for.
    pub fn rows(&self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(|row| {
            let named = |filter: &String| match Area::ALL.iter().find(|area| area.name() == filter)
            {
                Some(area) => row.area == *area,
                None => row.name.contains(&**filter),
            };
            self.filters.is_empty() || self.filters.iter().any(named)
        })
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
        assert!(parse("--slow").unwrap_err().contains("--slow"));
        assert!(parse("--rounds").unwrap_err().contains("needs a value"));
        assert!(parse("--rounds 0").is_err());
    }
}
