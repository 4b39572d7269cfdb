//! Reads of variables that are passed by reference.
//!
//! In TensorFlow an Identity of a reference gives the variable's own memory, and assignments write into that memory: who
//! takes the value sees what was written before it runs, though the Identity ran earlier.

use super::dataflow::{Action, Dataflow, Grouped, Source};
use super::rewrite::identity::PASSING;
use crate::graph::op::Control;
use foldhash::{HashMap, HashMapExt};

/// Lets those who run after a write to a variable take the variable itself, not what an Identity read before the write.
pub(super) fn read_after_writes(flow: &mut Dataflow) {
    let count = flow.nodes.len();
    // The variable that each node reads or passes on, and those that each may write.
    let mut variable: Vec<Option<Source>> = vec![None; count];
    let mut writers: HashMap<usize, Vec<usize>> = HashMap::new();
    for at in 0..count {
        let node = &flow.nodes[at];
        for (index, &input) in node.inputs.iter().enumerate() {
            let Action::Op(op) = node.action else { continue };
            if op.takes_ref(index)
                && node.control().is_none()
                && node.info.op != "IsVariableInitialized"
                && let Some(Source::Node(root, _)) = root(flow, input)
            {
                writers.entry(root).or_default().push(at);
            }
        }
    }
    if writers.is_empty() {
        return;
    }
    let consumers = flow.consumers();
    let waits = flow.nodes.iter().enumerate().flat_map(|(at, node)| node.controls.iter().map(move |&control| (control, at)));
    let waiting = Grouped::new(count, waits);
    // Reads, and what passes them on, by variable.
    let mut readers: HashMap<usize, Vec<usize>> = HashMap::new();
    let starts: Vec<usize> = (0..count).filter(|&at| flow.nodes[at].is_op(PASSING)).collect();
    for at in starts {
        if let Some(&input) = flow.nodes[at].inputs.first()
            && let Some(source @ Source::Node(found, _)) = root(flow, input)
            && writers.contains_key(&found)
            && !flow.nodes[at].is_op(&["Snapshot"])
        {
            let mut stack = vec![at];
            while let Some(at) = stack.pop() {
                variable[at] = Some(source);
                readers.entry(found).or_default().push(at);
                let passing = |&&(user, input): &&(usize, usize)| input == 0 && flow.nodes[user].is_op(PASSING);
                stack.extend(consumers[at].iter().filter(passing).map(|&(user, _)| user));
            }
        }
    }
    let mut seen = vec![usize::MAX; count];
    let mut changes: Vec<(usize, usize, Source, usize)> = Vec::new();
    for (&root, writers) in &writers {
        let Some(readers) = readers.get(&root) else { continue };
        let mut stack = writers.clone();
        while let Some(at) = stack.pop() {
            for user in consumers[at].iter().map(|&(user, _)| user).chain(waiting[at].iter().copied()) {
                let back = flow.nodes[user].control() == Some(Control::Merge)
                    && flow.nodes[at].control() == Some(Control::NextIteration);
                if seen[user] != root && !back {
                    seen[user] = root;
                    stack.push(user);
                }
            }
        }
        for &reader in readers.iter().filter(|&&r| seen[r] != root) {
            let Some(source) = variable[reader] else { continue };
            let late = consumers[reader].iter().filter(|&&(user, _)| seen[user] == root && variable[user].is_none());
            changes.extend(late.map(|&(user, input)| (user, input, source, reader)));
        }
    }
    for (user, input, source, reader) in changes {
        flow.nodes[user].inputs[input] = source;
        if !flow.nodes[reader].controls.is_empty() && !flow.nodes[user].controls.contains(&reader) {
            flow.nodes[user].controls.push(reader);
        }
    }
}

/// The variable's own output behind a reference that assignments pass on.
fn root(flow: &Dataflow, mut source: Source) -> Option<Source> {
    for _ in 0..flow.nodes.len() {
        let Source::Node(at, output) = source else { return None };
        let node = &flow.nodes[at];
        if !node.gives_ref(output) {
            return None;
        }
        match (&node.action, node.inputs.first()) {
            (Action::Op(op), Some(&next)) if op.takes_ref(0) && node.control().is_none() => source = next,
            (_, None) => return Some(source),
            _ => return None,
        }
    }
    None
}
