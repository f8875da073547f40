//! Reads one file into a table of its words.
//!
//! Plain blocking calls of `std::fs`, made on a goroutine that announces nothing. The file comes in
//! blocks of 64 KiB, so the memory needed depends on how many different words it holds and not on
//! its size.
//!
//! Between the walk and the read a file may vanish, or be replaced by a link, a pipe or a device. It
//! is opened without following links and without waiting for a pipe's writer, and looked at again
//! once it is open; whatever is no regular file any more counts as vanished.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::tokenize::{Tokenizer, Word};
use crate::walk::has_vanished;

/// Bytes per read.
const BLOCK: usize = 64 << 10;
/// A file with a zero byte among so many at its start is binary.
const PROBE: usize = 8 << 10;

/// The words of one file.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bytes: u64,
    /// Words read, each occurrence counted.
    pub(crate) words: u64,
    pub(crate) table: HashMap<Word, u64>,
}

/// What became of a file.
#[derive(Debug)]
pub(crate) enum Content {
    Text(Counts),
    Binary,
    Vanished,
}

/// Reads and counts; an error means that the file is there but cannot be read.
pub(crate) fn read(path: &Path) -> io::Result<Content> {
    match open(path) {
        Ok(Some(file)) => count(file),
        Ok(None) => Ok(Content::Vanished),
        Err(error) if has_vanished(&error) => Ok(Content::Vanished),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Counts the words of `source`, or finds that it is binary.
fn count(mut source: impl Read) -> io::Result<Content> {
    let mut counts = Counts::default();
    let mut tokenizer = Tokenizer::new();
    let mut block = vec![0; BLOCK];
    loop {
        let length = fill(&mut source, &mut block)?;
        let part = &block[..length];
        if counts.bytes == 0 && part.iter().take(PROBE).any(|&byte| byte == 0) {
            return Ok(Content::Binary);
        }
        counts.bytes += length as u64;
        tokenizer.feed(part, &mut |word| counts.add(word));
        if length < BLOCK {
            tokenizer.finish(&mut |word| counts.add(word));
            return Ok(Content::Text(counts));
        }
    }
}

/// Reads until `block` is full or the source ends.
fn fill(source: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match source.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

impl Counts {
    fn add(&mut self, word: &[u8]) {
        self.words += 1;
        match self.table.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                self.table.insert(word.into(), 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out its bytes in pieces of a given size, and interrupts in between.
    struct Dribble<'a> {
        bytes: &'a [u8],
        piece: usize,
        interrupt: bool,
    }

    impl Read for Dribble<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.interrupt = !self.interrupt;
            if self.interrupt {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let length = self.piece.min(into.len()).min(self.bytes.len());
            let (now, later) = self.bytes.split_at(length);
            into[..length].copy_from_slice(now);
            self.bytes = later;
            Ok(length)
        }
    }

    fn text(bytes: &[u8], piece: usize) -> Option<Counts> {
        match count(Dribble { bytes, piece, interrupt: false }).unwrap() {
            Content::Text(counts) => Some(counts),
            Content::Binary => None,
            Content::Vanished => panic!("only a path can vanish"),
        }
    }

    #[test]
    fn short_reads_and_block_borders_change_nothing() {
        // Ten bytes per line: words lie across the border at 64 KiB.
        let bytes = b"alpha beta".repeat(20_000);
        for piece in [1, 1000, BLOCK, BLOCK + 1] {
            let counts = text(&bytes, piece).unwrap();
            assert_eq!((counts.bytes, counts.words), (200_000, 20_001));
            assert_eq!(counts.table[b"betaalpha".as_slice()], 19_999);
            assert_eq!(counts.table.len(), 3);
        }
    }

    #[test]
    fn an_exact_block_ends_well() {
        let counts = text(&vec![b'a'; BLOCK], BLOCK).unwrap();
        assert_eq!((counts.bytes, counts.words), (BLOCK as u64, 1));
        assert_eq!(text(b"", 1).unwrap().words, 0);
    }

    #[test]
    fn a_zero_byte_makes_a_file_binary_only_near_its_start() {
        let mut bytes = vec![b' '; 2 * BLOCK];
        bytes[PROBE] = 0;
        assert!(text(&bytes, 100).is_some());
        bytes[PROBE - 1] = 0;
        assert!(text(&bytes, 100).is_none(), "also when reads are short");
    }

    #[test]
    fn what_is_no_regular_file_has_vanished() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        for name in ["missing", "link", "folder", "file/below"] {
            assert!(matches!(read(&at(name)), Ok(Content::Vanished)), "{name}");
        }
        assert!(matches!(read(&at("file")), Ok(Content::Text(_))));
    }
}
