//! Collects the records of a run and writes them as Markdown tables.

use std::fmt::Write as _;

use super::aims::aim;
use super::plan::{Area, Row};
use crate::Record;
use crate::stats::Summary;

/// All that the programs said.
#[derive(Debug, Default)]
pub struct Results {
    records: Vec<Record>,
    failures: Vec<Failure>,
}

#[derive(Debug)]
struct Failure {
    row: &'static str,
    peer: &'static str,
    reason: String,
}

impl Results {
    /// Adds the records of one run of one program.
    pub fn add(&mut self, records: Vec<Record>) {
        self.records.extend(records);
    }

    /// Notes that `peer` cannot run `row`.
    pub fn fail(&mut self, row: &'static str, peer: &'static str, reason: String) {
        self.failures.push(Failure { row, peer, reason });
    }

    /// Whether `peer` has failed in `row` before.
    pub fn failed(&self, row: &str, peer: &str) -> bool {
        self.failures.iter().any(|failure| failure.row == row && failure.peer == peer)
    }

    /// Whether no program gave a number.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The tables of all areas that have rows, then the list of failures.
    pub fn markdown(&self, rows: &[&Row]) -> String {
        let mut text = String::new();
        for area in Area::ALL {
            let lines = self.area(area, rows);
            if !lines.is_empty() {
                let _ = writeln!(text, "\n## {}\n", area.name());
                text += &layout(&header(area), &lines);
            }
        }
        if !self.failures.is_empty() {
            text += "\n## Failures\n\n";
        }
        for (peer, reason, rows) in self.failures_by_reason() {
            let _ = writeln!(text, "- {peer} fails: {reason} ({})", rows.join(", "));
        }
        text
    }

    /// Who failed, why, and in which rows.
    fn failures_by_reason(&self) -> Vec<(&str, &str, Vec<&str>)> {
        let mut groups: Vec<(&str, &str, Vec<&str>)> = Vec::new();
        for Failure { row, peer, reason } in &self.failures {
            match groups.iter_mut().find(|group| (group.0, group.1) == (peer, reason)) {
                Some(group) => group.2.push(row),
                None => groups.push((peer, reason, vec![row])),
            }
        }
        groups
    }

    fn area(&self, area: Area, rows: &[&Row]) -> Vec<Vec<String>> {
        let rows: Vec<&str> =
            rows.iter().filter(|row| row.area == area).map(|row| row.name).collect();
        let mut lines: Vec<_> = rows.iter().flat_map(|row| self.row(area, row)).collect();
        if area.has_means() && !lines.is_empty() {
            lines.extend(["CPU", "peak"].map(|metric| self.means(area, &rows, metric)));
        }
        lines
    }

    /// The geometric means of the ratios of all rows that both have run.
    fn means(&self, area: Area, rows: &[&str], metric: &str) -> Vec<String> {
        let ours = area.peers()[0];
        let mean = |peer: &str| {
            let logs: Vec<f64> = (rows.iter())
                .filter_map(|row| {
                    let (a, b) =
                        (self.summary(row, metric, ours)?, self.summary(row, metric, peer)?);
                    Some((a.median / b.median).ln())
                })
                .collect();
            match logs.len() {
                0 => "–".into(),
                count => format!("{:.2}", (logs.iter().sum::<f64>() / count as f64).exp()),
            }
        };
        let mut line = vec!["**geometric mean**".to_owned(), metric.to_owned()];
        line.extend(area.peers().iter().map(|_| String::new()));
        line.extend(others(area).map(mean));
        line.push(String::new());
        line
    }

