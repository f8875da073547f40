//! Splits bytes into words: maximal runs of ASCII letters, digits and `_`, lower-cased.
//!
//! Files come in blocks, and a word may lie across the border of two. The tokeniser keeps the
//! unfinished word between calls of [`Tokenizer::feed`]; what lies whole in a block is handed out
//! from one buffer, without a copy per block.
//!
//! # Words without end
//!
//! A file may be one word of a gigabyte. Such a word must count, and be told from others, in
//! bounded memory. From [`LONG`] bytes on, only a digest is kept: the word is then spelled as a zero
//! byte, its length and 128 bits of hash. No ordinary word holds a zero byte; words of the command
//! line go through the same mill, so a long word can even be found. Two long words of equal length
//! are confused with a chance of 2⁻¹²⁸.

use std::hash::{DefaultHasher, Hasher};

/// A word, or the digest of a long one.
pub(crate) type Word = Box<[u8]>;

/// The length from which on a word is kept as a digest, in bytes.
pub(crate) const LONG: usize = 4096;

/// A word that may go on in the next block.
#[derive(Debug, Default)]
pub(crate) struct Tokenizer {
    /// The beginning of the word, lower-cased; less than `LONG` bytes.
    open: Vec<u8>,
    long: Option<Digest>,
}

impl Tokenizer {
    /// No word begun.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Hands each word that ends in `block` to `found`, and keeps one that reaches the block's end.
    pub(crate) fn feed(&mut self, block: &[u8], found: &mut impl FnMut(&[u8])) {
        let mut rest = block;
        while !rest.is_empty() {
            let length = rest.iter().position(|&byte| !is_word(byte)).unwrap_or(rest.len());
            let (run, after) = rest.split_at(length);
            self.extend(run);
            if after.is_empty() {
                return;
            }
            self.finish(found);
            let gap = after.iter().position(|&byte| is_word(byte)).unwrap_or(after.len());
            rest = &after[gap..];
        }
    }

    /// Hands out the word that was still open, if any.
    pub(crate) fn finish(&mut self, found: &mut impl FnMut(&[u8])) {
        if let Some(digest) = self.long.take() {
            found(&digest.spell());
        } else if !self.open.is_empty() {
            found(&self.open);
        }
        self.open.clear();
    }

    fn extend(&mut self, run: &[u8]) {
        if self.long.is_none() && self.open.len() + run.len() < LONG {
            let start = self.open.len();
            self.open.extend_from_slice(run);
            self.open[start..].make_ascii_lowercase();
            return;
        }
        let digest = self.long.get_or_insert_with(Digest::new);
        digest.add(&self.open);
        self.open.clear();
        digest.add(run);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Length and hash of a long word.
#[derive(Debug)]
struct Digest {
    length: u64,
    halves: [DefaultHasher; 2],
}

impl Digest {
    fn new() -> Self {
        let half = |key: u8| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u8(key);
            hasher
        };
        Self { length: 0, halves: [half(0), half(1)] }
    }

    /// Byte by byte: the hash must not depend on where blocks end.
    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        for byte in bytes {
            let byte = byte.to_ascii_lowercase();
            self.halves.iter_mut().for_each(|half| half.write_u8(byte));
        }
    }

    fn spell(&self) -> Vec<u8> {
        let mut word = vec![0];
        word.extend(self.length.to_le_bytes());
        word.extend(self.halves.iter().flat_map(|half| half.finish().to_le_bytes()));
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(blocks: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        let mut tokenizer = Tokenizer::new();
        for block in blocks {
            tokenizer.feed(block, &mut |word| words.push(word.to_vec()));
        }
        tokenizer.finish(&mut |word| words.push(word.to_vec()));
        words
    }

    #[test]
    fn words_are_runs_of_letters_digits_and_underscores() {
        let text = "Größe: foo_Bar2, (x)\u{a0}y--Z\n".as_bytes();
        let expected = ["gr", "e", "foo_bar2", "x", "y", "z"].map(|word| word.as_bytes().to_vec());
        assert_eq!(words(&[text]), expected);
        assert!(words(&[b"", b" \t", b"\0\xff-"]).is_empty());
    }

    #[test]
    fn borders_of_blocks_change_nothing() {
        let text = b"one Two_three, FOUR5 six-seven  eight";
        let whole = words(&[text]);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let blocks = [&text[..first], &text[first..second], &text[second..]];
                assert_eq!(words(&blocks), whole, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn long_words_become_digests_that_do_not_depend_on_borders_or_case() {
        let long = vec![b'a'; 3 * LONG];
        let upper = vec![b'A'; 3 * LONG];
        let whole = words(&[&long]);
        assert_eq!(whole.len(), 1);
        assert!(whole[0].len() < 32 && whole[0][0] == 0);
        for cut in [1, LONG - 1, LONG, LONG + 1, 2 * LONG] {
            assert_eq!(words(&[&long[..cut], &upper[cut..]]), whole);
        }
        let mut other = long.clone();
        other[LONG + 7] = b'b';
        assert_ne!(words(&[&other]), whole);
        assert_ne!(words(&[&long[1..]]), whole);
    }

    #[test]
    fn the_limit_itself_is_the_first_digest() {
        assert_eq!(words(&[&vec![b'x'; LONG - 1]])[0].len(), LONG - 1);
        assert!(words(&[&vec![b'x'; LONG]])[0].len() < 32);
    }

    #[test]
    fn memory_stays_bounded_in_an_endless_word() {
        let mut tokenizer = Tokenizer::new();
        for _ in 0..100 {
            tokenizer.feed(&[b'q'; 1000], &mut |_| panic!("the word has not ended"));
        }
        assert!(tokenizer.open.capacity() <= 2 * LONG);
    }
}
