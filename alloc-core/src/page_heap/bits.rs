//! Runs of ones in words of 64 pages.

/// `len` ones from bit `bit` on; `len` is at least 1, and both together at most 64.
pub(crate) fn mask(bit: usize, len: usize) -> u64 {
    !0 >> (64 - len) << bit
}

/// The bits at which a run of `len` ones begins that lies in the word; `len` is 1 to 64.
pub(crate) fn starts(mut word: u64, len: usize) -> u64 {
    let mut have = 1;
    while have < len {
        let step = have.min(len - have);
        word &= word >> step;
        have += step;
    }
    word
}

/// The longest run of ones in the word, or `least` if none is longer.
pub(crate) fn longest(word: u64, least: usize) -> usize {
    if least >= 64 {
        return least;
    }
    let (mut starts, mut len) = (starts(word, least + 1), least);
    while starts != 0 {
        len += 1;
        starts &= word.checked_shr(len as u32).unwrap_or(0);
    }
    len
}

/// The pieces of a range that lie in one word each: number of the word, first bit, length.
pub(crate) fn pieces(
    range: core::ops::Range<usize>,
) -> impl Iterator<Item = (usize, usize, usize)> {
    let mut at = range.start;
    core::iter::from_fn(move || {
        let (word, bit) = (at / 64, at % 64);
        let len = (64 - bit).min(range.end.checked_sub(at)?);
        at += len;
        (len > 0).then_some((word, bit, len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow_longest(word: u64) -> usize {
        (1..=64)
            .filter(|&len| (0..=64 - len).any(|bit| word & mask(bit, len) == mask(bit, len)))
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn runs_are_found_as_bit_by_bit() {
        let mut word = 0x0123_4567_89ab_cdef_u64;
        for shift in 0..2_000 {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            let dense = if shift % 2 == 0 { word } else { word | word.rotate_left(21) | word >> 9 };
            let longest_run = slow_longest(dense);
            for least in [0, 3, 63, 64] {
                assert_eq!(longest(dense, least), longest_run.max(least), "{dense:#x}");
            }
            for len in 1..=longest_run.min(64) {
                let at = starts(dense, len).trailing_zeros() as usize;
                let first = (0..=64 - len).find(|&bit| dense & mask(bit, len) == mask(bit, len));
                assert_eq!(Some(at), first, "{dense:#x} {len}");
            }
            assert_eq!(starts(dense, (longest_run + 1).min(64)) == 0, longest_run < 64);
        }
        assert_eq!((longest(!0, 0), longest(0, 0)), (64, 0));
        assert_eq!(starts(!0, 64), 1);
    }

    #[test]
    fn pieces_cover_the_range() {
        let all: std::vec::Vec<_> = pieces(60..200).collect();
        assert_eq!(all, [(0, 60, 4), (1, 0, 64), (2, 0, 64), (3, 0, 8)]);
        assert_eq!(pieces(7..7).count(), 0);
    }
}
