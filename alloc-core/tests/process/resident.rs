//! What the account says is resident, and what the kernel says.

use std::{fs, panic, sync::mpsc, time::Duration};

use alloc_core::{
    Error, Stats,
    managed::{ClassSpec, ManagedCache},
    pages::os::Os,
    scavenge::{ByAge, Eager},
};

use super::*;

/// So much more than at the begin may be in the account and not in memory: pages of spans that were handed out and
/// never touched, the rest of a chunk of records (1 MiB for each heap).
const TOLERANCE: usize = 3 << 20;

/// So much may be in memory that is not the heap's: the C library's own data, stacks of threads, and what a sanitizer
/// notes.
const OTHERS: usize = if cfg!(asan) { 4 << 20 } else { 1 << 20 };

/// Held over each step of a scavenger, and over a look at account and kernel: what a step gave back between the two
/// looks, or has on loan at one of them, is any number of megabytes.
static STEP: Mutex<()> = Mutex::new(());

/// Anonymous memory of the process that is resident, in bytes. By a walk over the page tables: `/proc/self/status` is
/// wrong by some pages for each processor of the machine.
fn resident() -> usize {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
}

/// What the account of a process was at its begin, and how much of that was not in memory; it may be later.
struct Begin {
    account: usize,
    untouched: usize,
}

impl Begin {
    fn new() -> Self {
        let account = heap().stats().resident_at_most();
        Begin { account, untouched: account.saturating_sub(resident()) }
    }

    /// The account, which must agree with the kernel. Slabs of stacks are written as a whole here.
    fn check(&self, when: &str) -> Stats {
        let _still = STEP.lock().unwrap();
        let stats = heap().stats();
        let (account, kernel) = (stats.resident_at_most() + stats.stacks, resident());
        assert!(
            kernel <= account + OTHERS && account <= kernel + self.untouched + TOLERANCE,
            "{when}: {account} by the account, {kernel} by the kernel\n{stats}"
        );
        stats
    }
}

/// Frees most of many blocks while others step the scavenger, and lets them give back what they can.
#[test]
fn the_account_is_what_the_kernel_holds() {
    alone("resident::the_account_is_what_the_kernel_holds", || {
        static DONE: AtomicBool = AtomicBool::new(false);
        let begin = Begin::new();
        let stepping = thread::spawn(|| {
            let mut scavenger = heap().scavenger(ByAge::default()).unwrap();
            let mut steps = 0;
            // Relaxed: a flag that says no more than itself.
            while !DONE.load(Ordering::Relaxed) {
                let step = STEP.lock().unwrap();
                scavenger.step(steps * Duration::from_millis(200));
                drop(step);
                steps += 1;
                thread::yield_now();
            }
        });
        let mut blocks: Vec<_> = (0..60_000).map(filled).collect();
        let bytes: usize = blocks.iter().map(Vec::len).sum();
        begin.check("filled");
        blocks.iter_mut().enumerate().for_each(|(n, block)| {
            if n % 10_000 < 9_000 {
                *block = Vec::new();
            }
        });
        begin.check("thinned out");
        DONE.store(true, Ordering::Relaxed);
        stepping.join().unwrap();
        let mut scavenger = heap().scavenger(ByAge::default()).unwrap();
        for step in 0..20 {
            scavenger.step(step * Duration::from_millis(200));
        }
        let thin = begin.check("after a while").resident_at_most();
        assert!(thin < bytes / 10 * 3 / 2 + begin.account + TOLERANCE, "{thin} of {bytes}");
        assert!(blocks.iter().enumerate().all(|(n, block)| block.is_empty() || is_whole(block, n)));
        drop(blocks);
        for step in 20..40 {
            scavenger.step(step * Duration::from_millis(200));
        }
        let rest = begin.check("all freed").resident_at_most();
        assert!(rest < begin.account + TOLERANCE, "{rest} stay");
    });
}

