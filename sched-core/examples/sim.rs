//! Runs the policies on machines that do not exist, and prints what became of it.
//!
//! ```text
//! cargo run --release -p sched-core --example sim        # two minutes of CPU time
//! cargo run --release -p sched-core --example sim -- --procs 1,64 --load hogs --svg /tmp
//! ```
//!
//! *Ideal* is one queue for all on a machine where only computing takes time.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use sched_core::{
    policy::{GlobalFifo, Gmp, Policy, Priority, WorkSteal},
    sim::{
        Costs, Machine, Report, Workload, svg,
        workload::{Bursty, ForkJoin, Hogs, PingPong, Yields},
    },
};

/// Runs scheduling policies on virtual processors, in virtual time.
#[derive(Parser)]
pub(crate) struct Args {
    /// Numbers of Ps, up to 1,024 each.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64,256,1024")]
    procs: Vec<usize>,
    /// Only workloads whose name contains this.
    #[arg(long, default_value = "")]
    load: String,
    /// Only policies whose name contains this.
    #[arg(long, default_value = "")]
    policy: String,
    /// Where the random numbers begin.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A folder for pictures, one per workload: makespan over ideal, idle time, steals, and waits beside the ideal's.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// A workload's line in the table, for one policy.
fn row(load: &str, policy: &str, report: &Report, ideal: &Report) -> String {
    let (own, best) = (report.waits(), ideal.waits());
    let kinds: Vec<String> = report
        .waits
        .iter()
        .map(|(kind, waits)| format!("{kind} {:.1}", waits.waits().max as f64 / 1e3))
        .collect();
    format!(
        "| {load} | {} | {policy} | {:.2} | {:.2} | {:.1} | {:.1} | {} | {} | {} | {:.1} / {:.1} | {} |",
        report.procs,
        report.makespan as f64 / 1e6,
        report.makespan as f64 / ideal.makespan as f64,
        share(report, report.idle),
        share(report, report.locked),
        report.steals,
        report.wakes,
        report.preemptions,
        own.p99 as f64 / 1e3,
        best.p99 as f64 / 1e3,
        kinds.join(", "),
    )
}

/// So much of the time of all Ps, in per cent.
fn share(report: &Report, time: u64) -> f64 {
    100.0 * time as f64 / (report.makespan.max(1) * report.procs as u64) as f64
}

/// What the pictures show of a run.
fn heights(report: &Report, ideal: &Report) -> [f64; 4] {
    [
        report.makespan as f64 / ideal.makespan as f64,
        share(report, report.idle),
        report.steals as f64,
        report.waits().p99 as f64 / 1e3,
    ]
}

const UPWARDS: [&str; 4] = ["makespan / ideal", "idle time, % of all", "steals", "p99 wait, µs"];

/// The line of the ideal machine, in the last chart.
const IDEAL: &str = "ideal";

struct Run<'a> {
    args: Args,
    charts: [svg::Chart; 4],
    table: &'a mut dyn Write,
}

/// A policy's name: the first word of what `Debug` says.
fn name(policy: &impl Policy) -> String {
    format!("{policy:?}").split_whitespace().next().unwrap_or_default().to_owned()
}

impl Run<'_> {
    fn policy(&mut self, policy: impl Policy, load: &impl Workload) -> io::Result<()> {
        let name = name(&policy);
        if !name.contains(&self.args.policy) {
            return Ok(());
        }
        let (mut points, mut best) = ([const { Vec::new() }; 4], Vec::new());
        for &procs in &self.args.procs {
            let machine = Machine { procs, seed: self.args.seed, costs: Costs::default() };
            let (ideal, report) =
                (machine.ideal().run(&GlobalFifo, load), machine.run(&policy, load));
            writeln!(self.table, "{}", row(load.name(), &name, &report, &ideal))?;
            for (points, height) in points.iter_mut().zip(heights(&report, &ideal)) {
                points.push((procs as f64, height));
            }
            best.push((procs as f64, ideal.waits().p99 as f64 / 1e3));
        }
        for ((_, lines), points) in self.charts.iter_mut().zip(points) {
            lines.push((name.clone(), points));
        }
        let [.., (_, waits)] = &mut self.charts;
        // The same for all policies.
        if waits.iter().all(|(name, _)| name != IDEAL) {
            waits.push((IDEAL.to_owned(), best));
        }
        Ok(())
    }

    fn policies(&mut self, load: &impl Workload) -> io::Result<()> {
        self.policy(Gmp, load)?;
        self.policy(GlobalFifo, load)?;
        self.policy(WorkSteal, load)?;
        self.policy(Priority::new(), load)
    }

    fn load(&mut self, load: &impl Workload) -> Result<(), String> {
        if !load.name().contains(&self.args.load) {
            return Ok(());
        }
        self.charts = UPWARDS.map(|upwards| (upwards, Vec::new()));
        self.policies(load).map_err(|error| error.to_string())?;
        if let Some(folder) = &self.args.svg {
            let drawing = svg::page(load.name(), &self.charts);
            let file = folder.join(format!("{}.svg", load.name()));
            fs::write(&file, drawing).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }
}

const FORK_JOIN: ForkJoin = ForkJoin { depth: 15, leaf: 5_000 };
const PING_PONG: PingPong = PingPong { rounds: 300, work: 200 };
pub(crate) const BURSTY: Bursty = Bursty { bursts: 30, pieces: 10, work: 10_000, pause: 200_000 };
const YIELDS: Yields = Yields { turns: 40, work: 500 };

/// What is wrong with the arguments, if anything is.
fn check(args: &Args) -> Result<(), String> {
    if args.procs.iter().any(|procs| !(1..=1_024).contains(procs)) {
        return Err("the number of Ps must be 1 to 1,024".into());
    }
    let loads: [&dyn Workload; 7] =
        [&FORK_JOIN, &PING_PONG, &BURSTY, &Hogs::TICKER, &Hogs::FLOOD, &Hogs::WOKEN, &YIELDS];
    let loads = loads.map(|load| load.name().to_owned());
    let policies = [name(&Gmp), name(&GlobalFifo), name(&WorkSteal), name(&Priority::new())];
    for (what, part, names) in
        [("load", &args.load, &loads[..]), ("policy", &args.policy, &policies[..])]
    {
        if !names.iter().any(|name| name.contains(&**part)) {
            return Err(format!("no {what} has {part:?} in its name: {}", names.join(", ")));
        }
    }
    match &args.svg {
        Some(folder) if !folder.is_dir() => Err(format!("{}: no such folder", folder.display())),
        _ => Ok(()),
    }
}

/// Writes the table, and draws what is to be drawn.
pub(crate) fn run(args: Args, table: &mut dyn Write) -> Result<(), String> {
    check(&args)?;
    let head = "| load | Ps | policy | makespan ms | / ideal | idle % | lock % | steals | wakes | preempted | p99 wait / ideal µs | longest wait µs |";
    writeln!(table, "{head}\n|---|---|---|---|---|---|---|---|---|---|---|---|")
        .map_err(|error| error.to_string())?;
    let mut run = Run { args, charts: UPWARDS.map(|upwards| (upwards, Vec::new())), table };
    run.load(&FORK_JOIN)?;
    run.load(&PING_PONG)?;
    run.load(&BURSTY)?;
    run.load(&Hogs::TICKER)?;
    run.load(&Hogs::FLOOD)?;
    run.load(&Hogs::WOKEN)?;
    run.load(&YIELDS)
}

fn main() -> ExitCode {
    match run(Args::parse(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("sim: {problem}");
            ExitCode::from(2)
        }
    }
}
