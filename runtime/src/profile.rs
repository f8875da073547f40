//! Who holds the memory: the heap's sampled profile, in the format of `pprof`.
//!
//! alloc-core samples one allocation in 512 KiB or so, with its stack, and counts what became of it
//! ([`alloc_core::profile`]). This file writes that down as Go's `runtime/pprof` does: four values per
//! stack (objects and bytes, ever allocated and in use), scaled from samples to what they stand for.
//!
//! ```text
//! pprof -top program heap.pb        # who holds how much, by function
//! pprof -http=:8080 program heap.pb # flame graph
//! ```
//!
//! # Format
//!
//! `profile.proto` is six small messages: numbers as varints, everything else with its length before it. A
//! hundred lines write it; a library for protocol buffers would be the largest dependency of this crate.
//! `pprof` reads it compressed or not, so it is not. Addresses are return addresses less one, which
//! lie in the call. Their names are looked up by `pprof`, in the files that the mappings name.
//!
//! Source: github.com/google/pprof, `proto/profile.proto`; Go's `runtime/pprof/protomem.go`.

use std::collections::HashMap;
use std::io::{self, Write};

use alloc_core::global;
use alloc_core::profile::Sample;
use sched_core::entry;

/// Begins to sample the allocations of the process, one in `every` bytes on average.
///
/// Go's figure is 512 KiB. The first call decides; what was allocated before is not seen. It
/// needs [`Alloc`](crate::Alloc) as the global allocator; with another one the profile stays empty.
///
/// # Errors
///
/// If there is no memory for the profile's own records.
///
/// ```
/// #[global_allocator]
/// static ALLOC: runtime::Alloc = runtime::Alloc::new();
///
/// runtime::profile::start_heap(64 << 10)?;
/// let held: Vec<Vec<u8>> = (0..1000).map(|n| vec![n as u8; 10_000]).collect();
/// let mut profile = Vec::new();
/// runtime::profile::write_heap(&mut profile)?;
/// assert!(profile.len() > 500 && held.len() == 1000);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn start_heap(every: usize) -> io::Result<()> {
    // The caller may be a goroutine, and alloc-core takes a lock: one that is preempted while it
    // holds that would stop every P.
    let _inside = entry::enter();
    global::profile(every).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))
}

/// Writes the profile of the process's heap, as far as it was sampled, for `pprof`.
///
/// # Errors
///
/// Those of `to`, and of reading `/proc/self/maps`.
///
/// ```
/// let mut profile = Vec::new();
/// runtime::profile::write_heap(&mut profile)?;
/// assert!(!profile.is_empty(), "without samples it has the mappings");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_heap(to: &mut impl Write) -> io::Result<()> {
    let mut profile = Profile::new(std::fs::read_to_string("/proc/self/maps")?);
    global::heap().samples(|sample| profile.add(&sample));
    to.write_all(&profile.finish())
}

/// What a count of samples stands for: blocks and bytes.
fn scale(sample: &Sample<'_>, count: usize) -> [u64; 2] {
    let (size, every) = (sample.size as f64, sample.every as f64);
    let blocks = count as f64 / (1.0 - (-size / every).exp());
    [blocks as u64, (blocks * size) as u64]
}

/// A message that grows.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn numbers(&mut self, field: u64, values: impl IntoIterator<Item = u64>) {
        let mut packed = Message::default();
        values.into_iter().for_each(|value| packed.varint(value));
        self.bytes(field, &packed.0);
    }

    /// Adds a message as a field.
    fn message(&mut self, field: u64, fields: &[(u64, u64)]) {
        let mut inner = Message::default();
        fields.iter().for_each(|&(field, value)| inner.number(field, value));
        self.bytes(field, &inner.0);
    }
}

/// A stretch of an executable file in memory.
#[derive(Debug, PartialEq)]
struct Mapping<'a> {
    start: u64,
    end: u64,
    offset: u64,
    file: &'a str,
}

