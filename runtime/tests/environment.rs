//! What the environment says reaches the runtime: the test runs itself again with variables set.

use std::process::Command;
use std::time::Duration;

/// The program under the variables: says how many Ps it has, and computes for a while.
#[test]
#[ignore = "run by the tests below"]
fn program() {
    let rt = runtime::Runtime::new().unwrap();
    println!("procs {}", rt.procs());
    rt.run(|| runtime::sleep(Duration::from_millis(100)));
}

/// Output and standard error of `program` with these variables.
fn program_with(variables: &[(&str, &str)]) -> (String, String) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "program", "--ignored", "--nocapture"])
        .env_remove("GOMAXPROCS")
        .env_remove("GODEBUG")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
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
    let (_, err) = program_with(&[("GOMAXPROCS", "2"), ("GODEBUG", "schedtrace=10")]);
    let lines: Vec<_> = err.lines().filter(|line| line.starts_with("SCHED ")).collect();
    assert!(lines.len() >= 2, "{err}");
    assert!(lines.iter().all(|line| line.contains(": gomaxprocs=2 idleprocs=")), "{err}");
}

#[test]
fn nothing_is_written_unasked() {
    let (_, err) = program_with(&[]);
    assert_eq!(err, "");
}
