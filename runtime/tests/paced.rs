//! Whoever collects paces himself: if his slice ends in the middle, he does not stand behind those who only
//! compute.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use runtime::gc::{
    self,
    pacer::{Facts, Pacer, Target},
};
use sched_core::park::{self, WaitReason, Waiter};

const NEVER: Target = Target { trigger: u64::MAX, goal: u64::MAX, assist: u64::MAX };

/// Who had a turn, in order.
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<Vec<&'static str>>>);

impl Turns {
    fn note(&self, who: &'static str) {
        self.0.lock().unwrap().push(who);
    }

    fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

/// A goroutine that has its turn when it is unparked. It has begun, so that it has a stack.
fn turn_of(who: &'static str, turns: &Turns) -> Waiter {
    let (turns, (tell, told)) = (turns.clone(), mpsc::channel());
    let parks = runtime::go(move || {
        tell.send(park::current()).unwrap();
        park::park(WaitReason::Park);
        turns.note(who);
    });
    drop(parks);
    loop {
        runtime::yield_now();
        if let Ok(waiter) = told.try_recv() {
            return waiter;
        }
    }
}

/// A pacer is asked by whoever collects. This one has two goroutines stand behind him, and makes him give way.
struct Interrupts {
    others: [Waiter; 2],
    turns: Turns,
}

impl Pacer for Interrupts {
    fn first(&self) -> Target {
        NEVER
    }

    fn next(&mut self, _: Facts) -> Target {
        // Who is unparked last has the next turn.
        self.others.iter().for_each(Waiter::unpark);
        let monitor = sched_core::current().expect("a goroutine collects").monitor();
        let (machine, _) = sched_core::stint().expect("a goroutine collects");
        let mut views = Vec::new();
        monitor.snapshot(&mut views);
        let own = views.iter().find(|view| view.id == machine).expect("it runs");
        assert!(monitor.request_preempt(own), "its slice goes on");
        drop(sched_core::entry::enter());
        self.turns.note("collector");
        NEVER
    }
}

/// Collects by `collect`, on the one processor, where nobody else ends slices.
fn stands_before_the_last(collect: fn()) {
    let rt = runtime::Runtime::builder();
    let rt = rt.procs(1).preempt_after(Duration::from_secs(3600)).build().unwrap();
    let turns = rt.run(|| {
        let turns = Turns::default();
        let others = ["last", "next"].map(|who| turn_of(who, &turns));
        gc::heap().set_pacer(Interrupts { others, turns: turns.clone() });
        collect();
        while turns.all().len() < 3 {
            runtime::yield_now();
        }
        turns.all()
    });
    // The timer thread may have had the next one give way to the collector.
    let turn = |who| turns.iter().position(|turn| *turn == who);
    assert!(turn("collector") < turn("last"), "{turns:?}");
}

// One test: the heap is the process's.
#[test]
fn whoever_collects_does_not_stand_behind_others() {
    stands_before_the_last(|| {
        gc::collect().expect("no guard is held");
    });
    stands_before_the_last(|| gc::heap().request());
}
