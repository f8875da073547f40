//! Plants faults in the source, one at a time, and wants each model to turn red.
//!
//! # Problem
//!
//! A model that has never failed proves nothing: it may assert too little, or never reach the
//! interleaving it is for. So each model comes with faults that it must find. The production code
//! carries no switches for them: a fault is a change of the text.
//!
//! # A fault file
//!
//! `loom-tests/faults/<model>/<name>.fault`:
//!
//! ```text
//! model: sched_queue  steal
//! file: sched-core/src/queue/local.rs
//! why: one line
//! --- old
//! text that occurs once
//! --- new
//! other text
//! ```
//!
//! After the model's name may stand a filter for its tests. A fault may have several pairs of `old`
//! and `new`. An old text that does not occur exactly once is an error, so that faults follow the
//! code.
//!
//! # Algorithm
//!
//! 1. Copy the workspace into scratch folders, one per core, only files that differ, so that builds stay
//!    incremental. The scratch folders lie in `target-loom/faults`, or in `faults` of `CARGO_TARGET_DIR`.
//! 2. Run each named model on a clean copy: it must be green (`--skip-clean` leaves this out).
//! 3. In each folder, for the next fault that nobody has taken: change the text, build, run the model until one of
//!    its tests fails, put the text back.
//!
//! | verdict | meaning |
//! |---|---|
//! | found | the model turned red |
//! | UNSEEN | the model stayed green: it is too weak |
//! | does not build | no evidence either way: the fault is badly made |
//! | does not apply | the old text is gone, or not unique |
//! | timed out | the model neither failed nor finished |
//!
//! All but the first make the command fail.
//!
//! ```text
//! cargo run -p faults [-- [--skip-clean] [FILTER]]
//! ```

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Folders in which faults are built at once, at most: each takes half a gigabyte.
const MOST_LABS: usize = 8;

/// No model may take this long, planted fault or not.
const TIMEOUT: Duration = Duration::from_secs(120);

/// By this file cargo, and we, mark a folder whose contents can be made again.
const TAG: &str = "CACHEDIR.TAG";

/// What the file begins with (<https://bford.info/cachedir/>).
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

const USAGE: &str = "\
usage: faults [--skip-clean] [FILTER]

Plants each fault whose name, MODEL/NAME, contains FILTER (all, without one), and runs its model, which must
turn red. The models run without faults first and must be green; --skip-clean leaves that out.

Exit code: 0 if every fault was found, 1 if one was not, 2 if it could not be tried.";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let (options, filters): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with('-'));
    if options.iter().any(|option| option == "--help" || option == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    if options.iter().any(|option| option != "--skip-clean") || filters.len() > 1 {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    let clean = options.is_empty();
    match run(filters.first().map_or("", String::as_str), clean) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::from(2)
        }
    }
}

/// True if every fault whose name contains `filter` was found.
fn run(filter: &str, clean: bool) -> Result<bool> {
    let workspace =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or("no workspace")?;
    let faults: Vec<Fault> = read_faults(&workspace.join("loom-tests/faults"))?
        .into_iter()
        .filter(|fault| fault.name.contains(filter))
        .collect();
    if faults.is_empty() {
        return Err(format!("no fault's name contains {filter:?}").into());
    }
    let cores = thread::available_parallelism()?.get().min(MOST_LABS);
    let scratch = scratch(workspace)?;
    let labs = (0..cores.min(faults.len()))
        .map(|number| Lab::new(workspace, &scratch, number))
        .collect::<Result<Vec<_>>>()?;
    let models: BTreeSet<_> = faults.iter().map(|fault| fault.model.as_str()).collect();
    eprintln!(
        "{} faults, {} models; {} builds at a time in {} (the first of each takes a minute)",
        faults.len(),
        models.len(),
        labs.len(),
        scratch.display()
    );
    if clean {
        let models = Vec::from_iter(models);
        in_turn(&labs, &models, |lab, model| match lab.test(model, "")? {
            Verdict::Unseen => {
                eprintln!("{model} is green without faults");
                Ok(())
            }
            other => Err(format!("{model} without faults: {other}").into()),
        })?;
    }
    println!("| fault | verdict | seconds |\n|---|---|---|");
    let missed = AtomicUsize::new(0);
    in_turn(&labs, &faults, |lab, fault| {
        let began = Instant::now();
        let verdict = lab.try_fault(fault)?;
        println!("| {} | {verdict} | {:.1} |", fault.name, began.elapsed().as_secs_f64());
        if !matches!(verdict, Verdict::Found) {
            // Relaxed: read when all threads have ended.
            missed.fetch_add(1, Ordering::Relaxed);
            eprintln!("{}: {verdict}: {}\n{}", fault.name, fault.why, lab.last_words());
        }
        Ok(())
    })?;
    let missed = missed.into_inner();
    eprintln!("{} of {} faults found", faults.len() - missed, faults.len());
    Ok(missed == 0)
}

