//! The verdict that all wait for ever, in every interleaving with all that two threads and a goroutine can do to
//! each other.
//!
//! loom runs the questions of `sched_lull` with two involuntary switches. To fool a verdict that reads its counts
//! in the wrong order takes five: a thread is woken behind the asker's back, readies the goroutine behind its
//! list, and that one runs between the last two readings. So here the world is small and sequentially
//! consistent, each reading of the asker is a point where anybody may take any number of steps, and the
//! verdict is the production code, run again for each path.
//!
//! What a thread does is any sequence of at most [`DEEDS`] deeds; what the goroutine does each time that it runs
//! is any, too. A verdict is wrong if anybody can take a step after it.

use std::cell::{Cell, RefCell};

use rustc_hash::FxHashSet;
use sched_core::lull::{self, Lull};

/// Deeds of a thread before it sleeps for ever.
const DEEDS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Deed {
    /// Sleeps until it is woken.
    Sleep,
    /// Wakes this thread.
    Wake(usize),
    /// Makes the goroutine ready.
    Ready,
}

/// Where a goroutine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Parked,
    Ready,
    Running,
}

/// A plain thread: a [`Sleeper`](sched_core::sleeper::Sleeper), and what it still has to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Thread {
    asleep: bool,
    permit: bool,
    wakings: u64,
    /// The waking that it has counted, and not done yet.
    wakes: Option<usize>,
    /// From the last to the next.
    deeds: Vec<Deed>,
}

/// Steps of an M that runs the goroutine once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Run {
    Sleeps,
    /// It was given the P.
    Ordered,
    Counted,
    Boarded,
    /// It has counted this waking, and will do it.
    Wakes(usize),
    Acted,
    CountedAgain,
    Left,
    Committed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    threads: [Thread; 2],
    goroutine: Phase,
    permit: bool,
    /// Whom it wakes each time that it runs, from the last to the next.
    wakes: Vec<Option<usize>>,
    machine: Run,
    runs: bool,
    idle: bool,
    switches: u64,
}

/// Who takes a step: a thread, or the M.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Actor {
    Thread(usize),
    Machine,
}

impl World {
    fn new(deeds: [&[Deed]; 2], wakes: &[Option<usize>]) -> Self {
        let thread = |deeds: &[Deed]| Thread {
            asleep: false,
            permit: false,
            wakings: 0,
            wakes: None,
            deeds: deeds.iter().rev().copied().collect(),
        };
        World {
            threads: deeds.map(thread),
            goroutine: Phase::Parked,
            permit: false,
            wakes: wakes.iter().rev().copied().collect(),
            machine: Run::Sleeps,
            runs: false,
            idle: true,
            switches: 0,
        }
    }

    /// Who can take a step. Nobody: all wait for ever.
    fn awake(&self) -> Vec<Actor> {
        let machine = (self.machine != Run::Sleeps).then_some(Actor::Machine);
        let threads = [0, 1].into_iter().filter(|&number| !self.threads[number].asleep);
        threads.map(Actor::Thread).chain(machine).collect()
    }

    fn step(&mut self, actor: Actor) {
        match actor {
            Actor::Thread(number) => self.step_of_thread(number),
            Actor::Machine => self.step_of_machine(),
        }
    }

    fn step_of_thread(&mut self, number: usize) {
        let thread = &mut self.threads[number];
        if let Some(other) = thread.wakes.take() {
            return self.leave_permit(other);
        }
        match thread.deeds.pop() {
            Some(Deed::Wake(other)) => {
                thread.wakes = Some(other);
                self.threads[other].wakings += 1;
            }
            Some(Deed::Ready) => self.ready(),
            Some(Deed::Sleep) | None => thread.asleep = !std::mem::take(&mut thread.permit),
        }
    }

    fn leave_permit(&mut self, thread: usize) {
        let thread = &mut self.threads[thread];
        thread.permit = !std::mem::take(&mut thread.asleep);
    }

    /// The M is given the P with it, as nobody else wants one.
    fn ready(&mut self) {
        if self.goroutine != Phase::Parked {
            self.permit = true;
            return;
        }
        self.goroutine = Phase::Ready;
        if self.machine == Run::Sleeps {
            self.idle = false;
            self.machine = Run::Ordered;
        }
    }

    fn step_of_machine(&mut self) {
        self.machine = match self.machine {
            Run::Sleeps => unreachable!("it is not awake"),
            Run::Ordered => {
                self.switches += 1;
                Run::Counted
            }
            Run::Counted => {
                (self.runs, self.goroutine) = (true, Phase::Running);
                Run::Boarded
            }
            Run::Boarded => match self.wakes.pop().flatten() {
                Some(thread) => {
                    self.threads[thread].wakings += 1;
                    Run::Wakes(thread)
                }
                None => Run::Acted,
            },
            Run::Wakes(thread) => {
                self.leave_permit(thread);
                Run::Acted
            }
            Run::Acted => {
                self.switches += 1;
                Run::CountedAgain
            }
            Run::CountedAgain => {
                self.runs = false;
                Run::Left
            }
            Run::Left => {
                let ready = std::mem::take(&mut self.permit);
                self.goroutine = if ready { Phase::Ready } else { Phase::Parked };
                Run::Committed
            }
            Run::Committed if self.goroutine == Phase::Ready => Run::Ordered,
            Run::Committed => {
                self.idle = true;
                Run::Sleeps
            }
        };
    }
}

