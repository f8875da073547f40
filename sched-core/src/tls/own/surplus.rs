//! Takes what libc keeps in reserve of static TLS, so that nobody else can have it.
//!
//! # Problem
//!
//! Below the TLS that is in use at start libc reserves some bytes (1664 on 2.36) for libraries that
//! are loaded later and insist on static TLS. In a slot the stack begins there: giving each
//! goroutine the reserve as well would cost it a second page. A library that got the reserve would
//! have its variables in our stacks, silently.
//!
//! # Answer
//!
//! Whoever takes all of it makes libc refuse such a library, with libc's own message. So we load
//! one ourselves: an ELF image of three program headers, written to a memfd, with a TLS segment
//! and one relocation that asks for its distance from the thread pointer. That relocation makes
//! libc take the segment from the reserve. The size is found by bisection: libc says yes or no.
//!
//! ```text
//!  0x000  ELF header, 4 program headers (load, TLS, dynamic, stack)
//!  0x200  symbol 0, an empty hash table, a string table of one NUL
//!  0x280  a relocation against our own segment, R_X86_64_TPOFF64 or R_AARCH64_TLS_TPREL
//!  0x300  the dynamic section
//!  0x400  the word that is relocated
//! ```
//!
//! # Rejected
//!
//! `DF_STATIC_TLS` is no test for such libraries: libm carries it without having TLS. Interposing
//! `dlopen` misses the calls from within libc (NSS, iconv).

use core::ffi::{CStr, c_void};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};

use super::arch::{ELF_MACHINE, TLS_DISTANCE};

/// More than any glibc reserves by default; tunables can raise it, and then some stays free.
const LIMIT: usize = 64 * 1024;

/// One directory by two names: libc takes equal names for the same object, without looking, and the
/// image that stays must not be taken for those that are tried.
const TRIALS: &str = "/proc/self/fd";
const RESIDENT: &str = "/proc/self/./fd";

const IMAGE_BYTES: usize = 0x408;
const SYMBOLS: u64 = 0x200;
const HASH: u64 = 0x220;
const STRINGS: u64 = 0x240;
const RELOCATIONS: u64 = 0x280;
const DYNAMIC: u64 = 0x300;
const WORD: u64 = 0x400;

/// What a segment is aligned to, on machines with pages of any size.
const LARGEST_PAGE: u64 = 64 * 1024;

const RELOCATION_SIZE: u64 = 24;

/// Takes all that is left. False if that cannot be done here, or something is still free.
pub(super) fn take() -> bool {
    // Where not even a library with dynamic TLS can be loaded this way (no /proc, no executable
    // memfds), a refusal says nothing about the reserve.
    let Some(probe) = Filler::load(Tls::Dynamic(1), TRIALS) else { return false };
    probe.unload();
    let (mut fits, mut too_big) = (0, LIMIT);
    while too_big - fits > 1 {
        let middle = fits.midpoint(too_big);
        match Filler::load(Tls::Static(middle), TRIALS) {
            Some(filler) => {
                filler.unload();
                fits = middle;
            }
            None => too_big = middle,
        }
    }
    let taken = fits == 0 || Filler::load(Tls::Static(fits), RESIDENT).is_some();
    taken && Filler::load(Tls::Static(1), TRIALS).is_none_or(Filler::refuse)
}

/// Whether an object of this name is our resident filler.
pub(super) fn is_resident(name: &CStr) -> bool {
    name.to_bytes().starts_with(RESIDENT.as_bytes())
}

/// How many bytes of TLS an image has, and whether it insists on their being static.
#[derive(Clone, Copy)]
enum Tls {
    Static(usize),
    Dynamic(usize),
}

/// A loaded image. It stays unless it is unloaded.
struct Filler(*mut c_void);

