//! The allocator of the process, hardened by a call or by the environment: each mistake is made in a
//! process of its own, whose last words are checked.

use std::{
    alloc::{Layout, alloc, dealloc},
    hint::black_box,
    os::unix::process::ExitStatusExt,
    process::{Command, Output},
};

use alloc_core::{
    global::{GlobalAlloc, ThreadBinding},
    harden::Hardening,
};

#[global_allocator]
static ALLOCATOR: GlobalAlloc<ThreadBinding> = GlobalAlloc::new();

#[inline(never)]
fn free_twice(layout: Layout) {
    // SAFETY: none: the second free is the mistake.
    unsafe {
        let block = black_box(alloc(layout));
        dealloc(black_box(block), layout);
        dealloc(black_box(block), layout);
    }
}

#[inline(never)]
fn write_behind(layout: Layout) {
    // SAFETY: none: the byte lies behind the block.
    unsafe { black_box(alloc(layout)).add(layout.size()).write(1) };
}

/// Ordinary work that makes no mistake, with threads.
fn work() -> usize {
    let threads: Vec<_> = (0..4)
        .map(|n| {
            std::thread::spawn(move || {
                let texts: Vec<String> = (0..2_000).map(|m| "x".repeat((m * n) % 3_000)).collect();
                texts.iter().map(String::len).sum::<usize>()
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn scenario() {
    let wanted = std::env::var("SCENARIO").unwrap();
    let (small, large) = (Layout::new::<[u64; 9]>(), Layout::new::<[u64; 9_000]>());
    match wanted.as_str() {
        "by a call" => {
            ALLOCATOR.harden(Hardening::new()).unwrap();
            free_twice(small);
        }
        "double free" => free_twice(small),
        "overflow" => write_behind(large),
        "null" => {
            // SAFETY: none: nothing lies there.
            unsafe { std::ptr::without_provenance_mut::<u8>(black_box(8)).write_volatile(1) };
        }
        "work" => println!("done: {}", work()),
        other => panic!("no scenario {other}"),
    }
}

fn run(name: &str, environment: &[(&str, &str)]) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenario", "--ignored", "--nocapture"])
        .env("SCENARIO", name)
        // Under AddressSanitizer faults are the program's own all the same.
        .env("ASAN_OPTIONS", "handle_segv=0:detect_leaks=0")
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

const HARDENED: [(&str, &str); 1] = [("ALLOC_HARDEN", "1")];

/// The process was ended by SIGABRT, and said each of these words.
fn expect(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{text}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

#[test]
fn a_call_or_the_environment_turns_it_on() {
    let words = ["alloc-core: double free at 0x", "of a block of size class 80", "freed before by"];
    expect(&run("by a call", &[]), &words);
    expect(&run("double free", &HARDENED), &words);
}

#[test]
fn nothing_and_zero_are_off_and_what_has_no_meaning_is_on_with_a_line() {
    const LINE: &str =
        "alloc-core: ALLOC_HARDEN takes 0 (off), 1 (on) or 2 (with stacks): taken for 1\n";
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).contains(LINE);
    for value in ["3", "10", "01", "true", "banana", " 1"] {
        let output = run("double free", &[("ALLOC_HARDEN", value)]);
        expect(&output, &["alloc-core: double free at 0x"]);
        assert!(said(&output), "{value:?}: {output:?}");
    }
    for value in ["", "0"] {
        // Into the rest of the block's last page: no harm without a guard.
        let output = run("overflow", &[("ALLOC_HARDEN", value)]);
        assert!(output.status.success() && !said(&output), "{value:?}: {output:?}");
    }
    for value in ["1", "2"] {
        let output = run("work", &[("ALLOC_HARDEN", value)]);
        assert!(output.status.success() && !said(&output), "{value:?}: {output:?}");
    }
}

#[test]
fn the_other_free_comes_with_its_stack_on_request() {
    let output = run("double free", &[("ALLOC_HARDEN", "2")]);
    let text = String::from_utf8_lossy(&output.stderr);
    let frames = text.lines().filter(|line| line.starts_with("    0x")).count();
    assert!(frames >= 5, "{text}");
}

#[test]
fn an_overflow_is_named_and_other_faults_are_what_they_were() {
    let words = ["overflow at 0x", "byte 72000 of a large block of 72000 at 0x"];
    expect(&run("overflow", &HARDENED), &words);
    let other = run("null", &HARDENED);
    assert_eq!(other.status.signal(), Some(libc::SIGSEGV), "{other:?}");
    assert!(!String::from_utf8_lossy(&other.stderr).contains("alloc-core:"), "{other:?}");
}

#[test]
fn a_program_without_mistakes_runs_as_ever() {
    let (plain, hardened) = (run("work", &[]), run("work", &HARDENED));
    assert!(plain.status.success() && hardened.status.success(), "{hardened:?}");
    let line = |output: &Output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find(|line| line.contains("done: ")).map(str::to_owned)
    };
    assert!(line(&plain).is_some());
    assert_eq!(line(&plain), line(&hardened));
}