/// All paths, one after the other: at each point one of several ways, the first at first.
#[derive(Default)]
struct Paths {
    /// The way taken, and how many there are.
    path: Vec<(usize, usize)>,
    at: usize,
    seen: FxHashSet<(Vec<u64>, World)>,
}

impl Paths {
    /// The way from here; `None` if somebody was here before.
    fn way(&mut self, here: impl FnOnce() -> (Vec<u64>, World), ways: usize) -> Option<usize> {
        if self.at == self.path.len() {
            if !self.seen.insert(here()) {
                return None;
            }
            self.path.push((0, ways));
        }
        self.at += 1;
        Some(self.path[self.at - 1].0)
    }

    /// On to the next path, from the beginning. False if there is none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((way, ways)) = self.path.last_mut() {
            *way += 1;
            if way < ways {
                return true;
            }
            self.path.pop();
        }
        false
    }
}

/// Who asks, and reads one word at a time.
struct Asker<'a> {
    world: RefCell<World>,
    paths: RefCell<&'a mut Paths>,
    reads: RefCell<Vec<u64>>,
    trace: RefCell<Vec<Option<Actor>>>,
    /// Somebody was here before: what follows is known.
    known: Cell<bool>,
}

impl Asker<'_> {
    fn read(&self, word: impl Fn(&World) -> u64) -> u64 {
        let mut world = self.world.borrow_mut();
        while !self.known.get() {
            let awake = world.awake();
            let here = || (self.reads.borrow().clone(), world.clone());
            let way = self.paths.borrow_mut().way(here, 1 + awake.len());
            let actor = way.and_then(|way| way.checked_sub(1)).map(|number| awake[number]);
            self.trace.borrow_mut().push(actor);
            match (way, actor) {
                (None, _) => self.known.set(true),
                (Some(_), Some(actor)) => world.step(actor),
                (Some(_), None) => break,
            }
        }
        let read = word(&world);
        self.reads.borrow_mut().push(read);
        read
    }
}

impl Lull for Asker<'_> {
    type Sleepers = ([bool; 2], u64);
    type Waiting = ();

    fn sleepers(&self) -> ([bool; 2], u64) {
        let asleep =
            [0, 1].map(|number| self.read(|world| world.threads[number].asleep.into()) != 0);
        let wakings = [0, 1].map(|number| self.read(|world| world.threads[number].wakings));
        (asleep, wakings.iter().sum())
    }

    fn switches(&self) -> u64 {
        self.read(|world| world.switches)
    }

    fn seems_asleep(&self) -> bool {
        self.read(|world| world.idle.into()) != 0 && self.read(|world| world.runs.into()) == 0
    }

    fn knows_all_threads(&self, (asleep, _): &([bool; 2], u64)) -> bool {
        *asleep == [true, true]
    }

    fn waiting(&self) -> Option<()> {
        let parked = self.read(|world| (world.goroutine == Phase::Parked).into()) != 0;
        parked.then_some(())
    }
}

/// Asks in all interleavings; returns how many states there were.
fn ask(world: &World) -> usize {
    let mut paths = Paths::default();
    loop {
        let asker = Asker {
            world: RefCell::new(world.clone()),
            paths: RefCell::new(&mut paths),
            reads: RefCell::default(),
            trace: RefCell::default(),
            known: Cell::new(false),
        };
        let verdict = lull::verdict(&asker);
        let (end, trace) = (asker.world.into_inner(), asker.trace.into_inner());
        if verdict.is_some() && !asker.known.get() {
            let awake = end.awake();
            assert!(awake.is_empty(), "{world:?}\n{awake:?} can go on after\n{trace:?}");
        }
        if !paths.next() {
            return paths.seen.len();
        }
    }
}

/// All sequences of up to `most` of `all`.
fn sequences<T: Copy>(all: &[T], most: usize) -> Vec<Vec<T>> {
    let mut found = vec![Vec::new()];
    let mut begin = 0;
    for _ in 0..most {
        let end = found.len();
        for number in begin..end {
            for &one in all {
                found.push([&found[number][..], &[one]].concat());
            }
        }
        begin = end;
    }
    found
}

/// Whoever does whatever: it is said of nobody who can go on.
#[test]
fn it_is_said_of_nobody_who_can_go_on() {
    let [first, second] = [1, 0].map(|other| {
        let all = sequences(&[Deed::Sleep, Deed::Wake(other), Deed::Ready], DEEDS);
        // After the last deed it sleeps anyway.
        all.into_iter().filter(|deeds| deeds.last() != Some(&Deed::Sleep))
    });
    let second: Vec<_> = second.collect();
    let wakes = sequences(&[None, Some(0), Some(1)], 1);
    let mut states = 0;
    for first in first {
        for second in &second {
            for wakes in &wakes {
                states += ask(&World::new([&first, second], wakes));
            }
        }
    }
    eprintln!("{states} states");
}

/// When all sleep it is said.
#[test]
fn it_is_said_when_nobody_can_go_on() {
    let mut world = World::new([&[], &[]], &[]);
    [0, 1].into_iter().for_each(|number| world.step(Actor::Thread(number)));
    let mut paths = Paths::default();
    let asker = Asker {
        world: RefCell::new(world),
        paths: RefCell::new(&mut paths),
        reads: RefCell::default(),
        trace: RefCell::default(),
        known: Cell::new(false),
    };
    assert!(lull::verdict(&asker).is_some(), "nothing will ever happen");
}
