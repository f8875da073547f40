//! Whoever would move a goroutine, give its P away, or free the queues that it uses, inside of the runtime is stopped:
//! in a policy that is asked for the next goroutine on the stack of one that gives way, and under an `Entered` of the
//! goroutine's own.

mod common;

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
};

use common::{MODES, scheduler, with};
use sched_core::{
    Config, blocking, current, entry, lock_os_thread,
    park::{self, WaitReason},
    policy::{
        Chosen, FifoQueues, GlobalFifo, Gmp, Item, Moment, Policy, Queues, Ready, Seat, Slice,
    },
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
    each_deed_aborts(
        "a_policy_that_would_move_its_caller_ends_the_process",
        |deed, thread_mode| {
            let wish = Wish::default();
            let policy = Chosen::new(Meddler(Arc::clone(&wish)));
            let scheduler = with(Config { procs: 1, thread_mode, policy, ..Config::default() });
            let gives_way = move || {
                *wish.lock().expect("no panic") = Some(deed);
                yield_now();
            };
            scheduler.spawn(gives_way).expect("it is open").join().expect("no panic");
        },
    );
}

#[test]
fn whoever_has_entered_and_would_move_ends_the_process() {
    each_deed_aborts("whoever_has_entered_and_would_move_ends_the_process", |deed, mode| {
        let enters = move || {
            let _entered = entry::enter();
            deed();
        };
        scheduler(1, mode).spawn(enters).expect("it is open").join().expect("no panic");
    });
}

/// Runs `body` in a child for each deed in each mode.
fn each_deed_aborts(test: &str, body: impl Fn(fn(), bool)) {
    if let Ok(which) = env::var(CHILD) {
        let (deed, mode) = which.split_once(' ').expect("two words");
        let deed: usize = deed.parse().expect("a number");
        body(DEEDS[deed].0, mode == "true");
        return;
    }
    let each = MODES.into_iter().flat_map(|mode| (0..DEEDS.len()).map(move |deed| (mode, deed)));
    for (mode, number) in each {
        let says = DEEDS[number].1;
        let child = Command::new(env::current_exe().expect("a test has a path"))
            .args([test, "--exact", "--nocapture", "--quiet"])
            .env(CHILD, format!("{number} {mode}"))
            .output()
            .expect("the test can be run again");
        let said = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.signal(), Some(libc::SIGABRT), "{says}: {said}");
        assert!(said.contains(says), "{says}: {said}");
    }
}

/// What is done at the next pick.
type Wish = Arc<Mutex<Option<fn()>>>;

/// The order of [`GlobalFifo`], by one who does what is wished for when it is asked who runs next.
#[derive(Debug)]
struct Meddler(Wish);

struct MeddlerQueues<H: Item>(FifoQueues<H>, Wish);

impl Policy for Meddler {
    type Queues<H: Item> = MeddlerQueues<H>;

    fn queues<H: Item>(&self) -> MeddlerQueues<H> {
        MeddlerQueues(GlobalFifo.queues(), Arc::clone(&self.0))
    }
}

impl<H: Item> Queues<H> for MeddlerQueues<H> {
    type Local = ();

    fn local(&self) {}

    fn put(&self, seat: Option<Seat<'_, ()>>, moment: &Moment, item: H, ready: Ready) {
        self.0.put(seat, moment, item, ready);
    }

    fn pick(&self, seat: Seat<'_, ()>, moment: &Moment) -> Option<(H, Slice)> {
        let wish = self.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(deed) = wish {
            deed();
        }
        self.0.pick(seat, moment)
    }

    fn steal<'a>(
        &self,
        seat: Seat<'_, ()>,
        moment: &Moment,
        victims: impl Iterator<Item = &'a ()>,
        last: bool,
    ) -> Option<H> {
        self.0.steal(seat, moment, victims, last)
    }

    fn evict(&self, seat: Seat<'_, ()>) -> Option<H> {
        self.0.evict(seat)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_local_empty((): &()) -> bool {
        true
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn local_len((): &()) -> usize {
        0
    }
}
