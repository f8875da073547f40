//! What a hostile reader of `docs/soundness.md` tries at run time. Memory is poisoned and checkmark is
//! on; whoever gets at a freed object fails.

mod common;

use common::checked;
use gc_core::{
    CleanupQueue, Gc, GcCell, GcMutex, GcOnce, GcRwLock, Heap, HeapError, Root, Trace, Weak,
    cycle::Pause,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A leaked guard, and everything that was under it, on another thread: nothing is freed any more.
#[test]
fn a_leaked_guard_keeps_all_that_anybody_may_hold() {
    gc_core::tag! { struct Leaked; }
    let heap = checked::<Leaked>();
    let held: &'static Heap<Leaked> = Box::leak(Box::new(heap.clone()));
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let guard = Box::leak(Box::new(held.enter()));
        // With a guard that is borrowed for ever, a pointer is for ever.
        let object: Gc<'static, u64, Leaked> = guard.alloc(7u64);
        sender.send(object).unwrap();
    })
    .join()
    .unwrap();
    let object = receiver.recv().unwrap();
    let driver = thread::spawn({
        let heap = heap.clone();
        let mut asked = 0;
        move || {
            let patience = |_| {
                asked += 1;
                assert!(asked < 1_000, "it waits for the guard, and would for ever");
            };
            heap.collect_with(patience).is_ok()
        }
    });
    assert!(driver.join().is_err(), "no cycle ends");
    for n in 0..1_000u64 {
        heap.enter().alloc(n);
    }
    assert_eq!((*object, heap.collect()), (7, Err(HeapError::Broken)));
}

/// More guards than can be counted: the one too many is counted nowhere.
#[test]
fn a_guard_too_many_is_refused() {
    gc_core::tag! { struct Deep; }
    let heap = checked::<Deep>();
    let guards: Vec<_> = (0..65_535).map(|_| heap.enter()).collect();
    assert_eq!(heap.try_enter().err(), Some(HeapError::TooManyGuards));
    assert!(catch_unwind(AssertUnwindSafe(|| drop(heap.enter()))).is_err());
    let kept = guards[0].root(guards[65_534].alloc(7u64));
    drop(guards);
    let patience =
        |pause| assert_ne!(pause, Pause::Handshake(1_000), "it waits for nobody's guard");
    assert_eq!(heap.collect_with(patience).unwrap().marked_objects, 1);
    assert_eq!(*kept.get(&heap.enter()), 7);
}

/// Locks that are held for ever, one inside the other, and the inner one moved out.
#[test]
fn a_lock_that_was_moved_out_of_another_stays_locked() {
    gc_core::tag! { struct Moved; }
    type Inner<'g> = GcMutex<Option<Gc<'g, u64, Moved>>, Moved>;
    #[derive(Trace)]
    #[trace(heap = Moved)]
    struct Outer<'g> {
        inner: GcRwLock<Option<Inner<'g>>, Moved>,
    }

    let heap = checked::<Moved>();
    let root = {
        let guard = heap.enter();
        let inner = GcMutex::new(Some(guard.alloc(7u64)));
        let outer = guard.alloc(Outer { inner: GcRwLock::new(Some(inner)) });
        {
            let reader = outer.get().inner.read(&guard);
            // The lock guard is leaked; what it borrowed is given back.
            std::mem::forget(reader.as_ref().unwrap().lock(&guard));
        }
        guard.root(outer)
    };
    heap.collect().unwrap();
    let guard = heap.enter();
    let outer = root.get(&guard).get();
    let moved = outer.inner.write(&guard).take().unwrap();
    // Whatever the 7 is by now, nobody gets at it.
    assert!(moved.try_lock(&guard).is_none());
    let again = guard.alloc(moved);
    assert!(again.try_lock(&guard).is_none());
    let fresh: Inner<'_> = GcMutex::new(Some(guard.alloc(8)));
    *outer.inner.write(&guard) = Some(fresh);
    drop(guard);
    heap.collect().unwrap();
    let guard = heap.enter();
    let reader = root.get(&guard).get().inner.read(&guard);
    assert_eq!(reader.as_ref().unwrap().lock(&guard).as_deref(), Some(&8));
}

