//! Which sizes small blocks have: 67 classes, made by a rule at compile time.
//!
//! A request is rounded up to a *size class*, and all blocks of a span are of one class, so a span
//! needs no header per block. Too few classes waste memory inside blocks; too many keep many
//! half-empty spans. Go's rule (`mksizeclasses.go`, from tcmalloc) bounds both: steps of about an
//! eighth between sizes, and an eighth at most of a span left over at its end.
//!
//! 1. Walk the sizes upward in steps that start at 8 and grow at powers of two (16 from 32 on,
//!    `size / 8` from 128, 256 from 2048).
//! 2. For each size take the fewest pages whose tail waste is at most an eighth.
//! 3. A size with the same pages and as many blocks as the one before replaces it.
//! 4. At last each size grows to the largest multiple of 128 that fits as often.
//!
//! A span of malloc's ([`Class::manual_pages`]) is longer than Go's: 256 blocks, up to 64 KiB,
//! since a refill costs more than the pages. A collected span has 64 cells at least,
//! likewise.
//!
//! The index of a block is found by multiplication: `index = (offset * magic) >> 32` with
//! `magic = ⌈2³² / size⌉`. A test proves it for every offset of every class.
//!
//! Power-of-two classes are aligned to their size up to a page. An aligned request takes the first
//! class that its alignment divides.

use core::hint::assert_unchecked;

/// Bytes of a page: the unit of spans. It is Go's, not the kernel's (which is a divisor of it).
pub const PAGE: usize = 8192;

/// The largest request that is served from a shared span; anything larger has its own pages.
pub const MAX_SMALL: usize = 32768;

/// Number of size classes. Class 0 is the smallest, 8 bytes.
pub const CLASSES: usize = 67;

/// A span of small blocks has at most this many pages, unless its class needs more for itself.
const MANUAL_PAGES: usize = 8;

/// A span has at least this many blocks, if `MANUAL_PAGES` allow: with few, almost every free finds
/// its span full and almost every allocation the current one exhausted.
const MANUAL_BLOCKS: usize = 256;

/// The most blocks of a span of `malloc`'s.
pub(crate) const MOST_CELLS: usize = PAGE / 8;

/// A span of collected cells has at least this many, likewise: a word of each bitmap, which one
/// lock takes. Fewer than malloc's: there is a span per type, and it goes back only when all of its
/// cells are dead.
const MANAGED_BLOCKS: usize = 64;

/// Geometry of one size class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// Bytes of a block.
    pub size: u32,
    /// `⌈2³² / size⌉`: turns an offset into an index by one multiplication.
    pub magic: u32,
    /// Pages of a span by Go's rule: the fewest with at most an eighth of tail waste.
    pub pages: u8,
    /// Pages of a span of `malloc`'s: 256 blocks where 64 KiB allow.
    pub manual_pages: u8,
}

/// All classes by rising size.
pub const TABLE: [Class; CLASSES] = table();

/// Smallest class of `(size + 7) / 8`.
static CLASS_OF: [u8; MAX_SMALL / 8 + 1] = class_of_eighths();

/// Smallest class of `(size + 15) / 16` whose blocks are aligned to 16.
static CLASS_OF_ALIGNED: [u8; MAX_SMALL / 16 + 1] = class_of_sixteenths();

const fn table() -> [Class; CLASSES] {
    let mut classes = [Class { size: 0, magic: 0, pages: 0, manual_pages: 0 }; CLASSES];
    let (mut count, mut step, mut size) = (0, 8, 8);
    while size <= MAX_SMALL {
        if size.is_power_of_two() {
            step = step_from(size, step);
        }
        let pages = pages_for(size, 1);
        let merge = count > 0
            && pages == classes[count - 1].pages as usize
            && pages * PAGE / size == pages * PAGE / classes[count - 1].size as usize;
        if !merge {
            count += 1;
        }
        classes[count - 1].size = size as u32;
        classes[count - 1].pages = pages as u8;
        size += step;
    }
    assert!(count == CLASSES);
    let mut i = 0;
    while i < CLASSES {
        classes[i] = finish(classes[i]);
        i += 1;
    }
    classes
}

const fn step_from(size: usize, step: usize) -> usize {
    match size {
        2048.. => 256,
        128.. => size / 8,
        32.. => 16,
        _ => step,
    }
}

/// The fewest pages, `least` or more, that leave at most an eighth over.
const fn pages_for(size: usize, least: usize) -> usize {
    let mut pages = least;
    while pages * PAGE < size || pages * PAGE % size > pages * PAGE / 8 {
        pages += 1;
    }
    pages
}

