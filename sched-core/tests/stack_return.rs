//! What deep calls touched goes back. A process of its own: its resident memory is compared.

mod common;
#[path = "common/dig.rs"]
mod dig;
#[path = "common/resident.rs"]
mod resident;

use std::sync::mpsc;

use common::in_both_modes;
use dig::dig;
use resident::resident;
use sched_core::{
    Spawn,
    park::{self, WaitReason},
};

#[test]
fn what_deep_calls_touched_goes_back_after_two_steps() {
    const DEEP: usize = 12 << 20;
    in_both_modes(1, |scheduler| {
        if !scheduler.mode().is_own_tls() {
            return;
        }
        // All at once, so that each has a stack of its own.
        let (tell, told) = mpsc::channel();
        let all: Vec<_> = (0..4)
            .map(|_| {
                let tell = tell.clone();
                let goroutine = move || {
                    let dug = dig(DEEP);
                    tell.send(park::current()).expect("the test listens");
                    park::park(WaitReason::Park);
                    dug
                };
                let how = Spawn::new().stack_bytes(16 << 20);
                scheduler.spawn_with(how, goroutine).expect("it is open")
            })
            .collect();
        told.iter().take(4).collect::<Vec<_>>().iter().for_each(|waiter| waiter.unpark());
        all.into_iter().for_each(|one| assert!(one.join().expect("no panic") >= DEEP));
        let before = resident();
        // A stack is given back after its join is published.
        let mut cooled = 0;
        while cooled < 4 {
            cooled += scheduler.age_stacks();
        }
        let after = resident();
        assert!(before - after > 3 * DEEP, "{before} then {after}");
        let again = scheduler.spawn_with(Spawn::new().stack_bytes(16 << 20), || dig(DEEP));
        assert!(again.expect("it is open").join().expect("no panic") >= DEEP);
    });
}