/// Under a lock everything may be moved anywhere, also between two interiors, while a cycle runs.
#[test]
fn interiors_are_swapped_beside_a_cycle() {
    gc_core::tag! { struct Swapped; }
    type List<'g> = GcMutex<Vec<Gc<'g, GcCell<'g, u64, Swapped>, Swapped>>, Swapped>;
    let heap = checked::<Swapped>();
    let roots: [Root<List<'static>, Swapped>; 2] = {
        let guard = heap.enter();
        let made = |from: u64| {
            let cell = |n| guard.alloc(GcCell::new(Some(guard.alloc(n))));
            let cells: Vec<_> = (from..from + 50).map(cell).collect();
            guard.root(guard.alloc(GcMutex::new(cells)))
        };
        [made(0), made(50)]
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..40 {
                heap.collect().unwrap();
            }
        });
        for _ in 0..2_000 {
            let guard = heap.enter();
            let [one, two] = roots.each_ref().map(|root| root.get(&guard).get());
            let (mut one, mut two) = (one.lock(&guard), two.lock(&guard));
            std::mem::swap(&mut *one, &mut *two);
            let last = one.pop().unwrap();
            two.insert(0, last);
            if one.len() < 10 {
                std::mem::swap(&mut *one, &mut *two);
            }
        }
    });
    let guard = heap.enter();
    let lists = roots.each_ref().map(|root| root.get(&guard).get().lock(&guard).clone());
    let mut all: Vec<u64> = lists.iter().flatten().map(|cell| *cell.load().unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
}

/// Code that runs at deaths uses the heap it died in: it collects, drops roots, takes tokens, waits.
#[test]
fn destructors_and_tokens_may_do_anything() {
    gc_core::tag! { struct Reentered; }
    type Kept = Mutex<Vec<Root<u64, Reentered>>>;

    struct Meddler {
        heap: Heap<Reentered>,
        kept: Arc<Kept>,
        ran: Arc<AtomicUsize>,
    }

    impl Drop for Meddler {
        fn drop(&mut self) {
            self.ran.fetch_add(1, Ordering::Relaxed);
            let guard = self.heap.enter();
            let object = guard.alloc(41u64);
            let weak = guard.downgrade(object);
            assert_eq!(weak.upgrade(&guard).as_deref(), Some(&41));
            self.kept.lock().unwrap().push(guard.root(object));
            assert_eq!(self.heap.collect(), Err(HeapError::InsideGuard));
            drop(guard);
            self.heap.collect().unwrap();
            self.heap.run_destructors(1);
            self.kept.lock().unwrap().pop();
        }
    }

    #[derive(Trace)]
    #[trace(heap = Reentered)]
    struct Node<'g> {
        next: GcCell<'g, Node<'g>, Reentered>,
        #[leaf]
        #[expect(dead_code, reason = "its destructor is what counts")]
        meddler: Meddler,
    }

    let heap = checked::<Reentered>();
    let (kept, ran) = (Arc::<Kept>::default(), Arc::new(AtomicUsize::new(0)));
    let meddler = || Meddler { heap: heap.clone(), kept: kept.clone(), ran: ran.clone() };
    let queue = CleanupQueue::new(&heap);
    {
        let guard = heap.enter();
        for _ in 0..5 {
            let node = guard.alloc(Node { next: GcCell::null(), meddler: meddler() });
            node.next.set(&guard, Some(node));
            queue.register(&guard, node, meddler());
        }
    }
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    drop(queue.take().unwrap());
    drop(queue);
    assert_eq!(ran.load(Ordering::Relaxed), 10);
}