const fn finish(mut class: Class) -> Class {
    let bytes = class.pages as usize * PAGE;
    let grown = (bytes / (bytes / class.size as usize)) & !127;
    if grown > class.size as usize {
        class.size = grown as u32;
    }
    class.magic = magic(class.size as usize);
    class.manual_pages =
        longer_span(class.size as usize, class.pages as usize, MANUAL_BLOCKS) as u8;
    class
}

/// The fewest pages, `least` or more, for `blocks` blocks, as far as `MANUAL_PAGES` allow.
const fn longer_span(size: usize, least: usize, blocks: usize) -> usize {
    let mut pages = least;
    while pages * PAGE / size < blocks {
        let longer = pages_for(size, pages + 1);
        if longer > MANUAL_PAGES {
            break;
        }
        pages = longer;
    }
    pages
}

/// Pages of a span of collected cells of `size` bytes, a multiple of 8 and at most [`MAX_SMALL`].
pub(crate) const fn span_pages(size: usize) -> usize {
    longer_span(size, pages_for(size, 1), MANAGED_BLOCKS)
}

/// The multiplier that turns an offset into a span of blocks of `size` bytes into an index.
///
/// `index = (offset * magic) >> 32` is exact while `offset < 2³² / size`, which holds for every
/// span with more than one block.
///
/// ```
/// use alloc_core::size_class::{index, magic};
/// assert_eq!(index(95, magic(48)), 1);
/// assert_eq!(index(96, magic(48)), 2);
/// ```
pub const fn magic(size: usize) -> u32 {
    (u32::MAX as usize / size + 1) as u32
}

/// Index of the block at `offset` of a span, from the multiplier of its block size.
#[inline(always)]
pub const fn index(offset: usize, magic: u32) -> usize {
    (offset * magic as usize) >> 32
}

const fn class_of_eighths() -> [u8; MAX_SMALL / 8 + 1] {
    let mut of = [0; MAX_SMALL / 8 + 1];
    let (mut eighths, mut class) = (0, 0);
    while eighths < of.len() {
        if eighths * 8 > TABLE[class].size as usize {
            class += 1;
        }
        assert!(class < CLASSES);
        of[eighths] = class as u8;
        eighths += 1;
    }
    of
}

/// From 16 bytes on, every class is a multiple of 16, save 24, which no multiple of 16 needs.
const fn class_of_sixteenths() -> [u8; MAX_SMALL / 16 + 1] {
    let (eighths, mut of) = (class_of_eighths(), [0; MAX_SMALL / 16 + 1]);
    let mut at = 0;
    while at < of.len() {
        of[at] = eighths[if at == 0 { 2 } else { 2 * at }];
        at += 1;
    }
    of
}

/// The class that serves `size` bytes at any alignment up to 8.
///
/// # Panics
///
/// If `size` exceeds [`MAX_SMALL`].
///
/// ```
/// use alloc_core::size_class::{class_of, TABLE};
/// assert_eq!(TABLE[class_of(17)].size, 24);
/// ```
#[inline(always)]
pub const fn class_of(size: usize) -> usize {
    assert!(size <= MAX_SMALL);
    looked_up(&CLASS_OF, size.div_ceil(8))
}

/// The class that a table has at `index`, which its callers have compared.
#[inline(always)]
const fn looked_up<const N: usize>(table: &[u8; N], index: usize) -> usize {
    // SAFETY: no size is larger than the table is made for.
    unsafe { assert_unchecked(index < N) };
    let class = table[index] as usize;
    // SAFETY: asserted of each entry as the table is made.
    unsafe { assert_unchecked(class < CLASSES) };
    class
}

/// The class that serves `size` bytes at `align`, or `None` if the request needs its own pages.
///
/// ```
/// use alloc_core::size_class::{class_for, TABLE};
/// assert_eq!(TABLE[class_for(24, 16).unwrap()].size, 32);
/// assert_eq!(class_for(40_000, 8), None);
/// assert_eq!(class_for(64, 65_536), None);
/// ```
#[inline(always)]
pub fn class_for(size: usize, align: usize) -> Option<usize> {
    match class_at_hand(size, align) {
        None if size <= MAX_SMALL => aligned_class(size, align),
        class => class,
    }
}

