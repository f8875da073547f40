//! The run itself: events in the order of their time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{
    Costs, Machine, Report,
    job::{JobId, Program, Ref, Step, View},
};
use crate::{
    idle::{Idle, Release, Spinning, Wake},
    policy::{
        Cause, Moment, Policy, Slice,
        board::{Board, Play},
    },
};

/// Runs `programs` to their end.
pub(super) fn run<P: Policy>(machine: &Machine, policy: &P, programs: Vec<Program>) -> Report {
    let board = Board::<P::Queues<Ref>, Ref>::new(policy.queues(), machine.procs);
    let mut world = World::new(*machine, &board);
    for program in programs {
        world.spawn(None, program);
    }
    while let Some(Reverse((now, _, event))) = world.events.pop() {
        world.now = now;
        world.happen(event);
    }
    world.end()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The P goes on; stale if its number of turns is another one by now.
    Go(usize, u64),
    /// A sleeper's time has come.
    Ring(JobId),
    /// Somebody urgent may still wait.
    LookAgain,
}

/// A P.
#[derive(Default)]
struct Proc {
    running: Option<Ref>,
    spinning: Option<Spinning>,
    /// When the present computing began; `None`: it is between two steps.
    computes: Option<u64>,
    slice: u64,
    tick: u32,
    turns: u64,
    idle_since: Option<u64>,
}

/// A lock of the shared part.
#[derive(Clone, Copy, Default)]
struct Lock {
    taken: u64,
    free: u64,
    last: Option<usize>,
}

struct World<'a> {
    machine: Machine,
    board: &'a dyn Play<Ref>,
    idle: Idle,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
    procs: Vec<Proc>,
    locks: Vec<Lock>,
    /// Those that wait, with the number of tokens that they wait for.
    waiting: Vec<Option<(Ref, u32)>>,
    tokens: Vec<u32>,
    random: u64,
    looks: bool,
    report: Report,
}

impl<'a> World<'a> {
    fn new(machine: Machine, board: &'a dyn Play<Ref>) -> Self {
        let idle = Idle::new(machine.procs, machine.procs);
        for proc in 0..machine.procs {
            board.add_proc();
            let quiet = idle.release(proc, None, || false);
            debug_assert_eq!(quiet, Release::Idle);
        }
        let idle_proc = || Proc { idle_since: Some(0), ..Proc::default() };
        World {
            machine,
            board,
            idle,
            now: 0,
            events: BinaryHeap::new(),
            sequence: 0,
            procs: (0..machine.procs).map(|_| idle_proc()).collect(),
            locks: Vec::new(),
            waiting: Vec::new(),
            tokens: Vec::new(),
            random: machine.seed | 1,
            looks: false,
            report: Report { procs: machine.procs, ..Report::default() },
        }
    }

    fn costs(&self) -> Costs {
        self.machine.costs
    }

    fn random(&mut self) -> u64 {
        // Marsaglia's xorshift, 2003.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    /// Lets the P go on at `time`; whatever was planned for it is off.
    fn plan(&mut self, proc: usize, time: u64) {
        self.procs[proc].turns += 1;
        self.at(time, Event::Go(proc, self.procs[proc].turns));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Go(proc, turns) if self.procs[proc].turns == turns => self.go(proc),
            Event::Go(..) => {}
            Event::Ring(id) => {
                let (job, _) = self.waiting[id].take().expect("a sleeper sleeps until it is rung");
                self.put(None, job, Cause::Woken);
                self.make_room();
            }
            Event::LookAgain => {
                self.looks = false;
                self.make_room();
            }
        }
    }

    fn moment(&self, proc: Option<usize>) -> Moment {
        let tick = proc.map_or(0, |proc| self.procs[proc].tick);
        Moment::simulated(self.machine.procs, tick, self.now)
    }

    /// Charges for the locks that were taken since the last call; when `proc` goes on.
    fn charge(&mut self, proc: Option<usize>) -> u64 {
        let (costs, mut time, mut index) = (self.costs(), self.now, 0);
        let locks = &mut self.locks;
        let waited = &mut self.report.locked;
        self.board.traffic(&mut |taken| {
            if locks.len() <= index {
                locks.push(Lock::default());
            }
            let lock = &mut locks[index];
            for _ in lock.taken..taken {
                let begin = time.max(lock.free);
                *waited += begin - time;
                let moved = if lock.last == proc { 0 } else { costs.transfer };
                time = begin + moved + costs.lock;
                (lock.free, lock.last) = (time, proc);
            }
            lock.taken = taken;
            index += 1;
        });
        time
    }

