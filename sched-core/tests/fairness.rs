//! Promises of the policies, on machines of many sizes, in virtual time: nobody starves, and it scales. And the
//! example that compares them says what they did.

use clap::Parser;
use sched_core::{
    policy::{GlobalFifo, Gmp, Policy, Priority, WorkSteal},
    sim::{
        Costs, Machine, Report,
        workload::{Bursty, ForkJoin, Hogs, PingPong, Yields},
    },
};

#[path = "../examples/sim.rs"]
#[expect(dead_code, reason = "its main is not this program's")]
mod sim;

const MILLISECOND: u64 = 1_000_000;

fn machine(procs: usize) -> Machine {
    Machine { procs, seed: 1, costs: Costs::default() }
}

/// The longest wait of a kind, in milliseconds.
fn longest(report: &Report, kind: &str) -> u64 {
    report.waits[kind].waits().max / MILLISECOND
}

/// Hogs go on beside more woken ones than the machine can serve, and the woken ones beside hogs: nobody waits for
/// longer than some slices.
fn nobody_starves(policy: impl Policy) {
    for procs in [1, 2, 16] {
        let report = machine(procs).run(&policy, &Hogs::FLOOD);
        let (hog, sleeper) = (longest(&report, "hog"), longest(&report, "sleeper"));
        // 4 hogs and 40 sleepers for each P: a round of all takes 40.4 ms.
        assert!(hog < 250, "{policy:?} on {procs} Ps: a hog waited for {hog} ms");
        assert!(sleeper < 250, "{policy:?} on {procs} Ps: a sleeper waited for {sleeper} ms");
        let total = 4 * 20 * MILLISECOND * procs as u64;
        assert_eq!(report.waits["hog"].computed, total, "hogs ran to their end");
    }
}

#[test]
fn nobody_starves_under_gmp() {
    nobody_starves(Gmp);
}

#[test]
fn nobody_starves_under_global_fifo() {
    nobody_starves(GlobalFifo);
}

#[test]
fn nobody_starves_under_work_stealing() {
    nobody_starves(WorkSteal);
}

#[test]
fn nobody_starves_under_priorities() {
    nobody_starves(Priority::new());
}

/// Half of the woken wait for less than the time in which a slice is protected, as Go's do not.
#[test]
fn woken_ones_do_not_wait_for_slices() {
    for procs in [1, 4, 16] {
        let late = |report: Report| report.waits["sleeper"].waits().p50;
        let protected = Costs::default().protected;
        assert!(late(machine(procs).run(&Gmp, &Hogs::TICKER)) <= protected);
        assert!(late(machine(procs).run(&WorkSteal, &Hogs::TICKER)) <= protected);
        assert!(late(machine(procs).run(&Priority::new(), &Hogs::TICKER)) <= protected);
        // First come, first served: behind the slices of four hogs.
        let report = machine(procs).run(&GlobalFifo, &Hogs::TICKER);
        assert!(report.waits["sleeper"].waits().p99 > 30 * MILLISECOND);
    }
}

/// The same where the global queue has several shards: whoever gives way finds the one that room was made for, wherever
/// it lies. If he did not, one in a hundred would wait until somebody else gives way, 100 µs later.
#[test]
fn woken_ones_in_any_shard_do_not_wait_for_slices() {
    let late = |report: Report| report.waits["sleeper"].waits().p99;
    for procs in [96, 256] {
        let gmp = late(machine(procs).run(&Gmp, &Hogs::TICKER));
        let steal = late(machine(procs).run(&WorkSteal, &Hogs::TICKER));
        let bound = Costs::default().protected / 2;
        assert!(gmp.max(steal) < bound, "{procs} Ps: {gmp} and {steal} ns");
    }
}

/// What is woken from outside passes through the global queue, and its shards are as many as that takes. With one
/// queue it would take more than 4 times the ideal on half as many Ps, and more than 15 times on twice as many.
#[test]
fn woken_ones_scale_to_hundreds_of_ps() {
    const PROCS: usize = 512;
    let load = Hogs { wakings: 20, ..Hogs::WOKEN };
    let ideal = machine(PROCS).ideal().run(&GlobalFifo, &load).makespan;
    let over = |report: Report| report.makespan as f64 / ideal as f64;
    let gmp = over(machine(PROCS).run(&Gmp, &load));
    let steal = over(machine(PROCS).run(&WorkSteal, &load));
    assert!(gmp.max(steal) < 3.2, "{gmp:.2} and {steal:.2} times the ideal");
}

/// A class's allowance is what it waits for beside others, and not much more.
#[test]
fn background_waits_for_its_allowance() {
    let policy = Priority::new();
    let report = machine(1).run(&policy, &Hogs { wakings: 400, ..Hogs::FLOOD });
    let hog = longest(&report, "hog");
    let allowance = policy.allowance(sched_core::policy::Class::Background).as_millis() as u64;
    assert!((allowance..allowance + 50).contains(&hog), "a hog waited for {hog} ms");
}