/// A thread that did something since the last step keeps its cache, so it is not served from elsewhere.
#[test]
fn a_thread_at_work_is_not_asked_for_its_cache() {
    alone("resident::a_thread_at_work_is_not_asked_for_its_cache", || {
        let (stepped, may_work) = mpsc::sync_channel::<()>(0);
        let (worked, may_step) = mpsc::sync_channel::<()>(0);
        let worker = thread::spawn(move || {
            let mut kept = Vec::new();
            // Works while the next step is made, and before.
            while may_work.recv().is_ok() {
                kept.extend((0..200).map(filled));
                if worked.send(()).is_err() {
                    break;
                }
                kept.extend((0..2_000).map(filled));
            }
            kept.len()
        });
        let mut scavenger = heap().scavenger(ByAge::default()).unwrap();
        for step in 0..30 {
            stepped.send(()).unwrap();
            may_step.recv().unwrap();
            scavenger.step(step * Duration::from_millis(200));
        }
        drop(stepped);
        assert!(worker.join().unwrap() > 30 * 2_000);
        assert_eq!(heap().stats().emergency, 0, "{}", heap().stats());
    });
}

static LATE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Called in four rounds, of which our cache's end is the last; afterwards the thread has none.
extern "C" fn fill_late(round: *mut libc::c_void) {
    let round = round.addr();
    let key = KEY.load(Ordering::Relaxed) as libc::pthread_key_t;
    // SAFETY: the key is there.
    unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(round + 1)) };
    if round == 4 {
        let blocks: Vec<_> = (0..10_000).map(filled).collect();
        assert!(!is_from_main_heap(&blocks[9_999]));
        *LATE.lock().unwrap() = blocks;
    }
}

/// Blocks that emergency heaps served, as the main heap never does: of a thread after its cache's end.
fn served_late() -> Vec<Vec<u8>> {
    let mut key = 0;
    // SAFETY: the destructor fits the values.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(fill_late)) }, 0);
    KEY.store(key as usize, Ordering::Relaxed);
    let thread = thread::spawn(move || {
        drop(filled(1));
        // SAFETY: the key was made above.
        unsafe { libc::pthread_setspecific(key, std::ptr::without_provenance(1)) };
    });
    thread.join().unwrap();
    std::mem::take(&mut *LATE.lock().unwrap())
}

#[test]
fn what_emergency_heaps_served_is_in_the_account_and_goes_back() {
    alone("resident::what_emergency_heaps_served_is_in_the_account_and_goes_back", || {
        let begin = Begin::new();
        let late = served_late();
        let bytes: usize = late.iter().map(Vec::len).sum();
        assert!(begin.check("late").emergency >= bytes);
        // The limit counts it.
        let (room, large) = (1 << 20, (1 << 20) + bytes / 2);
        assert!(bytes > 2 << 20, "{bytes}");
        heap().set_limit(begin.check("late").resident_at_most() + room);
        let fits = || Vec::<u8>::new().try_reserve_exact(large).is_ok();
        assert!(!fits());
        assert!(late.iter().enumerate().all(|(n, block)| is_whole(block, n)));
        drop(late);
        assert!(heap().has_resting_memory(), "somebody should look");
        let mut scavenger = heap().scavenger(Eager).unwrap();
        scavenger.step(Duration::ZERO);
        assert!(begin.check("freed").emergency < TOLERANCE);
        assert!(fits(), "there is room again");
        heap().set_limit(usize::MAX);
    });
}

/// What each part holds, or asks for, in the test below.
const PART: usize = 12 << 20;

/// Large blocks, slabs of stacks and collected cells: each taken in parts, all of which are written.
struct Takers {
    cells: ManagedCache<'static, Os>,
    cycle: u64,
}

impl Takers {
    fn block(&self) -> Option<Vec<u8>> {
        let mut block = Vec::new();
        block.try_reserve_exact(PART).ok()?;
        block.resize(PART, 7);
        Some(block)
    }

