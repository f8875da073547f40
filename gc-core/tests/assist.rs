//! Allocation pays for marking: a mutator that outruns the collector marks as it allocates, under its
//! guard, and the collector need not run for it. What it pays at once is little.

use gc_core::{
    Gc, GcCell, Guard, Heap, Rebind, Root, Trace,
    cycle::Pause,
    pacer::{Every, Facts, Pacer, Target},
    space::blocks::Blocks,
    trace::Tracer,
    world::threads::Threads,
};
use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

gc_core::tag! { struct Paying; }
gc_core::tag! { struct Slow; }
gc_core::tag! { struct Lean; }

#[derive(Trace)]
#[trace(heap = Paying)]
struct Node<'g> {
    children: [GcCell<'g, Node<'g>, Paying>; 2],
}

fn tree<'g>(guard: &'g Guard<'_, Paying>, depth: u32) -> Gc<'g, Node<'g>, Paying> {
    let child = || GcCell::new((depth > 0).then(|| tree(guard, depth - 1)));
    guard.alloc(Node { children: [child(), child()] })
}

fn count(node: &Node<'_>) -> usize {
    1 + node.children.iter().filter_map(GcCell::load).map(|child| count(child.get())).sum::<usize>()
}

const DEPTH: u32 = 16;
const STEP: u64 = 1 << 20;

/// A pacer that asks nobody to pay.
struct Mild(Every);

impl Pacer for Mild {
    fn first(&self) -> Target {
        self.0.first()
    }

    fn next(&mut self, facts: Facts) -> Target {
        self.0.next(facts)
    }

    fn relents(&mut self, _: Facts) -> bool {
        true
    }
}

/// A heap whose pacer asks for a cycle every `STEP`, and has no other reason for one.
fn heap<H>(pacer: impl Pacer + 'static) -> Heap<H>
where
    H: gc_core::Tag<Space = Blocks, World = Threads>,
{
    Heap::builder().pacer(pacer).checkmark(true).build(Blocks::poisoned(), Threads::new()).unwrap()
}

/// Runs a cycle whose driver marks a slice and stops until `f` is done. Returns what `f` does, and how
/// many objects were marked.
fn while_the_driver_stands<H: gc_core::Tag, R>(heap: &Heap<H>, f: impl FnOnce() -> R) -> (R, u64) {
    // 0: the driver is on its way; 1: it has marked a slice and waits; 2: it may go on.
    let stage = AtomicU32::new(0);
    let mut slices = 0;
    thread::scope(|scope| {
        let driver = scope.spawn(|| {
            heap.cycle(|pause| {
                // The first slice is the end of the handshakes.
                slices += u32::from(pause == Pause::Slice);
                if slices == 2 && stage.load(Ordering::Acquire) == 0 {
                    stage.store(1, Ordering::Release);
                    while stage.load(Ordering::Acquire) == 1 {
                        thread::yield_now();
                    }
                }
            })
        });
        while stage.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        let result = f();
        stage.store(2, Ordering::Release);
        (result, driver.join().unwrap().unwrap().marked_objects)
    })
}

#[test]
fn a_mutator_under_a_guard_marks_while_the_driver_does_nothing() {
    let assists = assists_beside_a_driver_that_stands(Every(STEP));
    // Some two megabytes are 64 blocks of 32 KiB, and each that is taken is a reason.
    assert!(assists >= 16, "{assists} assists");
    assert_eq!(assists_beside_a_driver_that_stands(Mild(Every(STEP))), 0, "the pacer relents");
}

/// The heap grows to its goal while the driver stands: then all that could be had is marked, if anybody has to.
fn assists_beside_a_driver_that_stands(pacer: impl Pacer + 'static) -> u64 {
    let heap = heap::<Paying>(pacer);
    let root: Root<Node<'static>, Paying> = {
        let guard = heap.enter();
        guard.root(tree(&guard, DEPTH))
    };
    // For the pacer to know what lives.
    heap.collect().unwrap();
    let before = heap.stats().assists;
    let ((), marked) = while_the_driver_stands(&heap, || {
        let guard = heap.enter();
        let begun = heap.live_bytes();
        while heap.live_bytes() < begun + 2 * STEP {
            tree(&guard, 4);
        }
    });
    assert!(marked >= (2 << DEPTH) - 1, "{marked} marked");
    let guard = heap.enter();
    assert_eq!(count(root.get(&guard).get()), (2 << DEPTH) - 1);
    heap.stats().assists - before
}

