//! Runs the policies on machines that do not exist, and prints what became of it.
//!
//! ```text
//! cargo run --release -p sched-core --example sim        # two minutes of CPU time
//! cargo run --release -p sched-core --example sim -- --procs 1,64 --load hogs --svg /tmp
//! ```
//!
//! *Ideal* is one queue for all on a machine where only computing takes time.

use std::{fs, path::PathBuf, process::ExitCode};

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
struct Args {
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
    /// A folder for pictures, one per workload: makespan over ideal.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// A workload's line in the table, for one policy.
fn row(load: &str, policy: &str, report: &Report, ideal: &Report) {
    let (own, best) = (report.waits(), ideal.waits());
    let share =
        |time: u64| 100.0 * time as f64 / (report.makespan.max(1) * report.procs as u64) as f64;
    let kinds: Vec<String> = report
        .waits
        .iter()
        .map(|(kind, waits)| format!("{kind} {:.1}", waits.waits().max as f64 / 1e3))
        .collect();
    println!(
        "| {load} | {} | {policy} | {:.2} | {:.2} | {:.1} | {:.1} | {} | {} | {} | {:.1} / {:.1} | {} |",
        report.procs,
        report.makespan as f64 / 1e6,
        report.makespan as f64 / ideal.makespan as f64,
        share(report.idle),
        share(report.locked),
        report.steals,
        report.wakes,
        report.preemptions,
        own.p99 as f64 / 1e3,
        best.p99 as f64 / 1e3,
        kinds.join(", "),
    );
}

struct Run {
    args: Args,
    lines: Vec<svg::Line>,
}

/// A policy's name: the first word of what `Debug` says.
fn name(policy: &impl Policy) -> String {
    format!("{policy:?}").split_whitespace().next().unwrap_or_default().to_owned()
}

impl Run {
    fn policy(&mut self, policy: impl Policy, load: &impl Workload) {
        let name = name(&policy);
        if !name.contains(&self.args.policy) {
            return;
        }
        let mut points = Vec::new();
        for &procs in &self.args.procs {
            let machine = Machine { procs, seed: self.args.seed, costs: Costs::default() };
            let (ideal, report) =
                (machine.ideal().run(&GlobalFifo, load), machine.run(&policy, load));
            row(load.name(), &name, &report, &ideal);
            points.push((procs as f64, report.makespan as f64 / ideal.makespan as f64));
        }
        self.lines.push((name, points));
    }

    fn load(&mut self, load: &impl Workload) -> Result<(), String> {
        if !load.name().contains(&self.args.load) {
            return Ok(());
        }
        self.lines.clear();
        self.policy(Gmp, load);
        self.policy(GlobalFifo, load);
        self.policy(WorkSteal, load);
        self.policy(Priority::new(), load);
        if let Some(folder) = &self.args.svg {
            let drawing = svg::chart(load.name(), "makespan / ideal", &self.lines);
            let file = folder.join(format!("{}.svg", load.name()));
            fs::write(&file, drawing).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        Ok(())
    }
}

const FORK_JOIN: ForkJoin = ForkJoin { depth: 15, leaf: 5_000 };
const PING_PONG: PingPong = PingPong { rounds: 300, work: 200 };
const BURSTY: Bursty = Bursty { bursts: 30, pieces: 10, work: 10_000, pause: 200_000 };
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

fn run(args: Args) -> Result<(), String> {
    check(&args)?;
    println!(
        "| load | Ps | policy | makespan ms | / ideal | idle % | lock % | steals | wakes | preempted | p99 wait / ideal µs | longest wait µs |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut run = Run { args, lines: Vec::new() };
    run.load(&FORK_JOIN)?;
    run.load(&PING_PONG)?;
    run.load(&BURSTY)?;
    run.load(&Hogs::TICKER)?;
    run.load(&Hogs::FLOOD)?;
    run.load(&Hogs::WOKEN)?;
    run.load(&YIELDS)
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("sim: {problem}");
            ExitCode::from(2)
        }
    }
}
