//! How a run ends in which something is wrong: with a word about what it is, with the seed, and not with success.

use crate::plan::Plant;
use std::{
    env,
    process::{Command, Output},
};

/// Runs the test of the parent module in a process of its own.
fn run(plant: Option<Plant>) -> (Output, String) {
    let mut command = Command::new(env::current_exe().expect("a test knows where it is"));
    command.args(["who_lives_is_who_is_reachable", "--exact"]);
    command.envs([("GC_STRESS_SECONDS", "0"), ("GC_STRESS_SEED", "7")]);
    match plant {
        Some(plant) => command.env("GC_STRESS_PLANT", format!("{plant:?}")),
        None => command.env_remove("GC_STRESS_PLANT"),
    };
    let output = command.output().expect("it starts");
    let said = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said)).concat();
    (output, said)
}

#[track_caller]
fn ends(plant: Plant, words: &[&str]) {
    let (output, said) = run(Some(plant));
    assert!(!output.status.success(), "{plant:?} went unseen:\n{said}");
    for word in words.iter().chain(&["GC_STRESS_SEED=7: "]) {
        assert!(said.contains(word), "{plant:?}: nothing is said of {word:?}:\n{said}");
    }
}

#[test]
fn a_run_without_a_fault_agrees() {
    let (output, said) = run(None);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(!said.contains("have not agreed"), "{said}");
}

#[test]
fn a_node_that_the_search_overlooks_is_named() {
    ends(Plant::Overlooked, &["who lives is who is reachable: [", "] by the heap alone, [] by"]);
}

#[test]
fn a_node_that_is_seen_after_its_death_is_named() {
    ends(Plant::Buried, &["is dropped, and was seen"]);
}

#[test]
fn a_destructor_that_panics_is_counted() {
    ends(Plant::DiesTwice, &["died twice", "no destructor has panicked"]);
}

#[test]
fn a_death_that_is_not_told_of_is_named() {
    ends(Plant::Untold, &["who was told of is dead: [] by the heap alone, ["]);
}

#[test]
fn a_collector_that_panics_ends_the_run() {
    // In the background, or, if that was late, in the collection before the comparison.
    ends(Plant::Collector, &["the collector is planted"]);
}

#[test]
fn a_run_that_hangs_is_ended() {
    ends(Plant::Stays, &["no verdict: ", "thread 0: is planted", "a handshake waits: ", "Stats {"]);
}
