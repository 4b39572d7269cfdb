//! What a node that is made within a context uses from outside is routed in by Switch or Enter nodes.

use super::context::{
    Kind, backprop, containing_while, control_pivot, enter, exit, is_constant_enter, is_exit, is_while, is_within, outer,
    output_context, while_context_of, with,
};
use super::primitive;
use crate::error::{Result, bail};
use crate::graph::{ContextId, Graph, Operation, Output};

/// Called for each new node: checks that its inputs may be used where it stands, and adds it to its context.
pub(super) fn hook(graph: &Graph, op: Operation) -> Result<()> {
    for input in graph.inputs(op) {
        check_input(graph, op, input.op)?;
    }
    let Some(context) = graph.op_context(op) else { return Ok(()) };
    // Nodes that are made for a node stand in a scope of its name; a constant opens none.
    let _scope = match graph.op_type(op).as_str() {
        "Const" => None,
        _ => Some(graph.name_scope(&format!("{}/", graph.op_name(op)))?),
    };
    add_op(graph, context, op)
}

/// Checks that a node may use the outputs of another: those of its own loop or of a loop around it, and in a gradient
/// those of the loop that it runs back through.
///
/// # Errors
/// `InvalidArgument` for any other loop.
pub(crate) fn check_input(graph: &Graph, op: Operation, input: Operation) -> Result<()> {
    let Some(input_context) = output_context(graph, input) else { return Ok(()) };
    let own = graph.op_context(op);
    if own == Some(input_context) {
        return Ok(());
    }
    let loop_of_op = containing_while(graph, own);
    let loop_of_input = containing_while(graph, Some(input_context));
    let forward = |context: ContextId| backprop(graph, context).map(|b| b.forward_context());
    let valid = match (loop_of_op, loop_of_input) {
        (_, None) => true,
        (None, Some(_)) => matches!(graph.op_type(op).as_str(), "Enter" | "RefEnter" | "Switch" | "RefSwitch"),
        (Some(op_loop), Some(input_loop)) => {
            let op_forward = forward(op_loop);
            let input_forward = forward(input_loop);
            is_within(graph, Some(op_loop), Some(input_loop))
                || op_forward.is_some_and(|f| is_within(graph, Some(f), Some(input_loop)))
                || op_forward.is_some_and(|f| outer(graph, input_loop) == Some(f))
                || input_forward == Some(op_loop)
                || input_forward.and_then(forward) == Some(op_loop)
        }
    };
    if valid {
        return Ok(());
    }
    let (name, input_name) = (graph.op_name(op), graph.op_name(input));
    match loop_of_op {
        Some(_) => {
            bail!(InvalidArgument, "Cannot use '{input_name}' as input to '{name}' because they are in different while loops.")
        }
        None => {
            bail!(InvalidArgument, "Cannot use '{input_name}' as input to '{name}' because '{input_name}' is in a while loop.")
        }
    }
}

/// The tensor by which a context knows a value, made where it has not been seen.
///
/// # Errors
/// As the nodes that are made.
pub(crate) fn add_value(graph: &Graph, id: ContextId, value: Output) -> Result<Output> {
    match with(graph, id, |c| match c.kind {
        Kind::Cond { pred, branch, .. } => Some((pred, branch)),
        Kind::While(_) => None,
    }) {
        Some((pred, branch)) => add_value_to_branch(graph, id, value, pred, branch),
        None => add_value_to_loop(graph, id, value),
    }
}

fn add_value_to_branch(graph: &Graph, id: ContextId, value: Output, pred: Output, branch: usize) -> Result<Output> {
    let (known, around) =
        with(graph, id, |c| (c.values.contains(&value).then(|| c.external.get(&value).copied().unwrap_or(value)), c.outer));
    if let Some(known) = known {
        return Ok(known);
    }
    let mut result = value;
    with(graph, id, |c| c.values.insert(value));
    if let Some(around) = around {
        result = add_value(graph, around, value)?;
        with(graph, id, |c| {
            c.values.insert(result);
            c.external.insert(result, result);
        });
    }
    {
        let _none = graph.cleared_control_dependencies();
        result = primitive::switch_ref_or_tensor(graph, result, pred, "Switch")?[branch];
    }
    graph.prevent_fetching(result.op)?;
    graph.set_op_context(result.op, Some(id))?;
    mark_seen(graph, id, &[result]);
    with(graph, id, |c| c.external.insert(value, result));
    Ok(result)
}

