//! Every interleaving of the collector's cycle, at the level of the protocol: the nine steps are enough,
//! and each of them is needed. See [`loom_tests::search`].
#![cfg(not(loom))]

use loom_tests::search::{Fault, Plan, Start, Verdict, search};

fn plan(start: Start, operations: [u8; 2]) -> Plan {
    Plan { start, cycles: 1, operations, hybrid: false, fault: Fault::None }
}

#[track_caller]
fn is_safe(plan: Plan) {
    match search(plan) {
        Verdict::Safe { states } => eprintln!("{plan:?}: {states} states"),
        Verdict::Broken { path, .. } => panic!("{plan:?}: a freed cell is reached by\n{path:#?}"),
    }
}

#[track_caller]
fn is_broken(plan: Plan) {
    match search(plan) {
        Verdict::Safe { states } => panic!("{plan:?}: not found in {states} states"),
        Verdict::Broken { path, .. } => eprintln!("{plan:?}: {path:#?}"),
    }
}

#[test]
fn nobody_reaches_a_freed_cell() {
    is_safe(plan(Start::Pair, [3, 1]));
    is_safe(plan(Start::Pair, [2, 2]));
    is_safe(plan(Start::Chain, [3, 1]));
    is_safe(plan(Start::Chain, [2, 2]));
}

#[test]
fn nobody_does_over_several_cycles() {
    is_safe(Plan { cycles: 2, ..plan(Start::Pair, [2, 1]) });
    is_safe(Plan { cycles: 3, ..plan(Start::Chain, [2, 0]) });
}

#[test]
fn without_one_of_its_rules_somebody_does() {
    for fault in [
        Fault::NoHandsBeforeRoots,
        Fault::OneHandBeforeRoots,
        Fault::NoHandOne,
        Fault::TakenBackAndGoneOn,
        Fault::NoDeletionLog,
        Fault::PassedBeforeTheLog,
        Fault::AllocateWhite,
        Fault::NoHandBeforeOff,
        Fault::NoHandBeforeSweep,
        Fault::TwoReadings,
        Fault::SweepsTheCycleToCome,
    ] {
        is_broken(Plan { fault, ..plan(Start::Pair, [3, 1]) });
    }
    is_broken(Plan { fault: Fault::BlackBeforeMark, ..plan(Start::Pair, [4, 1]) });
}

/// It logs more than it needs, and logging insertions alone is not enough: a guard loses what it holds.
#[test]
fn the_hybrid_barrier_is_the_deletion_barrier_and_more() {
    is_safe(Plan { hybrid: true, ..plan(Start::Pair, [3, 1]) });
    is_safe(Plan { hybrid: true, ..plan(Start::Chain, [2, 2]) });
    let fault = Fault::NoDeletionLog;
    is_broken(Plan { hybrid: true, fault, ..plan(Start::Pair, [2, 0]) });
}

#[test]
#[ignore = "minutes, and 6 GiB"]
fn deeper() {
    let far = plan(Start::Chain, [4, 3]);
    is_broken(Plan { fault: Fault::EmptyQueueInPlaceOfDirty, ..far });
    is_safe(plan(Start::Pair, [4, 2]));
    is_safe(plan(Start::Pair, [3, 3]));
    is_safe(plan(Start::Locked, [5, 0]));
    is_safe(plan(Start::Locked, [3, 1]));
    is_safe(plan(Start::Weak, [2, 2]));
}

#[test]
fn no_edge_is_lost_under_locks() {
    is_safe(plan(Start::Locked, [4, 0]));
    is_broken(Plan { fault: Fault::ReportsNotWaitedFor, ..plan(Start::Locked, [4, 0]) });
    is_broken(Plan { fault: Fault::LockReportedOnce, ..plan(Start::Locked, [5, 0]) });
}

#[test]
fn nothing_is_lost_without_room_for_what_is_grey() {
    is_safe(plan(Start::Scarce, [2, 1]));
    is_safe(plan(Start::ScarcePair, [2, 1]));
    is_safe(Plan { cycles: 2, ..plan(Start::Scarce, [1, 0]) });
    for fault in [Fault::OverflowIgnored, Fault::OverflowForgottenAfterTheWalk] {
        is_broken(Plan { fault, ..plan(Start::Scarce, [1, 0]) });
    }
    is_broken(Plan { fault: Fault::OverflowUnmarked, ..plan(Start::Scarce, [2, 0]) });
}

#[test]
fn nothing_is_lost_without_room_in_a_log() {
    is_safe(Plan { cycles: 2, ..plan(Start::ScarcePair, [1, 1]) });
    is_safe(plan(Start::ScarceWeak, [1, 1]));
    is_broken(Plan { fault: Fault::MarkedUntold, ..plan(Start::Scarce, [3, 0]) });
}

#[test]
#[ignore = "a minute"]
fn nothing_is_further_on() {
    is_broken(Plan { fault: Fault::MarkedByReading, ..plan(Start::ScarcePair, [3, 1]) });
    is_safe(plan(Start::ScarcePair, [3, 1]));
    is_safe(Plan { cycles: 2, ..plan(Start::ScarcePair, [2, 1]) });
    is_safe(plan(Start::ScarceWeak, [2, 1]));
    is_safe(Plan { cycles: 2, ..plan(Start::ScarceWeak, [1, 1]) });
}

#[test]
fn an_upgrade_gives_what_lives() {
    is_safe(plan(Start::Weak, [3, 1]));
    is_safe(Plan { cycles: 2, ..plan(Start::Weak, [2, 1]) });
    for fault in [Fault::UpgradeByReading, Fault::UpgradeUnlogged] {
        is_broken(Plan { fault, ..plan(Start::Weak, [3, 1]) });
    }
}
