//! Kinds of work, each a function whose result is the same on any thread at any time.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hint::black_box;
use std::io::Read;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::{Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// All of them.
pub(crate) const KINDS: [fn() -> u64; 16] = [
    hashing,
    formatting,
    sorting,
    trees,
    borrowed_thread_local,
    floats,
    mutexes,
    rwlocks,
    panics,
    files,
    malloc,
    backtraces,
    threads,
    sleeping,
    channels,
    printing,
];

fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn hashing() -> u64 {
    let mut map = HashMap::new();
    for key in 0..2000u64 {
        *map.entry(key % 97).or_insert(0) += key;
    }
    map.iter().fold(0, |sum, (key, value)| sum ^ (key * value))
}

fn formatting() -> u64 {
    let mut text = String::new();
    for step in 0..300u32 {
        write!(text, "{step:>5} {:.9} {:?};", f64::from(step).sqrt(), Some(step)).expect("memory");
    }
    digest(&text)
}

fn sorting() -> u64 {
    let mut numbers =
        (0..3000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect::<Vec<_>>();
    numbers.sort_unstable();
    numbers.windows(2).all(|pair| pair[0] <= pair[1]).into()
}

fn trees() -> u64 {
    let map = (0..1500u64).map(|n| (n * 7919 % 1500, n.to_string())).collect::<BTreeMap<_, _>>();
    map.values().fold(0, |sum, text| sum ^ digest(text))
}

fn borrowed_thread_local() -> u64 {
    thread_local!(static STEPS: RefCell<u64> = const { RefCell::new(0) });
    STEPS.with_borrow_mut(|steps| {
        *steps = 0;
        for _ in 0..50_000 {
            *steps = black_box(*steps + 1);
        }
        *steps
    })
}

fn floats() -> u64 {
    let mut sums = [0.0f64; 8];
    for step in 0..40_000u32 {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += (f64::from(step) + lane as f64).mul_add(1e-3, 0.5).sin();
        }
    }
    sums.iter().fold(0, |all, sum| all.rotate_left(7) ^ sum.to_bits())
}

fn mutexes() -> u64 {
    static SHARED: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    for step in 0..200 {
        let mut shared = SHARED.lock().expect("nobody panics with it");
        shared.clear();
        shared.extend(step..step + 10);
        assert_eq!(shared.iter().sum::<u64>(), step * 10 + 45);
    }
    1
}

fn rwlocks() -> u64 {
    static SHARED: RwLock<(u64, u64)> = RwLock::new((0, 0));
    for step in 0..100 {
        *SHARED.write().expect("nobody panics with it") = (step, !step);
        let (one, other) = *SHARED.read().expect("nobody panics with it");
        assert_eq!(one, !other);
    }
    1
}

fn panics() -> u64 {
    struct Tracks<'a>(&'a mut u64);
    impl Drop for Tracks<'_> {
        fn drop(&mut self) {
            assert!(thread::panicking());
            *self.0 += 1;
        }
    }
    let mut drops = 0;
    for number in 0..20u32 {
        let caught = catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _tracks = Tracks(&mut drops);
            // Not `panic!`: its message would fill the screen.
            resume_unwind(Box::new(number));
        }));
        let payload = caught.expect_err("it unwinds");
        assert_eq!(payload.downcast_ref(), Some(&number));
    }
    assert!(!thread::panicking());
    drops
}

fn files() -> u64 {
    let mut text = String::new();
    for _ in 0..20 {
        text.clear();
        let mut file = std::fs::File::open("/proc/self/maps").expect("there is /proc");
        file.read_to_string(&mut text).expect("maps are text");
        assert!(text.contains("[stack]"));
    }
    std::fs::read_dir("/proc/self").expect("there is /proc").count().min(10) as u64
}

fn malloc() -> u64 {
    let mut blocks = Vec::new();
    for step in 0..400usize {
        let mut block = vec![step as u8; 16 << (step % 9)];
        block.resize(block.len() * 3 / 2, step as u8);
        blocks.push(block);
        if step % 3 == 0 {
            blocks.swap_remove(step / 3 % blocks.len());
        }
    }
    let right = blocks.iter().all(|block| block.iter().all(|byte| *byte == block[0]));
    right.into()
}

fn backtraces() -> u64 {
    let text = std::backtrace::Backtrace::force_capture().to_string();
    text.contains("backtraces").into()
}

pub(crate) fn threads() -> u64 {
    let numbers = [1, 2, 3];
    thread::scope(|scope| {
        let sums = [0, 1, 2].map(|add| scope.spawn(move || numbers.iter().sum::<u64>() + add));
        sums.into_iter().map(|sum| sum.join().expect("no panic")).sum()
    })
}

fn sleeping() -> u64 {
    let begin = Instant::now();
    thread::sleep(Duration::from_millis(1));
    (begin.elapsed() >= Duration::from_millis(1)).into()
}

fn channels() -> u64 {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || (0..100u64).try_for_each(|n| sender.send(n)));
        receiver.iter().sum()
    })
}

fn printing() -> u64 {
    // Through libtest's capture, which is a lock and a thread-local.
    (0..5).for_each(|step| print!("{}", if step > 5 { "never" } else { "" }));
    1
}
