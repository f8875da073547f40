//! The global allocator has no memory, at each request in turn: what a program asks of the heap is refused with
//! a value, or not needed, and the heap is whole. What only the collector asks for may end the process, as
//! `docs/soundness.md` says; never by anything else than that.

use gc_core::{
    CleanupQueue, Gc, GcCell, GcMutex, Guard, Heap, Root, Trace, Weak, cycle::Pause,
    space::blocks::Blocks, world::threads::Threads,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    env, iter,
    os::unix::process::ExitStatusExt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard},
};

/// The system's allocator, which refuses what a thread asks for.
struct Refusing;

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// What is refused.
#[derive(Clone, Copy)]
struct Scarcity {
    /// Requests of at least so many bytes.
    bytes: usize,
    /// After so many of them.
    left: usize,
    refused: usize,
}

impl Scarcity {
    const NONE: Self = Self { bytes: usize::MAX, left: usize::MAX, refused: 0 };

    fn refuses(&mut self, bytes: usize) -> bool {
        if bytes < self.bytes {
            return false;
        }
        let refuses = self.left == 0;
        self.left = self.left.saturating_sub(1);
        self.refused += usize::from(refuses);
        refuses
    }
}

thread_local! {
    static SCARCITY: Cell<Scarcity> = const { Cell::new(Scarcity::NONE) };
}

// SAFETY: the system's allocator does the work; it may refuse at any time.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut scarcity = SCARCITY.get();
        let refuses = scarcity.refuses(layout.size());
        SCARCITY.set(scarcity);
        if refuses {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// After so many requests of `f` for at least so many bytes there is no memory for more. Also how many were
/// refused.
fn without<R>(left: usize, bytes: usize, f: impl FnOnce() -> R) -> (R, usize) {
    SCARCITY.set(Scarcity { bytes, left, refused: 0 });
    let result = f();
    (result, SCARCITY.replace(Scarcity::NONE).refused)
}

/// One test at a time: they share a tag.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

gc_core::tag! { struct Poor; }

#[derive(Trace)]
#[trace(heap = Poor)]
struct Node<'g> {
    next: GcCell<'g, Node<'g>, Poor>,
    weak: GcCell<'g, Weak<'g, Node<'g>, Poor>, Poor>,
    locked: GcMutex<[Option<Gc<'g, Node<'g>, Poor>>; 2], Poor>,
}

fn node<'g>(next: Option<Gc<'g, Node<'g>, Poor>>) -> Node<'g> {
    Node { next: GcCell::new(next), weak: GcCell::null(), locked: GcMutex::default() }
}

type Kept = Vec<Root<Node<'static>, Poor>>;

fn heap() -> Heap<Poor> {
    Heap::builder().checkmark(true).build(Blocks::poisoned(), Threads::new()).unwrap()
}

/// Everything that a program may ask for, but to wait for a lock. `kept` has room.
fn ask(guard: &Guard<'_, Poor>, queue: &CleanupQueue<u32, Poor>, kept: &mut Kept) {
    let mut last = None;
    for round in 0..100 {
        let Ok(node) = guard.try_alloc(node(last)) else { continue };
        last = Some(node);
        node.weak.set(guard, guard.try_downgrade(node).ok());
        *node.locked.lock(guard) = [Some(node), node.next.load()];
        let weak = node.weak.load();
        assert!(weak.is_none_or(|weak| weak.upgrade(guard) == Some(node)));
        if let Err(token) = queue.try_register(guard, node, round) {
            assert_eq!(token.into_inner(), round);
        }
        if let Ok(root) = guard.try_root(node)
            && round % 2 == 0
        {
            kept.push(root);
        }
    }
    if let Some(Ok(clone)) = kept.first().map(Root::try_clone) {
        kept.push(clone);
    }
    let _ = guard.try_alloc([0u8; 100 << 10]).is_ok() && guard.try_alloc_str("text").is_ok();
}

