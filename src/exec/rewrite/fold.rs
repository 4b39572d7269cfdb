//! Computes what depends on constants alone.

use super::super::dataflow::{Action, Dataflow, Source};
use super::super::frames;
use super::MOST_WAITS;
use crate::graph::op::{KernelCtx, Value};
use crate::graph::run_pure;
use crate::tensor::Tensor;
use foldhash::{HashMap, HashMapExt};
use smallvec::SmallVec;
use std::collections::hash_map::Entry;

/// Larger results are computed at each step, rather than held in the plan.
const LARGEST: usize = 1 << 20;

/// Replaces pure nodes with constant inputs by their values. In a loop or on a branch, a constant waits for a node
/// there; so then does the result.
pub(super) fn fold_constants(flow: &mut Dataflow) {
    let Ok(order) = frames::topological(flow) else { return };
    let mut values: HashMap<Source, Tensor> = HashMap::new();
    // Whether each node's outputs are among the values, or will be once they are asked for.
    let mut is_constant = vec![false; flow.nodes.len()];
    for at in order {
        let node = &flow.nodes[at];
        let Some(kernel) = node.kernel().filter(|_| node.is_pure()) else { continue };
        if node.is_op(&["Const"]) {
            is_constant[at] = true;
            continue;
        }
        let foldable = |s: &Source| matches!(s, Source::Node(from, _) if is_constant[*from]);
        if node.inputs.is_empty() || !node.inputs.iter().all(foldable) {
            continue;
        }
        for &source in &node.inputs {
            if let Source::Node(from, 0) = source
                && flow.nodes[from].is_op(&["Const"])
                && let Entry::Vacant(entry) = values.entry(source)
                && let Ok(value) = flow.nodes[from].info.tensor("value")
            {
                entry.insert(value);
            }
        }
        let Some(inputs) = node.inputs.iter().map(|s| values.get(s).cloned()).collect::<Option<Vec<Tensor>>>() else { continue };
        let inputs = inputs.into_iter().map(Value::Tensor).collect();
        // A node that fails does so when it runs, if it runs.
        let Ok(outputs) = run_pure(&node.info, kernel, inputs) else { continue };
        let tensors: Option<Vec<Tensor>> =
            outputs.into_iter().map(|o| if let Value::Tensor(t) = o { Some(t) } else { None }).collect();
        let Some(tensors) = tensors.filter(|t| t.iter().map(Tensor::byte_size).sum::<usize>() <= LARGEST) else { continue };
        // The result waits for what its inputs wait for; where these are too many, for the inputs.
        let mut controls = node.controls.clone();
        for source in &node.inputs {
            if let &Source::Node(from, _) = source {
                let waits = &flow.nodes[from].controls;
                let few = waits.len() <= MOST_WAITS;
                let new: SmallVec<[usize; 4]> = waits.iter().copied().filter(|wait| few && !controls.contains(wait)).collect();
                if few && controls.len() + new.len() <= MOST_WAITS.max(controls.len()) {
                    controls.extend(new);
                } else if !controls.contains(&from) {
                    controls.push(from);
                }
            }
        }
        for (output, tensor) in tensors.iter().enumerate() {
            values.insert(Source::Node(at, output), tensor.clone());
        }
        is_constant[at] = true;
        let node = &mut flow.nodes[at];
        node.inputs.clear();
        node.controls = controls;
        node.action = Action::Made(Box::new(move |ctx: &mut KernelCtx| {
            for (output, tensor) in tensors.iter().enumerate() {
                ctx.set(output, tensor.clone())?;
            }
            Ok(())
        }));
    }
}
