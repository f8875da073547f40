//! Whoever would move a goroutine, give its P away, or free the queues that it uses, inside of the runtime is stopped:
//! in a policy that is asked for the next goroutine on the stack of one that gives way, and under an `Entered` of the
//! goroutine's own. And so is whoever leaves the runtime under frames that are still inside.

mod common;
#[path = "common/meddler.rs"]
mod meddler;

use std::{
    cell::Cell,
    env,
    mem::ManuallyDrop,
    os::unix::process::ExitStatusExt,
    process::Command,
    sync::{Arc, OnceLock},
};

use common::{MODES, scheduler, with};
use meddler::{Meddle, Meddler};
use sched_core::{
    Config, Scheduler, blocking, current,
    entry::{Entered, enter},
    lock_os_thread,
    park::{self, WaitReason},
    policy::{Chosen, Gmp},
    tls::{Words, with_words},
    yield_now,
};

/// What nobody may do in there, and how the process says so.
const DEEDS: [(fn(), &str); 5] = [
    (|| park::park(WaitReason::Park), "a goroutine waits inside the runtime"),
    (yield_now, "a goroutine gives way inside the runtime"),
    (|| blocking(|| ()), "somebody gives a P away inside the runtime"),
    (|| drop(lock_os_thread()), "a goroutine locks or unlocks its thread inside the runtime"),
    (change_the_policy, "somebody changes the policy inside the runtime"),
];

fn change_the_policy() {
    current().expect("on a goroutine").set_policy(&Chosen::new(Gmp));
}

/// Set in a child that is to abort: the deed's number and the mode.
const CHILD: &str = "SCHED_TEST_CHILD";

#[test]
fn a_policy_that_would_move_its_caller_ends_the_process() {
    let test = "a_policy_that_would_move_its_caller_ends_the_process";
    each_aborts(test, &DEEDS.map(|(_, says)| says), |number, mode| {
        runs(mode, move |wishes, _| {
            wishes.pick(DEEDS[number].0);
            yield_now();
        });
    });
}

#[test]
fn whoever_has_entered_and_would_move_ends_the_process() {
    let test = "whoever_has_entered_and_would_move_ends_the_process";
    each_aborts(test, &DEEDS.map(|(_, says)| says), |number, mode| {
        let enters = move || {
            let _entered = enter();
            DEEDS[number].0();
        };
        scheduler(1, mode).spawn(enters).expect("it is open").join().expect("no panic");
    });
}

thread_local! {
    /// An entry of this goroutine's, or of whatever ran on its stack.
    static KEPT: Cell<Option<ManuallyDrop<Entered<'static>>>> = const { Cell::new(None) };
}

fn keep() {
    if with_words(Words::goroutine).is_null() {
        return;
    }
    KEPT.set(Some(ManuallyDrop::new(enter())));
}

fn drop_what_is_kept() {
    KEPT.take().into_iter().for_each(|kept| drop(ManuallyDrop::into_inner(kept)));
}

/// Ways to leave the runtime out of turn, on a goroutine of a scheduler with a policy that does what is wished for.
const OUT_OF_TURN: [fn(&Wishes, &Scheduler); 4] = [
    |_, _| {
        let (first, _last) = (enter(), enter());
        drop(first);
    },
    // Under frames of ours that hold the P.
    |wishes, scheduler| {
        keep();
        wishes.put(drop_what_is_kept);
        drop(scheduler.spawn(|| ()));
    },
    // Ours ends first.
    |wishes, _| {
        wishes.pick(keep);
        yield_now();
    },
    // On the stack of another one, which is about to begin.
    |wishes, scheduler| {
        drop(scheduler.spawn(|| ()));
        wishes.put(keep);
        // It may have to wait for a stack.
        loop {
            yield_now();
        }
    },
];

#[test]
fn whoever_leaves_the_runtime_out_of_turn_ends_the_process() {
    let test = "whoever_leaves_the_runtime_out_of_turn_ends_the_process";
    let says = ["an `Entered` ends out of turn"; OUT_OF_TURN.len()];
    each_aborts(test, &says, |number, mode| {
        runs(mode, move |wishes, scheduler| OUT_OF_TURN[number](wishes, scheduler));
    });
}

/// Runs `body` on a goroutine, alone on the only P of a scheduler with a policy that does what is wished for.
fn runs(thread_mode: bool, body: impl Fn(&Wishes, &Scheduler) + Send + 'static) {
    let wishes = Wishes::default();
    let policy = Chosen::new(Meddler(wishes.clone()));
    let scheduler = with(Config { procs: 1, thread_mode, policy, ..Config::default() });
    let runs = move || body(&wishes, &current().expect("on a goroutine"));
    scheduler.spawn(runs).expect("it is open").join().expect("no panic");
}

/// Has `body` run in a child for each number that `says` has, in each mode.
fn each_aborts(test: &str, says: &[&str], body: impl Fn(usize, bool)) {
    if let Ok(which) = env::var(CHILD) {
        let (number, mode) = which.split_once(' ').expect("two words");
        // One that nobody stops ends by this signal.
        // SAFETY: the call has no preconditions.
        unsafe { libc::alarm(60) };
        body(number.parse().expect("a number"), mode == "true");
        return;
    }
    let each = MODES.into_iter().flat_map(|mode| (0..says.len()).map(move |number| (mode, number)));
    for (mode, number) in each {
        let says = says[number];
        let child = Command::new(env::current_exe().expect("a test has a path"))
            .args([test, "--exact", "--nocapture", "--quiet"])
            .env(CHILD, format!("{number} {mode}"))
            .output()
            .expect("the test can be run again");
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{number}, {says}: {said}");
        assert!(said.contains(says), "{number}, {says}: {said}");
    }
}

/// What is done from now on at each pick, and at each put.
#[derive(Clone, Debug, Default)]
struct Wishes {
    pick: Arc<OnceLock<fn()>>,
    put: Arc<OnceLock<fn()>>,
}

impl Wishes {
    fn pick(&self, deed: fn()) {
        self.pick.set(deed).expect("one wish of a kind");
    }

    fn put(&self, deed: fn()) {
        self.put.set(deed).expect("one wish of a kind");
    }
}

impl Meddle for Wishes {
    fn pick(&self) {
        self.pick.get().into_iter().for_each(|deed| deed());
    }

    fn put(&self) {
        self.put.get().into_iter().for_each(|deed| deed());
    }
}
