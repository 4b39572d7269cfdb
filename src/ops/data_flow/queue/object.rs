//! The queue itself.

use crate::error::{Error, Result, bail};
use crate::random::PhiloxRandom;
use crate::tensor::{DType, Resource, Shape, Tensor};
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

/// What stands in a queue.
pub type Tuple = Vec<Tensor>;

/// In which order a queue gives its tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The oldest first.
    Fifo,
    /// The oldest first; several are padded to one shape.
    Padding,
    /// The one whose first component is least.
    Priority,
    /// Any; some are left behind until the queue is closed.
    Shuffle { min_after_dequeue: usize, seed: (i64, i64) },
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Order::Fifo => "FIFOQueue",
            Order::Padding => "PaddingFIFOQueue",
            Order::Priority => "PriorityQueue",
            Order::Shuffle { .. } => "RandomShuffleQueue",
        }
    }

    fn min_after_dequeue(self) -> usize {
        if let Order::Shuffle { min_after_dequeue, .. } = self { min_after_dequeue } else { 0 }
    }
}

/// A queue of tuples.
pub struct TupleQueue {
    pub name: String,
    pub order: Order,
    pub capacity: usize,
    pub dtypes: Vec<DType>,
    /// The shapes of the components; none where they may have any.
    pub shapes: Option<Vec<Shape>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    tuples: VecDeque<Tuple>,
    random: Random,
    closed: bool,
    /// No more may be enqueued once those that wait have been.
    closing: bool,
    enqueues: Line,
    dequeues: Line,
}

/// Those who wait for room or for tuples, first come, first served.
#[derive(Default)]
struct Line {
    next: u64,
    served: u64,
}

impl Line {
    fn join(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn is_empty(&self) -> bool {
        self.next == self.served
    }
}

/// Random words, one at a time.
struct Random {
    generator: PhiloxRandom,
    block: [u32; 4],
    used: usize,
}

impl Random {
    fn new((seed, seed2): (i64, i64)) -> Random {
        let (seed, seed2) = match (seed, seed2) {
            (0, 0) => (crate::random::random_u64(), crate::random::random_u64()),
            (seed, seed2) => (seed as u64, seed2 as u64),
        };
        Random { generator: PhiloxRandom::new(seed, seed2), block: [0; 4], used: 4 }
    }

    fn next(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = self.generator.next_block();
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }
}

impl Resource for TupleQueue {
    fn kind(&self) -> &'static str {
        "Queue"
    }
}

