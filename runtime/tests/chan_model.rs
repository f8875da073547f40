//! A channel against a sequential model: random operations that never wait, on one thread.

use std::collections::VecDeque;

use proptest::prelude::*;
use runtime::chan::{self, Receiver, Sender, TryRecvError, TrySendError};

#[derive(Clone, Debug)]
enum Op {
    Send,
    Recv,
    CloneSender,
    CloneReceiver,
    DropSender,
    DropReceiver,
    Len,
}

/// What a channel of this capacity should do, when nobody waits.
struct Model {
    capacity: usize,
    values: VecDeque<Box<u32>>,
}

impl Model {
    fn send(&mut self, value: u32, receivers: usize) -> Result<(), TrySendError<Box<u32>>> {
        if receivers == 0 {
            return Err(TrySendError::Closed(Box::new(value)));
        }
        if self.values.len() == self.capacity {
            return Err(TrySendError::Full(Box::new(value)));
        }
        self.values.push_back(Box::new(value));
        Ok(())
    }

    fn recv(&mut self, senders: usize) -> Result<Box<u32>, TryRecvError> {
        let none = if senders == 0 { TryRecvError::Closed } else { TryRecvError::Empty };
        self.values.pop_front().ok_or(none)
    }
}

/// Applies `ops` to a channel and to the model, and compares each answer.
fn compare(capacity: usize, ops: &[Op]) {
    let (tx, rx) = chan::bounded::<Box<u32>>(capacity);
    let (mut senders, mut receivers): (Vec<Sender<_>>, Vec<Receiver<_>>) = (vec![tx], vec![rx]);
    let mut model = Model { capacity, values: VecDeque::new() };
    for (step, op) in (0..).zip(ops) {
        match op {
            Op::Send => {
                if let Some(tx) = senders.last() {
                    let expected = model.send(step, receivers.len());
                    assert_eq!(tx.try_send(Box::new(step)), expected);
                }
            }
            Op::Recv => {
                if let Some(rx) = receivers.first() {
                    assert_eq!(rx.try_recv(), model.recv(senders.len()));
                }
            }
            Op::CloneSender => senders.extend(senders.last().cloned()),
            Op::CloneReceiver => receivers.extend(receivers.last().cloned()),
            Op::DropSender => drop(senders.pop()),
            Op::DropReceiver => {
                drop(receivers.pop());
                if receivers.is_empty() {
                    model.values.clear();
                }
            }
            Op::Len => {
                for tx in &senders {
                    assert_eq!((tx.len(), tx.capacity()), (model.values.len(), capacity));
                }
            }
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => Just(Op::Send),
        8 => Just(Op::Recv),
        1 => Just(Op::CloneSender),
        1 => Just(Op::CloneReceiver),
        1 => Just(Op::DropSender),
        1 => Just(Op::DropReceiver),
        2 => Just(Op::Len),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn agrees_with_the_model(capacity in 0_usize..5, ops in prop::collection::vec(op(), 0..200)) {
        compare(capacity, &ops);
    }
}
