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
//! * A P without an M to run it becomes an *order* ([`orders`](crate::orders)), for the next thread that
//!   arrives or comes to rest.
//!
//! It also frees the queues of a policy that was replaced ([`swap`](crate::swap)): the allocator's lock, too,
//! may be held by a goroutine that was preempted. For the same reason it brings home the records of other schedulers
//! whose last names were dropped inside this one's runtime ([`Strays`]).
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
//! others, and its M comes to rest and finds the order. (16 goroutines that start threads all the time, with two
//! spare Ms, hung within a minute without it.) This is why an order stays in the list until an M is
//! there to carry it out, and does not travel with a thread that may never start.
//!
//! # When the system refuses
//!
//! Refusals are counted ([`Stats`](crate::Stats)) and reported once. A goroutine that waits for a
//! stack gets the next one given back; an order goes to the next M that comes to rest; both are tried
//! again after a moment. At [`max_threads`] an order that waits means that every thread is taken, mostly
//! by a goroutine that is blocked in the kernel. Taking goroutines out of it helps if the one that they wait for is
//! among those that wait for a thread. So it is tried; if none shows a sign of life all the while, three seconds,
//! the process aborts and says so, rather than hang ([`despair`](crate::despair)).
//!
//! # The end
//!
//! It ends last, after all Ms, and gives back what the Ps had.
//!
//! [`spare_threads`]: crate::Config::spare_threads
//! [`max_threads`]: crate::Config::max_threads

use core::ptr::NonNull;
use std::{
    io::{self, Write},
    sync::Once,
    thread,
};

use crate::{
    despair::Despair,
    error::{Error, fatal},
    glue,
    machine::Machine,
    parker::Parker,
    registry::Strays,
    resize::PRESS,
    shared::Shared,
    sync::{AtomicUsize, Ordering, now},
    task::Task,
    tls, worker,
};

/// Nanoseconds for which orders may wait before goroutines are taken out of their system calls: much
/// longer than a thread takes to start on a busy machine.
pub(crate) const STUCK: u64 = 10_000_000;

/// Nanoseconds until a refusal is tried again.
const RETRY: u64 = 2_000_000;

/// What is asked of the service thread.
#[derive(Debug)]
pub(crate) struct Service {
    parker: Parker,
    /// Ms that were started and have not come to rest or to work yet.
    arriving: AtomicUsize,
    strays: Strays,
    reported: Once,
}

impl Service {
    pub(crate) fn new() -> Self {
        Self {
            parker: Parker::new(),
            arriving: AtomicUsize::new(0),
            strays: Strays::new(),
            reported: Once::new(),
        }
    }

    /// Has the service thread look around.
    pub(crate) fn rouse(&self) {
        self.parker.unpark();
    }

    /// Has a record of another scheduler, which nobody names any more, brought home.
    pub(crate) fn keep_stray(&self, task: NonNull<Task>) {
        if self.strays.keep(task) {
            self.rouse();
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

    /// Says once what the system refuses.
    pub(crate) fn report(&self, what: &str, error: &dyn core::fmt::Display) {
        self.reported.call_once(|| {
            // If nobody reads it any more, that is no reason to end.
            let _ = writeln!(
                io::stderr(),
                "sched-core: {what}: {error}; this is reported once, see Scheduler::stats"
            );
        });
    }
}

fn serve(shared: &Shared) {
    let _whole = NoUnwind("the service thread");
    shared.adopt_thread();
    let mut crew = Crew::default();
    while !shared.stopping() {
        shared.service.strays.send_home();
        let well = make_threads(shared, &mut crew) & shared.make_stacks();
        let pause = if shared.finish_swap() { RETRY } else { PRESS };
        if well && pause == RETRY {
            shared.service.parker.park();
        } else {
            let _ = shared.service.parker.park_until(now() + pause);
        }
    }
    for thread in crew.threads {
        // A thread of ours does not unwind: it aborts.
        let _ = thread.join();
    }
    shared.retire_procs();
    // Nobody is left who would drop a name inside.
    shared.service.strays.send_home();
}

/// What the service thread knows of the Ms.
#[derive(Default)]
struct Crew {
    /// The threads of all that were made.
    threads: Vec<thread::JoinHandle<()>>,
    despair: Despair,
}

/// Starts threads for orders and for the reserve. False if the system refused one that is needed.
fn make_threads(shared: &Shared, crew: &mut Crew) -> bool {
    loop {
        // Acquire: one that arrives no more is on the list; pairs with the Release in `machine_main`.
        let arriving = shared.service.arriving.load(Ordering::Acquire);
        let spare = shared.config.spare_threads.saturating_sub(shared.idle.census().sleeping);
        if arriving >= shared.idle.backlog().orders + spare {
            return true;
        }
        match start_machine(shared, &mut crew.threads) {
            Ok(()) => {}
            Err(_) if shared.idle.backlog().orders == 0 => return true,
            Err(Refusal::System) => return false,
            Err(Refusal::Cap) => {
                crew.despair.grow(shared);
                return false;
            }
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
    threads: &mut Vec<thread::JoinHandle<()>>,
) -> Result<(), Refusal> {
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
    if let Some(order) = shared.idle.arrive(id) {
        worker::obey(machine, order);
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
