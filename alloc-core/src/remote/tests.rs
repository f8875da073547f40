use super::*;
use std::vec::Vec;

#[test]
fn a_word_keeps_its_fields_apart() {
    let word = Snapshot::new(State::Listed, 8192, 8191);
    assert_eq!(word.state(), State::Listed);
    assert_eq!((word.used(), word.count()), (8192, 8191));
    assert_eq!(Snapshot::new(State::Incoming, 3, 1).state(), State::Incoming);
    assert_eq!(Snapshot::new(State::Full, 3, 0).state(), State::Full);
}

#[test]
fn a_full_span_is_put_back_once_and_empties() {
    let remote = Remote::new();
    remote.disown_full(2).unwrap();
    assert_eq!(remote.free(0), Freed::PutBack);
    assert_eq!(remote.arrive().count(), 1);
    assert_eq!(remote.free(1), Freed::Emptied);
    let owned = remote.claim();
    assert_eq!((owned.state(), owned.count()), (State::Owned, 2));
}

#[test]
fn a_free_in_between_keeps_the_span_with_its_owner() {
    let remote = Remote::new();
    let _ = remote.free(7);
    assert_eq!(remote.disown_full(4).unwrap_err().count(), 1);
    assert_eq!(remote.take(|word, bits| assert_eq!((word, bits), (0, 1 << 7))), 1);
    assert!(remote.disown_full(4).is_ok());
    assert!(remote.adopt() && !remote.adopt());
}

#[test]
fn a_batch_is_marked_by_words_and_counted_once() {
    let (remote, mut batch) = (Remote::new(), Batch::default());
    let cells = [3, 1, 65, 127, 0];
    cells.into_iter().for_each(|cell| batch.add(&remote, cell));
    assert_eq!(remote.snapshot().count(), 0);
    assert_eq!(batch.finish(&remote), Some(Freed::Queued));
    assert_eq!(batch.finish(&remote), None);
    let mut taken = Vec::new();
    assert_eq!(remote.take(|word, bits| taken.push((word, bits))), 5);
    assert_eq!(taken, [(0, 0b1011), (1, 1 << 63 | 0b10)]);
}

#[test]
fn who_takes_gets_what_it_is_owed_and_no_more() {
    let remote = Remote::new();
    remote.mark(0, 0b1);
    assert_eq!(remote.free(1), Freed::Queued);
    assert_eq!(remote.take(|_, bits| assert_eq!(bits, 0b1)), 1);
    assert_eq!(remote.count(1), Freed::Queued);
    assert_eq!(remote.take(|_, bits| assert_eq!(bits, 0b10)), 1);
}

#[test]
fn the_lowest_bits_are_as_many_as_asked_for() {
    assert_eq!(lowest(0b1011, 2), 0b11);
    assert_eq!(lowest(!0, 64), !0);
    assert_eq!(lowest(1 << 63 | 1, 1), 1);
    assert_eq!(lowest(0, 3), 0);
}