impl TupleQueue {
    pub fn new(name: String, order: Order, capacity: usize, dtypes: Vec<DType>, shapes: Option<Vec<Shape>>) -> TupleQueue {
        let seed = if let Order::Shuffle { seed, .. } = order { seed } else { (1, 1) };
        let state = State {
            tuples: VecDeque::new(),
            random: Random::new(seed),
            closed: false,
            closing: false,
            enqueues: Line::default(),
            dequeues: Line::default(),
        };
        TupleQueue { name, order, capacity, dtypes, shapes, state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Checks that a node that names a queue which exists asks for one like it.
    pub fn check_same(&self, other: &TupleQueue) -> Result<()> {
        let name = &self.name;
        if std::mem::discriminant(&self.order) != std::mem::discriminant(&other.order) {
            let (own, asked) = (self.order.name(), other.order.name());
            bail!(InvalidArgument, "Shared queue '{name}' has type '{own}' that does not match type of node '{asked}'");
        }
        if self.order.min_after_dequeue() != other.order.min_after_dequeue() {
            bail!(
                InvalidArgument,
                "Shared queue '{name}' has min_after_dequeue {} but requested min_after_dequeue was {}.",
                self.order.min_after_dequeue(),
                other.order.min_after_dequeue()
            );
        }
        if self.capacity != other.capacity {
            bail!(
                InvalidArgument,
                "Shared queue '{name}' has capacity {} but requested capacity was {}",
                self.capacity,
                other.capacity
            );
        }
        if self.dtypes != other.dtypes {
            bail!(
                InvalidArgument,
                "Shared queue '{name}' has component types {:?} but requested component types were {:?}",
                self.dtypes,
                other.dtypes
            );
        }
        if self.shapes != other.shapes {
            bail!(
                InvalidArgument,
                "Shared queue '{name}' has component shapes {:?} but requested component shapes were {:?}.",
                self.shapes,
                other.shapes
            );
        }
        if self.order != other.order {
            bail!(InvalidArgument, "Shared queue '{name}' has other random seeds than requested");
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(|e| e.into_inner())
    }

    fn is_closed_error(&self) -> Error {
        Error::cancelled(format!("{} '{}' is closed.", self.order.name(), self.name))
    }

    /// Appends tuples in order; waits where there is no room.
    ///
    /// # Errors
    /// `Cancelled` once the queue is closed.
    pub fn enqueue(&self, tuples: Vec<Tuple>) -> Result<()> {
        let mut state = self.lock();
        if state.closed || state.closing {
            return Err(self.is_closed_error());
        }
        let ticket = state.enqueues.join();
        let mut result = Ok(());
        'all: for tuple in tuples {
            while state.enqueues.served != ticket || state.tuples.len() >= self.capacity {
                if state.closed {
                    result = Err(self.is_closed_error());
                    break 'all;
                }
                state = self.wait(state);
            }
            if state.closed {
                result = Err(self.is_closed_error());
                break;
            }
            state.push(self.order, tuple);
            self.changed.notify_all();
        }
        while state.enqueues.served != ticket {
            state = self.wait(state);
        }
        state.enqueues.served += 1;
        self.changed.notify_all();
        result
    }

    /// Takes `count` tuples; waits until there are so many. `partial` takes what is left where the queue is closed.
    ///
    /// # Errors
    /// `OutOfRange` where the queue is closed and has too few.
    pub fn dequeue(&self, count: usize, partial: bool) -> Result<Vec<Tuple>> {
        let mut state = self.lock();
        let ticket = state.dequeues.join();
        let mut taken = Vec::new();
        while state.dequeues.served != ticket {
            state = self.wait(state);
        }
        let min_left = self.order.min_after_dequeue();
        let result = loop {
            if taken.len() == count {
                break Ok(());
            }
            if state.tuples.is_empty() && state.closed || state.closed && !partial && taken.len() + state.tuples.len() < count {
                if partial && !taken.is_empty() {
                    break Ok(());
                }
                break Err(Error::out_of_range(format!(
                    "{} '{}' is closed and has insufficient elements (requested {count}, current size {})",
                    self.order.name(),
                    self.name,
                    taken.len() + state.tuples.len()
                )));
            }
            if !state.tuples.is_empty() && (state.closed || state.tuples.len() > min_left) {
                let tuple = state.pop(self.order);
                taken.extend(tuple);
                self.changed.notify_all();
                continue;
            }
            state = self.wait(state);
        };
        if result.is_err() {
            for tuple in taken.drain(..).rev() {
                state.push_back(self.order, tuple);
            }
        }
        state.dequeues.served += 1;
        self.changed.notify_all();
        result.map(|()| taken)
    }

    /// Lets nothing more in. With `cancel`, those who wait for room are turned away, otherwise they are waited for.
    ///
    /// # Errors
    /// `Cancelled` if the queue is closed already.
    pub fn close(&self, cancel: bool) -> Result<()> {
        let mut state = self.lock();
        if !cancel {
            if state.closed || state.closing {
                bail!(Cancelled, "Queue '{}' is already closed.", self.name);
            }
            state.closing = true;
            while !state.enqueues.is_empty() && !state.closed {
                state = self.wait(state);
            }
        }
        state.closed = true;
        self.changed.notify_all();
        Ok(())
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub fn len(&self) -> usize {
        self.lock().tuples.len()
    }
}

impl State {
    fn push(&mut self, order: Order, tuple: Tuple) {
        self.tuples.push_back(tuple);
        if order == Order::Priority {
            self.sift_up(self.tuples.len() - 1);
        }
    }

    /// Puts a tuple back that was taken.
    fn push_back(&mut self, order: Order, tuple: Tuple) {
        match order {
            Order::Fifo | Order::Padding => self.tuples.push_front(tuple),
            _ => self.push(order, tuple),
        }
    }

    fn pop(&mut self, order: Order) -> Option<Tuple> {
        match order {
            Order::Fifo | Order::Padding => self.tuples.pop_front(),
            Order::Priority => self.pop_least(),
            Order::Shuffle { .. } => {
                let index = self.random.next() as usize % self.tuples.len().max(1);
                self.tuples.swap_remove_back(index)
            }
        }
    }

    fn priority(&self, index: usize) -> i64 {
        self.tuples[index].first().and_then(|p| p.item::<i64>().ok()).unwrap_or(i64::MAX)
    }

    /// Moves an element of the heap up to its place. The root of the heap is the least.
    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.priority(parent) <= self.priority(at) {
                break;
            }
            self.tuples.swap(parent, at);
            at = parent;
        }
    }

    /// Takes the root of the heap: the hole goes down to a leaf by way of the lesser children, and the last element rises
    /// from there. Among equals, this is the order of the C++ standard library's heap.
    fn pop_least(&mut self) -> Option<Tuple> {
        let last = self.tuples.len().checked_sub(1)?;
        self.tuples.swap(0, last);
        let least = self.tuples.pop_back();
        let (len, mut at) = (last, 0);
        while 2 * at + 2 < len {
            let right = 2 * at + 2;
            let child = if self.priority(right) > self.priority(right - 1) { right - 1 } else { right };
            self.tuples.swap(at, child);
            at = child;
        }
        if 2 * at + 2 == len {
            self.tuples.swap(at, 2 * at + 1);
            at = 2 * at + 1;
        }
        if len > 0 {
            self.sift_up(at);
        }
        least
    }
}