/// The executable mappings of a file among the lines of `/proc/self/maps`.
fn mappings(maps: &str) -> Vec<Mapping<'_>> {
    let parse = |line| {
        // start-end access offset device inode path
        let mut words = str::split_ascii_whitespace(line);
        let (start, end) = words.next()?.split_once('-')?;
        let (access, offset) = (words.next()?, words.next()?);
        let file = words.nth(2).filter(|file| file.starts_with('/') && access.contains('x'))?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping { start: hex(start)?, end: hex(end)?, offset: hex(offset)?, file })
    };
    maps.lines().filter_map(parse).collect()
}

/// The profile on its way out.
#[derive(Debug)]
struct Profile {
    message: Message,
    maps: String,
    /// Number of each address, from 1.
    locations: HashMap<u64, u64>,
    every: u64,
}

impl Profile {
    fn new(maps: String) -> Self {
        Profile { message: Message::default(), maps, locations: HashMap::new(), every: 0 }
    }

    fn add(&mut self, sample: &Sample<'_>) {
        self.every = sample.every as u64;
        let ids: Vec<u64> = sample.frames.iter().map(|&at| self.location(at as u64 - 1)).collect();
        let in_use = scale(sample, sample.allocated - sample.freed);
        let values = [scale(sample, sample.allocated), in_use].concat();
        let mut message = Message::default();
        message.numbers(1, ids);
        message.numbers(2, values);
        self.message.bytes(2, &message.0);
    }

    fn location(&mut self, address: u64) -> u64 {
        let next = self.locations.len() as u64 + 1;
        *self.locations.entry(address).or_insert(next)
    }

    /// The whole message, with all that the samples refer to.
    fn finish(mut self) -> Vec<u8> {
        const TEXTS: [&str; 8] = [
            "",
            "alloc_objects",
            "alloc_space",
            "inuse_objects",
            "inuse_space",
            "count",
            "bytes",
            "space",
        ];
        // A type and its unit, by the numbers of their texts.
        for (kind, unit) in [(1, 5), (2, 6), (3, 5), (4, 6)] {
            self.message.message(1, &[(1, kind), (2, unit)]);
        }
        let mappings = mappings(&self.maps);
        for (n, mapping) in (0..).zip(&mappings) {
            let Mapping { start, end, offset, .. } = *mapping;
            let name = TEXTS.len() as u64 + n;
            self.message.message(3, &[(1, n + 1), (2, start), (3, end), (4, offset), (5, name)]);
        }
        for (&address, &id) in &self.locations {
            let inside = |mapping: &Mapping<'_>| (mapping.start..mapping.end).contains(&address);
            let mapping = mappings.iter().position(inside).map_or(0, |n| n as u64 + 1);
            self.message.message(4, &[(1, id), (2, mapping), (3, address)]);
        }
        for text in TEXTS.into_iter().chain(mappings.iter().map(|mapping| mapping.file)) {
            self.message.bytes(6, text.as_bytes());
        }
        self.message.message(11, &[(1, 7), (2, 6)]);
        self.message.number(12, self.every);
        self.message.number(14, 4);
        self.message.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_seven_bits_at_a_time() {
        let mut message = Message::default();
        message.number(1, 300);
        message.bytes(2, b"ab");
        message.numbers(3, [1, 128]);
        assert_eq!(message.0, [0x08, 0xac, 0x02, 0x12, 2, b'a', b'b', 0x1a, 3, 1, 0x80, 0x01]);
    }

    #[test]
    fn executable_files_are_found_in_the_maps() {
        let maps = "55d0-55f0 r--p 00000000 08:01 7  /bin/program\n\
                    55f0-5700 r-xp 00020000 08:01 7  /bin/program\n\
                    7ff0-8000 r-xp 00000000 00:00 0  [vdso]\n";
        let text = Mapping { start: 0x55f0, end: 0x5700, offset: 0x20000, file: "/bin/program" };
        assert_eq!(mappings(maps), [text]);
    }
}
