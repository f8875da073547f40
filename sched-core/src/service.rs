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
//! * A P without an M to run it is put into the list of *orders*; the next thread takes it along.
//!
//! It looks at everything each time it wakes, so a request is no more than a permit: none can be
//! lost between two looks.
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

use std::{
    io,
    sync::{Arc, Once},
    thread,
};

use crate::{
    error::{Error, fatal},
    glue,
    idle::Host,
    lock::Lock,
    machine::{Machine, Order},
    parker::Parker,
    scheduler::Shared,
    sync::{AtomicUsize, Ordering, now},
    tls, worker,
};

/// Stacks made at once when goroutines wait for them, at least and at most.
const BATCH: core::ops::Range<usize> = 16..256;

/// Nanoseconds until a refusal is tried again.
const RETRY: u64 = 2_000_000;

/// What is asked of the service thread.
#[derive(Debug)]
pub(crate) struct Service {
    parker: Parker,
    /// Ps that wait for a thread; room for all there are.
    orders: Lock<Vec<Order>>,
    /// Ms that were started and have not come to rest or to work yet.
    arriving: AtomicUsize,
    reported: Once,
}

impl Service {
    pub(crate) fn new(procs: usize) -> Self {
        Self {
            parker: Parker::new(),
            orders: Lock::new(Vec::with_capacity(procs)),
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
            orders.push(order);
        }
        self.rouse();
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

/// Carries out orders and fills the reserve. False if the system refused.
fn make_threads(shared: &Shared, threads: &mut Threads) -> bool {
    loop {
        let order = shared.service.orders.lock().pop();
        // Acquire: one that arrives no more is on the list; pairs with the Release in `machine_main`.
        let arriving = shared.service.arriving.load(Ordering::Acquire);
        let reserve = shared.idle.census().sleeping + arriving;
        match order {
            Some(order) => {
                if !carry_out(shared, threads, order) {
                    return false;
                }
            }
            None if reserve < shared.config.spare_threads => {
                shared.idle.add_machine();
                if start_machine(shared, threads, None).is_err() {
                    shared.idle.remove_machine();
                    return true;
                }
            }
            None => return true,
        }
    }
}

/// Finds an M for `order`, which is counted in `idle` already. False: it has to be tried again.
fn carry_out(shared: &Shared, threads: &mut Threads, order: Order) -> bool {
    let Err((refusal, order)) = start_machine(shared, threads, Some(order)) else { return true };
    let order = order.unwrap_or_else(|| fatal(format_args!("an order was lost")));
    // Somebody may have gone to sleep meanwhile: then the ordered M is not needed.
    match shared.idle.take_host() {
        Host::Sleeper(id) => {
            shared.idle.remove_machine();
            shared.host(Host::Sleeper(id), order);
            true
        }
        Host::New => {
            shared.idle.remove_machine();
            if let Refusal::Cap = refusal {
                let cap = shared.config.max_threads;
                fatal(format_args!(
                    "all {cap} threads are blocked in the kernel and a goroutine waits; \
                     raise max_threads, or block in fewer goroutines at once"
                ));
            }
            shared.service.orders.lock().push(order);
            false
        }
    }
}

/// Why no thread was made.
enum Refusal {
    /// `max_threads` are there.
    Cap,
    /// The operating system said no.
    System,
}

fn start_machine(
    shared: &Shared,
    threads: &mut Threads,
    order: Option<Order>,
) -> Result<(), (Refusal, Option<Order>)> {
    let Some(id) = shared.new_machine_id() else { return Err((Refusal::Cap, order)) };
    match spawn_machine(shared, id, order) {
        Ok(thread) => {
            threads.push(thread);
            Ok(())
        }
        Err((error, order)) => {
            shared.forget_machine_id();
            shared.counters.thread_errors.bump_shared();
            shared.service.report("cannot start a thread", &error);
            Err((Refusal::System, order))
        }
    }
}

fn spawn_machine(
    shared: &Shared,
    id: usize,
    order: Option<Order>,
) -> Result<thread::JoinHandle<()>, (io::Error, Option<Order>)> {
    // The order travels beside the closure: a thread that is refused drops its closure, and the
    // order must come back.
    let parcel = Arc::new(Lock::new(order));
    let (theirs, scheduler) = (Arc::clone(&parcel), shared.arc());
    // Relaxed: a count; the thread's start orders it before its own doings.
    shared.service.arriving.fetch_add(1, Ordering::Relaxed);
    let thread = thread::Builder::new().name(format!("sched-m{id}")).spawn(move || {
        let order = theirs.lock().take();
        drop(theirs);
        machine_main(&scheduler, id, order);
    });
    thread.map_err(|error| {
        // Relaxed: as above.
        shared.service.arriving.fetch_sub(1, Ordering::Relaxed);
        let order = parcel.lock().take();
        (error, order)
    })
}

/// The life of an M's thread.
fn machine_main(shared: &Shared, id: usize, order: Option<Order>) {
    let _whole = NoUnwind("an M");
    let words = tls::words();
    let alt_stack = glue::alt_stack();
    let machine = shared.register(Box::new(Machine::of_this_thread(id, shared)));
    words.m.store(core::ptr::from_ref(machine).cast_mut().cast(), Ordering::Relaxed);
    match order {
        Some(order) => worker::obey(machine, order),
        None => shared.idle.rest(id),
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
        if let Err(error) = made {
            shared.counters.stack_errors.bump_shared();
            shared.service.report("cannot prepare stacks", &error);
            return false;
        }
    }
    true
}
