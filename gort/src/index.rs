//! The inverted index, in the collected heap.
//!
//! ```text
//!            Table: 1024 trunks, by the hash's low bits
//!              │
//!              ▼
//!   word ◄── Term ──branches[4], by two bits of hash per level──► Term …
//!              │ ▲
//!     postings ▼ │ term
//!            Posting ──next_of_term──► Posting …
//!              │ ▲ └───next_of_document──► Posting …
//!     document ▼ │ postings
//!           Document ──► path
//! ```
//!
//! Everything points both ways, so a whole index is one knot of cycles: reference counts could not
//! free it. The collector does, once its root is dropped.
//!
//! # The map from words to terms
//!
//! A hash trie in which every node is a term. A search goes down from the trunk that the hash's low
//! bits name; at each node it compares the word, else takes the branch that the next two bits name.
//! A branch that is empty is where a missing word belongs: allocate a term, put it there by
//! compare-and-exchange. If another goroutine was faster, the search just goes on through what it
//! put there. Nothing is ever moved or removed, so there is no lock, no resizing, and no way to
//! insert a word twice: two inserters of a word walk the same path and meet at the same branch.
//! When the bits are used up, branch 0 is a plain chain: equal hashes are told apart by their words.
//!
//! A list of postings is pushed to by many goroutines: compare-and-exchange on its head. A
//! document's own list has one writer, whoever read the file.
//!
//! # Guards
//!
//! A guard delays the collector while it is held. Adding a document takes a new one for each
//! [`BATCH`] words and never holds one while a file is read; the document and the table are kept
//! by roots in between.
//!
//! # Rejected
//!
//! An array of buckets with chains needs resizing, and a resize beside lock-free inserters is a
//! protocol of its own. Words as `Box<[u8]>` would give each term a destructor; as slices in the
//! heap they die with the terms.

use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::gc::{self, Gc, GcCell, Guard, Root, Slice, Trace};

use crate::read::Counts;

const TRUNKS: usize = 1024;
/// Branches per term: as many as two bits can name.
const BRANCHES: usize = 4;
/// Words that are added under one guard.
const BATCH: usize = 128;

/// Where searches begin.
#[derive(Trace)]
struct Table<'g> {
    trunks: Gc<'g, Slice<GcCell<'g, Term<'g>>>>,
}

/// A word and the documents that hold it.
#[derive(Trace)]
pub(crate) struct Term<'g> {
    word: Gc<'g, Slice<u8>>,
    branches: [GcCell<'g, Term<'g>>; BRANCHES],
    postings: GcCell<'g, Posting<'g>>,
    /// Length of the list of postings.
    documents: AtomicU64,
}

/// A word occurs in a document.
#[derive(Trace)]
pub(crate) struct Posting<'g> {
    term: Gc<'g, Term<'g>>,
    document: Gc<'g, Document<'g>>,
    count: u64,
    next_of_term: GcCell<'g, Posting<'g>>,
    next_of_document: Option<Gc<'g, Posting<'g>>>,
}

/// A file that was read.
#[derive(Trace)]
pub(crate) struct Document<'g> {
    path: Gc<'g, Slice<u8>>,
    postings: GcCell<'g, Posting<'g>>,
}

/// The root of an index, and what is counted outside of the heap.
pub(crate) struct Index {
    table: Root<Table<'static>>,
    hasher: RandomState,
    terms: AtomicU64,
}

impl Index {
    /// An index with nothing in it.
    pub(crate) fn new() -> Self {
        let table = {
            let guard = gc::enter();
            let trunks = guard.alloc_slice((0..TRUNKS).map(|_| GcCell::null()));
            guard.root(guard.alloc(Table { trunks }))
        };
        Self { table, hasher: RandomState::new(), terms: AtomicU64::new(0) }
    }

    /// The number of different words.
    pub(crate) fn terms(&self) -> u64 {
        // Relaxed: read after the goroutines that count have been waited for.
        self.terms.load(Ordering::Relaxed)
    }