/// Does `work` for each item, in whichever lab is free; stops at an error, and gives the first.
fn in_turn<T: Sync>(
    labs: &[Lab],
    items: &[T],
    work: impl Fn(&Lab, &T) -> Result<()> + Sync,
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let first = Mutex::new(None);
    thread::scope(|scope| {
        for lab in labs {
            scope.spawn(|| {
                // Relaxed: each number is taken once, whoever takes it.
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = work(lab, item) {
                        next.store(items.len(), Ordering::Relaxed);
                        first.lock().expect("no panic").get_or_insert(error.to_string());
                        return;
                    }
                }
            });
        }
    });
    first.into_inner()?.map_or(Ok(()), |error| Err(error.into()))
}

/// One fault file.
#[derive(Debug, PartialEq)]
struct Fault {
    /// `<model>/<name>`.
    name: String,
    model: String,
    /// Which tests of the model; all when empty.
    test: String,
    /// Relative to the workspace.
    file: String,
    why: String,
    /// Pairs of old and new text.
    changes: Vec<(String, String)>,
}

fn read_faults(folder: &Path) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for model in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
        for path in sorted(&model)? {
            let name = path.strip_prefix(folder)?.with_extension("").display().to_string();
            let text = fs::read_to_string(&path)?;
            faults.push(Fault::parse(name, &text).map_err(|e| format!("{}: {e}", path.display()))?);
        }
    }
    Ok(faults)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

impl Fault {
    fn parse(name: String, text: &str) -> Result<Self> {
        let (header, body) = text.split_once("--- old\n").ok_or("no line `--- old`")?;
        let field = |key: &str| {
            let line = header.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.map(str::trim).ok_or(format!("no line `{key}: …`"))
        };
        let (model, test) = field("model")?.split_once(' ').unwrap_or((field("model")?, ""));
        let mut changes = Vec::new();
        for pair in body.split("--- old\n") {
            let (old, new) = pair.split_once("--- new\n").ok_or("no line `--- new`")?;
            changes.push((trimmed(old), trimmed(new)));
        }
        Ok(Self {
            name,
            model: model.to_string(),
            test: test.trim().to_string(),
            file: field("file")?.to_string(),
            why: field("why")?.to_string(),
            changes,
        })
    }

    /// The source with the fault in it; `None` if an old text does not occur exactly once. What follows keeps its
    /// lines where it can, or the compiler would build all of it again.
    fn apply(&self, source: &str) -> Option<String> {
        self.changes.iter().try_fold(source.to_string(), |source, (old, new)| {
            let lines = |text: &str| text.matches('\n').count();
            let gap = "\n".repeat(lines(old).saturating_sub(lines(new)));
            (source.matches(old.as_str()).count() == 1)
                .then(|| source.replacen(old, &format!("{gap}{new}"), 1))
        })
    }
}

/// Without the line end before the next marker, so that part of a line can be replaced.
fn trimmed(text: &str) -> String {
    text.strip_suffix('\n').unwrap_or(text).to_string()
}

