//! The pacers under synthetic workloads: a heap, its mutators and its collector in numbers, in virtual
//! time.

use gc_core::pacer::{Every, Facts, Gogc, LOOK, Pacer, Schedule, Target};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A machine of two processors on which mutators allocate and a collector marks.
struct Machine {
    /// Bytes that a processor allocates in a second.
    allocates: f64,
    /// Bytes that a processor marks in a second.
    marks: f64,
}

/// What was seen of one cycle.
#[derive(Debug)]
struct Seen {
    goal: u64,
    /// The most that was live.
    peak: u64,
    facts: Facts,
}

const MACHINE: Machine = Machine { allocates: 200e6, marks: 2e9 };

impl Machine {
    const PROCESSORS: u32 = 2;

    /// Runs so many cycles; after the n-th, `keep(n)` bytes have survived.
    fn run(&self, pacer: &mut dyn Pacer, cycles: u64, keep: impl Fn(u64) -> u64) -> Vec<Seen> {
        let (mut target, mut live) = (pacer.first(), 0);
        (0..cycles)
            .map(|cycle| {
                let seen = self.cycle(pacer, target, live, keep(cycle));
                live = seen.facts.live;
                target = pacer.next(seen.facts);
                seen
            })
            .collect()
    }

    /// Mutators run to the trigger, then beside a collector that has a quarter of the processors. While
    /// marking is behind the line to the goal, they mark and do not allocate, unless the pacer relents.
    fn cycle(&self, pacer: &mut dyn Pacer, target: Target, live: u64, kept: u64) -> Seen {
        const STEP: f64 = 1e-5;
        const STEPS: u32 = LOOK.as_micros() as u32 / 10;
        let processors = f64::from(Self::PROCESSORS);
        let begun = target.trigger.max(live);
        let alone = (begun - live) as f64 / (self.allocates * processors);
        let line = Schedule::new(begun, target.goal, kept);
        let (workers, mutators) = (processors / 4.0, processors * 3.0 / 4.0);
        let (mut grown, mut marked, mut assisted, mut steps) = (0.0, 0.0, 0.0, 0);
        let mut relents = false;
        let spent = |steps: u32, assisted: f64| {
            let cycle = f64::from(steps) * STEP;
            let time = Duration::from_secs_f64;
            let (work, period) = (time(cycle * workers + assisted), time(alone + cycle));
            Facts { work, period, processors: Self::PROCESSORS, ..Facts::default() }
        };
        while marked < kept as f64 {
            if steps % STEPS == 0 {
                relents = pacer.relents(spent(steps, assisted));
            }
            steps += 1;
            marked += self.marks * workers * STEP;
            let due = line.due(begun + grown as u64, marked as u64);
            if !relents && marked < due as f64 {
                marked += self.marks * mutators * STEP;
                assisted += mutators * STEP;
            } else {
                grown += self.allocates * mutators * STEP;
            }
        }
        let (cycle, grown) = (f64::from(steps) * STEP, grown as u64);
        let facts = Facts {
            live: kept + grown,
            scanned: kept,
            grown,
            cycle: Duration::from_secs_f64(cycle),
            ..spent(steps, assisted)
        };
        Seen { goal: target.goal, peak: begun + grown, facts }
    }
}

/// The collector's share of the CPU.
fn share(seen: &[Seen]) -> f64 {
    let work: Duration = seen.iter().map(|cycle| cycle.facts.work).sum();
    let all: Duration = seen.iter().map(|cycle| cycle.facts.period * Machine::PROCESSORS).sum();
    work.as_secs_f64() / all.as_secs_f64()
}

#[test]
fn steady() {
    let seen = MACHINE.run(&mut Gogc::new(100), 30, |_| 64 * MIB);
    for cycle in &seen[5..] {
        assert!(cycle.peak.abs_diff(cycle.goal) < cycle.goal / 20, "{cycle:?}");
    }
    assert!(share(&seen[5..]) < 0.25);
}

#[test]
fn a_greater_percentage_buys_time_with_memory() {
    let run = |percent| MACHINE.run(&mut Gogc::new(percent), 30, |_| 64 * MIB);
    let (little, much) = (run(50), run(400));
    assert!(share(&little[5..]) > 2.0 * share(&much[5..]));
    assert!(little.last().unwrap().peak * 2 < much.last().unwrap().peak);
}

