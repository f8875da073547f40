use super::*;
use crate::tls::{Surplus, probe};

#[test]
fn a_shelf_takes_and_gives_by_the_half_and_loses_nothing() {
    let slots = Slots::new(SlotsConfig::default(), probe(Surplus::Take));
    assert_eq!(slots.prepare(40), Ok(40));
    let mut shelf = Shelf::new();
    let taken: Vec<_> = (0..20).map_while(|_| slots.take_from(&mut shelf, |_| ())).collect();
    assert_eq!((taken.len(), slots.stock()), (20, 40 - 3 * HALF));
    let last = taken.last().map(Slot::bounds);
    // SAFETY: from this stock and never armed, as all in this test.
    taken.into_iter().for_each(|slot| unsafe { slots.give_to(&mut shelf, slot) });
    // Two halves went to the stock, one is here.
    assert_eq!(slots.stock(), 40 - HALF);
    assert_eq!(
        slots.take_from(&mut shelf, |_| ()).map(|slot| {
            let bounds = slot.bounds();
            // SAFETY: as above.
            unsafe { slots.give(slot) };
            bounds
        }),
        last,
        "the warmest first"
    );
    slots.clear(&mut shelf);
    assert_eq!(slots.stock(), 40);
    // SAFETY: as above.
    let give = |slot| unsafe { slots.give(slot) };
    assert_eq!((0..50).map_while(|_| slots.take()).map(give).count(), 50);
}