/// What became of a fault.
#[derive(Debug, PartialEq)]
enum Verdict {
    Found,
    Unseen,
    DoesNotBuild,
    DoesNotApply,
    TimedOut,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Found => "found",
            Verdict::Unseen => "UNSEEN",
            Verdict::DoesNotBuild => "does not build",
            Verdict::DoesNotApply => "does not apply",
            Verdict::TimedOut => "timed out",
        })
    }
}

/// Where the labs lie: beside what cargo builds for the models.
fn scratch(workspace: &Path) -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(chosen) => std::path::absolute(chosen)?,
        None => workspace.join("target-loom"),
    };
    Ok(target.join("faults"))
}

/// A scratch copy of the workspace, and where it is built.
struct Lab {
    tree: PathBuf,
    /// A folder of its own: cargo names what it builds by paths relative to the workspace, so in a
    /// common one the copy's faulty crates would pass for the workspace's own.
    target: PathBuf,
    log: PathBuf,
}

impl Lab {
    /// The lab of this number.
    fn new(workspace: &Path, scratch: &Path, number: usize) -> Result<Self> {
        let folder = scratch.join(number.to_string());
        fs::create_dir_all(&folder)?;
        // Or the mirror would hold itself, where cargo has not built anything around it yet.
        fs::write(scratch.join(TAG), TAG_TEXT)?;
        let tree = folder.join("tree");
        mirror(workspace, &tree)?;
        Ok(Self { tree, target: folder.join("target"), log: folder.join("last.log") })
    }

    fn try_fault(&self, fault: &Fault) -> Result<Verdict> {
        let path = self.tree.join(&fault.file);
        let source = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", fault.file))?;
        let Some(faulty) = fault.apply(&source) else {
            return Ok(Verdict::DoesNotApply);
        };
        fs::write(&path, faulty)?;
        let verdict = self.test(&fault.model, &fault.test);
        fs::write(&path, source)?;
        verdict
    }

    /// Builds and runs the tests of `model` whose names contain `test`.
    fn test(&self, model: &str, test: &str) -> Result<Verdict> {
        let Some(binary) = self.build(model)? else {
            return Ok(Verdict::DoesNotBuild);
        };
        let mut child = Command::new(binary)
            .arg(test)
            .current_dir(self.tree.join("loom-tests"))
            .env("RUST_BACKTRACE", "0")
            .stdout(File::create(&self.log)?)
            .stderr(File::options().append(true).open(&self.log)?)
            .stdin(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let verdict = loop {
            if let Some(status) = child.try_wait()? {
                return Ok(if status.success() { Verdict::Unseen } else { Verdict::Found });
            }
            // The model's other tests may take ten times as long.
            if fs::read_to_string(&self.log)?.contains(" ... FAILED\n") {
                break Verdict::Found;
            }
            if began.elapsed() >= TIMEOUT {
                break Verdict::TimedOut;
            }
            thread::sleep(Duration::from_millis(10));
        };
        child.kill()?;
        child.wait()?;
        Ok(verdict)
    }

    /// The path of the model's test binary; `None` if it does not build.
    fn build(&self, model: &str) -> Result<Option<PathBuf>> {
        // What is built runs once, and mostly fails soon: what counts is how soon it is built. `alloc_set` is a
        // model of `alloc`: no other part need be built.
        let part = model.split('_').next().unwrap_or(model);
        let output = Command::new(env!("CARGO"))
            .args(["test", "-p", "loom-tests", "--no-run", "--test", model])
            .args(["--no-default-features", "--features", part])
            .args(["--config", "profile.dev.debug=false"])
            .args(["--config", "profile.dev.package.loom-tests.opt-level=0"])
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "--cfg loom")
            // Also where it is switched off for all else: each build differs from the last by a line.
            .env("CARGO_INCREMENTAL", "1")
            .stdin(Stdio::null())
            .output()?;
        fs::write(&self.log, &output.stderr)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let binary = said.lines().find_map(|line| {
            let (_, path) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
            path.strip_suffix(')').map(PathBuf::from)
        });
        Ok(binary.filter(|_| output.status.success()))
    }