fn add_value_to_loop(graph: &Graph, id: ContextId, value: Output) -> Result<Output> {
    let own = graph.op_context(value.op) == Some(id);
    let (seen, external, around) = with(graph, id, |c| (c.values.contains(&value), c.external.get(&value).copied(), c.outer));
    if seen || own {
        return Ok(external.unwrap_or(value));
    }
    with(graph, id, |c| c.values.insert(value));
    if let Some(real) = forward_value(graph, value)? {
        with(graph, id, |c| c.external.insert(value, real));
        return Ok(real);
    }
    let mut result = value;
    if let Some(around) = around {
        result = add_value(graph, around, value)?;
    }
    let (name, parallel_iterations) = loop_attributes(graph, id);
    let entered = {
        let _none = graph.cleared_control_dependencies();
        let options = primitive::EnterOptions {
            frame_name: &name,
            is_constant: true,
            parallel_iterations,
            use_input_shape: true,
            name: None,
        };
        let entered = primitive::enter(graph, result, &options)?;
        graph.prevent_feeding(entered.op)?;
        entered
    };
    fix_enters(graph, id, &[entered])?;
    with(graph, id, |c| {
        c.values.insert(entered);
        c.external.insert(value, entered);
    });
    Ok(entered)
}

/// Where the current context is in the loop of a gradient and the value in the loop that it runs back through: the
/// value's history.
fn forward_value(graph: &Graph, value: Output) -> Result<Option<Output>> {
    let Some(current) = containing_while(graph, graph.current_context()) else { return Ok(None) };
    let Some(backprop) = backprop(graph, current) else { return Ok(None) };
    let mut forward = while_context_of(graph, value.op);
    if is_exit(graph, value.op) {
        forward = containing_while(graph, forward.and_then(|f| outer(graph, f)));
    }
    if forward == Some(backprop.forward_context()) { backprop.real_value(graph, value).map(Some) } else { Ok(None) }
}

pub(super) fn loop_attributes(graph: &Graph, id: ContextId) -> (String, i64) {
    with(graph, id, |c| match &c.kind {
        Kind::While(data) => (c.name.clone(), data.parallel_iterations),
        Kind::Cond { .. } => (c.name.clone(), 10),
    })
}

/// Gives Enters their loop as context, and those control inputs of open scopes that are made in a context around.
pub(super) fn fix_enters(graph: &Graph, id: ContextId, enters: &[Output]) -> Result<()> {
    let around = outer(graph, id);
    let loop_around = containing_while(graph, around);
    for &entered in enters {
        let input = graph.input(entered.op, 0)?;
        let mut kept = Vec::new();
        for control in graph.control_dependencies_for(&[input])? {
            let context = output_context(graph, control);
            let mut at = around;
            let keep = loop {
                if at == context {
                    break true;
                }
                match at {
                    Some(inner) if at != loop_around => at = outer(graph, inner),
                    _ => break false,
                }
            };
            if keep {
                kept.push(control);
            }
        }
        graph.set_op_context(entered.op, Some(id))?;
        graph.add_control_inputs(entered.op, &kept)?;
        graph.note_made_in_scopes(entered.op);
    }
    Ok(())
}

fn mark_seen(graph: &Graph, id: ContextId, outputs: &[Output]) {
    let mut at = Some(id);
    while let Some(context) = at {
        at = with(graph, context, |c| {
            c.values.extend(outputs);
            c.outer
        });
    }
}

fn add_op(graph: &Graph, id: ContextId, op: Operation) -> Result<()> {
    if !is_while(graph, id) {
        return add_op_to_branch(graph, id, op);
    }
    // A shape that a gradient needs is computed in the forward loop, so that the shape and not the tensor is kept.
    if matches!(graph.op_type(op).as_str(), "Shape" | "Size" | "Rank")
        && let Some(current) = containing_while(graph, graph.current_context())
        && let Some(backprop) = backprop(graph, current)
    {
        let input = graph.input(op, 0)?.op;
        if while_context_of(graph, input) == Some(backprop.forward_context()) {
            let context = graph.op_context(input);
            graph.set_op_context(op, context)?;
            return match context {
                Some(context) if is_while(graph, context) => add_op_to_loop(graph, context, op),
                Some(context) => add_op_to_branch(graph, context, op),
                None => Ok(()),
            };
        }
    }
    add_op_to_loop(graph, id, op)
}

