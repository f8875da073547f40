//! Runs the program of a row by the allocator of one peer, and measures it from outside.
//!
//! A preloaded library that does not serve `malloc` would measure libc under another's name. So before
//! each run the same program is started once with the dynamic linker's own account of what it binds
//! (`LD_DEBUG=bindings`): `malloc` must be bound to the peer's library, or the row fails.

use std::{
    env, fs,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio, exit},
};

use harness::Request;

const INTERPRETER: &str = include_str!("interpreter.py");

/// A program to measure, and a short run of it that binds the same symbols.
struct Program {
    run: Command,
    probe: Command,
    /// The file that must get `malloc` from the peer: of several that start, the one that works.
    file: &'static str,
}

/// Runs and reports; exits with a message if that cannot be done.
pub(crate) fn run(request: &Request) {
    let measured = measure(request);
    let (cpu, peak) = measured.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        exit(1);
    });
    request.report("CPU", "s", cpu);
    request.report("peak", "MiB", peak);
}

fn measure(request: &Request) -> io::Result<(f64, f64)> {
    let folder = env::temp_dir().join(format!("alloc-programs-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let measured = measure_in(&folder, request);
    fs::remove_dir_all(&folder)?;
    measured
}

fn measure_in(folder: &Path, request: &Request) -> io::Result<(f64, f64)> {
    let library = library(&env::var("BENCH_PEER").map_err(io::Error::other)?)?;
    let Program { mut run, mut probe, file } = program(folder, request)?;
    for command in [&mut run, &mut probe] {
        command.stdout(Stdio::null()).current_dir(folder);
        if let Some(library) = &library {
            command.env("LD_PRELOAD", library);
        }
    }
    prove(probe, file, library.as_deref())?;
    wait(run)
}

/// The library of a peer, beside this program; none for libc.
fn library(peer: &str) -> io::Result<Option<PathBuf>> {
    if peer == "system" {
        return Ok(None);
    }
    let this = env::current_exe()?.canonicalize()?;
    let path = this.with_file_name("preload").join(format!("{peer}.so"));
    match path.exists() {
        true => Ok(Some(path)),
        false => Err(io::Error::other(format!("no {peer}.so: run bench/setup"))),
    }
}

/// Finds out whether the program's `malloc` is the library's.
fn prove(mut probe: Command, file: &str, library: Option<&Path>) -> io::Result<()> {
    let server = library.map_or("/libc.so".into(), Path::to_string_lossy);
    probe.env("LD_DEBUG", "bindings").env("LD_BIND_NOW", "1").stdin(Stdio::null());
    let mut child = probe.stderr(Stdio::piped()).spawn()?;
    let said = child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?;
    let mut found = false;
    // Line by line: this process stays small, as a child's peak begins with that of its parent.
    for line in BufReader::new(said).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        // binding file F [0] to LIBRARY [0]: normal symbol `malloc' [GLIBC_2.2.5]
        let Some((from, to)) = line.split_once(" to ") else { continue };
        found |= from.contains(file) && to.contains(&*server) && to.contains("symbol `malloc'");
    }
    child.wait()?;
    let failed = || io::Error::other(format!("malloc of {file} is not that of {server}"));
    if found { Ok(()) } else { Err(failed()) }
}

/// Runs to the end; CPU seconds, with those of its own children, and the most MiB of any of them.
fn wait(mut command: Command) -> io::Result<(f64, f64)> {
    let child = command.spawn()?;
    let (mut status, pid) = (0, child.id() as libc::pid_t);
    // SAFETY: zeros are a value of the struct.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours, and the child is waited for nowhere else.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    if waited != pid || status != 0 {
        return Err(io::Error::other(format!("the program ended with status {status:#x}")));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss as f64 / 1024.0))
}

fn program(folder: &Path, request: &Request) -> io::Result<Program> {
    match request.row.as_str() {
        "python" => python(request),
        "gcc" => gcc(folder, request),
        "sqlite" => sqlite(folder, request),
        "larson" => larson("plain", request),
        "larson-sized" => larson("sized", request),
        _ => own(request),
    }
}

