//! `block_on`: a wake between a poll and the park is not lost, and brings what was done before it.
#![cfg(loom)]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread::{self, JoinHandle};
use loom_tests::model;
use sched_core::future::block_on;
use sched_core::park::{self, WaitReason};

/// What a future waits for. Nothing but the wake says that it is there.
struct Letter(UnsafeCell<u32>);

// SAFETY: written before the wake, and read after it, says `block_on`; loom checks it.
unsafe impl Sync for Letter {}
// SAFETY: as above.
unsafe impl Send for Letter {}

impl Letter {
    fn new() -> Arc<Self> {
        Arc::new(Letter(UnsafeCell::new(0)))
    }

    fn write(&self, reader: Waker) {
        // SAFETY: as above.
        self.0.with_mut(|text| unsafe { *text = 7 });
        reader.wake();
    }

    fn read(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|text| unsafe { *text })
    }
}

/// Has the letter written at the first poll, by a thread that `write` starts, and reads it at the second.
struct Reading<W> {
    write: Option<W>,
    writer: Option<JoinHandle<()>>,
    letter: Arc<Letter>,
}

fn reading<W: FnOnce(Arc<Letter>, Waker) -> JoinHandle<()> + Unpin>(write: W) -> Reading<W> {
    Reading { write: Some(write), writer: None, letter: Letter::new() }
}

impl<W: FnOnce(Arc<Letter>, Waker) -> JoinHandle<()> + Unpin> Future for Reading<W> {
    type Output = (u32, Option<JoinHandle<()>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.write.take() {
            Some(write) => {
                self.writer = Some(write(self.letter.clone(), cx.waker().clone()));
                Poll::Pending
            }
            None => Poll::Ready((self.letter.read(), self.writer.take())),
        }
    }
}

#[test]
fn a_wake_is_heard() {
    model("a_wake_is_heard", 3, || {
        let (text, writer) =
            block_on(reading(|letter, reader| thread::spawn(move || letter.write(reader))));
        assert_eq!(text, 7);
        writer.unwrap().join().unwrap();
    });
}

/// The poll itself parks, as in a lock, and uses up the permit that the wake has left.
#[test]
fn a_wake_is_more_than_a_permit() {
    model("a_wake_is_more_than_a_permit", 3, || {
        let (text, writer) = block_on(reading(|letter, reader| {
            let (served, own) = (Arc::new(AtomicBool::new(false)), park::current());
            let writer = {
                let served = served.clone();
                thread::spawn(move || {
                    letter.write(reader);
                    served.store(true, Ordering::Relaxed);
                    own.unpark();
                })
            };
            while !served.load(Ordering::Relaxed) {
                park::park(WaitReason::Group);
            }
            writer
        }));
        assert_eq!(text, 7);
        writer.unwrap().join().unwrap();
    });
}
