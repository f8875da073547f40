//! Steps of the driver of a cycle, as `gc_core::cycle` numbers them, and of a worker that marks beside
//! it whenever there is something to mark.

use super::{
    Fault, Label, Step,
    state::{CELLS, Colour, Driver, Hand, Link, Phase, State},
};

pub(super) fn steps(state: &State, fault: Fault, steps: &mut Vec<Step>) {
    work(state, fault, steps);
    let taken_back = (state.driver == Driver::Wait(Hand::Two) && !state.taken_back)
        .then_some(("takes step 1 back", switch_off as Change));
    for (what, change) in drive(state, fault).into_iter().chain(taken_back) {
        let mut after = *state;
        change(&mut after, fault);
        steps.push((Label { who: "driver", what, cell: None }, after));
    }
}

type Change = fn(&mut State, Fault);

/// What the driver does next; `None` while it waits.
fn drive(state: &State, fault: Fault) -> Option<(&'static str, Change)> {
    Some(match state.driver {
        Driver::Prepare if state.unswept(false).is_some() => ("sweeps", sweep),
        Driver::Prepare if state.cycles == 0 => return None,
        Driver::Prepare => ("switches on", switch_on),
        Driver::Flip(hand) if is_left_out(hand, fault) => ("leaves a handshake out", past),
        Driver::Flip(Hand::Two) => ("flips the epoch", flip),
        Driver::Flip(_) => ("looks who is at work", look),
        Driver::Wait(_) => is_done(state).then_some(("has shaken hands", past as Change))?,
        Driver::WaitOff => is_done(state).then_some(("begins again", begin_again as Change))?,
        Driver::Roots => ("shades the root and says mark", shade_root),
        Driver::Clear => ("clears dirty", clear),
        Driver::Drain | Driver::Last if !is_drained(state) => return None,
        Driver::Drain | Driver::Last if state.overflowed && fault != Fault::OverflowIgnored => {
            ("begins a walk", walk)
        }
        Driver::Walk(_) => ("walks", step),
        Driver::Drain if state.dirty => ("goes round", again),
        Driver::Drain => ("finds nothing grey", drained),
        Driver::Last if state.dirty && fault != Fault::EmptyQueueInPlaceOfDirty => {
            ("goes round", again)
        }
        Driver::Last if is_reporting(state) && fault != Fault::ReportsNotWaitedFor => return None,
        Driver::Last => ("says off", finish),
        Driver::Open => ("opens the spans", open),
        Driver::Bury => ("empties the weak slot if its target is dead", bury),
    })
}

fn is_left_out(hand: Hand, fault: Fault) -> bool {
    match hand {
        Hand::One => matches!(fault, Fault::NoHandsBeforeRoots | Fault::NoHandOne),
        Hand::Two => matches!(fault, Fault::NoHandsBeforeRoots | Fault::OneHandBeforeRoots),
        Hand::Three => fault == Fault::NoHandBeforeOff,
        Hand::Four => fault == Fault::NoHandBeforeSweep,
    }
}

/// Whether nobody holds a guard of the old epoch, or is still at the operation it was seen at.
fn is_done(state: &State) -> bool {
    match state.driver {
        Driver::Wait(Hand::Two) | Driver::WaitOff => {
            state.mutators.iter().all(|mutator| mutator.guard != Some(state.epoch ^ 1))
        }
        _ => state.mutators.iter().all(|mutator| !mutator.seen),
    }
}

fn is_reporting(state: &State) -> bool {
    state.mutators.iter().any(|mutator| mutator.doing.is_report())
}

fn is_drained(state: &State) -> bool {
    state.grey == 0 && state.scan == 0 && state.mutators.iter().all(|mutator| mutator.log == 0)
}

fn sweep(state: &mut State, _: Fault) {
    let cell = state.unswept(false).expect("asked before");
    state.sweep(cell);
}

/// Late logs are thrown away; the barrier is on.
fn switch_on(state: &mut State, _: Fault) {
    state.mutators.iter_mut().for_each(|mutator| mutator.log = 0);
    state.word.phase = Phase::On;
    state.driver = Driver::Flip(Hand::One);
}

fn switch_off(state: &mut State, _: Fault) {
    state.word.phase = Phase::Off;
    state.taken_back = true;
    state.driver = Driver::WaitOff;
}

fn begin_again(state: &mut State, fault: Fault) {
    switch_on(state, fault);
    if fault == Fault::TakenBackAndGoneOn {
        state.driver = Driver::Roots;
    }
}

fn flip(state: &mut State, _: Fault) {
    let Driver::Flip(hand) = state.driver else { unreachable!("only a flip flips") };
    state.epoch ^= 1;
    state.driver = Driver::Wait(hand);
}

fn look(state: &mut State, fault: Fault) {
    let Driver::Flip(hand) = state.driver else { unreachable!("only a handshake looks") };
    for mutator in &mut state.mutators {
        let passed = fault == Fault::PassedBeforeTheLog && mutator.doing.is_log();
        mutator.seen = mutator.doing.is_operation() && !passed;
    }
    state.driver = Driver::Wait(hand);
}

