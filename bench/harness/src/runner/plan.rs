//! The rows: which workloads there are and who runs them.

/// A part of the project, with programs of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// `bench/sched`: goroutines and channels.
    Sched,
    /// `bench/alloc`: malloc and free.
    Alloc,
    /// `bench/alloc/src/programs`: whole programs on a preloaded malloc.
    Programs,
    /// `bench/gc`: the collected heap.
    Gc,
}

impl Area {
    /// All of them, in the order of the report.
    pub const ALL: [Self; 4] = [Self::Sched, Self::Alloc, Self::Programs, Self::Gc];

    /// The name of its folder and the beginning of its programs' names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sched => "sched",
            Self::Alloc => "alloc",
            Self::Programs => "programs",
            Self::Gc => "gc",
        }
    }

    /// Who runs the rows of this area, ours first.
    pub fn peers(self) -> &'static [&'static str] {
        match self {
            Self::Sched => &["ours", "go", "tokio", "may"],
            Self::Alloc => &[
                "ours",
                "ours-goroutine",
                "mimalloc",
                "mimalloc2",
                "jemalloc",
                "tcmalloc",
                "snmalloc",
                "system",
            ],
            Self::Programs => {
                &["ours", "mimalloc", "mimalloc2", "jemalloc", "tcmalloc", "snmalloc", "system"]
            }
            Self::Gc => {
                &["ours", "ours-alone", "go", "boehm", "gc-arena", "dumpster", "epoch", "mimalloc"]
            }
        }
    }

    /// The file name of a peer's program. One program holds all that is written in Go, and one runs the
    /// programs by the library that [`execute::run`](super::execute::run) names.
    pub fn program(self, peer: &str) -> String {
        match (self, peer) {
            (_, "go") => "go-peer".into(),
            (Self::Programs, _) => "alloc-programs".into(),
            _ => format!("{}-{peer}", self.name()),
        }
    }

    /// Whether its rows are so many different programs that only their mean tells something.
    pub fn has_means(self) -> bool {
        self == Self::Programs
    }
}

/// One workload.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name on the command lines and in the tables.
    pub name: &'static str,
    /// Where it belongs.
    pub area: Area,
    /// How often each peer runs it at most; long rows run less often.
    pub rounds: usize,
    /// Those of the area's peers that cannot do it.
    without: &'static [&'static str],
    /// Those that can, if they are few.
    only: Option<&'static [&'static str]>,
}