    /// Enters a file's words, linked in both directions.
    pub(crate) fn add(&self, path: &Path, counts: &Counts) {
        let document = self.add_document(path);
        let mut words = counts.table.iter().peekable();
        while words.peek().is_some() {
            let guard = gc::enter();
            let document = document.get(&guard);
            for (word, &count) in words.by_ref().take(BATCH) {
                let term = self.find_or_insert(&guard, word);
                link(&guard, term, document, count);
            }
        }
    }

    fn add_document(&self, path: &Path) -> Root<Document<'static>> {
        let guard = gc::enter();
        let path = guard.alloc_slice(path.as_os_str().as_bytes().iter().copied());
        guard.root(guard.alloc(Document { path, postings: GcCell::null() }))
    }

    /// The term of a word, if any document holds it.
    pub(crate) fn find<'g>(&self, guard: &'g Guard<'_>, word: &[u8]) -> Option<Gc<'g, Term<'g>>> {
        match self.descend(guard, word) {
            Place::Taken(term) => Some(term),
            Place::Free(..) => None,
        }
    }

    fn find_or_insert<'g>(&self, guard: &'g Guard<'_>, word: &[u8]) -> Gc<'g, Term<'g>> {
        let (mut branch, mut bits) = match self.descend(guard, word) {
            Place::Taken(term) => return term,
            Place::Free(branch, bits) => (branch, bits),
        };
        let new = guard.alloc(Term {
            word: guard.alloc_slice(word.iter().copied()),
            branches: std::array::from_fn(|_| GcCell::null()),
            postings: GcCell::null(),
            documents: AtomicU64::new(0),
        });
        while branch.compare_exchange(guard, None, Some(new)).is_err() {
            match follow(branch, bits, word) {
                Place::Taken(term) => return term,
                Place::Free(next, rest) => (branch, bits) = (next, rest),
            }
        }
        // Relaxed: a number, read when all is done.
        self.terms.fetch_add(1, Ordering::Relaxed);
        new
    }

    fn descend<'g>(&self, guard: &'g Guard<'_>, word: &[u8]) -> Place<'g> {
        let hash = self.hasher.hash_one(word);
        let trunks = self.table.get(guard).get().trunks.as_slice();
        follow(&trunks[hash as usize % TRUNKS], hash / TRUNKS as u64, word)
    }
}

/// Where a search for a word ends.
enum Place<'g> {
    /// At its term.
    Taken(Gc<'g, Term<'g>>),
    /// At the empty branch where its term belongs, with the bits of hash that are left.
    Free(&'g GcCell<'g, Term<'g>>, u64),
}

/// Goes down from `branch` until the word or an empty branch is found.
fn follow<'g>(mut branch: &'g GcCell<'g, Term<'g>>, mut bits: u64, word: &[u8]) -> Place<'g> {
    while let Some(term) = branch.load() {
        if term.word.as_slice() == word {
            return Place::Taken(term);
        }
        branch = &term.get().branches[bits as usize % BRANCHES];
        bits /= BRANCHES as u64;
    }
    Place::Free(branch, bits)
}