    /// Queues a job, and sees to it that somebody looks for it. When the caller goes on.
    fn put(&mut self, proc: Option<usize>, mut job: Ref, cause: Cause) -> u64 {
        job.0.ready = self.now;
        let place = proc.map(|proc| self.board.place(proc));
        // SAFETY: all Ps are this thread's.
        unsafe { self.board.put(place, &self.moment(proc), job, cause.into()) };
        let time = self.charge(proc);
        let woke = self.idle.notify();
        self.wake(woke, time)
    }

    /// Has an M hold a P. When the caller goes on, who began at `time`.
    fn wake(&mut self, wake: Option<Wake>, time: u64) -> u64 {
        let Some(wake) = wake else { return time };
        self.report.wakes += 1;
        self.procs[wake.proc].spinning = Some(wake.spinning);
        self.plan(wake.proc, time + self.costs().wake);
        time + self.costs().wake_call
    }

    fn spawn(&mut self, proc: Option<usize>, program: Program) -> (JobId, u64) {
        let id = self.tokens.len();
        self.tokens.push(0);
        self.waiting.push(None);
        self.report.jobs += 1;
        (id, self.put(proc, Ref::new(id, program), Cause::Spawned))
    }

    /// The P goes on: with its job, or with a search for one.
    fn go(&mut self, proc: usize) {
        if let Some(since) = self.procs[proc].idle_since.take() {
            self.report.idle += self.now - since;
        }
        match self.procs[proc].running.take() {
            Some(job) => self.go_on(proc, job),
            None => self.search(proc),
        }
    }

    /// The job has computed for a while, or begins.
    fn go_on(&mut self, proc: usize, mut job: Ref) {
        if let Some(begun) = self.procs[proc].computes.take() {
            let done = self.now - begun;
            job.0.rest = job.0.rest.saturating_sub(done);
            self.report.computed += done;
            self.report.waits.entry(job.0.program.kind).or_default().computed += done;
        }
        if job.0.rest == 0 {
            return self.step(proc, job);
        }
        if self.slice_left(proc) == 0 {
            if !self.board.all_empty() {
                self.report.preemptions += 1;
                // SAFETY: all Ps are this thread's.
                unsafe { self.board.expect_urgent(self.board.place(proc)) };
                let time = self.put(Some(proc), job, Cause::Preempted);
                return self.plan(proc, time + self.costs().preempt);
            }
            self.begin_slice(proc);
        }
        self.compute(proc, job);
    }

    fn slice_left(&self, proc: usize) -> u64 {
        (self.procs[proc].slice + self.costs().slice).saturating_sub(self.now)
    }

    fn begin_slice(&mut self, proc: usize) {
        self.procs[proc].slice = self.now;
        self.procs[proc].tick = self.procs[proc].tick.wrapping_add(1);
    }

    fn compute(&mut self, proc: usize, job: Ref) {
        let span = job.0.rest.min(self.slice_left(proc).max(1));
        self.procs[proc].computes = Some(self.now);
        self.procs[proc].running = Some(job);
        self.plan(proc, self.now + span);
    }

    /// Asks the job what it does next.
    fn step(&mut self, proc: usize, mut job: Ref) {
        let random = self.random();
        let view = View { me: job.0.id, child: job.0.child, now: self.now, random };
        let switch = self.costs().switch;
        match (job.0.program.next)(view) {
            Step::Compute(nanos) => {
                job.0.rest = nanos;
                self.go_on(proc, job);
            }
            Step::Spawn(program) => {
                let (child, time) = self.spawn(Some(proc), program);
                job.0.child = child;
                self.procs[proc].running = Some(job);
                self.plan(proc, time);
            }
            Step::Signal(id) => {
                let time = self.signal(proc, id);
                self.procs[proc].running = Some(job);
                self.plan(proc, time);
            }
            Step::Await(count) if self.tokens[job.0.id] >= count => {
                self.tokens[job.0.id] -= count;
                self.procs[proc].running = Some(job);
                self.plan(proc, self.now);
            }
            Step::Await(count) => {
                let id = job.0.id;
                self.waiting[id] = Some((job, count));
                self.plan(proc, self.now + switch);
            }
            Step::Sleep(nanos) => {
                let id = job.0.id;
                self.waiting[id] = Some((job, u32::MAX));
                self.at(self.now + nanos, Event::Ring(id));
                self.plan(proc, self.now + switch);
            }
            Step::Yield => {
                let time = self.put(Some(proc), job, Cause::Yielded);
                self.plan(proc, time + switch);
            }
            Step::End => {
                let kind = self.report.waits.entry(job.0.program.kind).or_default();
                kind.ended = self.now;
                self.report.makespan = self.now;
                self.plan(proc, self.now + switch);
            }
        }
    }

