//! Timers: an earlier deadline wakes the thread that sleeps for a later one (R1), each timer fires
//! or is cancelled, once (R2), a look sees what was published before it was asked for (R4), and a monitor that sleeps as
//! there are deadlines hears when the last one is gone.
//!
//! A futex deadline never passes in a model, so a thread that was not told of an earlier timer
//! sleeps for ever, and loom reports it.
#![cfg(loom)]

use std::mem;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use loom_tests::model;
use sched_core::bell::Bell;
use sched_core::driver::{Driver, Due};
use sched_core::lock::Lock;
use sched_core::lull;
use sched_core::parker::Parker;
use sched_core::timer::{Storage, Timed};

/// What the clock shows all the time.
const NOW: u64 = 10;
/// A deadline that never comes.
const FAR: u64 = 100;

const OUT: usize = usize::MAX;

struct Alarm {
    place: AtomicUsize,
    fired: AtomicUsize,
    parker: Parker,
}

impl Alarm {
    fn handle() -> Handle {
        Handle(Arc::new(Self {
            place: AtomicUsize::new(OUT),
            fired: AtomicUsize::new(0),
            parker: Parker::new(),
        }))
    }

    fn fire(&self) {
        self.fired.fetch_add(1, Ordering::Relaxed);
        self.parker.unpark();
    }

    fn place(&self) -> Option<usize> {
        let place = self.place.load(Ordering::Relaxed);
        (place != OUT).then_some(place)
    }
}

#[derive(Clone)]
struct Handle(Arc<Alarm>);

impl Timed for Handle {
    fn set_place(&self, place: Option<usize>) {
        self.0.place.store(place.unwrap_or(OUT), Ordering::Relaxed);
    }
}

/// A driver and the thread that runs it.
fn start() -> (Arc<Driver<Handle>>, thread::JoinHandle<()>) {
    let driver = Arc::new(Driver::new(Storage::new(4)));
    let thread = {
        let driver = driver.clone();
        thread::spawn(move || {
            driver.run(|| NOW, |due: Due<Handle>| item(due).0.fire(), || (), || ())
        })
    };
    (driver, thread)
}

fn item(due: Due<Handle>) -> Handle {
    match due {
        Due::Item(alarm) => alarm,
        Due::Look => panic!("nobody asked for a look"),
    }
}

fn add(driver: &Driver<Handle>, deadline: u64, alarm: &Handle) {
    assert!(driver.add(deadline, alarm.clone()).is_ok(), "there is room");
}

/// R1: a far deadline, then one that is due.
#[test]
fn an_earlier_deadline_wakes_the_driver() {
    model("an_earlier_deadline_wakes_the_driver", 2, || {
        let (driver, thread) = start();
        let (far, near) = (Alarm::handle(), Alarm::handle());
        add(&driver, FAR, &far);
        add(&driver, NOW - 1, &near);
        near.0.parker.park();
        driver.stop();
        thread.join().unwrap();
        assert_eq!(near.0.fired.load(Ordering::Relaxed), 1);
        assert_eq!(far.0.fired.load(Ordering::Relaxed), 0, "its time has not come");
    });
}

/// R1: two threads add, in either order.
#[test]
fn two_additions_both_count() {
    model("two_additions_both_count", 2, || {
        let (driver, thread) = start();
        let (one, other) = (Alarm::handle(), Alarm::handle());
        let adder = {
            let (driver, other) = (driver.clone(), other.clone());
            thread::spawn(move || {
                add(&driver, NOW - 2, &other);
                other.0.parker.park();
            })
        };
        add(&driver, NOW, &one);
        one.0.parker.park();
        adder.join().unwrap();
        driver.stop();
        thread.join().unwrap();
        assert_eq!(one.0.fired.load(Ordering::Relaxed), 1);
        assert_eq!(other.0.fired.load(Ordering::Relaxed), 1);
    });
}

