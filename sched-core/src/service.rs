//! The service thread: makes threads and stacks ahead of need.
//!
//! # Problem
//!
//! Making a thread or a TLS block takes locks inside libc. A goroutine may be preempted while it
//! holds one of them. If the scheduler itself, which holds the P that this goroutine needs, then
//! waited for the lock, nobody would ever go on. So nothing inside the runtime makes either.
//!
//! # How
//!
//! One plain thread keeps a stock of both: sleeping Ms ([`spare_threads`]) and stacks. It may wait
//! for any lock, as it holds no P. Whoever finds the stock low wakes it, and does something else:
//!
//! * A goroutine without a stack waits in a list; others run meanwhile. The service thread makes as
//!   many stacks as goroutines wait, and some more, and queues them.
//! * A P without an M to run it is put into the list of *orders*. The next thread to arrive claims
//!   one; a thread that goes to sleep meanwhile is given it.
//!
//! It looks at everything each time it wakes, so a request is no more than a permit: none can be
//! lost between two looks.
//!
//! # When the service thread is stuck itself
//!
//! It may wait for a lock of libc's for as long as the holder is not run: for ever, if the holder
//! is a preempted goroutine, and all Ms are blocked on the same lock. So while orders wait for
//! longer than [`STUCK`], the timer thread interrupts the goroutines that have no P
//! ([`escape`](crate::handoff::escape)): each that is taken out of its system call queues behind the
//! others and leaves an M for an order. (16 goroutines that start threads all the time, with two
//! spare Ms, hung within a minute without it.) This is why an order stays in the list until an M is
//! there to carry it out, and does not travel with a thread that may never start.
//!
//! # When the system refuses
//!
//! Refusals are counted ([`Stats`](crate::Stats)) and reported once. A goroutine that waits for a
//! stack gets the next one given back; an order goes to the next M that sleeps; both are tried
//! again after a moment. At [`max_threads`] an order that no sleeper can take means that every
//! thread is blocked in the kernel: the process aborts and says so, rather than hang.
//!
//! # The end
//!
//! It ends last, after all Ms, and gives back what the Ps had.
//!
//! [`spare_threads`]: crate::Config::spare_threads
//! [`max_threads`]: crate::Config::max_threads

use std::{sync::Once, thread};

use crate::{
    error::{Error, fatal},
    glue,
    idle::Host,
    lock::Lock,
    machine::{Machine, Order},
    parker::Parker,
    shared::Shared,
    sync::{AtomicU64, AtomicUsize, Ordering, now},
    tls, worker,
};

/// Stacks made at once when goroutines wait for them, at least and at most.
const BATCH: core::ops::Range<usize> = 16..256;

/// Nanoseconds for which orders may wait before goroutines are taken out of their system calls: much
/// longer than a thread takes to start on a busy machine.
const STUCK: u64 = 10_000_000;

/// Nanoseconds until a refusal is tried again.
const RETRY: u64 = 2_000_000;

/// What is asked of the service thread.
#[derive(Debug)]
pub(crate) struct Service {
    parker: Parker,
    /// Ps that wait for a thread; room for all there are.
    orders: Lock<Vec<Order>>,
    /// When an order was last claimed, or became the only one.
    progress: AtomicU64,
    /// Ms that were started and have not come to rest or to work yet.
    arriving: AtomicUsize,
    reported: Once,
}

impl Service {
    pub(crate) fn new(procs: usize) -> Self {
        Self {
            parker: Parker::new(),
            orders: Lock::new(Vec::with_capacity(procs)),
            progress: AtomicU64::new(0),
            arriving: AtomicUsize::new(0),
            reported: Once::new(),
        }
    }

    /// Has the service thread look around.
    pub(crate) fn rouse(&self) {
        self.parker.unpark();
    }

    /// Has a new M carry out `order`.
    pub(crate) fn order(&self, order: Order) {
        {
            let mut orders = self.orders.lock();
            debug_assert!(orders.len() < orders.capacity(), "more orders than Ps");
            if orders.is_empty() {
                // Relaxed: a time; read by one that decides whether to wait on.
                self.progress.store(now(), Ordering::Relaxed);
            }
            orders.push(order);
        }
        self.rouse();
    }

    /// An order, which the caller carries out. It comes with one count of an M in `idle`.
    pub(crate) fn claim(&self) -> Option<Order> {
        let order = self.orders.lock().pop()?;
        // Relaxed: as in `order`.
        self.progress.store(now(), Ordering::Relaxed);
        Some(order)
    }

    /// Whether orders wait, and whether none was claimed for so long that none may ever be.
    pub(crate) fn waiting(&self) -> Waiting {
        if self.orders.lock().is_empty() {
            return Waiting::Nobody;
        }
        // Relaxed: as in `order`.
        match now().saturating_sub(self.progress.load(Ordering::Relaxed)) {
            age if age >= STUCK => Waiting::Stuck,
            _ => Waiting::Some,
        }
    }

    /// Starts the service thread.
    pub(crate) fn start(shared: &Shared) -> Result<thread::JoinHandle<()>, Error> {
        let shared = shared.arc();
        thread::Builder::new()
            .name("sched-service".into())
            .spawn(move || serve(&shared))
            .map_err(Error::Threads)
    }

    fn report(&self, what: &str, error: &dyn core::fmt::Display) {
        self.reported.call_once(|| {
            eprintln!("sched-core: {what}: {error}; this is reported once, see Scheduler::stats");
        });
    }
}