    /// The end of what the last build or model said.
    fn last_words(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

/// Makes `to` a copy of `from`, and touches no file that is the same already. Left out are what can be made
/// again (what cargo has built, the labs), the history, and `bench`, a workspace of its own.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let kept = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name != ".git" && name != "bench" && !path.join(TAG).exists()
    };
    let sources: Vec<_> = sorted(from)?.into_iter().filter(kept).collect();
    let names: BTreeSet<_> = sources.iter().filter_map(|path| path.file_name()).collect();
    for stale in
        sorted(to)?.iter().filter(|path| !path.file_name().is_some_and(|n| names.contains(n)))
    {
        if stale.is_dir() { fs::remove_dir_all(stale)? } else { fs::remove_file(stale)? }
    }
    for source in &sources {
        let copy = to.join(source.file_name().unwrap_or_default());
        if source.is_dir() {
            mirror(source, &copy)?;
        } else {
            let content = fs::read(source)?;
            if fs::read(&copy).ok().as_ref() != Some(&content) {
                fs::write(&copy, content)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "model: sched_queue  steal\nfile: a/b.rs\nwhy: because\n\
        --- old\none\n  two\n--- new\ntwo\n--- old\nx\n--- new\n";

    fn fault() -> Fault {
        Fault::parse("m/n".into(), TEXT).expect("the text is well formed")
    }

    #[test]
    fn a_fault_file_is_read() {
        let fault = fault();
        assert_eq!((&*fault.model, &*fault.test), ("sched_queue", "steal"));
        assert_eq!((&*fault.file, &*fault.why), ("a/b.rs", "because"));
        let changes = [("one\n  two".into(), "two".into()), ("x".into(), String::new())];
        assert_eq!(fault.changes, changes);
    }

    #[test]
    fn a_missing_line_is_named() {
        let error = Fault::parse("m/n".into(), &TEXT.replace("why", "what")).unwrap_err();
        assert!(error.to_string().contains("why"), "{error}");
    }

    #[test]
    fn a_text_must_occur_once() {
        assert_eq!(fault().apply("a one\n  two b x").as_deref(), Some("a \ntwo b "));
        assert_eq!(fault().apply("one\n  two"), None, "x is missing");
        assert_eq!(fault().apply("one\n  two x x"), None, "x is not unique");
    }

    /// A folder of the test's own.
    fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("faults-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_lab_inside_of_the_workspace_does_not_hold_itself() {
        let workspace = folder("lab");
        fs::create_dir_all(&workspace).expect("the temporary folder is writable");
        fs::write(workspace.join("source"), "1").expect("as above");
        let scratch = workspace.join("target-loom/faults");
        for number in [0, 1, 0] {
            let lab = Lab::new(&workspace, &scratch, number).expect("copies");
            assert_eq!(fs::read_to_string(lab.tree.join("source")).expect("it was copied"), "1");
            assert!(!lab.tree.join("target-loom/faults").exists());
        }
        fs::remove_dir_all(&workspace).expect("it is ours");
    }

    #[test]
    fn a_mirror_follows_its_source() {
        let root = folder("mirror");
        let (from, to) = (root.join("from"), root.join("to"));
        fs::create_dir_all(from.join("sub")).expect("the temporary folder is writable");
        fs::create_dir_all(from.join("target")).expect("as above");
        fs::write(from.join("target").join(TAG), "").expect("as above");
        fs::write(from.join("sub/a"), "1").expect("as above");
        mirror(&from, &to).expect("copies");
        fs::write(to.join("sub/stale"), "2").expect("as above");
        mirror(&from, &to).expect("copies again");
        assert_eq!(fs::read_to_string(to.join("sub/a")).expect("it was copied"), "1");
        assert!(!to.join("sub/stale").exists() && !to.join("target").exists());
        fs::remove_dir_all(&root).expect("it is ours");
    }
}