/// As [`class_for`], where a look into a table tells it: at an alignment up to 16. Makes no call, so that a caller that
/// makes none either needs no stack frame.
#[inline(always)]
pub(crate) fn class_at_hand(size: usize, align: usize) -> Option<usize> {
    if size > MAX_SMALL {
        return None;
    }
    match align {
        ..=8 => Some(class_of(size)),
        // `div_ceil` would mind an overflow that cannot be.
        16 => Some(looked_up(&CLASS_OF_ALIGNED, (size + 15) >> 4)),
        _ => None,
    }
}

#[cold]
fn aligned_class(size: usize, align: usize) -> Option<usize> {
    if align > PAGE || size > MAX_SMALL {
        return None;
    }
    (class_of(size)..CLASSES).find(|&class| (TABLE[class].size as usize).is_multiple_of(align))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_gives_gos_table() {
        let sizes: [u32; CLASSES] = [
            8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288,
            320, 352, 384, 416, 448, 480, 512, 576, 640, 704, 768, 896, 1024, 1152, 1280, 1408,
            1536, 1792, 2048, 2304, 2688, 3072, 3200, 3456, 4096, 4864, 5376, 6144, 6528, 6784,
            6912, 8192, 9472, 9728, 10240, 10880, 12288, 13568, 14336, 16384, 18432, 19072, 20480,
            21760, 24576, 27264, 28672, 32768,
        ];
        // The first 33 have one page each.
        let pages: [u8; CLASSES - 33] = [
            1, 2, 1, 2, 1, 2, 1, 3, 2, 3, 1, 3, 2, 3, 4, 5, 6, 1, 7, 6, 5, 4, 3, 5, 7, 2, 9, 7, 5,
            8, 3, 10, 7, 4,
        ];
        assert_eq!(TABLE.map(|class| class.size), sizes);
        assert!(TABLE[..33].iter().all(|class| class.pages == 1));
        assert_eq!(TABLE.map(|class| class.pages)[33..], pages);
    }

    #[test]
    fn waste_is_bounded() {
        for class in TABLE {
            for pages in [class.pages, class.manual_pages] {
                let bytes = usize::from(pages) * PAGE;
                assert!(bytes % class.size as usize <= bytes / 8, "{class:?}");
                assert!(bytes / class.size as usize <= 8192, "{class:?}");
            }
            assert!(class.manual_pages <= 10);
        }
        let mut worst = 0.0_f64;
        for size in 1..=MAX_SMALL {
            let class = TABLE[class_of(size)];
            let (bytes, block) = (usize::from(class.pages) * PAGE, class.size as usize);
            let used = bytes / block * size;
            if size > 128 {
                worst = worst.max((bytes - used) as f64 / bytes as f64);
            }
        }
        assert!(worst < 0.27, "{worst}");
    }

    #[test]
    fn a_collected_span_has_64_cells_where_64_kib_allow() {
        for size in (8..=MAX_SMALL).step_by(8) {
            let pages = span_pages(size);
            assert!(pages * PAGE % size <= pages * PAGE / 8, "{size}");
            assert!(size > 1000 || pages * PAGE / size >= 64 && pages <= 8, "{size}: {pages}");
        }
    }

    #[test]
    fn the_multiplied_index_is_the_quotient_at_every_offset() {
        for class in TABLE {
            for offset in 0..usize::from(class.manual_pages.max(class.pages)) * PAGE {
                assert_eq!(index(offset, class.magic), offset / class.size as usize);
            }
        }
    }

    #[test]
    fn each_size_gets_the_smallest_class_that_holds_it() {
        for size in 0..=MAX_SMALL {
            let class = class_of(size);
            assert!(TABLE[class].size as usize >= size);
            assert!(class == 0 || (TABLE[class - 1].size as usize) < size, "{size}");
        }
    }

    #[test]
    fn an_aligned_class_is_divided_by_the_alignment() {
        for shift in 0..=13 {
            let align = 1 << shift;
            for size in (1..=MAX_SMALL).step_by(61) {
                if let Some(class) = class_for(size, align) {
                    assert_eq!(TABLE[class].size as usize % align, 0);
                    assert!(TABLE[class].size as usize >= size);
                }
            }
        }
    }

    #[test]
    fn every_aligned_request_gets_an_aligned_class() {
        for align in (0..=13).map(|shift| 1 << shift) {
            for size in (0..=MAX_SMALL).step_by(if align == 16 { 1 } else { 97 }) {
                let Some(class) = class_for(size, align) else { continue };
                let cell = TABLE[class].size as usize;
                assert!(cell >= size, "{size} at {align}: {cell}");
                assert!(align <= 8 || cell.is_multiple_of(align), "{size} at {align}: {cell}");
            }
        }
    }
}