impl Filler {
    fn load(tls: Tls, directory: &str) -> Option<Filler> {
        // SAFETY: a name and a flag.
        let fd = unsafe { libc::memfd_create(c"goroutine-static-tls".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        // SAFETY: just opened, ours alone.
        let mut file = unsafe { File::from_raw_fd(fd) };
        file.write_all(&image(tls)).ok()?;
        let path = CString::new(format!("{directory}/{}", file.as_raw_fd())).ok()?;
        Filler::open(&path)
    }

    fn open(path: &CStr) -> Option<Filler> {
        // SAFETY: the image has no code, so loading it runs none.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        (!handle.is_null()).then_some(Filler(handle))
    }

    /// libc reuses the bytes, since they were the last it gave out.
    fn unload(self) {
        // SAFETY: a handle from `dlopen`; nobody has a pointer into the image.
        unsafe { libc::dlclose(self.0) };
    }

    fn refuse(self) -> bool {
        self.unload();
        false
    }
}

/// A shared object with some zeroed TLS and nothing else.
fn image(tls: Tls) -> Vec<u8> {
    let (tls_bytes, relocation_bytes) = match tls {
        Tls::Static(bytes) => (bytes as u64, RELOCATION_SIZE),
        Tls::Dynamic(bytes) => (bytes as u64, 0),
    };
    let mut image = Image(vec![0; IMAGE_BYTES]);
    // ELF64, little-endian, version 1, System V; ET_DYN.
    image.bytes(0, b"\x7fELF\x02\x01\x01");
    image.halves(16, &[3, ELF_MACHINE, 1, 0]);
    image.words(32, &[64, 0]); // program headers follow; no sections
    image.halves(52, &[64, 56, 4]); // sizes of this header and of a program header; how many
    let (load, dynamic, tls, stack) = (1, 2, 7, 0x6474_e551);
    let (read, read_write) = (4, 6);
    let all = IMAGE_BYTES as u64;
    image.program_header(0, load, read_write, 0, all, all, LARGEST_PAGE);
    image.program_header(1, tls, read, WORD, 0, tls_bytes, 1);
    image.program_header(2, dynamic, read_write, DYNAMIC, 16 * 9, 16 * 9, 8);
    image.program_header(3, stack, read_write, 0, 0, 0, 16);
    // One bucket, one symbol; bucket 0 is empty.
    image.bytes(HASH, &[1, 0, 0, 0, 1, 0, 0, 0]);
    // Against symbol 0, which is the object itself.
    image.words(RELOCATIONS, &[WORD, TLS_DISTANCE, 0]);
    let (hash, strings, symbols, relocations) = (4, 5, 6, 7);
    let (relocations_size, relocation_size, strings_size, symbol_size) = (8, 9, 10, 11);
    image.words(DYNAMIC, &[hash, HASH, strings, STRINGS, symbols, SYMBOLS]);
    image.words(DYNAMIC + 48, &[relocations, RELOCATIONS, relocations_size, relocation_bytes]);
    image.words(DYNAMIC + 80, &[relocation_size, RELOCATION_SIZE, strings_size, 1]);
    image.words(DYNAMIC + 112, &[symbol_size, 24]);
    image.0
}

struct Image(Vec<u8>);

impl Image {
    fn bytes(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn halves(&mut self, at: u64, halves: &[u16]) {
        for (half, at) in halves.iter().zip((at..).step_by(2)) {
            self.bytes(at, &half.to_le_bytes());
        }
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        for (word, at) in words.iter().zip((at..).step_by(8)) {
            self.bytes(at, &word.to_le_bytes());
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a program header, in its order")]
    fn program_header(
        &mut self,
        index: u64,
        kind: u32,
        flags: u32,
        at: u64,
        file_bytes: u64,
        memory_bytes: u64,
        align: u64,
    ) {
        let start = 64 + 56 * index;
        self.bytes(start, &kind.to_le_bytes());
        self.bytes(start + 4, &flags.to_le_bytes());
        self.words(start + 8, &[at, at, at, file_bytes, memory_bytes, align]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Filler, TRIALS, Tls, take};

    #[test]
    fn nothing_is_left_after_taking() {
        assert!(take());
        assert!(
            Filler::load(Tls::Static(1), TRIALS).is_none(),
            "a byte of static TLS was still to be had"
        );
    }
}
