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
    size_class::PAGE,
};
use mixer::{Memory, Mixer, Shared};

type Scenario = fn(&mut Cache<'static, Os>);

/// The mistakes by name.
const SCENARIOS: [(&str, Scenario); 10] = [
    ("double free", |cache| {
        let block = told(small(cache));
        free_twice(cache, block);
    }),
    ("double free, without a cache", |cache| {
        let block = told(small(cache));
        // SAFETY: none: the second free is the mistake.
        unsafe {
            cache.heap().free(block);
            cache.heap().free(block);
        }
    }),
    ("double free, by two threads", |cache| {
        let (heap, block) = (cache.heap(), told(small(cache)).as_ptr() as usize);
        let free = move || {
            tell_thread();
            // SAFETY: none, as above.
            unsafe { heap.cache().free(NonNull::new_unchecked(block as *mut _)) }
        };
        let _ = (thread::spawn(free).join(), thread::spawn(free).join());
    }),
    ("double free of a large block", |cache| {
        let block = told(large(cache));
        free_twice(cache, block);
    }),
    ("interior free", |cache| {
        let block = told(small(cache));
        // SAFETY: none: the pointer is not the block's.
        unsafe { cache.free(block.add(16)) };
    }),
    ("interior free of a large block", |cache| {
        let block = told(large(cache));
        // SAFETY: none: the pointer is not the block's.
        unsafe { cache.free(block.add(50_000)) };
    }),
    ("foreign free", |cache| {
        let mut word = 0_u64;
        // SAFETY: none: the pointer is not the heap's.
        unsafe { cache.free(told(NonNull::from(&mut word).cast())) };
    }),
    ("write after free", |cache| {
        let block = told(small(cache));
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
        let layout = overflowing();
        let block = told(cache.alloc(layout).unwrap());
        let behind = closed_at(layout);
        // SAFETY: the block is ours, and nothing else lies there before a page is closed.
        unsafe { block.write_bytes(1, behind) };
        // SAFETY: none: the byte is behind the block.
        unsafe { fault_handler(cache.heap(), || block.add(behind).write(1)) };
    }),
    ("use after free of a large block", |cache| {
        let block = told(large(cache));
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

/// Tells the test where the block lies, and who will free it, so that it can compare the report.
fn told(block: NonNull<u8>) -> NonNull<u8> {
    eprintln!("the block lies at {block:p}");
    tell_thread();
    block
}

fn tell_thread() {
    // SAFETY: the call has no preconditions.
    eprintln!("this is thread {}", unsafe { libc::syscall(libc::SYS_gettid) });
}

/// What block is to overflow.
fn overflowing() -> Layout {
    let number = |name| std::env::var(name).unwrap().parse().unwrap();
    Layout::from_size_align(number("SIZE"), number("ALIGN")).unwrap()
}

/// Where the first closed byte lies behind a block, which begins at a multiple of its alignment and ends in the last of
/// its pages.
fn closed_at(layout: Layout) -> usize {
    layout.size().next_multiple_of(layout.align().min(PAGE))
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
fn make(name: &str, layout: Layout) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scenario", "--ignored", "--nocapture"])
        .env("SCENARIO", name)
        .env("SIZE", layout.size().to_string())
        .env("ALIGN", layout.align().to_string())
        .output()
        .unwrap()
}

/// The number behind the first of these words.
fn number_behind<'a>(text: &'a str, words: &str) -> &'a str {
    let (_, behind) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}"));
    behind.split_whitespace().next().unwrap()
}

/// Makes a mistake and checks that the process was ended for it, with a report of these words: at so many bytes from
/// where the block begins, in such a block, and `freed` before.
fn expect_with(layout: Layout, name: &str, mistake: &str, offset: usize, what: &str, freed: bool) {
    let output = make(name, layout);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{name}: {text}");
    let hex = number_behind(&text, "the block lies at ").trim_start_matches("0x");
    let block = usize::from_str_radix(hex, 16).unwrap();
    let mut report = format!("alloc-core: {mistake} at {:#x}", block + offset);
    if !what.is_empty() {
        report += &format!(", byte {offset} of {what} at {block:#x}");
    }
    if freed {
        // The one that made the block, or the first of those that were started to free it.
        let told: Vec<_> = text.split("this is thread ").skip(1).collect();
        let thread = told.get(1).unwrap_or(&told[0]).lines().next().unwrap();
        report += &format!("\n  freed before by thread {thread}\n    0xaaa\n    0xbbb\n    0xccc");
    }
    let said = text.split_once("alloc-core: ").unwrap().1.trim_end();
    assert_eq!(format!("alloc-core: {said}"), report, "{name}");
}

fn expect(name: &str, mistake: &str, offset: usize, what: &str, freed: bool) {
    expect_with(Layout::new::<[u8; 100_000]>(), name, mistake, offset, what, freed);
}

const SMALL: &str = "a block of size class 112";
const LARGE: &str = "a large block of 100000";

#[test]
fn a_double_free_is_named_with_the_other_free() {
    for name in ["double free", "double free, without a cache", "double free, by two threads"] {
        expect(name, "double free", 0, SMALL, true);
    }
    expect("double free of a large block", "double free", 0, LARGE, true);
}

#[test]
fn a_pointer_that_is_no_block_is_named() {
    let interior = "free of an interior pointer";
    expect("interior free", interior, 16, SMALL, false);
    expect("interior free of a large block", interior, 50_000, LARGE, false);
    expect("foreign free", "free of a foreign pointer", 0, "", false);
}

#[test]
fn a_write_after_free_is_named_with_the_byte_and_the_free() {
    expect("write after free", "write after free", 5, SMALL, true);
}

#[test]
fn touching_what_is_not_a_live_block_faults_and_is_named() {
    expect("use after free of a large block", "use after free", 9, LARGE, true);
}

#[test]
fn an_overflow_is_named_at_the_first_byte_that_the_alignment_leaves_to_nobody() {
    let sizes = [(32_769, 1), (40_000, 8), (100_000, 16), (1_000_001, 1), (3 << 20, 8)];
    // The end of these is not a multiple of the alignment: up to that lies slack, which cannot be closed.
    let aligned = [(32_800, 64), (100_000, 4096), (100_000, 65_536)];
    for (size, align) in sizes.into_iter().chain(aligned) {
        let layout = Layout::from_size_align(size, align).unwrap();
        let what = format!("a large block of {size}");
        expect_with(layout, "overflow", "overflow", closed_at(layout), &what, false);
    }
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