#[derive(Trace)]
#[trace(heap = Lean)]
struct Link<'g>(Option<Gc<'g, Link<'g>, Lean>>);

/// Whose turn it would be to pay reads no clock where nothing is to be had: no cycle is under way, or of a chain
/// each object is known when the one before it is marked, and the driver has that.
#[test]
fn nobody_pays_with_nothing() {
    let heap = heap::<Lean>(Every(STEP));
    let outrun = || {
        let guard = heap.enter();
        (0..4).for_each(|_| _ = guard.alloc_slice(vec![0u8; STEP as usize]));
        drop(guard);
        let actions = heap.stats().actions;
        [actions.assists, actions.reliefs].map(|times| times.wall.count())
    };
    outrun();
    assert_eq!(outrun(), [0, 0], "its second guard finds the heap outrun");
    let chain: Root<Link<'static>, Lean> = {
        let guard = heap.enter();
        let chain = (0..20_000).fold(None, |next, _| Some(guard.alloc(Link(next))));
        guard.root(chain.unwrap())
    };
    heap.collect().unwrap();
    let ([assists, _], _) = while_the_driver_stands(&heap, outrun);
    assert_eq!(assists, 0);
    drop(chain);
}

/// Objects that are marked between two looks at the time.
const FEW: u32 = 32;
/// How long the marker is over an object of the next test, at least.
const LOOK: Duration = Duration::from_micros(1);
/// Objects after which a turn of 25 µs is over, then.
const TURN: u32 = 25;

thread_local! {
    /// Objects that the marker has looked into on this thread.
    static LOOKS: Cell<u32> = const { Cell::new(0) };
}

/// Takes the marker a while, never a shorter one.
struct Weight;

// SAFETY: there is no edge; waiting and counting do not unwind.
unsafe impl Trace<Slow> for Weight {
    fn trace(&self, _: &mut Tracer) {
        LOOKS.set(LOOKS.get() + 1);
        let begun = Instant::now();
        while begun.elapsed() < LOOK {}
    }
}

// SAFETY: there is no edge and no lifetime.
unsafe impl Rebind for Weight {
    type At<'a> = Weight;
    const EDGES: bool = false;
}

#[derive(Trace)]
#[trace(heap = Slow)]
struct Heavy<'g> {
    weight: Weight,
    next: Option<Gc<'g, Heavy<'g>, Slow>>,
}

/// Of a batch there is more to mark than an allocation is to pay for, on a machine of any speed: it stops in the
/// middle, and what is left is marked by others, or the check after marking would miss it.
#[test]
fn an_allocation_pays_for_a_turn_and_the_few_objects_that_end_it() {
    const CHAINS: usize = 64;
    const LENGTH: usize = 100;
    let heap = heap::<Slow>(Every(STEP));
    let heavy = |guard, next| Guard::alloc(guard, Heavy { weight: Weight, next });
    let roots: Vec<Root<Heavy<'static>, Slow>> = {
        let guard = heap.enter();
        let chain = |_| (0..LENGTH).fold(None, |next, _| Some(heavy(&guard, next)));
        (0..CHAINS).filter_map(chain).map(|chain| guard.root(chain)).collect()
    };
    heap.collect().unwrap();
    let ((all, most), _) = while_the_driver_stands(&heap, || {
        let guard = heap.enter();
        let (mut all, mut most) = (0, 0);
        for _ in 0..16 {
            let before = LOOKS.get();
            // At once all is due that there is to mark.
            guard.alloc_slice(vec![0u8; STEP as usize]);
            all += LOOKS.get() - before;
            most = most.max(LOOKS.get() - before);
        }
        (all, most)
    });
    assert!(all >= 4 * FEW, "allocations paid for {all} objects only");
    assert!(most <= TURN + FEW, "an allocation paid for {most} objects");
    drop(roots);
}
