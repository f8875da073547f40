//! Whom a request for a cycle wakes: what the embedding has put there, and the threads of
//! [`Collector`](crate::Collector)s.
//!
//! Each collector takes away its own thread and nothing else, so one may begin before another has ended, also beside
//! an embedding's waker. Whoever is woken looks whether a cycle is still asked for.
//!
//! Nobody is woken under a lock: who wakes may be put aside in the middle of that, and a collector's end would wait for
//! him. So he looks at one place after the other, and whoever is listed keeps his place until he leaves.

use super::lock;
use crate::{counted::Call, space::Exhausted};
use std::{
    fmt,
    sync::Mutex,
    thread::{Thread, ThreadId},
};

/// Whom a request wakes.
#[derive(Default)]
pub(crate) struct Wakers {
    embedding: Mutex<Option<Call>>,
    /// Places that were left are taken again.
    threads: Mutex<Vec<Option<Thread>>>,
}

impl Wakers {
    /// Replaces the embedding's.
    pub(crate) fn set(&self, waker: Call) {
        let former = lock(&self.embedding).replace(waker);
        drop(former);
    }

    /// From now on `thread` is unparked as well; unless there is no memory for a place on the list.
    pub(crate) fn add(&self, thread: Thread) -> Result<(), Exhausted> {
        let mut threads = lock(&self.threads);
        if let Some(left) = threads.iter_mut().find(|place| place.is_none()) {
            *left = Some(thread);
            return Ok(());
        }
        threads.try_reserve(1).map_err(|_| Exhausted)?;
        threads.push(Some(thread));
        Ok(())
    }

    /// That thread is unparked no more.
    pub(crate) fn remove(&self, thread: ThreadId) {
        let is_it =
            |place: &&mut Option<Thread>| place.as_ref().is_some_and(|it| it.id() == thread);
        let former = lock(&self.threads).iter_mut().find(is_it).and_then(Option::take);
        drop(former);
    }

    /// Who has this place, if anybody; `None` beyond the last one.
    fn place(&self, number: usize) -> Option<Option<Thread>> {
        lock(&self.threads).get(number).cloned()
    }

    /// Wakes them. Takes no memory.
    pub(crate) fn wake(&self) {
        let places = (0..).map_while(|number| self.place(number));
        places.flatten().for_each(|thread| thread.unpark());
        let waker = lock(&self.embedding).clone();
        if let Some(wake) = waker {
            wake();
        }
    }
}

impl fmt::Debug for Wakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wakers").field("threads", &self.threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A thread that has ended, which is as good as any.
    fn thread() -> Thread {
        let handle = thread::spawn(|| ());
        let thread = handle.thread().clone();
        handle.join().expect("it does nothing");
        thread
    }

    #[test]
    fn who_is_listed_keeps_his_place() {
        let (wakers, threads) = (Wakers::default(), [thread(), thread(), thread()]);
        let [first, second, third] = threads.each_ref().map(Thread::id);
        let place = |number| wakers.place(number).map(|place| place.map(|thread| thread.id()));
        let [one, two, three] = threads;
        assert!(wakers.add(one).is_ok() && wakers.add(two).is_ok());
        assert_eq!(place(0), Some(Some(first)));
        // Whoever has come so far would overlook the second if it moved up.
        wakers.remove(first);
        assert_eq!([place(0), place(1), place(2)], [Some(None), Some(Some(second)), None]);
        assert!(wakers.add(three).is_ok());
        assert_eq!([place(0), place(2)], [Some(Some(third)), None], "the place that was left");
        wakers.remove(first);
        assert_eq!(place(0), Some(Some(third)));
    }
}