    fn signal(&mut self, proc: usize, id: JobId) -> u64 {
        self.tokens[id] += 1;
        match self.waiting[id].take() {
            Some((job, count)) if self.tokens[id] >= count => {
                self.tokens[id] -= count;
                self.put(Some(proc), job, Cause::Unparked)
            }
            other => {
                self.waiting[id] = other;
                self.now
            }
        }
    }

    /// The P has nothing to run: looks at hand, then at others, then gives itself up.
    fn search(&mut self, proc: usize) {
        let (place, moment) = (self.board.place(proc), self.moment(Some(proc)));
        // SAFETY: all Ps are this thread's.
        if let Some((job, slice)) = unsafe { self.board.pick(place, &moment) } {
            if slice == Slice::Fresh {
                self.begin_slice(proc);
            }
            let time = self.charge(Some(proc));
            return self.found(proc, job, time);
        }
        let spinning = self.procs[proc].spinning.take();
        if let Some(spinning) = spinning.or_else(|| self.idle.try_spin(self.machine.procs)) {
            self.procs[proc].spinning = Some(spinning);
            if let Some(job) = self.steal(proc) {
                self.report.steals += 1;
                self.begin_slice(proc);
                let time = self.charge(Some(proc)) + self.costs().look;
                return self.found(proc, job, time);
            }
        }
        let spinning = self.procs[proc].spinning.take();
        // Whoever spun has looked at all others.
        let looked =
            if spinning.is_some() { self.costs().look * self.procs.len() as u64 } else { 0 };
        let time = self.charge(Some(proc)) + looked;
        self.procs[proc].idle_since = Some(self.now);
        match self.idle.release(proc, spinning, || !self.board.all_empty()) {
            Release::Idle => {}
            // Perhaps another P than the one that was offered.
            Release::Search { proc, spinning } => {
                self.procs[proc].spinning = Some(spinning);
                self.plan(proc, time.max(self.now + 1));
            }
        }
    }

    fn steal(&mut self, proc: usize) -> Option<Ref> {
        let (place, moment) = (self.board.place(proc), self.moment(Some(proc)));
        [false, true].into_iter().find_map(|last| {
            let random = self.random() as u32;
            // SAFETY: all Ps are this thread's.
            unsafe { self.board.steal(place, &moment, random, last) }
        })
    }

    /// The P runs `job` from `time` on.
    fn found(&mut self, proc: usize, job: Ref, time: u64) {
        let mut time = time;
        if let Some(spinning) = self.procs[proc].spinning.take() {
            let next = self.idle.found(spinning);
            time = self.wake(next, time);
        }
        let wait = time - job.0.ready;
        self.report.waits.entry(job.0.program.kind).or_default().note(wait);
        self.procs[proc].running = Some(job);
        self.plan(proc, time);
    }

    /// If an urgent job waits and no P is idle, the oldest slice ends.
    fn make_room(&mut self) {
        let busy = self.idle.idle_procs() + self.idle.spinning() == 0;
        if !busy || !self.board.has_urgent(&self.moment(None)) {
            return;
        }
        let costs = self.costs();
        let computing = (0..self.procs.len()).filter(|&proc| self.procs[proc].computes.is_some());
        let oldest = computing.min_by_key(|&proc| self.procs[proc].slice);
        if let Some(proc) = oldest.filter(|&p| self.procs[p].slice + costs.protected <= self.now) {
            // Its slice is over: it sees so when it goes on.
            self.procs[proc].slice = self.now.saturating_sub(costs.slice);
            self.plan(proc, self.now);
        }
        if !core::mem::replace(&mut self.looks, true) {
            self.at(self.now + costs.protected, Event::LookAgain);
        }
    }

    fn end(mut self) -> Report {
        let left = self.waiting.iter().flatten().count() + self.board.len();
        let running = self.procs.iter().filter(|proc| proc.running.is_some()).count();
        assert_eq!(
            (left, running),
            (0, 0),
            "goroutines are left: in queues, or waiting for each other"
        );
        let makespan = self.report.makespan;
        for proc in &self.procs {
            self.report.idle += makespan.saturating_sub(proc.idle_since.unwrap_or(makespan));
        }
        self.report.waits.values_mut().for_each(super::Kind::sort);
        self.report
    }
}
