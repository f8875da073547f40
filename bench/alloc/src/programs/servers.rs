//! Programs with many live blocks, most with threads that free what others allocated.

use std::{
    hint::black_box,
    mem,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use bench_alloc::block::{Block, Random};
use harness::Request;

const THREADS: u64 = 2;

/// Replaces random ones of many blocks, and writes them whole.
pub(crate) fn alloc_test(request: &Request) {
    let threads: Vec<_> = (0..THREADS)
        .map(|seed| {
            let times = request.count(4_000_000);
            thread::spawn(move || replace(&mut Random::new(seed), 20_000, times, 1_000))
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

fn replace(random: &mut Random, live: usize, times: usize, most: usize) {
    let mut blocks: Vec<Option<Block>> = (0..live).map(|_| None).collect();
    for _ in 0..times {
        let place = &mut blocks[random.below(live)];
        *place = None;
        *place = Some(Block::filled(random.size(most)));
    }
}

/// Half of the threads only allocate, the other half only free.
pub(crate) fn xmalloc(request: &Request) {
    let batches = request.count(60_000);
    let threads: Vec<_> = (0..THREADS)
        .flat_map(|seed| {
            let (to, from) = sync_channel::<Vec<Block>>(16);
            let producer = thread::spawn(move || produce(&to, batches, &mut Random::new(seed)));
            [producer, thread::spawn(move || consume(&from))]
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

fn produce(to: &SyncSender<Vec<Block>>, batches: usize, random: &mut Random) {
    const SIZES: [usize; 5] = [64, 96, 160, 192, 256];
    for _ in 0..batches {
        let batch = (0..250).map(|_| Block::new(SIZES[random.below(5)])).collect();
        to.send(batch).expect("the consumer waits for the end");
    }
}

fn consume(from: &Receiver<Vec<Block>>) {
    from.iter().for_each(drop);
}

/// Blocks in places that all threads share.
struct Exchange(Vec<Mutex<Option<Block>>>);

impl Exchange {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Exchange((0..places).map(|_| Mutex::new(None)).collect()))
    }

    /// Puts a block there and frees what lay there, which another thread allocated, perhaps.
    fn swap(&self, place: usize, block: Block) {
        let before = self.0[place].lock().map(|mut place| place.replace(block));
        drop(black_box(before));
    }
}

/// Rounds of threads that begin, allocate by chunks of all sizes, exchange some blocks, and end.
pub(crate) fn mstress(request: &Request) {
    let exchange = Exchange::new(1_000);
    for round in 0..request.count(300) as u64 {
        in_threads(2 * THREADS, |seed| {
            let exchange = exchange.clone();
            move || stress(&exchange, &mut Random::new(100 * round + seed))
        });
    }
}

fn stress(exchange: &Exchange, random: &mut Random) {
    let (mut kept, mut all): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        // Mostly small, at times a hundred times as long.
        let chunk = if random.below(100) == 0 { 100 } else { 1 };
        let block = Block::filled(16 + random.below(256) * chunk);
        match random.below(10) {
            0 => kept.push(block),
            1 | 2 => exchange.swap(random.below(1_000), block),
            _ => all.push(block),
        }
        if all.len() > 2_000 {
            let at = random.below(all.len());
            all.truncate(at);
        }
    }
}

/// Threads that come, allocate a little, and go.
pub(crate) fn mleak(request: &Request) {
    for round in 0..request.count(8_000) as u64 {
        in_threads(THREADS, |seed| {
            move || replace(&mut Random::new(1_000 * round + seed), 100, 400, 2_000)
        });
    }
}

/// Loops of allocations up to 16 KiB, of which some are freed by another thread, one loop later.
pub(crate) fn rptest(request: &Request) {
    let loops = request.count(150);
    let exchange = Arc::new(Mutex::new(Vec::<Vec<Block>>::new()));
    in_threads(2 * THREADS, |seed| {
        let exchange = exchange.clone();
        move || (0..loops).for_each(|_| hand_on(&exchange, &mut Random::new(seed)))
    });
}

fn hand_on(exchange: &Mutex<Vec<Vec<Block>>>, random: &mut Random) {
    let mut blocks: Vec<Block> = Vec::new();
    for _ in 0..5_000 {
        let most = if random.below(4) == 0 { 16_000 } else { 500 };
        blocks.push(Block::new(16 + random.below(most)));
        if random.below(3) == 0 {
            let at = random.below(blocks.len());
            drop(blocks.swap_remove(at));
        }
    }
    let others = exchange.lock().map(|mut waiting| {
        waiting.push(mem::take(&mut blocks));
        if waiting.len() > 4 { waiting.remove(0) } else { Vec::new() }
    });
    drop(black_box(others));
}

fn in_threads<F: FnOnce() + Send + 'static>(threads: u64, work: impl Fn(u64) -> F) {
    let threads: Vec<_> = (0..threads).map(|seed| thread::spawn(work(seed))).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}
