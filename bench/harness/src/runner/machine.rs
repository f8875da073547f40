//! What the numbers were taken on: without it they mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Lines of Markdown that describe the machine, its load, and the versions.
pub fn describe(go: &Path) -> Vec<String> {
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    vec![
        format!("- Processor: {}, {cores} CPUs", cpu_model()),
        format!("- Kernel: Linux {}", read("/proc/sys/kernel/osrelease")),
        format!("- Load average of the minute before: {load}"),
        format!("- Compilers: {}; {}", said("rustc", &["--version"]), said(go, &["version"])),
        format!("- Commit: {}", said("git", &["describe", "--always", "--dirty"])),
    ]
}

/// Today's date as year-month-day.
pub fn today() -> String {
    said("date", &["-u", "+%Y-%m-%d"])
}

fn cpu_model() -> String {
    let info = read("/proc/cpuinfo");
    let line = info.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':'])).into()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().into()
}

/// The first line a command prints, or `unknown`.
fn said(program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text.as_deref().and_then(|text| text.lines().next()).unwrap_or("unknown");
    line.trim().into()
}