/// Past a handshake.
fn past(state: &mut State, _: Fault) {
    let (Driver::Flip(hand) | Driver::Wait(hand)) = state.driver else {
        unreachable!("only handshakes are passed")
    };
    state.driver = match hand {
        Hand::One => Driver::Flip(Hand::Two),
        Hand::Two => Driver::Roots,
        Hand::Three => Driver::Last,
        Hand::Four => {
            state.permitted = true;
            state.taken_back = false;
            state.cycles -= 1;
            Driver::Prepare
        }
    };
}

fn shade_root(state: &mut State, _: Fault) {
    state.grey |= bit(state.root);
    state.word.phase = Phase::Mark;
    state.driver = Driver::Clear;
}

fn clear(state: &mut State, _: Fault) {
    state.dirty = false;
    state.driver = Driver::Drain;
}

fn again(state: &mut State, _: Fault) {
    state.driver = Driver::Clear;
}

fn walk(state: &mut State, fault: Fault) {
    state.overflowed = fault == Fault::OverflowForgottenAfterTheWalk;
    state.dirty = true;
    state.driver = Driver::Walk(0);
}

/// A marked cell is to be looked into again.
fn step(state: &mut State, fault: Fault) {
    let Driver::Walk(cell) = state.driver else { unreachable!("only a walk walks") };
    if state.span(cell).colour == Colour::Marked {
        state.scan |= 1 << cell;
    }
    let last = usize::from(cell) == CELLS - 1;
    state.overflowed &= !(last && fault == Fault::OverflowForgottenAfterTheWalk);
    state.driver = if last { Driver::Drain } else { Driver::Walk(cell + 1) };
}

fn drained(state: &mut State, _: Fault) {
    state.driver = Driver::Flip(Hand::Three);
}

/// The first half of step 7.
fn finish(state: &mut State, _: Fault) {
    state.word.phase = Phase::Off;
    state.word.cycle += 1;
    state.reported = 0;
    state.driver = Driver::Open;
}

/// The second half of step 7.
fn open(state: &mut State, _: Fault) {
    state.opened = state.word.cycle;
    state.permitted = false;
    state.driver = Driver::Bury;
}

fn bury(state: &mut State, _: Fault) {
    let cycle = state.word.cycle;
    state.weak = state.weak.filter(|&cell| state.survives(cell, cycle));
    state.buried = cycle;
    state.driver = Driver::Flip(Hand::Four);
}

/// The worker: drains a log, marks a grey cell, then looks into it. It may work during the third
/// handshake, too.
fn work(state: &State, fault: Fault, steps: &mut Vec<Step>) {
    if state.word.phase != Phase::Mark {
        return;
    }
    for (who, mutator) in state.mutators.iter().enumerate() {
        if mutator.log != 0 {
            let mut after = *state;
            let cells = std::mem::take(&mut after.mutators[who].log);
            shade("drains the log of mutator", who as u8, after, cells, fault, steps);
        }
    }
    if state.scan != 0 {
        let cell = state.scan.trailing_zeros() as u8;
        let mut after = *state;
        after.scan &= !(1 << cell);
        if state.is_locked(cell) {
            return steps.push((label("turns away from the lock of", cell), after));
        }
        return shade("looks into", cell, after, bit(after.span(cell).edge), fault, steps);
    }
    for cell in (0..CELLS as u8).filter(|cell| state.grey & 1 << cell != 0) {
        steps.push((label("marks", cell), marked(state, cell)));
    }
    if state.scarce {
        // What was on the stack has no place there any more.
        for cell in (0..CELLS as u8).filter(|cell| state.grey & 1 << cell != 0) {
            let after = State { grey: state.grey & !(1 << cell), ..*state };
            steps.push((label("has no room for", cell), spilt(after, 1 << cell, fault)));
        }
    }
}

fn bit(cell: Link) -> u8 {
    cell.map_or(0, |cell| 1 << cell)
}

/// The worker puts cells on its stack, or has no room for them.
fn shade(
    what: &'static str,
    cell: u8,
    after: State,
    cells: u8,
    fault: Fault,
    steps: &mut Vec<Step>,
) {
    steps.push((label(what, cell), State { grey: after.grey | cells, ..after }));
    if after.scarce && cells != 0 {
        steps.push((label("has no room, and", cell), spilt(after, cells, fault)));
    }
}

/// Cells for which there is no room are marked at once, and looked into by whoever walks.
fn spilt(mut after: State, cells: u8, fault: Fault) -> State {
    for cell in (0..CELLS as u8).filter(|cell| cells & 1 << cell != 0) {
        if after.span(cell).colour == Colour::White {
            if fault != Fault::OverflowUnmarked {
                after.span_mut(cell).colour = Colour::Marked;
            }
            after.dirty = true;
            after.overflowed = true;
        }
    }
    after
}

fn label(what: &'static str, cell: u8) -> Label {
    Label { who: "worker", what, cell: Some(cell) }
}

/// Turns a cell from white to marked, which sets dirty; a marked one is only taken off the list.
fn marked(state: &State, cell: u8) -> State {
    let mut after = *state;
    after.grey &= !(1 << cell);
    if after.span(cell).colour == Colour::White {
        after.span_mut(cell).colour = Colour::Marked;
        after.scan |= 1 << cell;
        after.dirty = true;
    }
    after
}