#[test]
fn work_is_conserved_and_scales() {
    let tree = ForkJoin { depth: 12, leaf: 20_000 };
    for procs in [1, 2, 16] {
        let ideal = machine(procs).ideal().run(&GlobalFifo, &tree);
        for report in [
            machine(procs).run(&Gmp, &tree),
            machine(procs).run(&WorkSteal, &tree),
            machine(procs).run(&Priority::new(), &tree),
        ] {
            assert_eq!((report.jobs, report.computed), (ideal.jobs, ideal.computed));
            let percent = 100 * report.makespan / ideal.makespan;
            assert!(percent < 125, "{procs} Ps: {percent} % of the ideal time");
        }
    }
}

/// One queue for all does not scale: the simulator would be wrong if it said so.
#[test]
fn one_lock_does_not_scale() {
    let load = Yields { turns: 40, work: 500 };
    let share = |report: Report| report.utilisation();
    assert!(share(machine(1).run(&GlobalFifo, &load)) > 0.7);
    assert!(share(machine(64).run(&GlobalFifo, &load)) < 0.1);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let load = Bursty { bursts: 5, pieces: 10, work: 10_000, pause: 200_000 };
    for procs in [1, 7, 256] {
        assert_eq!(machine(procs).run(&Gmp, &load), machine(procs).run(&Gmp, &load));
    }
    let other = Machine { seed: 77, ..machine(7) };
    assert_ne!(machine(7).run(&Gmp, &load), other.run(&Gmp, &load));
}

/// On one P a pair is switched and nothing else: 300 round trips of two turns of 200 ns and two switches.
#[test]
fn a_pair_costs_its_switches() {
    let report = machine(1).run(&Gmp, &PingPong { rounds: 300, work: 200 });
    assert!(report.makespan < 600 * (200 + 45) * 3, "{report:?}");
    assert_eq!((report.steals, report.preemptions), (0, 0));
}

/// The cells of a table's row.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// Whether each tag is closed, in order, and nothing stands outside of them that must be escaped.
fn is_well_formed(drawing: &str) -> bool {
    let mut open = Vec::new();
    for piece in drawing.trim().split('<').skip(1) {
        let Some((tag, text)) = piece.split_once('>') else { return false };
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap_or_default();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) if open.pop() != Some(name) => return false,
            (false, false) => open.push(name),
            _ => {}
        }
        if text.contains(['>', '&']) || tag.matches('"').count() % 2 != 0 {
            return false;
        }
    }
    open.is_empty()
}

/// The largest machine there is: every piece of work is done, under each policy.
#[test]
fn a_thousand_ps_do_all_the_work() {
    fn all(policy: impl Policy) {
        let load = ForkJoin { depth: 12, leaf: 5_000 };
        let (one, most) = (machine(1).run(&policy, &load), machine(1_024).run(&policy, &load));
        let computed =
            |report: &Report| report.waits.values().map(|kind| kind.computed).sum::<u64>();
        assert_eq!(computed(&most), computed(&one), "{policy:?}");
        assert!(most.makespan < one.makespan, "{policy:?}");
    }
    all(Gmp);
    all(GlobalFifo);
    all(WorkSteal);
    all(Priority::new());
}

#[test]
fn the_examples_table_and_pictures_show_what_the_runs_came_to() {
    let folder = tempfile::tempdir().expect("a folder for a picture");
    let path = folder.path().to_str().expect("a plain path");
    let args = ["sim", "--procs", "1,4", "--load", "bursty", "--svg", path];
    let mut table = Vec::new();
    sim::run(sim::Args::parse_from(args), &mut table).expect("it runs");
    let table = String::from_utf8(table).expect("it is text");
    let rows: Vec<_> = table.lines().map(cells).collect();
    assert_eq!(rows.len(), 2 + 2 * 4, "a head, a line, and two sizes for each policy");
    let row = rows.iter().find(|row| row[1] == "4" && row[2] == "Gmp").expect("it was run");
    let cell = |head| row[rows[0].iter().position(|cell| *cell == head).expect("it is a column")];
    let report = machine(4).run(&Gmp, &sim::BURSTY);
    assert!(report.steals > 0 && report.idle > 0);
    assert_eq!(cell("steals"), report.steals.to_string());
    assert_eq!(cell("makespan ms"), format!("{:.2}", report.makespan as f64 / 1e6));
    let idle = report.idle as f64 / (4 * report.makespan) as f64;
    assert_eq!(cell("idle %"), format!("{:.1}", 100.0 * idle));
    let p99 = format!("{:.1} / ", report.waits().p99 as f64 / 1e3);
    assert!(cell("p99 wait / ideal µs").starts_with(&p99));

    let drawing = std::fs::read_to_string(folder.path().join("bursty.svg")).expect("it is drawn");
    assert!(is_well_formed(&drawing), "{drawing}");
    let lines = drawing.matches("<polyline").count();
    assert_eq!(lines, 4 * 4 + 1, "of each policy, in each chart, and of the ideal");
    for shown in ["bursty: steals", "bursty: p99 wait, µs", ">ideal<"] {
        assert!(drawing.contains(shown), "{shown} is not drawn");
    }
}
