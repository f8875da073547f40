//! Who brings a span to a central, or frees a cell of one there, beside a scavenger that goes over the lists: what the
//! scavenger has not met, somebody is told of afterwards.
//!
//! Cells stand for the machine's pages: each is one, and a hole once the scavenger has met it free.
#![cfg(loom)]

use alloc_core::handover::Lists;
use loom::{sync::Arc, thread};
use loom_tests::{model, span::Span};

const CELLS: usize = 3;
const OWNER: usize = 1;

/// A span whose cells are live, and its central.
struct World {
    central: Lists,
    span: Span<CELLS>,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(World { central: Lists::new(0), span: Span::new(0, OWNER) })
    }

    /// A world whose span is nobody's, full, and that the scavenger has seen to.
    fn full() -> Arc<Self> {
        let world = Self::new();
        world.disown();
        world.step();
        world
    }

    /// A world whose span is listed, with one free cell, which is a hole already.
    fn listed() -> Arc<Self> {
        let world = Self::full();
        world.free(0);
        assert_eq!(world.step(), 1);
        world
    }

    fn free(&self, cell: usize) {
        assert!(self.central.free(*self.span, cell).is_none(), "a cell is live");
    }

    fn disown(&self) {
        assert!(self.central.disown(*self.span, OWNER).is_none(), "a cell is live");
    }

    /// What a step of the scavenger does; returns how many holes it made.
    fn step(&self) -> usize {
        self.central.look(|| {
            let mut holes = 0;
            self.central.begin_walk();
            while let Some(span) = self.central.next_quiet() {
                holes += span.discard(|_| ());
                assert!(self.central.shelve(span).is_none(), "a cell is live");
            }
            holes
        })
    }
}

/// `change` gives the scavenger one hole to make, who looks meanwhile.
fn met_or_told(name: &str, world: fn() -> Arc<World>, change: fn(&World)) {
    model(name, 3, move || {
        let world = world();
        assert!(!world.central.is_stirred(), "nothing came since the last look");
        let scavenger = {
            let world = world.clone();
            thread::spawn(move || world.step())
        };
        change(&world);
        let met = scavenger.join().unwrap();
        assert!(met == 1 || world.central.is_stirred(), "it would stay for ever");
    });
}

#[test]
fn the_first_free_into_a_full_span_is_met_or_told() {
    met_or_told("stirred, full", World::full, |world| world.free(1));
}

#[test]
fn a_free_into_a_listed_span_is_met_or_told() {
    met_or_told("stirred, listed", World::listed, |world| world.free(1));
}

#[test]
fn a_span_that_its_cache_gives_up_is_met_or_told() {
    let world = || {
        let world = World::new();
        world.free(0);
        world.step();
        world.span.collect();
        world
    };
    met_or_told("stirred, given up", world, World::disown);
}

#[test]
fn who_finds_that_another_has_told_is_met_as_well() {
    model("stirred, two", 2, || {
        let world = World::full();
        let others = [0, 1].map(|cell| {
            let world = world.clone();
            thread::spawn(move || world.free(cell))
        });
        let met = world.step();
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(met == 2 || world.central.is_stirred(), "one would stay for ever");
    });
}