/// Makes a posting and puts it into both lists.
fn link<'g>(
    guard: &'g Guard<'_>,
    term: Gc<'g, Term<'g>>,
    document: Gc<'g, Document<'g>>,
    count: u64,
) {
    let posting = guard.alloc(Posting {
        term,
        document,
        count,
        next_of_term: GcCell::null(),
        next_of_document: document.postings.load(),
    });
    // Only the goroutine that read the file writes here.
    document.postings.set(guard, Some(posting));
    let mut head = term.postings.load();
    loop {
        posting.next_of_term.set(guard, head);
        match term.postings.compare_exchange(guard, head, Some(posting)) {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    // Relaxed: a hint for queries, and exact once all is added.
    term.documents.fetch_add(1, Ordering::Relaxed);
}

impl<'g> Term<'g> {
    /// How many documents hold the word.
    pub(crate) fn documents(&self) -> u64 {
        // Relaxed: see `link`.
        self.documents.load(Ordering::Relaxed)
    }

    /// Where the word occurs.
    pub(crate) fn postings(&self) -> impl Iterator<Item = Gc<'g, Posting<'g>>> + use<'g> {
        std::iter::successors(self.postings.load(), |posting| posting.next_of_term.load())
    }
}

impl<'g> Posting<'g> {
    /// The document in which the word occurs.
    pub(crate) fn document(&self) -> Gc<'g, Document<'g>> {
        self.document
    }

    /// How often it does.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

impl<'g> Document<'g> {
    /// The file's name, as bytes.
    pub(crate) fn path(&self) -> &'g [u8] {
        self.path.as_slice()
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Index").field("terms", &self.terms()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::tokenize::Tokenizer;

    fn counts(text: &str) -> Counts {
        let mut counts = Counts::default();
        let mut tokenizer = Tokenizer::new();
        let mut add = |word: &[u8]| *counts.table.entry(word.into()).or_default() += 1;
        tokenizer.feed(text.as_bytes(), &mut add);
        tokenizer.finish(&mut add);
        counts
    }

    /// Path and count of each document with the word.
    fn found(index: &Index, word: &str) -> BTreeMap<String, u64> {
        let guard = gc::enter();
        let term = index.find(&guard, word.as_bytes());
        let postings = term.into_iter().flat_map(|term| term.get().postings());
        let name = |posting: Gc<'_, Posting<'_>>| {
            String::from_utf8_lossy(posting.document().path()).into_owned()
        };
        postings.map(|posting| (name(posting), posting.count())).collect()
    }

    #[test]
    fn words_lead_to_documents() {
        let index = Index::new();
        index.add(Path::new("x"), &counts("a b a"));
        index.add(Path::new("y"), &counts("b c"));
        assert_eq!(found(&index, "a"), [("x".into(), 2)].into());
        assert_eq!(found(&index, "b"), [("x".into(), 1), ("y".into(), 1)].into());
        assert_eq!(found(&index, "d"), BTreeMap::new());
        assert_eq!(index.terms(), 3);
    }

    #[test]
    fn what_threads_add_at_once_is_all_there_and_links_back() {
        const FILES: usize = 40;
        let index = Index::new();
        let text = |file: usize| -> String {
            (0..3000).map(|number| format!("w{} ", number * (file % 3 + 1))).collect()
        };
        std::thread::scope(|scope| {
            for half in 0..2 {
                let index = &index;
                scope.spawn(move || {
                    for file in (half..FILES).step_by(2) {
                        index.add(Path::new(&file.to_string()), &counts(&text(file)));
                    }
                });
            }
        });
        let all: BTreeSet<u64> = (1..4).flat_map(|step| (0..3000).map(move |n| n * step)).collect();
        assert_eq!(index.terms(), all.len() as u64);
        for number in all.iter().step_by(97) {
            let expected = (0..FILES)
                .filter(|file| number % (*file as u64 % 3 + 1) == 0)
                .filter(|file| number / (*file as u64 % 3 + 1) < 3000);
            let names: BTreeMap<_, _> = expected.map(|file| (file.to_string(), 1)).collect();
            assert_eq!(found(&index, &format!("w{number}")), names);
        }
        let guard = gc::enter();
        let term = index.find(&guard, b"w0").unwrap();
        assert_eq!(term.documents(), FILES as u64);
        for posting in term.get().postings() {
            let words = std::iter::successors(posting.document().postings.load(), |posting| {
                posting.next_of_document
            });
            let back = words.filter(|other| other.term == term).collect::<Vec<_>>();
            assert_eq!(back.len(), 1);
            assert!(back[0] == posting);
        }
    }
}
