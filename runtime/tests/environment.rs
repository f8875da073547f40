//! What the environment says reaches the runtime: the test runs itself again with variables set.

mod again;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use again::again;

/// The program under the variables: says how many Ps it has, sleeps, and ends with its standard input.
#[test]
#[ignore = "run by the tests below"]
fn program() {
    let rt = runtime::Runtime::new().unwrap();
    println!("procs {}", rt.procs());
    rt.run(|| runtime::sleep(Duration::from_millis(100)));
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// The program whose cores are taken away and given back while it computes: says how many Ps it has.
#[test]
#[ignore = "run by the tests below"]
fn moved_program() {
    let rt = runtime::Runtime::new().unwrap();
    let procs = rt.procs();
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    // The machine is looked at while it is busy.
    let busy = rt.go(move || while !seen.load(Ordering::Relaxed) {});
    let all = allowed();
    let first = (0..libc::CPU_SETSIZE as usize).find(|&cpu| {
        // SAFETY: within the set.
        unsafe { libc::CPU_ISSET(cpu, &all) }
    });
    let mut one = none();
    // SAFETY: within the set.
    unsafe { libc::CPU_SET(first.unwrap(), &mut one) };
    for set in [one, all] {
        allow(&set);
        // SAFETY: a set.
        let cores = unsafe { libc::CPU_COUNT(&set) } as usize;
        let begin = Instant::now();
        let wanted = procs.min(cores);
        while rt.procs() != wanted && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
        println!("{cores} cores, {} procs", rt.procs());
    }
    stop.store(true, Ordering::Relaxed);
    busy.join().unwrap();
}

/// The program that has something to say at each collection.
#[test]
#[ignore = "run by the tests below"]
fn collecting_program() {
    let rt = runtime::Runtime::new().unwrap();
    for _ in 0..3 {
        rt.run(runtime::gc::collect).unwrap();
    }
    println!("collected {} times", runtime::gc::stats().cycles);
}

#[test]
fn a_standard_error_that_nobody_reads_harms_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = again("collecting_program")
        .env("GODEBUG", "gctrace=1,schedtrace=1")
        .stderr(writer)
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.contains("collected 3 times"), "{out}");
}

fn none() -> libc::cpu_set_t {
    // SAFETY: plain data.
    unsafe { std::mem::zeroed() }
}

/// Where the calling thread may run.
fn allowed() -> libc::cpu_set_t {
    let mut set = none();
    // SAFETY: the kernel fills in our set.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) }, 0);
    set
}

/// Has all threads of the process run there, as `taskset -ap` does.
fn allow(set: &libc::cpu_set_t) {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let tid = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: our set; a thread that has just ended refuses.
        unsafe { libc::sched_setaffinity(tid, size_of_val(set), set) };
    }
}

#[test]
fn the_number_of_ps_follows_the_cores() {
    // SAFETY: a set.
    if unsafe { libc::CPU_COUNT(&allowed()) } < 2 {
        return;
    }
    let (out, _) = run("moved_program", &[]);
    let lines: Vec<_> = out.lines().filter(|line| line.contains(" cores, ")).collect();
    // A quota may leave fewer than there are cores.
    let procs = runtime::Runtime::new().unwrap().procs();
    let [one, all] = lines[..] else { panic!("{out}") };
    assert_eq!(one, "1 cores, 1 procs");
    assert!(all.ends_with(&format!(" cores, {procs} procs")), "{out}");
}

/// Output and standard error of `program` with these variables.
fn program_with(variables: &[(&str, &str)]) -> (String, String) {
    run("program", variables)
}

fn run(program: &str, variables: &[(&str, &str)]) -> (String, String) {
    let output = again(program).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{out}{err}");
    (out, err)
}

#[test]
fn gomaxprocs_is_obeyed() {
    let (out, _) = program_with(&[("GOMAXPROCS", "3")]);
    assert!(out.contains("procs 3\n"), "{out}");
}

#[test]
fn schedtrace_writes_lines_also_while_nothing_runs() {
    let mut child = again("program")
        .envs([("GOMAXPROCS", "2"), ("GODEBUG", "schedtrace=10")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut lines = lines.filter(|line| line.starts_with("SCHED "));
    // Until one of them tells that nothing ran when it was written.
    let idle = lines.find(|line| line.contains(": gomaxprocs=2 idleprocs=2 "));
    assert!(idle.is_some() && lines.next().is_some(), "two lines");
    drop(child.stdin.take());
    assert!(lines.all(|line| line.contains(": gomaxprocs=2 idleprocs=")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn nothing_is_written_unasked() {
    let (_, err) = program_with(&[]);
    assert_eq!(err, "");
}
