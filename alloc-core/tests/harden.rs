//! A hardened heap names each mistake, with address, size class and the other free: each is made in a
//! process of its own, whose last words are checked. And it names nothing where nothing is wrong.

mod mixer;

use std::{
    alloc::Layout,
    os::unix::process::ExitStatusExt,
    process::{Command, Output},
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use alloc_core::{
    Cache, Heap,
    harden::{Hardening, Mistake, Violation},
    pages::os::Os,
};
use mixer::{Memory, Mixer, Shared};

type Scenario = fn(&mut Cache<'static, Os>);

/// The mistakes by name.
const SCENARIOS: [(&str, Scenario); 10] = [
    ("double free", |cache| {
        let block = small(cache);
        free_twice(cache, block);
    }),
    ("double free, without a cache", |cache| {
        let block = small(cache);
        // SAFETY: none: the second free is the mistake.
        unsafe {
            cache.heap().free(block);
            cache.heap().free(block);
        }
    }),
    ("double free, by two threads", |cache| {
        let (heap, block) = (cache.heap(), small(cache).as_ptr() as usize);
        let free = || {
            // SAFETY: none, as above.
            thread::spawn(move || unsafe {
                heap.cache().free(NonNull::new_unchecked(block as *mut _))
            })
        };
        let _ = (free().join(), free().join());
    }),
    ("double free of a large block", |cache| {
        let block = large(cache);
        free_twice(cache, block);
    }),
    ("interior free", |cache| {
        let block = small(cache);
        // SAFETY: none: the pointer is not the block's.
        unsafe { cache.free(block.add(16)) };
    }),
    ("interior free of a large block", |cache| {
        let block = large(cache);
        // SAFETY: none: the pointer is not the block's.
        unsafe { cache.free(block.add(50_000)) };
    }),
    ("foreign free", |cache| {
        let mut word = 0_u64;
        // SAFETY: none: the pointer is not the heap's.
        unsafe { cache.free(NonNull::from(&mut word).cast()) };
    }),
    ("write after free", |cache| {
        let block = small(cache);
        // SAFETY: none: the block was freed.
        unsafe {
            cache.free(block);
            block.add(5).write(7);
        }
        // Its place comes again once others have been freed.
        for _ in 0..100_000 {
            let other = small(cache);
            // SAFETY: ours, and freed once.
            unsafe { cache.free(other) };
        }
    }),
    ("overflow", |cache| {
        let block = large(cache);
        // SAFETY: none: the byte is behind the block.
        unsafe { fault_handler(cache.heap(), || block.add(100_000).write(1)) };
    }),
    ("use after free of a large block", |cache| {
        let block = large(cache);
        // SAFETY: none: the block was freed.
        unsafe {
            cache.free(block);
            fault_handler(cache.heap(), || block.add(9).write(1));
        }
    }),
];

fn small(cache: &mut Cache<'static, Os>) -> NonNull<u8> {
    cache.alloc(Layout::new::<[u8; 100]>()).unwrap()
}

fn large(cache: &mut Cache<'static, Os>) -> NonNull<u8> {
    cache.alloc(Layout::new::<[u8; 100_000]>()).unwrap()
}

fn free_twice(cache: &mut Cache<'static, Os>, block: NonNull<u8>) {
    // SAFETY: none: the second free is the mistake.
    unsafe {
        cache.free(block);
        cache.free(block);
    }
}

static FAULTING: std::sync::OnceLock<&'static Heap<Os>> = std::sync::OnceLock::new();

extern "C" fn on_fault(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives the information of the signal.
    let address = unsafe { (*info).si_addr() } as usize;
    FAULTING.get().unwrap().report_fault(address);
    std::process::abort();
}

/// Runs `f` with the handler that an embedder would install.
fn fault_handler(heap: &'static Heap<Os>, f: impl FnOnce()) {
    FAULTING.set(heap).unwrap();
    // SAFETY: the handler fits the flags.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &action, std::ptr::null_mut()), 0);
    }
    f();
}

/// Three made-up callers, so that the report's stack can be checked.
fn callers(frames: &mut [usize]) -> usize {
    frames[..3].copy_from_slice(&[0xaaa, 0xbbb, 0xccc]);
    3
}

fn hardened(hardening: Hardening) -> &'static Heap<Os> {
    let heap: &'static Heap<Os> = Box::leak(Box::new(Heap::new(Os::new())));
    heap.harden(hardening).unwrap();
    heap
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn scenario() {
    let wanted = std::env::var("SCENARIO").unwrap();
    let (_, run) = SCENARIOS.iter().find(|(name, _)| *name == wanted).unwrap();
    run(&mut hardened(Hardening::new().frames(callers)).cache());
}

/// What a process that makes the mistake leaves behind.
fn make(name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenario", "--ignored", "--nocapture"])
        .env("SCENARIO", name)
        .output()
        .unwrap()
}

/// Makes a mistake and checks that the process was ended for it, with each of these words.
fn expect(name: &str, words: &[&str]) {
    let output = make(name);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{name}: {text}");
    for word in words {
        assert!(text.contains(word), "{name}: no {word:?} in {text}");
    }
}

const OTHER_FREE: &str = "freed before by thread ";
const STACK: &str = "\n    0xaaa\n    0xbbb\n    0xccc\n";

#[test]
fn a_double_free_is_named_with_the_other_free() {
    for name in ["double free", "double free, without a cache", "double free, by two threads"] {
        let block = "byte 0 of a block of size class 112 at 0x";
        expect(name, &["alloc-core: double free at 0x", block, OTHER_FREE, STACK]);
    }
    let block = "byte 0 of a large block of 100000 at 0x";
    expect("double free of a large block", &["double free at 0x", block, OTHER_FREE, STACK]);
}

#[test]
fn a_pointer_that_is_no_block_is_named() {
    expect(
        "interior free",
        &["free of an interior pointer", "byte 16 of a block of size class 112"],
    );
    let block = "byte 50000 of a large block of 100000";
    expect("interior free of a large block", &["free of an interior pointer", block]);
    expect("foreign free", &["free of a foreign pointer at 0x"]);
}

#[test]
fn a_write_after_free_is_named_with_the_byte_and_the_free() {
    let block = "byte 5 of a block of size class 112";
    expect("write after free", &["write after free at 0x", block, OTHER_FREE, STACK]);
}

#[test]
fn touching_what_is_not_a_live_block_faults_and_is_named() {
    expect("overflow", &["overflow at 0x", "byte 100000 of a large block of 100000 at 0x"]);
    let block = "byte 9 of a large block of 100000 at 0x";
    expect("use after free of a large block", &["use after free at 0x", block, OTHER_FREE]);
}

/// A cache of a hardened heap; blocks of all sizes.
struct Hard(Cache<'static, Os>);

impl Memory for Hard {
    fn alloc(&mut self, layout: Layout, zeroed: bool) -> Option<NonNull<u8>> {
        if zeroed { self.0.alloc_zeroed(layout).ok() } else { self.0.alloc(layout).ok() }
    }

    unsafe fn realloc(
        &mut self,
        block: NonNull<u8>,
        layout: Layout,
        size: usize,
    ) -> Option<NonNull<u8>> {
        // SAFETY: passed on.
        unsafe { self.0.realloc(block, layout, size).ok() }
    }

    unsafe fn free(&mut self, block: NonNull<u8>, layout: Layout) {
        assert!(self.0.heap().usable_size(block) >= Some(layout.size()));
        // SAFETY: passed on.
        unsafe { self.0.free(block) }
    }
}

#[test]
fn a_large_block_that_lay_ready_before_is_not_handed_out_after() {
    let heap = Heap::new(Os::new());
    let mut cache = heap.cache();
    let layout = Layout::from_size_align(100_000, 8).unwrap();
    let before = cache.alloc(layout).unwrap();
    // SAFETY: ours, and freed once.
    unsafe { cache.free(before) };
    heap.harden(Hardening::new()).unwrap();
    assert_ne!(cache.alloc(layout).unwrap(), before, "it has no guard");
}

#[test]
fn a_program_without_mistakes_is_left_alone() {
    fn none(found: &Violation) {
        panic!("{found}");
    }
    let (heap, shared) = (hardened(Hardening::new().on_violation(none)), Shared::new());
    thread::scope(|scope| {
        for seed in 1..5 {
            let mut mixer = Mixer::new(&shared, Hard(heap.cache()), seed);
            scope.spawn(move || {
                (0..4_000)
                    .for_each(|_| if seed == 1 { mixer.only_receive() } else { mixer.step() });
                mixer.end();
            });
        }
    });
    assert!(Mixer::new(&shared, Hard(heap.cache()), 9).end());
    let (served, refused) = shared.outcomes();
    assert!(served > 3 * 4_000 * 7 / 20 && refused == 0, "{served} served, {refused} refused");
    let stats = heap.stats();
    let parts =
        stats.small + stats.large + stats.free + stats.released + stats.metadata + stats.tables;
    assert_eq!(stats.mapped, parts, "{stats:?}");
}

#[test]
fn free_cells_come_in_random_order_and_not_at_once() {
    let mut cache = hardened(Hardening::new().seed(42)).cache();
    let blocks: Vec<_> = (0..60).map(|_| small(&mut cache).as_ptr() as usize).collect();
    let rising = blocks.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((15..45).contains(&rising), "{rising} of 59 lie above the one before");
    let freed = small(&mut cache);
    // SAFETY: ours, freed once.
    unsafe { cache.free(freed) };
    assert!((0..60).all(|_| small(&mut cache) != freed), "a freed cell waits for others");
}

#[test]
fn a_cache_in_use_before_the_hardening_catches_mistakes_once_its_free_cells_are_gone() {
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    fn count(found: &Violation) {
        assert_eq!(found.mistake, Mistake::DoubleFree, "{found}");
        FOUND.fetch_add(1, Ordering::Relaxed);
    }
    let heap: &'static Heap<Os> = Box::leak(Box::new(Heap::new(Os::new())));
    let mut cache = heap.cache();
    let layout = Layout::new::<[u8; 100]>();
    for _ in 0..1_000 {
        let block = small(&mut cache);
        // SAFETY: ours, of that layout, freed once.
        unsafe { cache.free_sized(block, layout) };
    }
    heap.harden(Hardening::new().on_violation(count)).unwrap();
    let blocks: Vec<_> = (0..2_000).map(|_| small(&mut cache)).collect();
    for &block in blocks.iter().rev().take(10) {
        // SAFETY: none: the second free is the mistake, which a hardened heap ignores.
        unsafe {
            cache.free_sized(block, layout);
            cache.free_sized(block, layout);
        }
    }
    assert_eq!(FOUND.load(Ordering::Relaxed), 10);
}

#[test]
fn a_block_from_before_the_hardening_is_freed_as_ever() {
    let heap: &'static Heap<Os> = Box::leak(Box::new(Heap::new(Os::new())));
    let mut cache = heap.cache();
    let blocks = [small(&mut cache), large(&mut cache)];
    heap.harden(Hardening::new()).unwrap();
    // SAFETY: ours, freed once.
    blocks.into_iter().for_each(|block| unsafe { cache.free(block) });
    cache.flush();
    assert_eq!((heap.stats().small, heap.stats().large), (0, 0));
}