/// All rows in the order of the report. `bench/README.md` says what each does.
pub const ROWS: &[Row] = &[
    Row::new("spawn-join", Area::Sched, 9),
    Row::new("spawn-tree", Area::Sched, 9),
    Row::new("spawn-tree-2m", Area::Sched, 3),
    Row::new("spawn-future", Area::Sched, 9).without(&["go", "may"]),
    Row::new("yield-2", Area::Sched, 9),
    Row::new("yield-1000", Area::Sched, 9),
    Row::new("ping-pong-1", Area::Sched, 9),
    Row::new("ping-pong-2", Area::Sched, 9),
    Row::new("channel-1", Area::Sched, 9),
    Row::new("channel-4", Area::Sched, 9),
    Row::new("select-4", Area::Sched, 5).without(&["may"]),
    Row::new("select-4-tight", Area::Sched, 5).without(&["may"]),
    Row::new("skynet", Area::Sched, 3),
    Row::new("mutex-1", Area::Sched, 5),
    Row::new("mutex-2", Area::Sched, 5),
    Row::new("parked", Area::Sched, 5),
    Row::new("parked-1m", Area::Sched, 3),
    Row::new("parked-future", Area::Sched, 3).without(&["go", "may"]),
    Row::new("sleeps", Area::Sched, 3),
    Row::new("blocking", Area::Sched, 3),
    Row::new("announced", Area::Sched, 3).without(&["may"]),
    Row::new("hand-off", Area::Sched, 3).only(&["ours", "go"]),
    Row::new("ticker-idle", Area::Sched, 3),
    Row::new("ticker", Area::Sched, 5),
    Row::new("ticker-hogs", Area::Sched, 3),
    Row::new("ticker-slept", Area::Sched, 3),
    Row::new("idle", Area::Sched, 1),
    Row::new("monitor", Area::Sched, 3).only(&["ours"]),
    Row::new("entry", Area::Sched, 5).only(&["ours"]),
    Row::new("preempt", Area::Sched, 3).only(&["ours"]),
    Row::new("pair-16", Area::Alloc, 9),
    Row::new("pair-256", Area::Alloc, 9),
    Row::new("pair-1024", Area::Alloc, 9),
    Row::new("pair-4096", Area::Alloc, 9),
    Row::new("pair-8k", Area::Alloc, 9),
    Row::new("pair-32k", Area::Alloc, 9),
    Row::new("pair-100k", Area::Alloc, 9),
    Row::new("batch-64", Area::Alloc, 9),
    Row::new("batch-1024", Area::Alloc, 9),
    Row::new("replace-10k", Area::Alloc, 9),
    Row::new("replace-1m", Area::Alloc, 5),
    Row::new("churn", Area::Alloc, 5),
    Row::new("large", Area::Alloc, 5),
    Row::new("grow", Area::Alloc, 5),
    Row::new("grow-huge", Area::Alloc, 5),
    Row::new("collections", Area::Alloc, 5),
    Row::new("cross-free", Area::Alloc, 5),
    Row::new("exchange", Area::Alloc, 5),
    Row::new("hand-over", Area::Alloc, 5),
    Row::new("keep-random", Area::Alloc, 3),
    Row::new("keep-runs", Area::Alloc, 3),
    Row::new("refill", Area::Alloc, 3),
    Row::new("refill-late", Area::Alloc, 3),
    Row::new("symbolic", Area::Programs, 3),
    Row::new("cubes", Area::Programs, 3),
    Row::new("barnes", Area::Programs, 3),
    Row::new("alloc-test", Area::Programs, 3),
    Row::new("larson", Area::Programs, 3),
    Row::new("larson-sized", Area::Programs, 3),
    Row::new("xmalloc", Area::Programs, 3),
    Row::new("cache-scratch", Area::Programs, 3),
    Row::new("cache-thrash", Area::Programs, 3),
    Row::new("malloc-large", Area::Programs, 3),
    Row::new("mstress", Area::Programs, 3),
    Row::new("mleak", Area::Programs, 3),
    Row::new("rptest", Area::Programs, 3),
    Row::new("python", Area::Programs, 3),
    Row::new("gcc", Area::Programs, 3),
    Row::new("sqlite", Area::Programs, 3),
    Row::new("binary-trees-18", Area::Gc, 5).without(&["dumpster", "epoch"]),
    Row::new("binary-trees-21", Area::Gc, 3).without(&["gc-arena", "dumpster", "epoch"]),
    Row::new("list", Area::Gc, 5).without(&["epoch"]),
    Row::new("graph", Area::Gc, 5).without(&["epoch"]),
    Row::new("alloc-16", Area::Gc, 5).without(&["dumpster", "epoch"]),
    Row::new("alloc-64", Area::Gc, 5).without(&["dumpster", "epoch"]),
    Row::new("alloc-256", Area::Gc, 5).without(&["dumpster", "epoch"]),
    Row::new("latency", Area::Gc, 3).without(&["dumpster", "epoch"]),
    Row::new("cycle", Area::Gc, 3).without(&["dumpster", "epoch", "mimalloc"]),
    Row::new("stack", Area::Gc, 5).without(&["gc-arena", "dumpster", "mimalloc"]),
    Row::new("queue", Area::Gc, 5).without(&["gc-arena", "dumpster", "mimalloc"]),
    Row::new("map", Area::Gc, 5).only(&["ours-alone", "epoch"]),
    Row::new("cache", Area::Gc, 5).only(&["ours", "ours-alone", "go", "mimalloc"]),
    Row::new("lisp", Area::Gc, 3).only(&["ours"]),
    Row::new("holders", Area::Gc, 3).only(&["ours", "ours-alone"]),
];

impl Row {
    const fn new(name: &'static str, area: Area, rounds: usize) -> Self {
        Self { name, area, rounds, without: &[], only: None }
    }

    const fn without(self, peers: &'static [&'static str]) -> Self {
        Self { without: peers, ..self }
    }

    const fn only(self, peers: &'static [&'static str]) -> Self {
        Self { only: Some(peers), ..self }
    }

    /// Who runs it, ours first.
    pub fn peers(&self) -> impl Iterator<Item = &'static str> {
        let Self { without, only, .. } = *self;
        let can = move |peer: &&str| {
            !without.contains(peer) && only.is_none_or(|only| only.contains(peer))
        };
        self.area.peers().iter().copied().filter(can)
    }
}