/// How orders do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// None waits.
    Nobody,
    /// Some wait, not for long.
    Some,
    /// Some wait, and nothing happens.
    Stuck,
}

fn serve(shared: &Shared) {
    let _whole = NoUnwind("the service thread");
    let mut threads = Vec::new();
    while !shared.stopping() {
        let well = make_threads(shared, &mut threads) & make_stacks(shared);
        if well {
            shared.service.parker.park();
        } else {
            let _ = shared.service.parker.park_until(now() + RETRY);
        }
    }
    for thread in threads {
        // A thread of ours does not unwind: it aborts.
        let _ = thread.join();
    }
    shared.retire_procs();
}

/// The threads of the Ms made so far.
type Threads = Vec<thread::JoinHandle<()>>;

/// Starts threads for orders and for the reserve. False if the system refused.
fn make_threads(shared: &Shared, threads: &mut Threads) -> bool {
    loop {
        // Acquire: one that arrives no more is on the list; pairs with the Release in `machine_main`.
        let arriving = shared.service.arriving.load(Ordering::Acquire);
        let spare = shared.config.spare_threads.saturating_sub(shared.idle.census().sleeping);
        if arriving >= shared.service.orders.lock().len() + spare {
            return true;
        }
        if let Err(refusal) = start_machine(shared, threads) {
            return do_without(shared, refusal);
        }
    }
}

/// No thread can be had: gives the orders to Ms that have gone to sleep meanwhile. False if some
/// remain.
fn do_without(shared: &Shared, refusal: Refusal) -> bool {
    if give_to_sleepers(shared) {
        return true;
    }
    if let Refusal::Cap = refusal {
        let cap = shared.config.max_threads;
        fatal(format_args!(
            "all {cap} threads are blocked in the kernel and a goroutine waits; \
             raise max_threads, or block in fewer goroutines at once"
        ));
    }
    false
}

/// Gives orders to sleeping Ms, as far as there are both. True if no order remains.
pub(crate) fn give_to_sleepers(shared: &Shared) -> bool {
    while shared.service.waiting() != Waiting::Nobody {
        let host = shared.idle.take_host();
        let Host::Sleeper(id) = host else {
            // Counted when the order was made, and not again.
            shared.idle.remove_machine();
            return false;
        };
        let Some(order) = shared.service.claim() else {
            shared.idle.rest(id);
            return true;
        };
        // The new M that the order was counted for is not needed.
        shared.idle.remove_machine();
        shared.host(host, order);
    }
    true
}

/// Why no thread was made.
enum Refusal {
    /// `max_threads` are there.
    Cap,
    /// The operating system said no.
    System,
}

fn start_machine(shared: &Shared, threads: &mut Threads) -> Result<(), Refusal> {
    let id = shared.new_machine_id().ok_or(Refusal::Cap)?;
    let scheduler = shared.arc();
    // Relaxed: a count; the thread's start orders it before its own doings.
    shared.service.arriving.fetch_add(1, Ordering::Relaxed);
    let thread = thread::Builder::new()
        .name(format!("sched-m{id}"))
        .spawn(move || machine_main(&scheduler, id));
    match thread {
        Ok(thread) => {
            threads.push(thread);
            Ok(())
        }
        Err(error) => {
            // Relaxed: as above.
            shared.service.arriving.fetch_sub(1, Ordering::Relaxed);
            shared.forget_machine_id();
            shared.counters.thread_errors.bump_shared();
            shared.service.report("cannot start a thread", &error);
            Err(Refusal::System)
        }
    }
}

/// The life of an M's thread.
fn machine_main(shared: &Shared, id: usize) {
    let _whole = NoUnwind("an M");
    let words = tls::words();
    let alt_stack = glue::alt_stack();
    let machine = shared.register(Box::new(Machine::of_this_thread(id, shared)));
    words.m.store(core::ptr::from_ref(machine).cast_mut().cast(), Ordering::Relaxed);
    match shared.service.claim() {
        Some(order) => worker::obey(machine, order),
        None => {
            shared.idle.add_machine();
            shared.idle.rest(id);
        }
    }
    // Release: this M is on its list, or at work, before it stops arriving.
    shared.service.arriving.fetch_sub(1, Ordering::Release);
    worker::run(machine);
    words.m.store(core::ptr::null_mut(), Ordering::Relaxed);
    drop(alt_stack);
}

/// Aborts if it is dropped by a panic: there is no way back from half of a scheduler.
pub(crate) struct NoUnwind(pub(crate) &'static str);

impl Drop for NoUnwind {
    fn drop(&mut self) {
        if thread::panicking() {
            fatal(format_args!("{} panicked", self.0));
        }
    }
}

/// Makes stacks for those that wait, and queues them. False if the system refused.
fn make_stacks(shared: &Shared) -> bool {
    while shared.starving() > 0 || shared.slots.stock() < BATCH.start {
        let wanted = shared.starving().clamp(BATCH.start, BATCH.end);
        let made = shared.slots.prepare(wanted);
        shared.feed(shared.slots.stock());
        shared.note_refusal(made.err());
        if let Err(error) = made {
            shared.counters.stack_errors.bump_shared();
            shared.service.report("cannot prepare stacks", &error);
            return false;
        }
    }
    true
}
