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
    gc::heap().set_checkmark(true);
    gc::heap().space().set_poison(true);
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

/// Locks of the collected heap park goroutines, and lose neither an edge nor a waiter. More goroutines
/// than Ps wait for one lock, and are interrupted in it every millisecond.
#[test]
fn goroutines_wait_for_locks_in_the_heap() {
    use runtime::gc::{CleanupQueue, GcMutex, GcOnce, Weak};

    #[derive(Trace)]
    struct Account<'g> {
        entries: GcMutex<Vec<Gc<'g, Entry<'g>>>>,
        first: GcOnce<Gc<'g, Entry<'g>>>,
    }

    #[derive(Trace)]
    struct Entry<'g> {
        seal: u64,
        owner: Gc<'g, Weak<'g, Account<'g>>>,
    }

    const GOROUTINES: u64 = 16;
    const TURNS: u64 = 200;
    let builder = runtime::Builder::new().procs(2).preempt_after(Duration::from_millis(1));
    let runtime = builder.build().unwrap();
    gc::heap().set_checkmark(true);
    gc::heap().space().set_poison(true);
    runtime.run(|| {
        let deaths = CleanupQueue::<u64>::new(gc::heap());
        let account: Root<Account<'static>> = {
            let guard = gc::enter();
            let (entries, first) = (GcMutex::default(), GcOnce::new());
            guard.root(guard.alloc(Account { entries, first }))
        };
        let collects = runtime::go(|| {
            for _ in 0..20 {
                gc::collect().unwrap();
            }
        });
        runtime::scope(|scope| {
            for number in 0..GOROUTINES {
                let (account, deaths) = (&account, &deaths);
                scope.go(move || {
                    for turn in 0..TURNS {
                        let guard = gc::enter();
                        let mine = account.get(&guard).get();
                        let owner = guard.downgrade(account.get(&guard));
                        let entry = guard.alloc(Entry { seal: SEAL, owner });
                        deaths.register(&guard, entry, number * TURNS + turn);
                        mine.first.get_or_init(&guard, || entry);
                        let mut entries = mine.entries.lock(&guard);
                        entries.push(entry);
                        if turn % 8 == 0 {
                            // The others come to wait.
                            runtime::yield_now();
                        }
                        let surplus = entries.len().saturating_sub(8);
                        for old in entries.drain(..surplus) {
                            assert_eq!(old.seal, SEAL, "a dead object was seen");
                            let owner = old.owner.upgrade(&guard).expect("the account is rooted");
                            assert!(owner == account.get(&guard));
                        }
                    }
                });
            }
        });
        collects.join().unwrap();
        {
            let guard = gc::enter();
            let account = account.get(&guard);
            assert_eq!(account.entries.lock(&guard).len(), 8);
            assert_eq!(account.first.get().map(|entry| entry.seal), Some(SEAL));
        }
        drop(account);
        gc::collect().unwrap();
        let mut dead: Vec<u64> = (0..GOROUTINES * TURNS).map(|_| deaths.take().unwrap()).collect();
        dead.sort_unstable();
        assert_eq!(dead, (0..GOROUTINES * TURNS).collect::<Vec<_>>(), "each once");
    });
}
