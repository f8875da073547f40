//! Another policy under load: each goroutine comes out of one of the two queues once, and none is left beside
//! sleepers.
//!
//! The queues of a policy are reduced to the global queue, which is production code; a P is a thread that
//! stays, as `sched_core::ready` does, and moves over as `sched_core::swap` does.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use loom_tests::model;
use loom_tests::task::{self, Ref};
use sched_core::idle::{Idle, Release};
use sched_core::queue::inject::Inject;
use sched_core::queue::lanes::Lane;
use sched_core::succession::{Stay, Succession};

type Queues = Succession<Inject<Ref>>;

/// What `Shared::put` does for one who holds a P and sits.
fn put(queues: &Queues, chair: &mut Option<Stay>, task: Ref) {
    at(queues, chair).push(task, Lane::Plain);
}

/// What `Shared::at` does: moves over if another queue is in office.
fn at<'a>(queues: &'a Queues, chair: &'a mut Option<Stay>) -> &'a Inject<Ref> {
    if !chair.as_ref().is_some_and(|stay| queues.is_in_office(stay)) {
        let old = chair.replace(queues.stay());
        if let Some(old) = old {
            while let Some(task) = queues.at(&old).pop(false) {
                queues.at(chair.as_ref().unwrap()).push(task, Lane::Plain);
            }
            queues.end(old);
        }
    }
    queues.at(chair.as_ref().unwrap())
}

/// What `Shared::bury` does. True if nobody leaves any more.
fn bury(queues: &Queues) -> bool {
    match queues.bury() {
        Ok(Some(old)) => {
            while let Some(task) = old.pop(false) {
                queues.visit().push(task, Lane::Plain);
            }
            true
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Runs all that is left, and sees that each ran once.
fn end_all(queues: &Queues, tasks: &[Ref]) {
    assert!(bury(queues), "nobody uses the old queue any more");
    while let Some(task) = queues.visit().pop(false) {
        task.run();
    }
    task::end_all(tasks);
}

/// A thread without a P submits while the queues change and the old ones are buried.
#[test]
fn a_visitor_is_waited_for() {
    model("a_visitor_is_waited_for", 3, || {
        let queues = Arc::new(Queues::new(Inject::new()));
        let tasks = [Ref::new(), Ref::new()];
        let visitor = {
            let queues = queues.clone();
            thread::spawn(move || {
                tasks.into_iter().for_each(|task| queues.visit().push(task, Lane::Plain));
            })
        };
        assert!(queues.succeed(Inject::new()).is_ok());
        bury(&queues);
        bury(&queues);
        visitor.join().unwrap();
        end_all(&queues, &tasks);
    });
}

/// A P puts before and after the change, and goes idle; another comes from idleness.
#[test]
fn a_proc_moves_over() {
    model("a_proc_moves_over", 2, || {
        let queues = Arc::new(Queues::new(Inject::new()));
        let tasks = [Ref::new(), Ref::new(), Ref::new()];
        let busy = {
            let queues = queues.clone();
            thread::spawn(move || {
                let mut chair = None;
                put(&queues, &mut chair, tasks[0]);
                put(&queues, &mut chair, tasks[1]);
                if let Some(task) = at(&queues, &mut chair).pop(false) {
                    task.run();
                }
                queues.end(chair.unwrap());
            })
        };
        let fresh = {
            let queues = queues.clone();
            thread::spawn(move || {
                let mut chair = None;
                put(&queues, &mut chair, tasks[2]);
                queues.end(chair.unwrap());
            })
        };
        assert!(queues.succeed(Inject::new()).is_ok());
        bury(&queues);
        busy.join().unwrap();
        fresh.join().unwrap();
        end_all(&queues, &tasks);
    });
}

/// A slot is used a second time while somebody who came too late still looks at its door.
#[test]
fn a_second_change_uses_the_slot_again() {
    model("a_second_change_uses_the_slot_again", 2, || {
        let queues = Arc::new(Queues::new(Inject::new()));
        let tasks = [Ref::new(), Ref::new()];
        let visitor = {
            let queues = queues.clone();
            thread::spawn(move || {
                queues.visit().push(tasks[0], Lane::Plain);
                if let Some(old) = queues.visit_leaving()
                    && let Some(task) = old.pop(false)
                {
                    drop(old);
                    queues.visit().push(task, Lane::Plain);
                }
                queues.visit().push(tasks[1], Lane::Plain);
            })
        };
        assert!(queues.succeed(Inject::new()).is_ok());
        if bury(&queues) {
            assert!(queues.succeed(Inject::new()).is_ok());
        }
        visitor.join().unwrap();
        end_all(&queues, &tasks);
    });
}

/// S5 over a change: a submitter relies on a spinner, whose last look sees the queue that is leaving, or
/// whoever changes the queues wakes somebody.
#[test]
fn the_last_look_sees_both_queues() {
    model("the_last_look_sees_both_queues", 2, || {
        let queues = Arc::new(Queues::new(Inject::new()));
        let idle = Arc::new(Idle::new(2, 4));
        let task = Ref::new();
        let spinning = idle.try_spin(2).expect("both are busy");
        let spinner = {
            let (queues, idle) = (queues.clone(), idle.clone());
            thread::spawn(move || {
                let any_work = || {
                    !queues.visit().is_empty()
                        || queues.visit_leaving().is_some_and(|old| !old.is_empty())
                };
                idle.release(1, Some(spinning), any_work)
            })
        };
        let submitter = {
            let (queues, idle) = (queues.clone(), idle.clone());
            thread::spawn(move || {
                queues.visit().push(task, Lane::Plain);
                idle.notify()
            })
        };
        assert!(queues.succeed(Inject::new()).is_ok());
        let told = queues.bury().is_err().then(|| idle.notify()).flatten();
        let (released, woken) = (spinner.join().unwrap(), submitter.join().unwrap());
        // Buried with the goroutine in it: whoever buries puts it anew, and notifies.
        let buried = queues.visit().is_empty() && !queues.is_leaving();
        let searched = matches!(released, Release::Search { .. });
        assert!(searched || woken.is_some() || told.is_some() || buried, "left beside sleepers");
        // Whatever became of it, it did not run here.
        drop(queues);
        assert_eq!(task.end(), 0);
    });
}

/// Who finds the new queues in office finds the old ones leaving, until they are buried.
#[test]
fn what_waits_is_seen_all_the_time() {
    model("what_waits_is_seen_all_the_time", 3, || {
        let queues = Arc::new(Queues::new(Inject::new()));
        let task = Ref::new();
        queues.visit().push(task, Lane::Plain);
        let looker = {
            let queues = queues.clone();
            thread::spawn(move || {
                let seen = !queues.visit().is_empty()
                    || queues.visit_leaving().is_some_and(|old| !old.is_empty());
                assert!(seen, "it lies there all the time");
            })
        };
        assert!(queues.succeed(Inject::new()).is_ok());
        looker.join().unwrap();
        end_all(&queues, &[]);
        assert_eq!(task.end(), 1);
    });
}
