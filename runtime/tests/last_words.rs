//! Who waits in the destructor of a thread-local is woken: the thread is the same to its end.

use std::cell::RefCell;
use std::sync::Arc;
use std::thread;

use runtime::chan::{self, Receiver, Sender};
use runtime::sync::{Mutex, WaitGroup};

/// Calls what it holds when its thread ends.
struct AtEnd(Option<Box<dyn FnOnce() + Send>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(|act| act());
    }
}

thread_local! {
    static AT_END: RefCell<AtEnd> = const { RefCell::new(AtEnd(None)) };
}

/// A thread that calls `act` in a destructor which runs after those of what it has waited with.
fn ends_with(act: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        // Registered first, and so destroyed last.
        AT_END.with_borrow_mut(|end| end.0 = Some(Box::new(act)));
        let (tx, rx) = chan::rendezvous();
        let sender = thread::spawn(move || tx.send(()));
        rx.recv().unwrap();
        sender.join().unwrap().unwrap();
    })
}

/// Two channels: the thread says that it is about to wait, and is answered when it does.
fn meeting() -> (impl FnOnce(u32) + Send, impl FnOnce() + Send + use<>) {
    let (ask, asked): (Sender<()>, Receiver<()>) = chan::bounded(1);
    let (answer, answered) = chan::rendezvous();
    let serve = move |number| {
        asked.recv().unwrap();
        answer.send(number).unwrap();
    };
    let meet = move || {
        ask.send(()).unwrap();
        assert_eq!(answered.recv(), Ok(7));
    };
    (serve, meet)
}

#[test]
fn a_receive_at_the_end_is_served() {
    let (serve, meet) = meeting();
    let thread = ends_with(meet);
    serve(7);
    thread.join().unwrap();
}

#[test]
fn a_lock_at_the_end_is_handed_over() {
    let mutex = Arc::new(Mutex::new(0));
    let (about, locks) = chan::bounded(1);
    let held = mutex.lock();
    let thread = {
        let mutex = mutex.clone();
        ends_with(move || {
            about.send(()).unwrap();
            *mutex.lock() += 1;
        })
    };
    locks.recv().unwrap();
    drop(held);
    thread.join().unwrap();
    assert_eq!(*mutex.lock(), 1);
}

#[test]
fn a_group_is_waited_for_at_the_end() {
    let group = Arc::new(WaitGroup::new());
    group.add(1);
    let (about, waits) = chan::bounded(1);
    let thread = {
        let group = group.clone();
        ends_with(move || {
            about.send(()).unwrap();
            group.wait();
        })
    };
    waits.recv().unwrap();
    group.done();
    thread.join().unwrap();
}
