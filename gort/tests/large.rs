//! Trees and files of a size that makes these tests slow. Run by hand:
//!
//! ```text
//! cargo test --release -p gort --test large -- --ignored --nocapture
//! ```

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{json, odd_tree, oracle};
use serde_json::Value;

fn peak(found: &Value) -> u64 {
    found["runtime"]["peak_rss_bytes"].as_u64().unwrap()
}

/// Files with words that repeat and words that do not, as text has them.
fn text_tree(files: usize, lines: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in 0..files {
        let folder = dir.path().join(format!("{}", file % 100));
        fs::create_dir_all(&folder).unwrap();
        let line = |line: usize| format!("common line{line} file{file} w{}\n", file * line % 5003);
        let text: String = (0..lines).map(line).collect();
        fs::write(folder.join(format!("{file}")), text).unwrap();
    }
    dir
}

#[test]
#[ignore = "builds an index twenty times"]
fn memory_of_twenty_rounds_is_that_of_one() {
    let tree = text_tree(4000, 200);
    for procs in ["1", "2", "8"] {
        let once = json(&["--procs", procs], tree.path(), &["common"]);
        let often = json(&["--procs", procs, "--repeat", "20"], tree.path(), &["common"]);
        let ratio = peak(&often) as f64 / peak(&once) as f64;
        println!(
            "--procs {procs}: peak {} MiB once, {} MiB in twenty rounds, ratio {ratio:.2}, {} collections",
            peak(&once) >> 20,
            peak(&often) >> 20,
            often["runtime"]["collections"]
        );
        assert_eq!(once["hits"], often["hits"]);
        assert!(ratio < 2.5, "--procs {procs}: {ratio:.2}");
    }
}

#[test]
#[ignore = "writes a file of 1 GiB"]
fn a_gibibyte_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let block = b"some words and some_more words ".repeat(1 << 15);
    let blocks = (1 << 30) / block.len() + 1;
    let mut file = File::create(dir.path().join("huge")).unwrap();
    (0..blocks).for_each(|_| file.write_all(&block).unwrap());
    let mut file = File::create(dir.path().join("one word")).unwrap();
    (0..256).for_each(|_| file.write_all(&[b'x'; 1 << 20]).unwrap());
    let found = json(&[], dir.path(), &["words"]);
    println!("peak {} MiB, {}", peak(&found) >> 20, found["runtime"]);
    assert_eq!(found["hits"][0]["count"], 2 * (blocks << 15));
    assert_eq!(found["words"], 5 * (blocks << 15) + 1);
    assert!(peak(&found) < 128 << 20, "{}", peak(&found));
}

#[test]
#[ignore = "writes 100,000 files"]
fn a_hundred_thousand_small_files() {
    let tree = text_tree(100_000, 2);
    let found = json(&[], tree.path(), &["common"]);
    println!("{}", found["runtime"]);
    assert_eq!(found["files"], 100_000);
    assert_eq!(found["hits"].as_array().unwrap().len(), 100_000);
    assert_eq!(found["terms"], oracle(tree.path(), &["common"])["terms"]);
}

/// Fifty searches in a row, on each number of processors, with a slice of 1 ms.
#[test]
#[ignore = "searches 150 times"]
fn the_answer_is_the_same_fifty_times_under_preemption() {
    let tree = odd_tree();
    let words = ["alpha", "beta"];
    let answer = |procs: &str| -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_gort"))
            .env("GODEBUG", "preempt=1ms")
            .args(["search", "--json", "--procs", procs, "--repeat", "3"])
            .args([tree.path().as_os_str(), OsStr::new(words[0]), OsStr::new(words[1])])
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    };
    let expected = json(&[], Path::new(tree.path()), &words);
    for procs in ["1", "2", "8"] {
        let mut preemptions = 0;
        for round in 0..50 {
            let found = answer(procs);
            for field in ["files", "bytes", "words", "terms", "hits", "binary", "skipped"] {
                assert_eq!(found[field], expected[field], "{field}, --procs {procs}, {round}");
            }
            preemptions += found["runtime"]["preemptions"].as_u64().unwrap();
        }
        println!("--procs {procs}: {preemptions} preemptions");
    }
}