/// Constructors and iterators that panic, inside and outside of a lock and of a once.
#[test]
fn a_panic_while_something_is_made_loses_nothing() {
    gc_core::tag! { struct Halfway; }
    let heap = checked::<Halfway>();
    let count = Arc::new(AtomicUsize::new(0));

    #[derive(Trace)]
    #[trace(heap = Halfway)]
    struct Counted(#[leaf] Arc<AtomicUsize>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let guard = heap.enter();
    let attempt = |f: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
    attempt(&|| {
        let bomb = |n| if n == 7 { panic!("the seventh") } else { Counted(count.clone()) };
        guard.alloc_slice((0..10).map(bomb));
    });
    assert_eq!(count.load(Ordering::Relaxed), 7, "those before the seventh");
    let locked = guard.alloc(GcMutex::<Vec<Gc<'_, u64, Halfway>>, Halfway>::default());
    attempt(&|| {
        let mut held = locked.lock(&guard);
        held.push(guard.alloc(1));
        assert!(held.is_empty(), "before the second");
    });
    assert_eq!(locked.lock(&guard).len(), 1);
    let once = guard.alloc(GcOnce::<Gc<'_, u64, Halfway>, Halfway>::new());
    attempt(&|| {
        once.get_or_init(&guard, || {
            guard.alloc(2);
            panic!("after the allocation")
        });
    });
    assert_eq!(**once.get().get_or_init(&guard, || guard.alloc(3)), 3);
    drop(guard);
    heap.collect().unwrap();
    heap.run_destructors(usize::MAX);
    assert_eq!(count.load(Ordering::Relaxed), 7);
}

/// When somebody asks for a weak pointer: in every other cycle not at all, else from some moment on. Who asks
/// all the time keeps the object for ever.
struct Asks {
    cycle: usize,
    random: u64,
    /// Times to let pass.
    after: u64,
}

impl Asks {
    fn now(&mut self, cycle: usize) -> bool {
        if self.cycle != cycle {
            self.cycle = cycle;
            self.random = self.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            let drawn = self.random >> 60;
            self.after = if drawn < 8 { u64::MAX } else { 1 << (drawn - 4) };
        }
        self.after = self.after.saturating_sub(u64::from(self.after < u64::MAX));
        self.after == 0
    }
}

/// A weak pointer asked for again and again by many, under guards that are nested, repinned and left in
/// any order, while its object dies: who has seen it dead never sees it alive.
#[test]
fn the_dead_stay_dead() {
    gc_core::tag! { struct Stays; }
    const LIVES: u64 = 60;
    let heap = checked::<Stays>();
    let slot: Root<GcCell<'static, Weak<'static, u64, Stays>, Stays>, Stays> = {
        let guard = heap.enter();
        guard.root(guard.alloc(GcCell::<Weak<'_, u64, Stays>, Stays>::null()))
    };
    // The first life of which somebody has seen the end.
    let dead = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let cycles = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..3 {
            let (heap, slot, dead, done, cycles) = (&heap, &slot, &dead, &done, &cycles);
            scope.spawn(move || {
                let mut guard = heap.enter();
                let mut asks = Asks { cycle: 0, random: thread + 1, after: 0 };
                while done.load(Ordering::Relaxed) == 0 {
                    if asks.now(cycles.load(Ordering::Relaxed)) {
                        let seen = dead.load(Ordering::SeqCst) as u64;
                        let inner = heap.enter();
                        let weak = slot.get(&inner).load();
                        let found = weak.map(|weak| weak.upgrade(&inner));
                        if let Some(Some(life)) = found {
                            assert!(*life >= seen, "life {} after its end", *life);
                        }
                    }
                    guard.repin();
                    thread::yield_now();
                }
            });
        }
        for life in 1..=LIVES {
            {
                let guard = heap.enter();
                slot.get(&guard).set(&guard, Some(guard.downgrade(guard.alloc(life))));
            }
            // Whoever upgrades while the cycle marks keeps it alive for one more.
            for _ in 0..5 {
                cycles.fetch_add(1, Ordering::Relaxed);
                heap.collect().unwrap();
                let guard = heap.enter();
                if slot.get(&guard).load().unwrap().upgrade(&guard).is_none() {
                    // All lives up to this one are over.
                    dead.store(life as usize + 1, Ordering::SeqCst);
                    break;
                }
            }
        }
        done.store(1, Ordering::Relaxed);
    });
    assert!(dead.into_inner() > 0, "somebody died");
}
