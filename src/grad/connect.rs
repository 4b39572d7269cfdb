//! The nodes between `ys` and `xs`, and how many gradients each waits for.

use super::default::is_trainable;
use super::loops::ControlFlowState;
use crate::control_flow;
use crate::error::Result;
use crate::graph::{Graph, Operation};
use std::collections::{HashMap, HashSet, VecDeque};

/// What is between.
pub(super) struct Between {
    /// The nodes of `ys` that depend on `xs`.
    pub reachable: HashSet<Operation>,
    /// For each node the number of nodes that hand it gradients.
    pub pending: HashMap<Operation, i64>,
    /// The loops between, if there are any.
    pub loops: Option<ControlFlowState>,
}

pub(super) fn connect(g: &Graph, to: &[Operation], from: &[Operation], colocate: bool) -> Result<Between> {
    let mut reached = reach(g, from);
    let reachable = to.iter().copied().filter(|op| reached.contains(op)).collect();

    let mut between: HashSet<Operation> = HashSet::new();
    let mut list = Vec::new();
    let mut queue: VecDeque<Operation> = to.iter().copied().collect();
    while let Some(op) = queue.pop_front() {
        if reached.remove(&op) {
            between.insert(op);
            list.push(op);
            queue.extend(g.inputs(op).iter().map(|i| i.op));
        }
    }

    let mut loops: Option<ControlFlowState> = None;
    let mut at = 0;
    // Finding a loop adds its other exits to the list.
    while let Some(&op) = list.get(at) {
        at += 1;
        if control_flow::is_exit(g, op) {
            let _beside = colocate.then(|| g.colocate_with(op)).transpose()?;
            loops.get_or_insert_default().add_loop_of(g, op, &mut list, &mut between)?;
        }
    }

    let mut pending: HashMap<Operation, i64> = HashMap::new();
    for &op in &list {
        for input in g.inputs(op) {
            if between.contains(&input.op) {
                *pending.entry(input.op).or_default() += 1;
            }
        }
    }
    Ok(Between { reachable, pending, loops })
}

/// The nodes that depend on these by way of tensors that have gradients.
fn reach(g: &Graph, from: &[Operation]) -> HashSet<Operation> {
    let consumers = g.all_consumers();
    let mut reached = HashSet::new();
    let mut queue: VecDeque<Operation> = from.iter().copied().collect();
    while let Some(op) = queue.pop_front() {
        if reached.insert(op) {
            for output in g.outputs(op) {
                if is_trainable(g, output) {
                    queue.extend(consumers.get(&output).into_iter().flatten());
                }
            }
        }
    }
    reached
}
