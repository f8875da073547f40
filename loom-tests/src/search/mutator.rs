//! Steps of a mutator: what `gc_core::engine` does between two points where another may come between.
//!
//! A guard is entered in one step: that this is so is the handshake's own model (`gc_handshake`).

use super::{
    Fault, Label, Step,
    state::{Colour, Doing, Link, Mutator, Phase, Place, Reading, State},
};

/// A mutator of a state, about to step.
struct Turn<'a> {
    state: &'a State,
    who: usize,
    fault: Fault,
    steps: &'a mut Vec<Step>,
}

pub(super) fn steps(state: &State, fault: Fault, steps: &mut Vec<Step>) {
    for who in 0..state.mutators.len() {
        Turn { state, who, fault, steps }.step();
    }
}

impl Turn<'_> {
    fn me(&self) -> &Mutator {
        &self.state.mutators[self.who]
    }

    fn add(&mut self, what: &'static str, cell: Link, change: impl FnOnce(&mut State, usize)) {
        let mut after = *self.state;
        change(&mut after, self.who);
        after.mutators[self.who].settle();
        let who = ["mutator 0", "mutator 1"][self.who];
        self.steps.push((Label { who, what, cell }, after));
    }

    /// As `add`, for what begins an operation.
    fn begin(&mut self, what: &'static str, cell: Link, change: impl FnOnce(&mut Mutator)) {
        self.add(what, cell, |after, who| {
            after.mutators[who].left -= 1;
            change(&mut after.mutators[who]);
        });
    }

    fn step(&mut self) {
        match self.me().doing {
            Doing::Nothing if self.me().guard.is_none() => self.enter(),
            Doing::Nothing => self.operate(),
            Doing::Announced { place, new } => self.read_to_store(place, new),
            Doing::Storing { reading, place, new } => self.exchange(reading, place, new),
            Doing::Logging { reading, old } => self.log(reading, old),
            Doing::Taking { reading, hand } => self.take(reading, hand),
            Doing::Colouring { reading, cell } => self.colour(reading, cell),
            Doing::Upgrading { reading, hand } => self.upgrade(reading, hand),
            Doing::Keeping { hand } => self.keep(hand),
            Doing::Marking { cell } => self.mark(cell),
            Doing::Telling => self.tell(),
            doing => self.lock(doing),
        }
    }

    fn enter(&mut self) {
        if self.me().left > 0 {
            let epoch = self.state.epoch;
            self.add("enters", None, |after, who| after.mutators[who].guard = Some(epoch));
        }
    }

    fn operate(&mut self) {
        self.add("leaves", None, |after, who| {
            let me = &mut after.mutators[who];
            (me.guard, me.hands) = (None, [None; 2]);
        });
        if self.me().left == 0 {
            return;
        }
        for hand in 0..2 {
            self.load(hand);
            self.store(hand);
            let doing = Doing::Taking { reading: self.state.word, hand: hand as u8 };
            self.begin("reads the phase, to allocate", None, |me| me.doing = doing);
        }
        self.begin_store(Place::Root, None);
        if self.state.weak.is_some() {
            let doing = Doing::Upgrading { reading: self.state.word, hand: 0 };
            self.begin("reads the phase, to upgrade", None, |me| me.doing = doing);
        }
    }

    /// Loads into a hand: the root, or the edge of what the other hand holds.
    fn load(&mut self, hand: usize) {
        let root = self.state.root;
        self.begin("loads the root:", root, |me| me.hands[hand] = root);
        if let Some(cell) = self.me().hands[1 - hand].filter(|&cell| !self.state.is_locked(cell)) {
            let edge = self.state.span(cell).edge;
            self.begin("loads an edge:", edge, |me| me.hands[hand] = edge);
        }
    }

    /// Stores what a hand holds: into the root, or into what the other hand holds; or clears that.
    fn store(&mut self, hand: usize) {
        let [mine, other] = [self.me().hands[hand], self.me().hands[1 - hand]];
        if mine.is_some() {
            self.begin_store(Place::Root, mine);
        }
        if let Some(cell) = other {
            self.begin_store(Place::Edge(cell), mine);
        }
    }

    fn begin_store(&mut self, place: Place, new: Link) {
        if let (true, Place::Edge(cell)) = (self.state.locks, place) {
            if !self.state.is_locked(cell) {
                let doing = Doing::Locking { cell, new };
                self.begin("takes the lock of", Some(cell), |me| me.doing = doing);
            }
            return;
        }
        if self.state.hybrid {
            let on = self.state.word.phase != Phase::Off;
            let logged = new.filter(|&cell| on && self.state.span(cell).colour != Colour::Marked);
            return self.begin("has logged what it will store:", logged, |me| {
                me.log |= logged.map_or(0, |cell| 1 << cell);
                me.doing = Doing::Announced { place, new };
            });
        }
        let doing = Doing::Storing { reading: self.state.word, place, new };
        self.begin("reads the phase, to store", new, |me| me.doing = doing);
    }

    fn read_to_store(&mut self, place: Place, new: Link) {
        let doing = Doing::Storing { reading: self.state.word, place, new };
        self.add("reads the phase, to store", new, |after, who| after.mutators[who].doing = doing);
    }

    fn exchange(&mut self, reading: Reading, place: Place, new: Link) {
        let what = match (place, new) {
            (Place::Root, None) => "clears the root",
            (Place::Root, _) => "stores in the root",
            (Place::Edge(_), None) => "clears an edge",
            (Place::Edge(_), _) => "stores in an edge",
        };
        let passed = self.fault == Fault::PassedBeforeTheLog;
        self.add(what, new, |after, who| {
            let old = after.swap(place, new);
            let me = &mut after.mutators[who];
            me.doing = Doing::Logging { reading, old };
            me.seen &= !passed;
        });
    }

    fn log(&mut self, reading: Reading, old: Link) {
        let white = old.filter(|&cell| self.state.span(cell).colour != Colour::Marked);
        let logged =
            white.filter(|_| reading.phase != Phase::Off && self.fault != Fault::NoDeletionLog);
        self.add("has seen to the log", logged, |after, who| {
            let me = &mut after.mutators[who];
            me.log |= logged.map_or(0, |cell| 1 << cell);
            me.doing = Doing::Nothing;
        });
        self.do_without(logged);
    }

    /// There is no room in the log. Unless marking is over, it does not end now.
    fn do_without(&mut self, logged: Link) {
        let Some(cell) = logged.filter(|_| self.state.scarce) else { return };
        let over = self.state.word.phase == Phase::Off;
        let dirties = !over && self.fault != Fault::MarkedByReading;
        self.add("has no room to log", logged, |after, who| {
            after.dirty |= dirties;
            let doing = if over { Doing::Nothing } else { Doing::Marking { cell } };
            after.mutators[who].doing = doing;
        });
    }

    fn mark(&mut self, cell: u8) {
        self.add("marks", Some(cell), |after, who| {
            let white = after.span(cell).colour != Colour::Marked;
            after.span_mut(cell).colour = Colour::Marked;
            after.mutators[who].doing = if white { Doing::Telling } else { Doing::Nothing };
        });
    }

    fn tell(&mut self) {
        let tells = self.fault != Fault::MarkedUntold;
        self.add("tells the driver", None, |after, who| {
            after.dirty = true;
            after.overflowed |= tells;
            after.mutators[who].doing = Doing::Nothing;
        });
    }

    /// Takes a free cell for the reading's cycle, or sweeps a span first.
    fn take(&mut self, reading: Reading, hand: u8) {
        let free = self.state.spans.iter().position(|span| span.colour == Colour::Free);
        if let Some(cell) = free.map(|cell| cell as u8) {
            self.add("takes", Some(cell), |after, who| {
                let span = after.span_mut(cell);
                (span.colour, span.edge, span.stamp) = (Colour::White, None, reading.cycle);
                let me = &mut after.mutators[who];
                me.hands[usize::from(hand)] = Some(cell);
                me.doing = Doing::Colouring { reading, cell };
            });
        } else {
            self.add("finds no cell", None, |after, who| {
                after.mutators[who].doing = Doing::Nothing
            });
        }
        if self.state.permitted && reading.cycle == self.state.opened {
            let newer = self.fault == Fault::SweepsTheCycleToCome;
            if let Some(cell) = self.state.unswept(newer) {
                self.add("sweeps", Some(cell), |after, _| after.sweep(cell));
            }
        }
    }

    fn is_waited_for(&self) -> bool {
        self.me().guard != Some(self.state.epoch)
    }

    fn colour(&mut self, reading: Reading, cell: u8) {
        let phase = match self.fault {
            Fault::AllocateWhite => Phase::Off,
            Fault::TwoReadings => self.state.word.phase,
            Fault::BlackBeforeMark if reading.phase == Phase::On => Phase::Mark,
            // Hand 2 waits for this guard, so nothing that it makes needs more than the snapshot.
            _ if reading.phase == Phase::On && self.is_waited_for() => Phase::Off,
            _ => reading.phase,
        };
        let what = match phase {
            Phase::Off => "leaves white",
            Phase::On => "makes grey",
            Phase::Mark => "makes black",
        };
        self.add(what, Some(cell), |after, who| {
            match phase {
                Phase::Off => {}
                Phase::On => after.mutators[who].log |= 1 << cell,
                Phase::Mark => after.span_mut(cell).colour = Colour::Marked,
            }
            after.mutators[who].doing = Doing::Nothing;
        });
    }

    /// From the lock taken to the lock left.
    fn lock(&mut self, doing: Doing) {
        match doing {
            Doing::Locking { cell, new } => self.read_under_lock(cell, new),
            Doing::Reporting { marking, cell, new } => {
                let edge = self.state.span(cell).edge;
                let white = edge.filter(|&edge| self.state.span(edge).colour != Colour::Marked);
                self.add("logs the interior:", white, |after, who| {
                    let me = &mut after.mutators[who];
                    me.log |= white.map_or(0, |cell| 1 << cell);
                    me.doing = Doing::Reported { marking, cell, new };
                });
            }
            Doing::Reported { marking, cell, new } => {
                self.add("has reported the interior of", Some(cell), |after, who| {
                    after.dirty = true;
                    after.reported |= u8::from(marking) << cell;
                    after.mutators[who].doing = Doing::Holding { cell, new };
                });
            }
            Doing::Holding { cell, new } => {
                self.add("stores under the lock:", new, |after, who| {
                    after.span_mut(cell).edge = new;
                    after.mutators[who].doing = Doing::Leaving { cell };
                });
            }
            Doing::Leaving { cell } => {
                self.add("leaves the lock of", Some(cell), |after, who| {
                    after.mutators[who].doing = Doing::Nothing;
                });
            }
            _ => unreachable!("who is at something else holds no lock"),
        }
    }

    /// The end of the operation that has taken a lock.
    fn read_under_lock(&mut self, cell: u8, new: Link) {
        let Reading { phase, .. } = self.state.word;
        let once = self.fault == Fault::LockReportedOnce;
        let marking = phase == Phase::Mark || once;
        let done = marking && self.state.reported & 1 << cell != 0;
        let doing = match phase {
            Phase::Off => Doing::Holding { cell, new },
            _ if done => Doing::Holding { cell, new },
            _ => Doing::Reporting { marking, cell, new },
        };
        self.add("reads the phase, with the lock of", Some(cell), |after, who| {
            after.mutators[who].doing = doing;
        });
    }

    fn upgrade(&mut self, reading: Reading, hand: u8) {
        let found = self.state.weak;
        let alive = found.filter(|&cell| match reading.phase {
            Phase::Off if self.state.buried == reading.cycle => true,
            Phase::Off => self.state.survives(cell, reading.cycle),
            Phase::On => true,
            Phase::Mark if self.state.span(cell).colour == Colour::Marked => true,
            Phase::Mark if self.fault == Fault::UpgradeByReading => true,
            Phase::Mark => self.state.word.phase == Phase::Mark,
        });
        let white = alive.is_some_and(|cell| self.state.span(cell).colour != Colour::Marked);
        let keeps = reading.phase != Phase::Off && white;
        let dirties =
            keeps && reading.phase == Phase::Mark && self.fault != Fault::UpgradeByReading;
        self.add("upgrades:", alive, |after, who| {
            after.dirty |= dirties;
            let me = &mut after.mutators[who];
            me.hands[usize::from(hand)] = alive;
            me.doing = if keeps { Doing::Keeping { hand } } else { Doing::Nothing };
        });
    }

    fn keep(&mut self, hand: u8) {
        let kept = self.me().hands[usize::from(hand)];
        let logged = kept.filter(|_| self.fault != Fault::UpgradeUnlogged);
        self.add("logs what it upgraded:", logged, |after, who| {
            let me = &mut after.mutators[who];
            me.log |= logged.map_or(0, |cell| 1 << cell);
            me.doing = Doing::Nothing;
        });
        self.do_without(logged);
    }
}
