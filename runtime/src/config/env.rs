//! Settings from the environment, under Go's names.
//!
//! What there is, and what it means, is in the [crate's documentation](crate#environment).
//!
//! A value that makes no sense is ignored, as in Go, since a variable meant for another program must not stop this
//! one; but a line on standard error says so, once. Of an empty one nothing is said, nor of names in `GODEBUG`
//! that are not listed there, of which Go has many.

use std::fmt;
use std::time::Duration;

/// What the environment says. `None`: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// As it was written: which numbers can be had is known when the runtime is made. See [`procs`].
    pub(crate) procs: Option<String>,
    /// The inner `None` is `off`.
    pub(crate) gogc: Option<Option<u32>>,
    /// Bytes; `off` is as none.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) schedtrace: Option<Duration>,
    pub(crate) gctrace: bool,
    pub(crate) gccheckmark: bool,
    pub(crate) gcpoison: bool,
    pub(crate) preempt: Option<Preempt>,
    pub(crate) kernel_threads: bool,
    /// What made no sense.
    pub(crate) ignored: Vec<Ignored>,
}

/// How long a goroutine may run while others wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preempt {
    /// For ever: no signal is sent.
    Off,
    /// This long.
    After(Duration),
}

/// A setting whose value makes no sense. Shown, it is the line about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ignored {
    /// `NAME=value`
    setting: String,
    wanted: Wanted,
}

/// What would make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Procs { most: usize },
    Percentage,
    Bytes,
    Milliseconds,
    Switch,
    Slice,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "runtime: {} is ignored: it takes {}", self.setting, self.wanted)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Procs { most } => {
                write!(f, "a number from 1 to {most}, less than there may be threads")
            }
            Wanted::Percentage => f.write_str("a percentage, or off"),
            Wanted::Bytes => f.write_str("bytes, as 512MiB (B, KiB, MiB, GiB, TiB), or off"),
            Wanted::Milliseconds => f.write_str("a number of milliseconds"),
            Wanted::Switch => f.write_str("1 or 0"),
            Wanted::Slice => f.write_str("a time, as 10ms (us, ms, s), or off"),
        }
    }
}

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Self {
        // What is no UTF-8 makes no sense either, and is to be named.
        Self::parse(|name| Some(std::env::var_os(name)?.to_string_lossy().into_owned()))
    }

    fn parse(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let lookup = |name: &str| {
            lookup(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        let mut found = Environment { procs: lookup("GOMAXPROCS"), ..Environment::default() };
        if let Some(text) = lookup("GOGC") {
            found.gogc = found.sense("GOGC", &text, percentage(&text), Wanted::Percentage);
        }
        if let Some(text) = lookup("GOMEMLIMIT") {
            let limit = found.sense("GOMEMLIMIT", &text, bytes(&text), Wanted::Bytes);
            found.memory_limit = limit.flatten();
        }
        for pair in lookup("GODEBUG").unwrap_or_default().split(',') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            found.debug(name.trim(), value.trim());
        }
        found
    }

    /// One setting of `GODEBUG`; of two of one name the last counts.
    fn debug(&mut self, name: &str, value: &str) {
        let number = value.parse::<i64>().ok();
        let wanted = match name {
            "schedtrace" => Wanted::Milliseconds,
            "gctrace" | "gccheckmark" | "gcpoison" | "threadmode" | "asyncpreemptoff" => {
                Wanted::Switch
            }
            "preempt" => Wanted::Slice,
            _ => return,
        };
        let setting = format!("GODEBUG={name}");
        if name == "preempt" {
            let slice = self.sense(&setting, value, slice(value), wanted);
            self.preempt = slice.or(self.preempt);
            return;
        }
        let Some(number) = self.sense(&setting, value, number, wanted) else { return };
        match name {
            "schedtrace" => {
                // Zero and less is off, as in Go.
                let period = u64::try_from(number).ok().filter(|&ms| ms > 0);
                self.schedtrace = period.map(Duration::from_millis);
            }
            "gctrace" => self.gctrace = number > 0,
            "gccheckmark" => self.gccheckmark = number > 0,
            "gcpoison" => self.gcpoison = number > 0,
            "threadmode" => self.kernel_threads = number > 0,
            _ if number != 0 => self.preempt = Some(Preempt::Off),
            _ => {}
        }
    }

    /// `value`, if `text` was one; else notes that it is ignored.
    fn sense<T>(&mut self, name: &str, text: &str, value: Option<T>, wanted: Wanted) -> Option<T> {
        if value.is_none() {
            self.ignored.push(Ignored { setting: format!("{name}={text}"), wanted });
        }
        value
    }
}

/// How many Ps `GOMAXPROCS` says, if there can be up to `most`.
pub(crate) fn procs(text: &str, most: usize) -> Result<usize, Ignored> {
    let count = text.parse().ok().filter(|count| (1..=most).contains(count));
    let ignored =
        || Ignored { setting: format!("GOMAXPROCS={text}"), wanted: Wanted::Procs { most } };
    count.ok_or_else(ignored)
}

/// `off`, or a number of per cent; below zero is `off`.
fn percentage(text: &str) -> Option<Option<u32>> {
    match text.parse::<i64>() {
        Ok(..0) => Some(None),
        Ok(percent) => u32::try_from(percent).ok().map(Some),
        Err(_) if text == "off" => Some(None),
        Err(_) => None,
    }
}

/// `off`, or a number of bytes, maybe with one of Go's units.
fn bytes(text: &str) -> Option<Option<u64>> {
    if text == "off" {
        return Some(None);
    }
    let (digits, unit) = text.split_at(text.trim_end_matches(|c: char| !c.is_ascii_digit()).len());
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    // Go's bytes have a sign.
    let bytes = digits.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    i64::try_from(bytes).is_ok().then_some(Some(bytes))
}

