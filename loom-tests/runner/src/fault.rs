//! A fault file: which text becomes which, and how a model's test is to end for it.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::ending::Ending;
use crate::mirror::sorted;

/// One fault file.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    /// `<model>/<name>`.
    pub(crate) name: String,
    pub(crate) model: String,
    /// Which tests of the model; all when empty.
    pub(crate) test: String,
    /// Relative to the workspace.
    pub(crate) file: String,
    pub(crate) why: String,
    /// The ending that shows it, beside a failed test.
    pub(crate) ends: Ending,
    /// Pairs of old and new text.
    changes: Vec<(String, String)>,
}

/// All fault files of `folder`, by model and name.
pub(crate) fn read_faults(folder: &Path) -> Result<Vec<Fault>> {
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

impl Fault {
    fn parse(name: String, text: &str) -> Result<Self> {
        let (header, body) = text.split_once("--- old\n").ok_or("no line `--- old`")?;
        let find = |key: &str| {
            header
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": ").map(str::trim))
        };
        let field = |key: &str| find(key).ok_or(format!("no line `{key}: …`"));
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
            ends: find("ends").map_or(Ok(Ending::Failed), Ending::parse)?,
            changes,
        })
    }

    /// The source with the fault in it; `None` if an old text does not occur exactly once. What follows keeps its
    /// lines where it can, or the compiler would build all of it again.
    pub(crate) fn apply(&self, source: &str) -> Option<String> {
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
        assert_eq!(fault.ends, Ending::Failed);
        let changes = [("one\n  two".into(), "two".into()), ("x".into(), String::new())];
        assert_eq!(fault.changes, changes);
    }

    #[test]
    fn a_fault_file_may_name_another_ending() {
        let parse = |ends| Fault::parse("m/n".into(), &TEXT.replace("why", ends));
        let fault = parse("ends: abort\nwhy").expect("the text is well formed");
        assert_eq!(fault.ends, Ending::Aborted);
        let error = parse("ends: well\nwhy").unwrap_err();
        assert!(error.to_string().contains("well"), "{error}");
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
}
