//! Which documents hold all words, and how often.
//!
//! Begin with the word that the fewest documents hold: its postings are the only candidates. Go
//! through the postings of each other word and add up where a candidate is met; those that were met
//! once per word are the hits. The time is that of all the words' lists together; the memory, that
//! of the shortest.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use runtime::gc::{self, Gc};

use crate::index::{Document, Index, Term};
use crate::report::Hit;
use crate::tokenize::Word;

/// Words met so far, and their occurrences added up.
type Candidates<'g> = HashMap<Gc<'g, Document<'g>>, (usize, u64)>;

/// The documents with all of `words`, most occurrences first, then by the bytes of the path.
///
/// The words are distinct. The guard is held from beginning to end: the candidates are pointers.
pub(crate) fn search(index: &Index, words: &[Word]) -> Vec<Hit> {
    let guard = gc::enter();
    let terms = words.iter().map(|word| index.find(&guard, word)).collect::<Option<Vec<_>>>();
    let Some(mut terms) = terms else { return Vec::new() };
    terms.sort_by_key(|term| term.documents());
    let mut hits = together(&terms);
    sort(&mut hits);
    hits
}

fn together<'g>(terms: &[Gc<'g, Term<'g>>]) -> Vec<Hit> {
    let Some((rarest, others)) = terms.split_first() else { return Vec::new() };
    let mut candidates = Candidates::new();
    for posting in rarest.get().postings() {
        candidates.insert(posting.document(), (1, posting.count()));
    }
    for posting in others.iter().flat_map(|term| term.get().postings()) {
        if let Some((met, sum)) = candidates.get_mut(&posting.document()) {
            *met += 1;
            *sum += posting.count();
        }
    }
    let all = candidates.into_iter().filter(|(_, (met, _))| *met == terms.len());
    all.map(|(document, (_, count))| {
        let path = OsStr::from_bytes(document.path()).into();
        Hit { count, path }
    })
    .collect()
}

/// By the bytes of the path and not by its components, so that any other program can agree.
fn sort(hits: &mut [Hit]) {
    hits.sort_by(|one, other| {
        let paths = [one, other].map(|hit| hit.path.as_os_str().as_bytes());
        other.count.cmp(&one.count).then_with(|| paths[0].cmp(paths[1]))
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::read::Counts;

    fn index(files: &[(&str, &[(&str, u64)])]) -> Index {
        let index = Index::new();
        for (path, words) in files {
            let table = words.iter().map(|(word, count)| (word.as_bytes().into(), *count));
            let counts = Counts { table: table.collect(), ..Counts::default() };
            index.add(Path::new(path), &counts);
        }
        index
    }

    fn hits(index: &Index, words: &[&str]) -> Vec<(u64, String)> {
        let words: Vec<Word> = words.iter().map(|word| word.as_bytes().into()).collect();
        let text = |hit: Hit| (hit.count, hit.path.to_str().unwrap().to_owned());
        search(index, &words).into_iter().map(text).collect()
    }

    #[test]
    fn all_words_must_be_there_and_counts_add_up() {
        let index = index(&[
            ("one", &[("a", 1), ("b", 2), ("c", 9)]),
            ("two", &[("a", 5)]),
            ("three", &[("b", 7), ("a", 1)]),
        ]);
        assert_eq!(hits(&index, &["a", "b"]), [(8, "three".into()), (3, "one".into())]);
        assert_eq!(hits(&index, &["b", "a", "c"]), [(12, "one".into())]);
        assert_eq!(hits(&index, &["a", "z"]), []);
    }

    #[test]
    fn equal_counts_are_in_the_order_of_the_paths_bytes() {
        let files = ["a/b", "a.b", "a", "a b", "B"].map(|path| (path, &[("w", 1)][..]));
        let found = hits(&index(&files), &["w"]);
        let names: Vec<_> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["B", "a", "a b", "a.b", "a/b"]);
    }
}
