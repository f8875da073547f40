//! Stand-in for sched-core's `park`, `lock` and `entry` on plain threads.

pub(crate) mod park {
    use std::cell::OnceCell;
    use std::sync::{Arc, Condvar, Mutex};
    use std::time::Instant;

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum WaitReason {
        Send,
        Receive,
        Select,
        Lock,
        Group,
        Sleep,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Woken {
        Unparked,
        Timeout,
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Waiter(Arc<(Mutex<bool>, Condvar)>);

    thread_local! { static OWN: OnceCell<Waiter> = const { OnceCell::new() }; }

    pub(crate) fn current() -> Waiter {
        OWN.with(|own| own.get_or_init(|| Waiter(Arc::default())).clone())
    }

    pub(crate) fn park(_: WaitReason) {
        let Waiter(own) = current();
        let mut permit = own.0.lock().unwrap();
        while !std::mem::take(&mut *permit) {
            permit = own.1.wait(permit).unwrap();
        }
    }

    pub(crate) fn park_until(_: WaitReason, deadline: Instant) -> Woken {
        let Waiter(own) = current();
        let mut permit = own.0.lock().unwrap();
        while !std::mem::take(&mut *permit) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Woken::Timeout;
            }
            permit = own.1.wait_timeout(permit, left).unwrap().0;
        }
        Woken::Unparked
    }

    impl Waiter {
        pub(crate) fn unpark(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }
    }
}

pub(crate) mod entry {
    #[derive(Debug)]
    pub(crate) struct Entered;
    impl Drop for Entered {
        fn drop(&mut self) {}
    }
    pub(crate) fn enter() -> Entered {
        Entered
    }
}
