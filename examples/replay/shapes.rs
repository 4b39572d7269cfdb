//! What the nodes of a run gave, against what was inferred of them.

use metagraph::{DType, Graph, Operation, Output, Result, RunMetadata, RunOptions, Session, Tensor};
use std::collections::HashSet;

/// Runs, and with `shapes` fails where a node gives another dtype or shape than was inferred.
pub fn run(
    session: &Session,
    fetches: &[Output],
    targets: &[Operation],
    feeds: &[(Output, &Tensor)],
    shapes: bool,
) -> (Result<Vec<Tensor>>, Vec<String>) {
    if !shapes {
        return (session.run_with_targets(fetches, targets, feeds), Vec::new());
    }
    match session.run_with_options(fetches, targets, feeds, &RunOptions::described()) {
        Ok((values, told)) => (Ok(values), differences(session.graph(), &told)),
        Err(error) => (Err(error), Vec::new()),
    }
}

/// Where a node gave another dtype or shape than was inferred: node, op, inferred, actual.
fn differences(graph: &Graph, told: &RunMetadata) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut differences = Vec::new();
    for event in &told.events {
        let node = &told.nodes[event.node];
        // What a rewrite made bears a node's name and an op of its own.
        let Ok(op) = graph.get_operation_by_name(&node.name) else { continue };
        if graph.op_type(op) != node.op {
            continue;
        }
        for (output, given) in graph.outputs(op).into_iter().zip(&event.outputs) {
            let Some(given) = given else { continue };
            let (Ok(dtype), Ok(shape)) = (graph.dtype(output), graph.shape(output)) else { continue };
            // TensorFlow says of handles to arrays and stacks that they have two elements, and lets variables take values of
            // another shape.
            let free = given.dtype == DType::Resource || node.op == "ReadVariableOp";
            let fits = free || shape.accepts(&given.dims);
            if (dtype != given.dtype || !fits) && seen.insert(output) {
                differences.push(format!("{} ({}): inferred {dtype}{shape}, is {given}", graph.tensor_name(output), node.op));
            }
        }
    }
    differences
}
