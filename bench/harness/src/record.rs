//! The line that a peer's program prints, and the command line it is started with.

use std::env;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One measured number, printed as one JSON line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The workload.
    pub row: String,
    /// Who ran it.
    pub peer: String,
    /// What was measured, for rows that measure several things.
    pub metric: String,
    /// The unit of `value`.
    pub unit: String,
    /// The number. Smaller is better, in every row.
    pub value: f64,
    /// What a reader must know about this number, such as `frozen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What a peer's program was asked to run: `PROGRAM ROW [--quick]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The program's name in the tables.
    pub peer: String,
    /// The workload.
    pub row: String,
    /// Do less: the numbers are for development only.
    pub quick: bool,
}

impl Request {
    /// Reads the command line of this process, or exits with status 2 and a line on usage.
    pub fn from_args(peer: &str) -> Self {
        let mut args = env::args().skip(1);
        let row = args.next();
        let quick = args.next().as_deref() == Some("--quick");
        match row {
            Some(row) => Self { peer: peer.into(), row, quick },
            None => {
                eprintln!("usage: PROGRAM ROW [--quick]");
                std::process::exit(2);
            }
        }
    }

    /// `full`, or a tenth of it (at least 1) in a quick run.
    pub fn count(&self, full: usize) -> usize {
        if self.quick { (full / 10).max(1) } else { full }
    }

    /// How many passes a short workload makes; the median pass counts.
    pub fn passes(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// Says that this program does not know the row, and exits with status 2.
    pub fn unknown(&self) -> ! {
        eprintln!("{} has no row {}", self.peer, self.row);
        std::process::exit(2);
    }

    /// Prints one number.
    pub fn report(&self, metric: &str, unit: &str, value: f64) {
        self.print(metric, unit, value, None);
    }

    /// Prints one number and what a reader must know about it.
    pub fn report_noted(&self, metric: &str, unit: &str, value: f64, note: &str) {
        self.print(metric, unit, value, Some(note.into()));
    }

    /// Prints `time` divided by `operations`, in nanoseconds.
    pub fn report_each(&self, metric: &str, time: Duration, operations: usize) {
        self.report(metric, "ns", time.as_nanos() as f64 / operations as f64);
    }

    fn print(&self, metric: &str, unit: &str, value: f64, note: Option<String>) {
        let record = Record {
            row: self.row.clone(),
            peer: self.peer.clone(),
            metric: metric.into(),
            unit: unit.into(),
            value,
            note,
        };
        println!("{}", serde_json::to_string(&record).expect("a record has nothing but text"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_note_is_read_back() {
        let line = r#"{"row":"yield-2","peer":"go","metric":"switch","unit":"ns","value":136.5}"#;
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!((record.value, &record.note), (136.5, &None));
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }

    #[test]
    fn quick_divides_by_ten_but_never_to_nothing() {
        let quick = Request { peer: "p".into(), row: "r".into(), quick: true };
        assert_eq!((quick.count(1000), quick.count(3)), (100, 1));
    }
}