/// `off`, or a number with `us`, `ms` or `s` behind it, above zero.
fn slice(text: &str) -> Option<Preempt> {
    if text == "off" {
        return Some(Preempt::Off);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let count: u64 = digits.parse().ok().filter(|&n| n > 0)?;
    let time = match &text[digits.len()..] {
        "us" => Duration::from_micros(count),
        "ms" => Duration::from_millis(count),
        "s" => Duration::from_secs(count),
        _ => return None,
    };
    Some(Preempt::After(time))
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
            ("GOMEMLIMIT", "2GiB"),
            (
                "GODEBUG",
                "gctrace=1,gccheckmark=1,gcpoison=1, schedtrace=1000,preempt=100us,threadmode=1,madvdontneed=1",
            ),
        ]);
        let expected = Environment {
            procs: Some("3".into()),
            gogc: Some(Some(250)),
            memory_limit: Some(2 << 30),
            schedtrace: Some(Duration::from_secs(1)),
            gctrace: true,
            gccheckmark: true,
            gcpoison: true,
            preempt: Some(Preempt::After(Duration::from_micros(100))),
            kernel_threads: true,
            ignored: Vec::new(),
        };
        assert_eq!(found, expected);
        assert_eq!(parse(&[("GOGC", "off")]).gogc, Some(None));
        assert_eq!(parse(&[("GODEBUG", "asyncpreemptoff=1")]).preempt, Some(Preempt::Off));
        assert_eq!(parse(&[("GODEBUG", "preempt=off")]).preempt, Some(Preempt::Off));
    }

    /// The settings beside the lines about those that are ignored.
    fn split(pairs: &[(&str, &str)]) -> (Environment, Vec<String>) {
        let found = parse(pairs);
        let lines = found.ignored.iter().map(Ignored::to_string).collect();
        (Environment { ignored: Vec::new(), ..found }, lines)
    }

    #[test]
    fn nonsense_is_ignored_with_a_line_about_each() {
        let debug =
            "gctrace=yes,gctrace,gccheckmark=,threadmode=on,schedtrace=1s,preempt=1h,preempt=0ms";
        let (found, lines) = split(&[("GOGC", "much"), ("GOMEMLIMIT", "1GB"), ("GODEBUG", debug)]);
        assert_eq!(found, Environment::default());
        let ignored = [
            "GOGC=much is ignored: it takes a percentage, or off",
            "GOMEMLIMIT=1GB is ignored: it takes bytes, as 512MiB (B, KiB, MiB, GiB, TiB), or off",
            "GODEBUG=gctrace=yes is ignored: it takes 1 or 0",
            "GODEBUG=gctrace= is ignored: it takes 1 or 0",
            "GODEBUG=gccheckmark= is ignored: it takes 1 or 0",
            "GODEBUG=threadmode=on is ignored: it takes 1 or 0",
            "GODEBUG=schedtrace=1s is ignored: it takes a number of milliseconds",
            "GODEBUG=preempt=1h is ignored: it takes a time, as 10ms (us, ms, s), or off",
            "GODEBUG=preempt=0ms is ignored: it takes a time, as 10ms (us, ms, s), or off",
        ];
        assert_eq!(lines, ignored.map(|line| format!("runtime: {line}")));
    }

    #[test]
    fn what_is_empty_unknown_or_off_is_ignored_silently() {
        let debug =
            "=,,netdns=go,madvdontneed=x,asyncpreemptoff=0,gctrace=0,schedtrace=0,threadmode=-1";
        let (found, lines) = split(&[("GOGC", ""), ("GOMEMLIMIT", "off"), ("GODEBUG", debug)]);
        assert_eq!((found, lines), (Environment::default(), Vec::new()));
        assert_eq!(split(&[("GOMAXPROCS", " ")]), (Environment::default(), Vec::new()));
    }

    #[test]
    fn of_two_values_the_last_that_makes_sense_counts() {
        let (found, lines) = split(&[("GODEBUG", "gctrace=2,schedtrace=5,schedtrace=0,gctrace=x")]);
        assert_eq!(found, Environment { gctrace: true, ..Environment::default() });
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn gogc_is_off_below_zero() {
        let cases = [
            ("-1", Some(None)),
            ("off", Some(None)),
            ("0", Some(Some(0))),
            ("OFF", None),
            ("50%", None),
            ("5000000000", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(&[("GOGC", text)]).gogc, expected, "{text}");
        }
    }

    #[test]
    fn gomemlimit_has_the_units_of_go() {
        let cases = [
            ("0", Some(Some(0))),
            ("12", Some(Some(12))),
            ("12B", Some(Some(12))),
            ("3KiB", Some(Some(3 << 10))),
            ("3MiB", Some(Some(3 << 20))),
            ("3GiB", Some(Some(3 << 30))),
            ("3TiB", Some(Some(3 << 40))),
            ("off", Some(None)),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text), expected, "{text}");
        }
        let nonsense = [
            "B",
            "KiB",
            "-1",
            "1.5GiB",
            "1 GiB",
            "3kib",
            "3K",
            "9223372036854775808",
            "8388608TiB",
            "é",
        ];
        for text in nonsense {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn gomaxprocs_is_a_number_that_can_be_had() {
        assert_eq!((procs("1", 9), procs("9", 9)), (Ok(1), Ok(9)));
        for text in ["0", "10", "-1", "abc", "99999999999999999999"] {
            let line = procs(text, 9).unwrap_err().to_string();
            let wanted = "a number from 1 to 9, less than there may be threads";
            assert_eq!(line, format!("runtime: GOMAXPROCS={text} is ignored: it takes {wanted}"));
        }
    }
}