/// The heap does what a heap does.
fn check(heap: &Heap<Poor>, queue: &CleanupQueue<u32, Poor>, kept: Kept) {
    // Checkmark, in each.
    heap.collect().unwrap();
    {
        let guard = heap.enter();
        for root in &kept {
            let node = root.get(&guard);
            assert!(node.weak.load().is_none_or(|weak| weak.upgrade(&guard) == Some(node)));
            assert!(node.locked.lock(&guard)[0] == Some(node));
        }
    }
    let watched = queue.watched();
    drop(kept);
    heap.collect().unwrap();
    heap.collect().unwrap();
    assert_eq!((heap.live_bytes(), heap.usage().spans), (0, 0));
    assert!(iter::from_fn(|| queue.try_take()).count() >= watched && queue.watched() == 0);
}

#[test]
fn what_a_program_asks_for_is_refused_with_a_value() {
    let _turn = turn();
    for n in 0.. {
        let (heap, mut kept) = (heap(), Kept::with_capacity(200));
        let queue = CleanupQueue::new(&heap);
        // This thread's part of the heap.
        drop(heap.enter());
        let guard = heap.enter();
        let ((), refused) = without(n, 0, || ask(&guard, &queue, &mut kept));
        drop(guard);
        check(&heap, &queue, kept);
        if refused == 0 {
            assert!(n > 20, "only {n} requests");
            break;
        }
    }
}

/// Bytes of a piece of a log.
const CHUNK: usize = 4 << 10;

/// Stores while a cycle runs, until one finds no memory for the log.
#[test]
fn a_store_without_memory_is_done_or_has_not_begun() {
    let _turn = turn();
    let (heap, mut kept) = (heap(), Kept::with_capacity(200));
    let queue = CleanupQueue::new(&heap);
    let old = {
        let guard = heap.enter();
        ask(&guard, &queue, &mut kept);
        guard.root(guard.alloc(node(None)))
    };
    let mut stores = 0;
    let pause = |pause| {
        if stores != 0 || pause != Pause::Slice {
            return;
        }
        let guard = heap.enter();
        let (first, old) = (kept[0].get(&guard), old.get(&guard));
        let fresh = guard.alloc(node(None));
        let store = || {
            // Each takes an unmarked object out, and puts it in again.
            first.next.set(&guard, Some(fresh));
            first.next.set(&guard, Some(old));
            stores += 2;
        };
        let many = || iter::repeat_with(store).take(100_000).for_each(drop);
        // What is said of a panic takes memory.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(|_| ()));
        let (outcome, refused) = without(0, CHUNK, || catch_unwind(AssertUnwindSafe(many)));
        panic::set_hook(hook);
        assert!(outcome.is_err() && refused > 0);
        assert!(first.next.load().is_some_and(|next| next == fresh || next == old));
    };
    heap.collect_with(pause).unwrap();
    // A chunk of the log and those in reserve.
    assert!(stores > 2_000, "{stores} stores");
    drop(old);
    check(&heap, &queue, kept);
}

const CHILD: &str = "GC_CORE_REFUSED_IN_A_CYCLE";

/// Run again by itself: a cycle whose n-th request is refused.
#[test]
fn a_cycle_without_memory_ends_well_or_ends_the_process() {
    if let Ok(n) = env::var(CHILD) {
        return without_memory_in_a_cycle(n.parse().unwrap());
    }
    let _turn = turn();
    let (mut done, mut ended) = (0, 0);
    for n in 0.. {
        let test = "a_cycle_without_memory_ends_well_or_ends_the_process";
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, n.to_string())
            // A backtrace takes memory.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stderr);
        if child.status.success() {
            done += 1;
            if said.contains("nothing was refused") {
                break;
            }
        } else {
            let signal = child.status.signal();
            assert_eq!(signal, Some(libc::SIGABRT), "{said}");
            assert!(said.contains("memory allocation of"), "{said}");
            ended += 1;
        }
    }
    assert!(done > 1 && ended > 1, "{done} cycles ended, {ended} processes");
}

fn without_memory_in_a_cycle(n: usize) {
    let (heap, mut kept) = (heap(), Kept::with_capacity(200));
    // Not checkmark: it is the tests' and has a set of its own.
    heap.set_checkmark(false);
    let queue = CleanupQueue::new(&heap);
    ask(&heap.enter(), &queue, &mut kept);
    let (record, refused) = without(n, 0, || heap.collect());
    assert!(record.is_ok());
    heap.set_checkmark(true);
    check(&heap, &queue, kept);
    if refused == 0 {
        eprintln!("nothing was refused");
    }
}
