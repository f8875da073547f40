//! The crew: the tables of Ps and Ms, and who wakes whom.
//!
//! Both tables have their room from the start and only fill up, and their entries live as long as the scheduler. So a
//! thief, a monitor or a handler may follow a number or a pointer into them without a lock.
//!
//! Work that was published is somebody's to find: [`notify`](Shared::notify) asks
//! [`idle`](crate::idle) whether anybody looks for it, and carries out the order to wake an M if
//! not. Whoever takes a P from the idle list rings the monitor's bell.

use crate::{
    dispatch::Dispatch,
    handoff::ESCAPE,
    idle::{Host, Idle, Wake},
    machine::Machine,
    orders::{Order, Place},
    proc::Held,
    shared::Shared,
    sync::{AtomicPtr, Ordering, fence, now},
    vacate::Crew,
};

impl Shared {
    /// A number for a new M; `None` at the cap.
    pub(crate) fn new_machine_id(&self) -> Option<usize> {
        // Relaxed: the service thread alone makes Ms.
        let id = self.machine_count.load(Ordering::Relaxed);
        (id < self.machines.0.len()).then(|| {
            self.machine_count.store(id + 1, Ordering::Relaxed);
            id
        })
    }

    /// The number last given out was not used.
    pub(crate) fn forget_machine_id(&self) {
        // Relaxed: as above.
        self.machine_count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Enters an M into the table.
    pub(crate) fn register(&self, machine: Box<Machine>) -> &Machine {
        let id = machine.id();
        let machine = Box::into_raw(machine);
        // Release: the M's fields; pairs with the Acquire in `machine`.
        self.machines.0[id].store(machine, Ordering::Release);
        // SeqCst: the M is in the table before it looks whether the scheduler stops; partner: the
        // fence in `stop`. Either it sees that, or it is found there and woken.
        fence(Ordering::SeqCst);
        // SAFETY: entries are freed with the table only.
        unsafe { &*machine }
    }

    /// The M with this number, if it has started.
    pub(crate) fn machine(&self, id: usize) -> Option<&Machine> {
        // Acquire: pairs with the Release in `register`.
        // SAFETY: entries are freed with the table only.
        self.machines.0.get(id).and_then(|m| unsafe { m.load(Ordering::Acquire).as_ref() })
    }

    /// All Ms that have started.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        // Relaxed: an M that is missed is one that has just begun.
        let count = self.machine_count.load(Ordering::Relaxed);
        (0..count).filter_map(|id| self.machine(id))
    }

    /// Work was published: sees to it that somebody looks for it.
    #[inline]
    pub(crate) fn notify(&self) {
        Crew::notify(self);
    }

    /// Has an M hold a P.
    #[cold]
    pub(crate) fn carry_out(&self, wake: Wake) {
        let order = Order { proc: wake.proc, spinning: Some(wake.spinning) };
        self.host(wake.host, order);
    }

    /// Has `host` carry out `order`.
    pub(crate) fn host(&self, host: Host, order: Order) {
        self.idle.bell().ring();
        match host {
            Host::Sleeper(id) => return self.send(id, order),
            Host::New => match self.idle.place(order) {
                Place::Sleeper(id, order) => self.wake(id, order),
                Place::Waits => {
                    self.service.rouse();
                    return self.timers.look_again(now() + ESCAPE);
                }
            },
        }
        self.refill();
    }

    /// Has M `id`, which rested, carry out `order`.
    pub(crate) fn send(&self, id: usize, order: Order) {
        self.wake(id, order);
        self.refill();
    }

    /// Has the service thread see to the reserve of Ms.
    fn refill(&self) {
        if self.idle.census().sleeping < self.config.spare_threads {
            self.service.rouse();
        }
    }

    fn wake(&self, id: usize, order: Order) {
        match self.machine(id) {
            Some(machine) => machine.wake(order),
            None => crate::error::fatal(format_args!("thread {id} rests before it exists")),
        }
    }

    /// Takes an idle P for `m`, if there is one.
    pub(crate) fn acquire_idle(&self, m: &Machine) -> bool {
        let Some(proc) = self.idle.take_proc() else { return false };
        self.idle.bell().ring();
        self.give_proc(m, proc);
        true
    }

    /// `m`, the caller's own, holds P `proc` from now on.
    pub(crate) fn give_proc(&self, m: &Machine, proc: usize) {
        m.hold(self.procs.get(proc));
        if let Some(held) = m.held() {
            held.begin_slice();
        }
    }
}

impl Crew for Shared {
    type Held<'a> = Held<'a>;

    fn idle(&self) -> &Idle {
        &self.idle
    }

    fn index(&self, held: Held<'_>) -> usize {
        held.proc().index()
    }

    fn work_at_hand(&self, held: Held<'_>) -> bool {
        Dispatch::work_at_hand(self, held)
    }

    fn any_work(&self) -> bool {
        Dispatch::any_work(self)
    }

    fn evict(&self, held: Held<'_>) {
        Dispatch::evict(self, held);
    }

    /// What is on its shelf is for all, and the embedding's hook is called.
    fn stand_down(&self, held: Held<'_>) {
        self.clear_shelf(held);
        self.share(None);
        self.stand_up(held);
        let proc = held.proc();
        self.hooks.proc_idle(proc.index(), proc.local());
    }

    #[cold]
    fn host(&self, host: Host, order: Order) {
        Shared::host(self, host, order);
    }
}

/// Places for Ms, filled from the front; an entry that is not null stays.
pub(crate) struct Machines(Box<[AtomicPtr<Machine>]>);

impl Machines {
    pub(crate) fn new(places: usize) -> Self {
        Self((0..places).map(|_| AtomicPtr::default()).collect())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for machine in &mut self.0 {
            let machine = *machine.get_mut();
            if !machine.is_null() {
                // SAFETY: `register` leaked it from a box; the threads have ended, as each holds a
                // count of the scheduler, and so have those of all stacks.
                drop(unsafe { Box::from_raw(machine) });
            }
        }
    }
}
