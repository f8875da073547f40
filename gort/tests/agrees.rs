//! Ours and an independent script in another language find the same.

mod common;

use std::ffi::OsStr;
use std::path::Path;

use common::{json, lines, odd_tree, oracle, search, unhex};
use serde_json::Value;

/// Compares plain and JSON output with the script's, on so many processors.
fn compare(procs: &str, dir: &Path, words: &[&str]) {
    let expected = oracle(dir, words);
    let ours = json(&["--procs", procs], dir, words);
    for field in ["files", "bytes", "words", "terms"] {
        assert_eq!(ours[field], expected[field], "{field} of {words:?} in {}", dir.display());
    }
    let hits = |value: &Value| value["hits"].as_array().unwrap().clone();
    assert_eq!(hits(&ours).len(), hits(&expected).len());
    for (ours, expected) in hits(&ours).iter().zip(hits(&expected)) {
        let bytes = unhex(expected[1].as_str().unwrap());
        assert_eq!(ours["count"], expected[0]);
        assert_eq!(ours["path"], *String::from_utf8_lossy(&bytes));
    }
    let options = ["--procs", procs].map(OsStr::new);
    let words: Vec<_> = words.iter().map(OsStr::new).collect();
    let plain = search(&[&options[..], &[dir.as_os_str()], &words[..]].concat());
    assert_eq!(plain.stdout, lines(&expected));
}

#[test]
fn in_a_tree_of_oddities() {
    let tree = odd_tree();
    for procs in ["1", "2", "8"] {
        for words in [&["alpha"][..], &["beta", "ALPHA"], &["gamma", "alpha_1"], &["absent"]] {
            compare(procs, tree.path(), words);
        }
    }
}

#[test]
fn in_this_projects_own_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for part in ["alloc-core", "sched-core", "gc-core", "sysmon", "runtime", "gort", "docs"] {
        compare("2", &root.join(part), &["the", "of"]);
    }
    compare("8", &root.join("sched-core"), &["goroutine"]);
}

#[test]
fn a_word_longer_than_any_buffer_is_found() {
    let tree = tempfile::tempdir().unwrap();
    let long = "long".repeat(20_000);
    std::fs::write(tree.path().join("a"), format!("x {long} y")).unwrap();
    std::fs::write(tree.path().join("b"), format!("x {long}z y")).unwrap();
    compare("2", tree.path(), &[&long]);
}
