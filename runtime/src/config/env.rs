//! Settings from the environment, under Go's names.
//!
//! | variable | value | meaning |
//! |---|---|---|
//! | `GOMAXPROCS` | a number | how many Ps |
//! | `GOGC` | a percentage, or `off` | how much the heap may grow between collections |
//! | `GODEBUG` | `name=value,…` | see below |
//!
//! | in `GODEBUG` | value | meaning |
//! |---|---|---|
//! | `schedtrace` | milliseconds | write a line about the scheduler this often |
//! | `gctrace` | `1` | write a line about each collection |
//! | `gccheckmark` | `1` | mark twice in each collection, and panic if the first overlooked something |
//! | `preempt` | `1ms`, `100us`, `off` | how long a goroutine may run while others wait |
//! | `asyncpreemptoff` | `1` | as `preempt=off`, Go's name |
//! | `threadmode` | `1` | a kernel thread for each goroutine |
//!
//! As in Go, a value that makes no sense is ignored, and so are names that are not listed: a variable
//! meant for another program must not stop this one.

use std::time::Duration;

/// What the environment says. `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    pub(crate) procs: Option<usize>,
    /// The inner `None` is `off`.
    pub(crate) gogc: Option<Option<u32>>,
    pub(crate) schedtrace: Option<Duration>,
    pub(crate) gctrace: bool,
    pub(crate) gccheckmark: bool,
    pub(crate) preempt: Option<Preempt>,
    pub(crate) kernel_threads: bool,
}

/// How long a goroutine may run while others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preempt {
    /// For ever: no signal is sent.
    Off,
    /// This long.
    After(Duration),
}

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Self {
        Self::parse(|name| std::env::var(name).ok())
    }

    fn parse(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let mut found = Environment {
            procs: lookup("GOMAXPROCS")
                .and_then(|text| text.trim().parse().ok())
                .filter(|&n| n > 0),
            gogc: lookup("GOGC").and_then(|text| percentage(text.trim())),
            ..Environment::default()
        };
        for pair in lookup("GODEBUG").unwrap_or_default().split(',') {
            if let Some((name, value)) = pair.split_once('=') {
                found.debug(name.trim(), value.trim());
            }
        }
        found
    }

    /// One setting of `GODEBUG`.
    fn debug(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("gctrace", value) => self.gctrace = value != "0",
            ("gccheckmark", value) => self.gccheckmark = value != "0",
            ("threadmode", value) => self.kernel_threads = value != "0",
            ("asyncpreemptoff", "1") | ("preempt", "off") => self.preempt = Some(Preempt::Off),
            ("preempt", value) => {
                self.preempt = duration(value).map(Preempt::After).or(self.preempt);
            }
            ("schedtrace", value) => {
                let period = value.parse().ok().filter(|&ms| ms > 0).map(Duration::from_millis);
                self.schedtrace = period.or(self.schedtrace);
            }
            _ => {}
        }
    }
}

/// `off`, or a number of per cent.
fn percentage(text: &str) -> Option<Option<u32>> {
    if text == "off" { Some(None) } else { text.parse().ok().map(Some) }
}

/// A number with `us`, `ms` or `s` behind it, above zero.
fn duration(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().ok().filter(|&n| n > 0)?;
    match &text[digits.len()..] {
        "us" => Some(Duration::from_micros(count)),
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Environment {
        Environment::parse(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn an_empty_environment_says_nothing() {
        assert_eq!(parse(&[]), Environment::default());
    }

    #[test]
    fn go_names_and_values() {
        let found = parse(&[
            ("GOMAXPROCS", " 3"),
            ("GOGC", "250"),
            (
                "GODEBUG",
                "gctrace=1,gccheckmark=1, schedtrace=1000,preempt=100us,threadmode=1,madvdontneed=1",
            ),
        ]);
        let expected = Environment {
            procs: Some(3),
            gogc: Some(Some(250)),
            schedtrace: Some(Duration::from_secs(1)),
            gctrace: true,
            gccheckmark: true,
            preempt: Some(Preempt::After(Duration::from_micros(100))),
            kernel_threads: true,
        };
        assert_eq!(found, expected);
        assert_eq!(parse(&[("GOGC", "off")]).gogc, Some(None));
        assert_eq!(parse(&[("GODEBUG", "asyncpreemptoff=1")]).preempt, Some(Preempt::Off));
        assert_eq!(parse(&[("GODEBUG", "preempt=off")]).preempt, Some(Preempt::Off));
    }

    #[test]
    fn nonsense_is_ignored() {
        let found = parse(&[
            ("GOMAXPROCS", "0"),
            ("GOGC", "much"),
            ("GODEBUG", "schedtrace=0,preempt=1h,preempt=0ms,gctrace,=,,asyncpreemptoff=0"),
        ]);
        assert_eq!(found, Environment::default());
    }
}
