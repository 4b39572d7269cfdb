//! What the nodes of a run gave, against what was inferred of them.

use metagraph::{Graph, Operation, Output, Result, RunMetadata, RunOptions, Session, Tensor};

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
    let mut differences = Vec::new();
    for (output, given) in told.unlike_inferred(graph) {
        let (Ok(dtype), Ok(shape)) = (graph.dtype(output), graph.shape(output)) else { continue };
        // TensorFlow lets variables take values of another shape.
        let op = graph.op_type(output.op);
        if op != "ReadVariableOp" || dtype != given.dtype {
            differences.push(format!("{} ({op}): inferred {dtype}{shape}, is {given}", graph.tensor_name(output)));
        }
    }
    differences
}