    /// One line for each metric of the row; one line without a metric if everybody failed.
    fn row(&self, area: Area, row: &str) -> Vec<Vec<String>> {
        let mut metrics: Vec<(&str, &str)> = Vec::new();
        for record in self.records.iter().filter(|record| record.row == row) {
            let metric = (record.metric.as_str(), record.unit.as_str());
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        if metrics.is_empty() && self.failures.iter().any(|failure| failure.row == row) {
            metrics.push(("", ""));
        }
        metrics.iter().map(|&(metric, unit)| self.line(area, row, metric, unit)).collect()
    }

    fn line(&self, area: Area, row: &str, metric: &str, unit: &str) -> Vec<String> {
        let peers = area.peers();
        let ours = self.summary(row, metric, peers[0]);
        let label = if unit.is_empty() { metric.into() } else { format!("{metric}, {unit}") };
        let mut line = vec![row.to_owned(), label];
        line.extend(peers.iter().map(|peer| self.cell(row, metric, peer)));
        line.extend(others(area).map(|peer| ratio(ours, self.summary(row, metric, peer))));
        line.push(verdict(ours, aim(row, metric)));
        line
    }

    fn summary(&self, row: &str, metric: &str, peer: &str) -> Option<Summary> {
        let samples: Vec<f64> = self.of(row, metric, peer).map(|record| record.value).collect();
        Summary::of(&samples)
    }

    fn of(&self, row: &str, metric: &str, peer: &str) -> impl Iterator<Item = &Record> {
        let wanted = move |record: &&Record| {
            record.row == row && record.metric == metric && record.peer == peer
        };
        self.records.iter().filter(wanted)
    }

    /// Median, and minimum to maximum of all rounds.
    fn cell(&self, row: &str, metric: &str, peer: &str) -> String {
        let Some(Summary { min, median, max }) = self.summary(row, metric, peer) else {
            return if self.failed(row, peer) { "fails".into() } else { "–".into() };
        };
        let note = self.of(row, metric, peer).find_map(|record| record.note.as_deref());
        let note = note.map_or(String::new(), |note| format!(" {note}"));
        format!("{} ({}–{}){note}", number(median), number(min), number(max))
    }
}

fn header(area: Area) -> Vec<String> {
    let mut header = vec!["row".to_owned(), "metric".to_owned()];
    header.extend(area.peers().iter().map(ToString::to_string));
    header.extend(others(area).map(|peer| format!("ours ÷ {peer}")));
    header.push("aim".into());
    header
}

/// Those whom ours is compared with: not another variant of ours.
fn others(area: Area) -> impl Iterator<Item = &'static str> {
    area.peers().iter().copied().filter(|peer| !peer.starts_with("ours"))
}

fn ratio(ours: Option<Summary>, theirs: Option<Summary>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs.median > 0.0 => {
            format!("{:.2}", ours.median / theirs.median)
        }
        _ => "–".into(),
    }
}

/// The aim, and whether ours missed it.
fn verdict(ours: Option<Summary>, aim: Option<f64>) -> String {
    match (ours, aim) {
        (Some(ours), Some(aim)) if ours.median > aim => format!("{}, missed", number(aim)),
        (_, Some(aim)) => number(aim),
        (_, None) => "–".into(),
    }
}

/// Three significant digits, or all digits of the whole part.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        size if size < 10_000.0 => format!("{value:.0}"),
        _ => grouped(value),
    }
}

/// With a comma before each group of three digits.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A Markdown table whose columns also line up in a terminal.
fn layout(header: &[String], lines: &[Vec<String>]) -> String {
    let widest = |column: usize| {
        let cells = lines.iter().map(|line| &line[column]).chain([&header[column]]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(widest).collect();
    let mut text = String::new();
    let mut push = |cells: &[String]| {
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text += "|\n";
    };
    push(header);
    push(&widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>());
    lines.iter().for_each(|line| push(line));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::plan::ROWS;

    fn record(peer: &str, value: f64) -> Record {
        let (row, metric, unit) = ("yield-2".into(), "switch".into(), "ns".into());
        Record { row, peer: peer.into(), metric, unit, value, note: None }
    }

    fn yield_2() -> &'static Row {
        ROWS.iter().find(|row| row.name == "yield-2").unwrap()
    }

    #[test]
    fn medians_spread_and_ratio_stand_in_the_table() {
        let mut results = Results::default();
        results.add([40.0, 50.0, 60.0].map(|ns| record("ours", ns)).into());
        results.add([100.0, 90.0].map(|ns| record("go", ns)).into());
        results.fail("yield-2", "may", "signal 11".into());
        let text = results.markdown(&[yield_2()]);
        assert!(text.contains("50.0 (40.0–60.0)"), "{text}");
        assert!(text.contains("| 0.53"), "{text}");
        assert!(text.contains("- may fails: signal 11 (yield-2)"), "{text}");
    }

    #[test]
    fn an_aim_is_shown_and_whether_it_was_missed() {
        let aim = aim("yield-2", "per switch").expect("it has one");
        for (ours, verdict) in [(aim, format!("| {} |", number(aim))), (aim + 1.0, "missed".into())]
        {
            let mut results = Results::default();
            let metric = "per switch".into();
            results.add(vec![Record { metric, ..record("ours", ours) }]);
            let text = results.markdown(&[yield_2()]);
            assert!(text.contains(&verdict), "{text}");
        }
    }

    #[test]
    fn a_row_that_nobody_can_run_is_shown() {
        let mut results = Results::default();
        results.fail("yield-2", "ours", "not built".into());
        assert!(results.is_empty());
        assert!(results.markdown(&[yield_2()]).contains("| yield-2 |"));
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.1234, 5.678, 45.67, 1234.4, 1_234_567.0].map(number);
        assert_eq!(texts, ["0.123", "5.68", "45.7", "1234", "1,234,567"]);
    }
}
