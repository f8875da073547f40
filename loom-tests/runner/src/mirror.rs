//! A copy of a folder that keeps what has not changed, so that builds in it stay incremental.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// By this file cargo, and we, mark a folder whose contents can be made again.
const TAG: &str = "CACHEDIR.TAG";

/// What the file begins with (<https://bford.info/cachedir/>).
const TAG_TEXT: &str = "Signature: 8a477f597d28d172789f06886806bc55\n";

/// Marks a folder as one that no mirror holds.
pub(crate) fn mark(folder: &Path) -> Result<()> {
    Ok(fs::write(folder.join(TAG), TAG_TEXT)?)
}

/// What lies in a folder, by name.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Makes `to` a copy of `from`, and touches no file that is the same already. Left out are what can be made
/// again (what cargo has built, the labs), the history, and `bench`, a workspace of its own.
pub(crate) fn mirror(from: &Path, to: &Path) -> Result<()> {
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
pub(crate) mod tests {
    use super::*;

    /// A folder of the test's own.
    pub(crate) fn folder(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("faults-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_mirror_follows_its_source() {
        let root = folder("mirror");
        let (from, to) = (root.join("from"), root.join("to"));
        fs::create_dir_all(from.join("sub")).expect("the temporary folder is writable");
        fs::create_dir_all(from.join("target")).expect("as above");
        mark(&from.join("target")).expect("as above");
        fs::write(from.join("sub/a"), "1").expect("as above");
        mirror(&from, &to).expect("copies");
        fs::write(to.join("sub/stale"), "2").expect("as above");
        mirror(&from, &to).expect("copies again");
        assert_eq!(fs::read_to_string(to.join("sub/a")).expect("it was copied"), "1");
        assert!(!to.join("sub/stale").exists() && !to.join("target").exists());
        fs::remove_dir_all(&root).expect("it is ours");
    }
}
