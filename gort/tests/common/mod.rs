//! Runs the program, and the independent script beside it.
#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs `gort search` with `arguments`.
pub(crate) fn search(arguments: &[&OsStr]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gort")).arg("search").args(arguments).output().unwrap()
}

/// Runs it with text arguments.
pub(crate) fn gort(arguments: &[&str]) -> Output {
    search(&arguments.iter().map(OsStr::new).collect::<Vec<_>>())
}

/// The object that `--json` prints.
pub(crate) fn json(options: &[&str], dir: &Path, words: &[&str]) -> Value {
    let mut arguments = vec![OsStr::new("--json")];
    arguments.extend(options.iter().map(OsStr::new));
    arguments.push(dir.as_os_str());
    arguments.extend(words.iter().map(OsStr::new));
    let output = search(&arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What the independent script says, which needs python3.
pub(crate) fn oracle(dir: &Path, words: &[&str]) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle.py");
    let output = Command::new("python3").arg(script).arg(dir).args(words).output();
    let output = output.unwrap_or_else(|error| {
        panic!("python3, which runs the script that gort is compared with: {error}")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The lines that plain output has for the script's hits.
pub(crate) fn lines(oracle: &Value) -> Vec<u8> {
    let mut lines = Vec::new();
    for hit in oracle["hits"].as_array().unwrap() {
        lines.extend(format!("{}\t", hit[0]).bytes());
        lines.extend(unhex(hit[1].as_str().unwrap()));
        lines.push(b'\n');
    }
    lines
}

/// The bytes that a string of hexadecimal digits spells.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A tree with every oddity that the program promises to handle.
pub(crate) fn odd_tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &[u8], content: &[u8]| {
        let path = dir.path().join(OsStr::from_bytes(path));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write(b"empty", b"");
    write(b"plain.txt", b"alpha beta\nAlpha_1 gamma ALPHA\n");
    write(b"no newline at end", b"beta alpha");
    write(b"tab\tand\nnewline", b"alpha, beta; alpha");
    write(b"\xff\xfe not utf-8 \x80", b"alpha beta beta");
    write("größe/ñ/日本".as_bytes(), "Größe alpha beta é_é".as_bytes());
    write(b"deep/a/b/c/d/e/f/g/h", b"beta alpha");
    write(b"-dash", b"alpha beta");
    write(b"huge line", &b"alpha beta_gamma ".repeat(40_000));
    write(b"one word", &vec![b'w'; 300_000]);
    write(b"another word", &vec![b'W'; 300_000]);
    write(b"borders", &b"alphabeta alpha beta xyz".repeat(6_000));
    write(b"late zero", &[&b"alpha beta ".repeat(800)[..], b"\0"].concat());
    write(b"binary", b"alpha beta \0 alpha");
    write(b".hidden/.file", b"alpha beta");
    write(b".git/config", b"alpha beta");
    write(b"sub/.git/objects/x", b"alpha beta");
    write(b"sub/.gitignore", b"alpha beta");
    std::os::unix::fs::symlink("plain.txt", dir.path().join("link")).unwrap();
    std::os::unix::fs::symlink(".", dir.path().join("loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.path().join("dangling")).unwrap();
    for number in 0..500 {
        write(format!("many/{number}").as_bytes(), format!("alpha {number} beta").as_bytes());
    }
    dir
}
