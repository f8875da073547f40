//! How a run of a model's tests ended.
//!
//! A fault is shown by a test that the harness reports as failed: by an assertion of the model, of the code or of
//! loom about the code. Other ways to end say nothing about the code, as a model may die of what has nothing to do
//! with the fault. A fault whose run cannot but end so says it in its file: `ends: abort`.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::Result;

/// How a run of tests ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Ending {
    /// All tests that were asked for passed.
    Passed,
    /// A test failed.
    Failed,
    /// A test failed as loom could not go on.
    Limit,
    /// There is no such test.
    NoTest,
    /// A panic that could not unwind ended it: mostly the second, from a destructor that asserts.
    Aborted,
    /// A signal of this number ended it.
    Signal(i32),
    /// It ended with this code, and the harness named no test that failed.
    Exit(i32),
    /// It neither failed nor finished.
    TimedOut,
}

/// Parts of what loom says when it cannot go on: too long a path, too many threads, misuse, a fault of its own.
const LOOM_CANNOT: [&str; 5] = [
    "Model exceeded maximum number of branches",
    "self.threads.len() < self.max()",
    "/src/rt/path.rs:",
    "/src/rt/scheduler.rs:",
    "[loom internal bug]",
];

/// The signal of an abort.
const SIGABRT: i32 = 6;

/// The signal of an access to what is not there.
const SIGSEGV: i32 = 11;

impl Ending {
    /// What stands behind `ends: ` in a fault's file.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        match word {
            "abort" => Ok(Self::Aborted),
            "crash" => Ok(Self::Signal(SIGSEGV)),
            "limit" => Ok(Self::Limit),
            _ => Err(format!("no ending is called {word}; there are `abort`, `crash` and `limit`")
                .into()),
        }
    }

    /// Of a run that ended with `status`, by what the harness wrote to `stdout` and the panics to `stderr`.
    pub(crate) fn of(status: ExitStatus, stdout: &str, stderr: &str) -> Self {
        Self::by_now(stdout, stderr).unwrap_or(match (status.code(), status.signal()) {
            (Some(0), _) if stdout.contains("\nrunning 0 tests\n") => Self::NoTest,
            (Some(0), _) => Self::Passed,
            (Some(code), _) => Self::Exit(code),
            (None, Some(SIGABRT))
                if panic_of("", stderr).is_some_and(|panic| !is_looms(&panic)) =>
            {
                Self::Aborted
            }
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        })
    }

    /// Of a run that goes on: known as soon as one test has failed.
    pub(crate) fn by_now(stdout: &str, stderr: &str) -> Option<Self> {
        let test = stdout.lines().find_map(failed_test)?;
        let limit = panic_of(test, stderr).is_some_and(|panic| is_looms(&panic));
        Some(if limit { Self::Limit } else { Self::Failed })
    }
}

/// Whether these are words of a loom that cannot go on.
fn is_looms(words: &str) -> bool {
    LOOM_CANNOT.iter().any(|part| words.contains(part))
}

/// The test of which a line of the harness says that it has failed.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?.split(' ').next()
}