/// R2: a timer that is due is cancelled by two, of whom neither, one, or the driver is first.
#[test]
fn a_timer_fires_or_is_cancelled() {
    model("a_timer_fires_or_is_cancelled", 2, || {
        let (driver, thread) = start();
        let alarm = Alarm::handle();
        add(&driver, NOW, &alarm);
        let cancel = |driver: &Driver<Handle>, alarm: &Handle| {
            usize::from(driver.cancel(|| alarm.0.place()).is_some())
        };
        let other = {
            let (driver, alarm) = (driver.clone(), alarm.clone());
            thread::spawn(move || cancel(&driver, &alarm))
        };
        let cancelled = cancel(&driver, &alarm) + other.join().unwrap();
        if cancelled == 0 {
            alarm.0.parker.park();
        }
        driver.stop();
        thread.join().unwrap();
        assert_eq!(cancelled + alarm.0.fired.load(Ordering::Relaxed), 1);
    });
}

/// Something that a look must see to, under a lock of its own, as the list of orders is.
#[derive(Default)]
struct Wish {
    waits: Lock<bool>,
    parker: Parker,
}

impl Wish {
    fn ask(&self, driver: &Driver<Handle>) {
        *self.waits.lock() = true;
        driver.look_at(NOW);
        self.parker.park();
    }

    fn see_to(&self) {
        let waited = mem::take(&mut *self.waits.lock());
        if waited {
            self.parker.unpark();
        }
    }
}

/// R4: of two that ask for a look, neither waits for ever, though one look may serve both.
#[test]
fn a_look_sees_what_was_published() {
    model("a_look_sees_what_was_published", 2, || {
        let driver = Arc::new(Driver::<Handle>::new(Storage::new(0)));
        let wishes = Arc::new([Wish::default(), Wish::default()]);
        let thread = {
            let (driver, wishes) = (driver.clone(), wishes.clone());
            thread::spawn(move || {
                driver.run(|| NOW, |_| wishes.iter().for_each(Wish::see_to), || (), || ())
            })
        };
        let asker = {
            let (driver, wishes) = (driver.clone(), wishes.clone());
            thread::spawn(move || wishes[1].ask(&driver))
        };
        wishes[0].ask(&driver);
        asker.join().unwrap();
        driver.stop();
        thread.join().unwrap();
    });
}

/// Deadlines, and a monitor that asks for nothing while there are any. All Ps are idle all the time.
struct Watched {
    driver: Driver<Handle>,
    bell: Bell,
}

impl Watched {
    fn with(alarms: &[(u64, &Handle)]) -> Arc<Self> {
        let world = Arc::new(Self { driver: Driver::new(Storage::new(4)), bell: Bell::new() });
        alarms.iter().for_each(|(deadline, alarm)| add(&world.driver, *deadline, alarm));
        world
    }

    fn deadline_gone(&self) {
        lull::deadline_gone(&self.bell, || true, || self.driver.any());
    }

    /// The monitor, until it may ask.
    fn watch(&self) {
        while self.driver.any() {
            let _ = self.bell.wait(None, || true);
        }
    }
}

/// The timer thread wakes one who does not wait, so no P moves; a thread drops a future that sleeps.
#[test]
fn a_monitor_hears_of_the_last_deadline() {
    model("a_monitor_hears_of_the_last_deadline", 3, || {
        let (due, far) = (Alarm::handle(), Alarm::handle());
        let world = Watched::with(&[(NOW, &due), (FAR, &far)]);
        let timers = {
            let world = world.clone();
            thread::spawn(move || {
                let fire = |due: Due<Handle>| item(due).0.fire();
                world.driver.run(|| NOW, fire, || (), || world.deadline_gone());
            })
        };
        let drops = {
            let (world, far) = (world.clone(), far.clone());
            thread::spawn(move || {
                assert!(world.driver.cancel(|| far.0.place()).is_some());
                world.deadline_gone();
            })
        };
        world.watch();
        world.driver.stop();
        timers.join().unwrap();
        drops.join().unwrap();
        assert_eq!(due.0.fired.load(Ordering::Relaxed), 1);
    });
}
