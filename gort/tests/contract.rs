//! Exit codes, the shape of the JSON object, and what happens to files that cannot be read.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{gort, json, odd_tree};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn zero_with_hits_one_without() {
    let tree = odd_tree();
    let dir = tree.path().to_str().unwrap();
    assert_eq!(gort(&[dir, "alpha"]).status.code(), Some(0));
    let none = gort(&[dir, "alpha", "absent"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(none.stdout.is_empty());
    assert_eq!(gort(&["--json", dir, "absent"]).status.code(), Some(1));
}

#[test]
fn two_and_one_line_for_bad_input() {
    let tree = tempfile::tempdir().unwrap();
    let dir = tree.path().to_str().unwrap();
    let file = tree.path().join("file");
    fs::write(&file, "x").unwrap();
    let missing = format!("{dir}/missing");
    let cases: [&[&str]; 8] = [
        &[&missing, "word"],
        &[file.to_str().unwrap(), "word"],
        &[dir],
        &[dir, "-- --", "!"],
        &[dir, "word", "café"],
        &["--procs", "0", dir, "word"],
        &["--repeat", "none", dir, "word"],
        &[],
    ];
    for case in cases {
        let output = gort(case);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{case:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{case:?}: {error}");
        assert!(error.starts_with("gort: ") && output.stdout.is_empty(), "{case:?}: {error}");
    }
    assert!(text(&gort(&[&missing, "word"]).stderr).contains("missing: no such directory"));
}

#[test]
fn an_empty_directory_has_nothing_in_it() {
    let tree = tempfile::tempdir().unwrap();
    let found = json(&[], tree.path(), &["word"]);
    for field in ["files", "bytes", "words", "terms", "skipped", "binary"] {
        assert_eq!(found[field], 0, "{field}");
    }
    assert_eq!(found["hits"], serde_json::json!([]));
}

#[test]
fn the_json_object_has_these_fields() {
    let tree = odd_tree();
    let found = json(&["--repeat", "3"], tree.path(), &["alpha", "beta"]);
    let keys =
        |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut outer = keys(&found);
    outer.sort();
    assert_eq!(outer, ["binary", "bytes", "files", "hits", "runtime", "skipped", "terms", "words"]);
    let runtime = &found["runtime"];
    for field in [
        "goroutines",
        "threads",
        "steals",
        "handoffs",
        "preemptions",
        "collections",
        "longest_mutator_delay_us",
        "heap_live_bytes",
        "peak_rss_bytes",
    ] {
        assert!(runtime[field].is_u64(), "{field}: {runtime}");
    }
    for field in ["index_seconds", "query_seconds"] {
        assert!(runtime[field].as_f64().unwrap() > 0.0, "{field}: {runtime}");
    }
    let files = found["files"].as_u64().unwrap();
    assert!(runtime["goroutines"].as_u64().unwrap() >= 3 * files, "one per file and round");
    assert!(runtime["threads"].as_u64().unwrap() >= 1);
    assert!(runtime["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
    assert_eq!(found["binary"], 1);
    assert_eq!(keys(&found["hits"][0]), ["count", "path"]);
    let odd = found["hits"].as_array().unwrap().iter().find(|hit| hit["path_bytes"].is_string());
    let bytes = common::unhex(odd.unwrap()["path_bytes"].as_str().unwrap());
    assert_eq!(bytes, b"\xff\xfe not utf-8 \x80", "only a name that is not UTF-8 is spelled out");
}

#[test]
fn the_last_line_on_stderr_tells_what_the_runtime_did() {
    let tree = odd_tree();
    let output = gort(&[tree.path().to_str().unwrap(), "alpha"]);
    let error = text(&output.stderr);
    assert_eq!(error.lines().count(), 1, "no progress bar where there is no terminal: {error}");
    assert!(error.contains("goroutines") && error.contains("hand-offs"), "{error}");
}

#[test]
fn what_cannot_be_read_is_named_skipped_and_counted() {
    let tree = tempfile::tempdir().unwrap();
    for name in ["open", "shut", "folder/inside"] {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "word").unwrap();
    }
    let modes = |mode| {
        for name in ["shut", "folder"] {
            fs::set_permissions(tree.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    modes(0o000);
    if fs::read(tree.path().join("shut")).is_ok() {
        eprintln!("as root every file can be read; /proc has some that cannot");
        modes(0o755);
        return unreadable_by_root();
    }
    let output = gort(&[tree.path().to_str().unwrap(), "word"]);
    let found = json(&[], tree.path(), &["word"]);
    modes(0o755);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text(&output.stdout), "1\topen\n", "the rest is searched all the same");
    assert!(error.contains("shut: ") && error.contains("folder: "), "{error}");
    assert_eq!((&found["skipped"], &found["files"]), (&2.into(), &1.into()));
}

/// Regular files that fail when they are read, even for root: security attributes in `/proc` where
/// no security module is loaded.
fn unreadable_by_root() {
    let dir = Path::new("/proc/self/attr");
    if !dir.is_dir() {
        eprintln!("skipped: no file here that cannot be read");
        return;
    }
    let output = gort(&[dir.to_str().unwrap(), "word"]);
    let found = json(&[], dir, &["word"]);
    let skipped = found["skipped"].as_u64().unwrap();
    let named = text(&output.stderr).lines().filter(|line| line.starts_with("gort: ")).count();
    assert_eq!(named as u64, skipped);
    assert_eq!(output.status.code(), Some(if skipped > 0 { 2 } else { 1 }));
}

#[test]
fn files_may_vanish_while_they_are_searched() {
    let tree = tempfile::tempdir().unwrap();
    let at = |number: usize| tree.path().join(format!("{number}"));
    (0..2000).for_each(|number| fs::write(at(number), "word").unwrap());
    let output = std::thread::scope(|scope| {
        let remover = scope.spawn(|| {
            (0..2000).rev().for_each(|number| fs::remove_file(at(number)).unwrap());
        });
        let output = gort(&["--json", tree.path().to_str().unwrap(), "word"]);
        remover.join().unwrap();
        output
    });
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    assert!(!text(&output.stderr).contains("gort: "), "{output:?}");
}