#[test]
fn whoever_allocates_faster_than_workers_mark_pays_for_the_rest() {
    let torrent = Machine { allocates: 1e9, marks: 1e9 };
    let seen = torrent.run(&mut Gogc::new(100), 30, |_| 64 * MIB);
    for cycle in &seen[5..] {
        assert!(cycle.peak < cycle.goal + cycle.goal / 50, "{cycle:?}");
        assert!(cycle.facts.grown < 40 * MIB, "newcomers that raise the next goal: {cycle:?}");
    }
    let late = seen.last().unwrap();
    assert!(late.peak < 200 * MIB, "twice what lives, and what came while it was marked: {late:?}");
    assert!(share(&seen[5..]) > 0.3, "{}", share(&seen[5..]));
}

#[test]
fn step() {
    let keep = |cycle| if cycle < 10 { 32 * MIB } else { 256 * MIB };
    let seen = MACHINE.run(&mut Gogc::new(100), 30, keep);
    // The first cycle after the step meets a goal that was made for less; the third knows.
    for cycle in &seen[13..] {
        assert!(cycle.peak < cycle.goal + cycle.goal / 20, "{cycle:?}");
    }
}

#[test]
fn spike() {
    let keep = |cycle| if cycle == 10 { 512 * MIB } else { 32 * MIB };
    let seen = MACHINE.run(&mut Gogc::new(100), 30, keep);
    let (before, after) = (&seen[9], &seen[20]);
    assert!(after.peak.abs_diff(before.peak) < before.peak / 10, "{before:?} {after:?}");
}

#[test]
fn shrink() {
    let seen = MACHINE.run(&mut Gogc::new(100), 40, |cycle| ((512 * MIB) >> cycle).max(1));
    let last = seen.last().unwrap();
    assert_eq!(last.goal, Gogc::MINIMUM, "{last:?}");
}

#[test]
fn a_limit_holds_while_there_is_room() {
    let limit = 160 * MIB;
    let keep = |cycle: u64| 64 * MIB + cycle.min(10) * 3 * MIB;
    let seen = MACHINE.run(&mut Gogc::new(400).limit(limit), 40, keep);
    for cycle in &seen[1..] {
        assert!(cycle.peak <= limit, "{cycle:?}");
    }
    let free = MACHINE.run(&mut Gogc::new(400), 40, keep);
    assert!(free.last().unwrap().peak > 2 * limit, "without it the heap grows");
    assert!(share(&seen[20..]) > share(&free[20..]), "memory is paid for with time");
}

#[test]
fn a_limit_below_what_lives_does_not_stop_the_program() {
    let seen = MACHINE.run(&mut Gogc::new(100).limit(64 * MIB), 400, |_| 80 * MIB);
    let late = &seen[200..];
    // Half, and what a bucket that is full between two cycles lets through.
    assert!(share(late) < 0.6, "{}", share(late));
    assert!(share(late) > 0.4, "the limit is worth something: {}", share(late));
    assert!(late.iter().all(|cycle| cycle.peak < 200 * MIB), "{:?}", late.last());
}

#[test]
fn one_cycle_that_lasts_for_seconds_is_limited_as_well() {
    // Mutators that would do next to nothing but mark until the end, four seconds on both processors.
    let (torrent, live) = (Machine { allocates: 40e9, marks: 1e9 }, 8192 * MIB);
    let mut pacer = Gogc::new(100);
    let target = pacer.next(Facts { live, scanned: live, ..Facts::default() });
    let Seen { facts, .. } = torrent.cycle(&mut pacer, target, live, live);
    let share = facts.work.as_secs_f64() / facts.cycle.as_secs_f64() / 2.0;
    // A second of it; then all and a quarter in turn, a look each.
    assert!((0.6..0.7).contains(&share), "{share}");
}

#[test]
fn off_means_off() {
    assert_eq!(Gogc::off().first().trigger, u64::MAX);
    let facts = Facts { live: 64 * MIB, scanned: 64 * MIB, ..Facts::default() };
    assert_eq!(Gogc::off().next(facts).trigger, u64::MAX);
    assert!(Gogc::off().limit(100 * MIB).next(facts).trigger < 100 * MIB);
}

#[test]
fn a_fixed_number_does_not_care() {
    let seen = MACHINE.run(&mut Every(MIB), 5, |_| 8 * MIB);
    assert!(seen[1..].iter().all(|cycle| cycle.peak >= 9 * MIB && cycle.peak < 16 * MIB));
}
