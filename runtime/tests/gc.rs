//! Goroutines change one graph while the collector runs: nobody sees a dead object, every destructor
//! runs once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use runtime::gc::{self, Gc, GcCell, Guard, Root, Slice, Trace};

const SEAL: u64 = 0x5eed_5eed_5eed_5eed;

#[derive(Debug)]
struct Census(Arc<AtomicUsize>);

impl Census {
    fn born(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Census(Arc::clone(count))
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Trace)]
struct Node<'g> {
    seal: u64,
    next: GcCell<'g, Node<'g>>,
    list: GcCell<'g, Slice<GcCell<'g, Node<'g>>>>,
    #[leaf]
    #[expect(dead_code, reason = "its destructor is what counts")]
    census: Option<Census>,
    tail: u64,
}

impl<'g> Node<'g> {
    fn check(&self) {
        assert_eq!((self.seal, self.tail), (SEAL, !SEAL), "a dead object was seen");
    }
}

type Table = Root<Slice<GcCell<'static, Node<'static>>>>;

const SLOTS: usize = 64;

fn churn(table: &Table, census: &Arc<AtomicUsize>, seed: u64, rounds: u64) {
    let mut random = seed | 1;
    let mut below = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as usize % bound
    };
    for _ in 0..rounds {
        let guard = gc::enter();
        let slots = table.get(&guard).as_slice();
        let mut hand: Vec<Gc<'_, Node<'_>>> = Vec::new();
        for _ in 0..8 {
            let slot = &slots[below(SLOTS)];
            let picked = hand.get(below(hand.len() + 1)).copied();
            match below(6) {
                0 | 1 => {
                    let census = (below(2) == 0).then(|| Census::born(census));
                    hand.push(node(&guard, picked, census));
                }
                2 => slot.set(&guard, picked),
                3 => hand.extend(slot.swap(&guard, picked)),
                4 => hand.extend(slot.load()),
                _ => {
                    let Some(picked) = picked else { continue };
                    hand.extend(picked.next.swap(&guard, slot.load()));
                    let cells = hand.iter().map(|node| GcCell::new(Some(*node)));
                    picked.list.set(&guard, Some(guard.alloc_slice(cells)));
                }
            }
            hand.iter().for_each(|node| node.check());
            hand.truncate(8);
        }
    }
}

fn node<'g>(
    guard: &'g Guard<'_>,
    next: Option<Gc<'g, Node<'g>>>,
    census: Option<Census>,
) -> Gc<'g, Node<'g>> {
    let (next, list) = (GcCell::new(next), GcCell::null());
    guard.alloc(Node { seal: SEAL, next, list, census, tail: !SEAL })
}

fn run(procs: usize) {
    let census = Arc::new(AtomicUsize::new(0));
    let rt = runtime::Runtime::builder()
        .procs(procs)
        .preempt_after(Duration::from_millis(1))
        .build()
        .unwrap();
    rt.run(|| {
        let table: Table = {
            let guard = gc::enter();
            guard.root(guard.alloc_slice((0..SLOTS).map(|_| GcCell::<Node<'_>>::null())))
        };
        let before = gc::stats().cycles;
        runtime::scope(|scope| {
            for seed in 1..=8 {
                let (table, census) = (&table, &census);
                scope.go(move || {
                    for round in 0.. {
                        churn(table, census, seed * 0x9e37_79b9 + round, 500);
                        gc::heap().request();
                        if gc::stats().cycles > before + 10 {
                            break;
                        }
                        runtime::yield_now();
                    }
                });
            }
        });
    });
    gc::collect().unwrap();
    gc::heap().run_destructors(usize::MAX);
    // The collector's thread may be in the middle of the last ones.
    drop(rt);
    assert_eq!(census.load(Ordering::Relaxed), 0, "every destructor ran once");
}

#[test]
fn goroutines_share_a_graph() {
    for procs in [1, 2, 8] {
        run(procs);
    }
}
