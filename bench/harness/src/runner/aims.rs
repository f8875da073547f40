//! What was set out for ours before it was written, on the kind of machine of `results`: two virtual AMD processors.
//!
//! A number that is missed stays, and the table says so. Decision 35 tells of many rows what they wait for, not of all.

/// Row, metric, and what the median shall not exceed, in the metric's unit.
const AIMS: &[(&str, &str, f64)] = &[
    ("spawn-join", "per task", 170.0),
    ("spawn-tree", "per task", 170.0),
    ("spawn-tree-2m", "per task", 220.0),
    ("yield-2", "per switch", 50.0),
    ("yield-1000", "per switch", 55.0),
    ("ping-pong-1", "round trip", 130.0),
    ("ping-pong-2", "round trip", 150.0),
    ("channel-1", "per value", 25.0),
    ("channel-4", "per value", 33.3),
    ("select-4", "per value", 100.0),
    ("select-4-tight", "per value", 250.0),
    ("skynet", "total", 600.0),
    ("skynet", "peak", 200.0),
    ("mutex-1", "per lock", 5.6),
    ("mutex-2", "per lock", 20.0),
    ("parked-1m", "resident each", 5084.0),
    ("parked-1m", "create", 5500.0),
    ("parked-1m", "create again", 200.0),
    ("parked-1m", "wake and join", 400.0),
    ("parked-future", "resident each", 250.0),
    ("sleeps", "total", 250.0),
    ("sleeps", "late p99", 5.0),
    ("blocking", "total", 60.0),
    ("announced", "first", 27.0),
    ("announced", "later", 22.0),
    ("hand-off", "p50", 0.8),
    ("ticker-idle", "late p50", 0.07),
    ("ticker-idle", "late p99", 0.12),
    ("ticker", "late p99", 2.0),
    ("ticker-hogs", "late p50", 0.2),
    ("ticker-hogs", "late p99", 2.0),
    ("ticker-hogs", "late max", 12.0),
    ("idle", "wake-ups", 0.0),
    ("monitor", "idle", 0.2),
    ("monitor", "nobody waits", 0.2),
    ("monitor", "some wait", 2.0),
    ("monitor", "some block", 2.0),
    ("entry", "enter and exit", 1.5),
    ("preempt", "p50", 5.0),
    ("pair-16", "CPU", 6.5),
    ("pair-1024", "CPU", 8.0),
    ("pair-8k", "CPU", 12.0),
    ("pair-32k", "CPU", 13.0),
    ("pair-100k", "CPU", 36.0),
    ("batch-64", "CPU", 9.0),
    ("batch-1024", "CPU", 25.0),
    ("replace-10k", "CPU", 16.0),
    ("replace-1m", "CPU", 140.0),
    ("cross-free", "CPU", 13.0),
    ("exchange", "CPU", 10.0),
    ("keep-random", "after 1 s", 300.0),
    ("keep-random", "after a release", 271.0),
    ("keep-random", "all freed, after 2 s", 20.0),
    ("keep-runs", "after 1 s", 60.0),
    ("keep-runs", "all freed, after 2 s", 20.0),
    // Within a second it costs nothing more than at once.
    ("refill", "after 0.3 s", 81.0),
    ("refill-late", "after 0.9 s", 81.0),
    ("refill-late", "again", 81.0),
    ("binary-trees-18", "wall", 0.9),
    ("binary-trees-18", "CPU", 1.1),
    ("binary-trees-18", "peak", 32.0),
    ("binary-trees-21", "wall", 6.5),
    ("binary-trees-21", "CPU", 12.0),
    ("binary-trees-21", "peak", 300.0),
    ("list", "CPU per object", 45.0),
    ("graph", "CPU per object", 260.0),
    ("alloc-16", "CPU per object", 12.0),
    ("alloc-64", "CPU per object", 20.0),
    ("alloc-256", "CPU per object", 60.0),
    ("latency", "wall per operation", 2632.0),
    ("latency", "p99.9", 80.0),
    ("latency", "p99.99", 1000.0),
    ("latency", "max", 12_000.0),
    ("latency", "peak", 1474.0),
    ("latency", "collector's share", 40.0),
    ("latency", "action on the wall, p99.99", 100.0),
    ("latency", "action CPU, p99.99", 100.0),
    ("cycle", "CPU", 0.5),
    ("stack", "wall per operation", 25.0),
    ("queue", "wall per operation", 40.0),
    ("holders", "longest", 50.0),
];

/// What the median of ours shall not exceed in this row.
pub fn aim(row: &str, metric: &str) -> Option<f64> {
    AIMS.iter().find(|aim| (aim.0, aim.1) == (row, metric)).map(|aim| aim.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::plan::ROWS;

    #[test]
    fn each_is_of_a_row_and_stands_once() {
        for (at, &(row, metric, _)) in AIMS.iter().enumerate() {
            assert!(ROWS.iter().any(|known| known.name == row), "{row}");
            assert!(!AIMS[..at].iter().any(|other| (other.0, other.1) == (row, metric)), "{row}");
        }
    }
}
