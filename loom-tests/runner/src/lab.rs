//! A lab: a copy of the workspace in which faults are planted, built and tried.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::ending::Ending;
use crate::fault::Fault;
use crate::mirror::{mark, mirror};
use crate::{Model, Verdict};

/// No model may take this long, planted fault or not.
const TIMEOUT: Duration = Duration::from_secs(120);

/// For so long a clean model must stay green, and most faults are found sooner. The models' own run, which is
/// optimized, goes to the end.
const CLEAN: Duration = Duration::from_secs(10);

/// How far loom goes in a clean model: also farther than to most faults.
const EXECUTIONS: [(&str, &str); 2] =
    [("LOOM_MAX_PERMUTATIONS", "5000"), ("LOOM_CHECKPOINT_INTERVAL", "1000")];

/// Where the labs lie: beside what cargo builds for the models.
pub(crate) fn scratch(workspace: &Path) -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(chosen) => std::path::absolute(chosen)?,
        None => workspace.join("target-loom"),
    };
    Ok(target.join("faults"))
}

/// A scratch copy of the workspace, and where it is built.
pub(crate) struct Lab {
    tree: PathBuf,
    /// A folder of its own: cargo names what it builds by paths relative to the workspace, so in a
    /// common one the copy's faulty crates would pass for the workspace's own.
    target: PathBuf,
    /// What the harness wrote, last.
    stdout: PathBuf,
    /// What the compiler, or the tests' panics, wrote, last.
    stderr: PathBuf,
}

impl Lab {
    /// The lab of this number.
    pub(crate) fn new(workspace: &Path, scratch: &Path, number: usize) -> Result<Self> {
        let folder = scratch.join(number.to_string());
        fs::create_dir_all(&folder)?;
        // Or the mirror would hold itself, where cargo has not built anything around it yet.
        mark(scratch)?;
        let tree = folder.join("tree");
        mirror(workspace, &tree)?;
        let [target, stdout, stderr] = ["target", "stdout", "stderr"].map(|name| folder.join(name));
        Ok(Self { tree, target, stdout, stderr })
    }

    /// The models of one part, without faults, must be green in the builds in which faults turn them red.
    pub(crate) fn try_clean(&self, models: &[Model]) -> Result<()> {
        let names: Vec<_> = models.iter().map(|model| model.name).collect();
        let binaries = self.build(&names)?.ok_or_else(|| self.last_words())?;
        for (model, binary) in models.iter().zip(binaries) {
            let tests = Vec::from_iter(model.tests.iter().copied());
            let ending = self.test(&binary, &tests, &EXECUTIONS, CLEAN)?;
            if !matches!(ending, Ending::Passed | Ending::TimedOut) {
                let words = self.last_words();
                return Err(format!("{} without faults: {ending}\n{words}", model.name).into());
            }
        }
        Ok(())
    }

    /// Plants a fault, and takes it out again.
    pub(crate) fn try_fault(&self, fault: &Fault) -> Result<Verdict> {
        let path = self.tree.join(&fault.file);
        let source = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", fault.file))?;
        let Some(faulty) = fault.apply(&source) else {
            return Ok(Verdict::DoesNotApply);
        };
        fs::write(&path, faulty)?;
        let binaries = self.build(&[&fault.model]);
        let verdict = binaries.and_then(|binaries| match binaries.as_deref() {
            Some([binary]) => {
                Ok(Verdict::of(fault.ends, self.test(binary, &[&fault.test], &[], TIMEOUT)?))
            }
            _ => Ok(Verdict::DoesNotBuild),
        });
        fs::write(&path, source)?;
        verdict
    }

    /// Runs the tests whose names contain one of `tests`, until one of them has failed, with `bound` in the
    /// environment, for `time` at most.
    fn test(
        &self,
        binary: &Path,
        tests: &[&str],
        bound: &[(&str, &str)],
        time: Duration,
    ) -> Result<Ending> {
        let mut child = Command::new(binary)
            // The panics are read while the tests run. With one thread, they would not tell whose they are.
            .args(["--no-capture", "--test-threads=2"])
            .args(tests)
            .current_dir(self.tree.join("loom-tests"))
            .env("RUST_BACKTRACE", "0")
            .envs(bound.iter().copied())
            .stdout(File::create(&self.stdout)?)
            .stderr(File::create(&self.stderr)?)
            .stdin(Stdio::null())
            .spawn()?;
        let began = Instant::now();
        let ending = loop {
            let status = child.try_wait()?;
            let (stdout, stderr) = (self.read(&self.stdout)?, self.read(&self.stderr)?);
            if let Some(status) = status {
                return Ok(Ending::of(status, &stdout, &stderr));
            }
            // The model's other tests may take ten times as long.
            if let Some(ending) = Ending::by_now(&stdout, &stderr) {
                break ending;
            }
            if began.elapsed() >= time {
                break Ending::TimedOut;
            }
            thread::sleep(Duration::from_millis(10));
        };
        child.kill()?;
        child.wait()?;
        Ok(ending)
    }

    /// The paths of the models' test binaries; `None` if they do not build. The models are of one part.
    fn build(&self, models: &[&str]) -> Result<Option<Vec<PathBuf>>> {
        // What is built runs once, and mostly fails soon: what counts is how soon it is built. `alloc_set` is a
        // model of `alloc`: no other part need be built.
        let output = Command::new(env!("CARGO"))
            .args(["test", "-p", "loom-tests", "--no-run"])
            .args(models.iter().flat_map(|model| ["--test", model]))
            .args(["--no-default-features", "--features", part(models[0])])
            .args(["--config", "profile.dev.debug=false"])
            .args(["--config", "profile.dev.package.loom-tests.opt-level=0"])
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("RUSTFLAGS", "--cfg loom")
            // Also where it is switched off for all else: each build differs from the last by a line.
            .env("CARGO_INCREMENTAL", "1")
            .stdin(Stdio::null())
            .output()?;
        fs::write(&self.stderr, &output.stderr)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let binary = |model: &&str| {
            let executable = format!("Executable tests/{model}.rs (");
            let path = said.split_once(&executable)?.1.split_once(')')?.0;
            Some(PathBuf::from(path))
        };
        Ok(if output.status.success() { models.iter().map(binary).collect() } else { None })
    }

    /// The end of what the last build or model said.
    pub(crate) fn last_words(&self) -> String {
        let said = self.read(&self.stderr).unwrap_or_default();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn read(&self, log: &Path) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned())
    }
}

/// The part of the workspace whose model this is: a feature of `loom-tests`.
pub(crate) fn part(model: &str) -> &str {
    model.split('_').next().unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::tests::folder;

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
}
