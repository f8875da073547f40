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

/// The program that makes two runtimes: says how many Ps each has.
#[test]
#[ignore = "run by the tests below"]
fn double_program() {
    for _ in 0..2 {
        println!("procs {}", runtime::Runtime::new().unwrap().procs());
    }
}

/// The program that makes garbage, until a collection has begun by itself, or there are 32 MiB.
#[test]
#[ignore = "run by the tests below"]
fn wasteful_program() {
    let rt = runtime::Runtime::new().unwrap();
    rt.run(|| {
        for _ in 0..4 << 10 {
            runtime::gc::enter().alloc_slice([0_u64; 1024]);
            if runtime::gc::stats().cycles > 0 {
                println!("collected");
                return;
            }
        }
    });
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
fn processors_that_cannot_be_had_are_not_made_and_one_line_says_so() {
    for text in ["10000", "abc"] {
        let (out, err) = run("double_program", &[("GOMAXPROCS", text)]);
        let wanted = "it takes a number from 1 to 9999, less than there may be threads";
        assert_eq!(err, format!("runtime: GOMAXPROCS={text} is ignored: {wanted}\n"));
        assert_eq!(out.matches("procs ").count(), 2, "{out}");
    }
    let (out, err) = program_with(&[("GOMAXPROCS", "9999")]);
    assert!(out.contains("procs 9999\n") && err.is_empty(), "{out}{err}");
}

#[test]
fn processors_that_code_asks_for_and_cannot_be_had_are_an_error_with_the_remedy() {
    let error = |builder: runtime::Builder| builder.build().unwrap_err().to_string();
    let new = runtime::Builder::new;
    let text = |procs: usize, threads: usize| {
        format!(
            "the scheduler: configuration: procs is {procs}, and max_threads must exceed it: \
             it is {threads}; raise it, or lower procs"
        )
    };
    assert_eq!(error(new().procs(10_000)), text(10_000, 10_000));
    assert_eq!(error(new().procs(2).max_threads(2)), text(2, 2));
    assert_eq!(error(new().max_threads(1)), text(1, 1));
    assert!(error(new().procs(65_537).max_threads(1 << 20)).contains("procs must be 1 to 65,536"));
    assert!(error(new().max_threads(1 << 21)).contains("max_threads must be 1,048,576 at most"));
    assert_eq!(new().max_threads(2).build().unwrap().procs(), 1, "whatever the machine has");
}

#[test]
fn what_makes_no_sense_is_named_and_does_no_harm() {
    let variables = [("GOGC", "lots"), ("GOMEMLIMIT", "1G"), ("GODEBUG", "gctrace=true,netdns=go")];
    let (out, err) = run("collecting_program", &variables);
    assert!(out.contains("collected 3 times"), "{out}");
    let lines: Vec<_> = err.lines().collect();
    let names = ["GOGC=lots", "GOMEMLIMIT=1G", "GODEBUG=gctrace=true"];
    assert_eq!(lines.len(), names.len(), "{err}");
    for (line, name) in lines.iter().zip(names) {
        assert!(line.starts_with(&format!("runtime: {name} is ignored: it takes ")), "{line}");
    }
}

#[test]
fn gomemlimit_begins_collections_also_without_gogc() {
    let collects = |limit| {
        let (out, err) = run("wasteful_program", &[("GOGC", "-1"), ("GOMEMLIMIT", limit)]);
        assert_eq!(err, "");
        out.contains("collected")
    };
    assert!(collects("8MiB"));
    assert!(!collects("off"));
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