/// Where the test, or any if it has no name, panicked first, and the first line of what it said. Not more: below
/// stands the way there, which goes through loom.
fn panic_of(test: &str, stderr: &str) -> Option<String> {
    let begins = if test.is_empty() { "thread '".into() } else { format!("thread '{test}' ") };
    let is_first = |line: &&str| line.starts_with(&begins) && line.contains(" panicked at ");
    let mut lines = stderr.lines().skip_while(|line| !is_first(line));
    Some(format!("{}\n{}", lines.next()?, lines.next()?))
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("its tests passed"),
            Self::Failed => f.write_str("a test failed"),
            Self::Limit => f.write_str("loom could not go on"),
            Self::NoTest => f.write_str("no test has the name"),
            Self::Aborted => f.write_str("a panic could not unwind"),
            Self::Signal(number) => write!(f, "signal {number} ended it"),
            Self::Exit(code) => write!(f, "exit code {code} without a failed test"),
            Self::TimedOut => f.write_str("it neither failed nor finished"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = "\nrunning 2 tests\ntest a::steal ... ok\ntest a::take ... FAILED\n";

    /// The status of a process that ended with this code.
    fn code(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    /// What a test's panic writes.
    fn panic(test: &str, place: &str, message: &str) -> String {
        format!("\nthread '{test}' (77) panicked at {place}:\n{message}\nnote: run with\n")
    }

    #[test]
    fn a_failed_test_shows_a_fault() {
        let panic = panic("a::take", "tests/a.rs:1:2", "assertion failed: one == two");
        assert_eq!(Ending::of(code(101), FAILED, &panic), Ending::Failed);
        assert_eq!(Ending::by_now(FAILED, &panic), Some(Ending::Failed));
        assert_eq!(Ending::by_now(FAILED, ""), Some(Ending::Failed), "the harness knows");
    }

    #[test]
    fn looms_verdict_on_the_code_shows_a_fault() {
        let deadlock =
            panic("a::take", "loom-0.7.2/src/rt/execution.rs:1:2", "deadlock; threads = []");
        assert_eq!(Ending::of(code(101), FAILED, &deadlock), Ending::Failed);
    }

    #[test]
    fn loom_that_cannot_go_on_shows_nothing() {
        let message = "Model exceeded maximum number of branches. This is often caused by";
        let limit = panic("a::take", "loom-0.7.2/src/rt/path.rs:1:2", message);
        assert_eq!(Ending::of(code(101), FAILED, &limit), Ending::Limit);
        let later = panic("a::take", "tests/a.rs:1:2", "a lock is poisoned");
        assert_eq!(Ending::by_now(FAILED, &(limit.clone() + &later)), Some(Ending::Limit));
        assert_eq!(
            Ending::by_now(FAILED, &(later + &limit)),
            Some(Ending::Failed),
            "what came first"
        );
        let other = panic("a::steal", "tests/a.rs:1:2", "caught") + &limit;
        assert_eq!(Ending::by_now(FAILED, &other), Some(Ending::Limit), "the failed one's");
    }

    #[test]
    fn a_death_shows_nothing() {
        let started = "\nrunning 2 tests\n";
        assert_eq!(Ending::of(ExitStatus::from_raw(11), started, ""), Ending::Signal(11));
        assert_eq!(Ending::of(ExitStatus::from_raw(6), started, ""), Ending::Signal(6));
        assert_eq!(Ending::of(ExitStatus::from_raw(6), FAILED, ""), Ending::Failed, "before it");
        assert_eq!(Ending::of(code(101), started, ""), Ending::Exit(101));
        assert_eq!(Ending::of(code(1), "", ""), Ending::Exit(1));
    }

    #[test]
    fn a_panic_that_cannot_unwind_is_told_from_other_deaths() {
        let abort = ExitStatus::from_raw(SIGABRT);
        let first = panic("a::take", "tests/a.rs:1:2", "assertion failed: one == two");
        let second = panic("a::take", "core/src/panicking.rs:1:2", "panic in a destructor")
            + "  30: loom::rt::scheduler at loom-0.7.2/src/rt/scheduler.rs:7\n";
        assert_eq!(Ending::of(abort, "", &(first + &*second)), Ending::Aborted);
        let limit = panic("a::take", "loom-0.7.2/src/rt/path.rs:1:2", LOOM_CANNOT[0]);
        assert_eq!(Ending::of(abort, "", &(limit + &second)), Ending::Signal(6));
        assert_eq!(Ending::of(abort, "", "free(): invalid pointer\n"), Ending::Signal(6));
    }

    #[test]
    fn tests_that_pass_were_there() {
        assert_eq!(Ending::of(code(0), "\nrunning 1 test\ntest a ... ok\n", ""), Ending::Passed);
        assert_eq!(Ending::of(code(0), "\nrunning 0 tests\n\n", ""), Ending::NoTest);
        assert_eq!(Ending::by_now("\nrunning 1 test\ntest a ... ok\n", ""), None);
    }
}