/// This binary again, as the row's program.
fn own(request: &Request) -> io::Result<Program> {
    let this = env::current_exe()?;
    let (mut run, mut probe) = (Command::new(&this), Command::new(&this));
    run.args(["work", &request.row]).args(request.quick.then_some("--quick"));
    // It refuses a row without a name, after it was linked.
    probe.arg("work");
    Ok(Program { run, probe, file: "alloc-programs" })
}

fn larson(deletes: &str, request: &Request) -> io::Result<Program> {
    let path = env::current_exe()?.with_file_name("alloc-larson");
    if !path.exists() {
        return Err(io::Error::other("no alloc-larson: bench/setup installs a C++ compiler"));
    }
    let (mut run, mut probe) = (Command::new(&path), Command::new(&path));
    run.args([deletes, &request.count(200).to_string()]);
    probe.args([deletes, "0"]);
    // `operator new` is libstdc++'s, or the library's own.
    Ok(Program { run, probe, file: "" })
}

fn python(request: &Request) -> io::Result<Program> {
    // The program itself: what the path has may be a script that looks for it.
    let asked =
        Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output()?;
    let path = String::from_utf8_lossy(&asked.stdout).trim().to_owned();
    let (mut run, mut probe) = (Command::new(&path), Command::new(&path));
    for command in [&mut run, &mut probe] {
        // Small objects from malloc too, and the same order of sets in every run.
        command.env("PYTHONMALLOC", "malloc").env("PYTHONHASHSEED", "1");
    }
    run.args(["-S", "-c", INTERPRETER, &request.count(20).to_string()]);
    probe.args(["-S", "-c", "0"]);
    Ok(Program { run, probe, file: "python" })
}

fn gcc(folder: &Path, request: &Request) -> io::Result<Program> {
    let source: String = (0..request.count(400)).map(function).collect();
    fs::write(folder.join("generated.c"), source)?;
    fs::write(folder.join("empty.c"), "")?;
    let (mut run, mut probe) = (Command::new("gcc"), Command::new("gcc"));
    run.args(["-O2", "-S", "generated.c", "-o", "/dev/null"]);
    probe.args(["-O2", "-S", "empty.c", "-o", "/dev/null"]);
    Ok(Program { run, probe, file: "cc1" })
}

/// A function of C's, each a little different.
fn function(n: usize) -> String {
    let (fields, case) = (n % 17 + 1, n % 5);
    format!(
        "struct s{n} {{ int a[{fields}]; struct s{n} *next; }};\n\
         int f{n}(struct s{n} *s, int x) {{ int t = x; while (s) {{ for (int i = 0; i < {fields}; i++)\n\
         t += s->a[i] * {n} ^ x; s = s->next; }} switch (t % 5) {{ case {case}: return t + {n};\n\
         default: return t / 3; }} }}\n"
    )
}

fn sqlite(folder: &Path, request: &Request) -> io::Result<Program> {
    let rows = request.count(60_000);
    let script = format!(
        "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT i, i * 7919 % 10007 AS k, hex(i * 31337) || hex(zeroblob(i % 30)) AS s FROM n;
         CREATE INDEX by_k ON t(k); CREATE INDEX by_s ON t(s, k);
         SELECT k % 10, count(*), max(length(p)) FROM
         (SELECT k, group_concat(s) OVER (ORDER BY k ROWS 20 PRECEDING) AS p FROM t) GROUP BY 1;
         UPDATE t SET s = lower(s) || k WHERE k % 3 = 0; DELETE FROM t WHERE k % 5 = 1; VACUUM;"
    );
    let path = folder.join("script.sql");
    fs::write(&path, script)?;
    let (mut run, mut probe) = (Command::new("sqlite3"), Command::new("sqlite3"));
    run.arg(":memory:").stdin(fs::File::open(path)?);
    probe.args([":memory:", "SELECT 1"]);
    // libsqlite3 calls malloc, or the program that has it inside.
    Ok(Program { run, probe, file: "sqlite3" })
}