    fn slab(&self) -> Result<NonNull<u8>, Error> {
        let slab = heap().stacks().reserve(PART)?;
        // SAFETY: ours, and without guards.
        unsafe { slab.write_bytes(7, PART) };
        Ok(slab)
    }

    /// Three quarters: spans have records, and a rest that is less than a cell.
    fn cells(&mut self) -> Result<(), Error> {
        const CELL: usize = 4_000;
        let class = heap().class(ClassSpec { size: CELL, align: 8, drop: false, owner: 0 })?;
        for _ in 0..PART * 3 / 4 / CELL {
            // SAFETY: for the current cycle; the cell has that many bytes, and is ours.
            unsafe { self.cells.take(class, self.cycle)?.cell.write_bytes(7, CELL) };
        }
        Ok(())
    }

    /// Frees all cells: none is marked.
    fn end_cycle(&mut self) {
        self.cycle += 1;
        // SAFETY: one thread, which takes for the new cycle from here on.
        unsafe {
            heap().begin_cycle(self.cycle);
            heap().permit_sweep();
        }
        self.cells.flush();
        while !heap().sweep(100) {}
    }

    /// Nobody gets a part more, and the kernel holds no more than the limit. Cells fill what room there is.
    fn are_refused(&mut self, begin: &Begin, when: &str) {
        assert!(self.block().is_none(), "{when}");
        assert_eq!(self.slab(), Err(Error::Limit), "{when}");
        assert_eq!(self.cells(), Err(Error::Limit), "{when}");
        let limit = heap().limit();
        // To ask the kernel takes memory.
        heap().set_limit(usize::MAX);
        let stats = begin.check(when);
        heap().set_limit(limit);
        assert!(stats.resident_at_most() + stats.stacks <= limit, "{when}: {stats}");
    }
}

fn give_back(slab: NonNull<u8>) {
    // SAFETY: reserved by `Takers::slab`, and not used any more.
    unsafe { heap().stacks().release(slab, PART, 0) };
}

/// What emergency heaps served, collected cells, slabs of stacks, large and small blocks: when one gives a part up,
/// another gets it, and never is there room for two.
#[test]
fn all_kinds_of_memory_share_one_limit() {
    alone("resident::all_kinds_of_memory_share_one_limit", || {
        let begin = Begin::new();
        let say = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            // It needs memory.
            heap().set_limit(usize::MAX);
            say(what);
        }));
        let late = served_late();
        assert!(late.iter().map(Vec::len).sum::<usize>() > PART);
        let small: Vec<_> = (0..PART / 1_500).map(filled).collect();
        let mut takers = Takers { cells: heap().managed_cache(), cycle: 0 };
        takers.cells().unwrap();
        let slab = takers.slab().unwrap();
        let stats = begin.check("four parts");
        heap().set_limit(stats.resident_at_most() + stats.stacks + PART + PART / 2);
        let large = takers.block().unwrap();
        takers.are_refused(&begin, "five parts");

        assert!(late.iter().enumerate().all(|(n, block)| is_whole(block, n)));
        drop(late);
        heap().scavenger(Eager).unwrap().step(Duration::ZERO);
        let another = takers.slab().expect("what emergency heaps gave up");
        takers.are_refused(&begin, "two slabs");

        give_back(slab);
        let second = takers.block().expect("what a slab gave up");
        takers.are_refused(&begin, "two large blocks");

        takers.end_cycle();
        let slab = takers.slab().expect("what cells gave up");
        takers.are_refused(&begin, "two slabs and less cells");

        drop(large);
        takers.cells().expect("what a large block gave up");
        takers.are_refused(&begin, "a large block less");

        assert!(small.iter().enumerate().all(|(n, block)| is_whole(block, n)));
        drop(small);
        takers.cells().expect("what small blocks gave up");
        takers.are_refused(&begin, "no small blocks");
        drop(second);
        [slab, another].into_iter().for_each(give_back);
        heap().set_limit(usize::MAX);
    });
}