fn is_call(graph: &Graph, op: Operation) -> bool {
    let op_type = graph.op_type(op);
    op_type == "SymbolicGradient" || graph.is_function(&op_type)
}

fn add_op_to_branch(graph: &Graph, id: ContextId, op: Operation) -> Result<()> {
    let pivot = control_pivot(graph, id);
    let inputs = graph.inputs(op);
    if inputs.is_empty() {
        remove_external_controls(graph, id, op)?;
        let controls = graph.control_inputs(op);
        if !controls.iter().any(|&c| is_within(graph, graph.op_context(c), Some(id))) {
            graph.add_control_inputs(op, &pivot.map(|p| p.op).into_iter().collect::<Vec<_>>())?;
        }
    } else {
        let is_merge = graph.op_type(op) == "Merge";
        for (index, &input) in inputs.iter().enumerate() {
            // A back edge of a loop whose Merge is added before its NextIteration.
            if is_merge && graph.op_type(input.op) == "NextIteration" {
                continue;
            }
            let real = add_value(graph, id, input)?;
            if real != input {
                graph.update_input(op, index, real)?;
            }
        }
        remove_external_controls(graph, id, op)?;
        if let (true, Some(pivot)) = (is_call(graph, op), pivot) {
            graph.add_control_inputs(op, &[pivot.op])?;
        }
    }
    mark_seen(graph, id, &graph.outputs(op));
    if outer(graph, id).is_some() || !is_exit(graph, op) {
        graph.prevent_fetching(op)?;
    }
    Ok(())
}

fn add_op_to_loop(graph: &Graph, id: ContextId, op: Operation) -> Result<()> {
    let pivot = |id| control_pivot(graph, id).map(|p| p.op);
    let add_pivot = |op| match pivot(id) {
        Some(pivot) => graph.add_control_inputs(op, &[pivot]),
        None => Ok(()),
    };
    if matches!(graph.op_type(op).as_str(), "PartitionedCall" | "StatefulPartitionedCall") {
        add_pivot(op)?;
    }
    let inputs = graph.inputs(op);
    let external;
    if inputs.is_empty() {
        let internal;
        (internal, external) = remove_external_controls(graph, id, op)?;
        if internal.is_empty() {
            add_pivot(op)?;
        }
    } else {
        for (index, &input) in inputs.iter().enumerate() {
            let real = add_value(graph, id, input)?;
            if real != input {
                graph.update_input(op, index, real)?;
            }
        }
        external = remove_external_controls(graph, id, op)?.1;
        if graph.control_inputs(op).is_empty()
            && (is_call(graph, op) || graph.inputs(op).iter().all(|i| is_constant_enter(graph, i.op)))
        {
            add_pivot(op)?;
        }
    }
    let outputs = graph.outputs(op);
    with(graph, id, |c| c.values.extend(&outputs));
    // What the node waited for outside is brought in as data.
    if !external.is_empty() {
        let _none = graph.cleared_control_dependencies();
        enter(graph, id);
        let mut brought = Vec::new();
        let made: Result<()> = external.iter().filter(|&&e| graph.num_outputs(e) > 0).try_for_each(|&e| {
            brought.push(primitive::identity(graph, e.output(0))?.op);
            Ok(())
        });
        exit(graph, id);
        made?;
        graph.add_control_inputs(op, &brought)?;
    }
    if outer(graph, id).is_some() || !is_exit(graph, op) {
        graph.prevent_fetching(op)?;
        graph.prevent_feeding(op)?;
    }
    Ok(())
}

/// Takes off the control inputs that are not made in the same loop. Returns those kept and those taken off.
fn remove_external_controls(graph: &Graph, id: ContextId, op: Operation) -> Result<(Vec<Operation>, Vec<Operation>)> {
    let controls = graph.control_inputs(op);
    let Some(own) = containing_while(graph, Some(id)) else { return Ok((controls, Vec::new())) };
    let is_internal = |&c: &Operation| containing_while(graph, output_context(graph, c)) == Some(own);
    let (internal, external): (Vec<_>, Vec<_>) = controls.into_iter().partition(is_internal);
    if !external.is_empty() {
        graph.set_control_inputs(op, &internal)?;
    }
    Ok((internal, external))
}
