//! Initial values that are made of other variables: those take their initial values where they have none yet.

use super::variable::{Variable, is_variable};
use crate::error::{Result, bail};
use crate::graph::op::ArgType;
use crate::graph::{Graph, Operation, Output, keys};
use std::collections::HashMap;

/// The value of a variable if it has one, and `initial` otherwise.
pub(super) fn initialized_value(g: &Graph, variable: &Variable, initial: Output) -> Result<Output> {
    let _outside = g.cleared_control_dependencies();
    let initialized = variable.is_initialized()?;
    g.cond(initialized, |_| variable.read_value(), |_| Ok(initial))
}

/// The initial value of the variable `name`, with the nodes that depend on other variables made anew, so that they take
/// those variables' initial values where they have none yet.
pub(super) fn guarded(g: &Graph, name: &str, initial: Output) -> Result<Output> {
    if depends_on_no_variable(g, initial) {
        return Ok(initial);
    }
    let mut known = HashMap::new();
    tensor(g, name, initial, &mut known)
}

/// True where no variable stands before the tensor, or where its nodes form a cycle.
fn depends_on_no_variable(g: &Graph, initial: Output) -> bool {
    let mut state: HashMap<Operation, bool> = HashMap::new();
    let mut stack = vec![(initial.op, false)];
    let mut found = false;
    while let Some((op, leaving)) = stack.pop() {
        if leaving {
            state.insert(op, true);
            continue;
        }
        match state.get(&op) {
            Some(true) => continue,
            Some(false) => return true,
            None => {}
        }
        state.insert(op, false);
        stack.push((op, true));
        found |= is_variable(&g.op_type(op));
        let before = g.inputs(op).into_iter().map(|i| i.op).chain(g.control_inputs(op));
        for input in before {
            match state.get(&input) {
                Some(true) => {}
                Some(false) => return true,
                None => stack.push((input, false)),
            }
        }
    }
    !found
}

fn tensor(g: &Graph, name: &str, output: Output, known: &mut HashMap<Operation, Operation>) -> Result<Output> {
    let op = match known.get(&output.op) {
        Some(op) => *op,
        None => {
            let op = operation(g, name, output.op, known)?;
            known.insert(output.op, op);
            op
        }
    };
    Ok(op.output(output.index as usize))
}

fn operation(g: &Graph, name: &str, op: Operation, known: &mut HashMap<Operation, Operation>) -> Result<Operation> {
    let op_type = g.op_type(op);
    if matches!(&*op_type, "IsVariableInitialized" | "VarIsInitializedOp" | "ReadVariableOp" | "If") {
        return Ok(op);
    }
    if is_variable(&op_type) {
        let node_name = g.op_name(op);
        let of_name = |collection: &str| g.variables_in(collection, None).into_iter().find(|v| v.op_name() == node_name);
        return match of_name(keys::GLOBAL_VARIABLES).or_else(|| of_name(keys::LOCAL_VARIABLES)) {
            Some(variable) => Ok(variable.initialized_value()?.op),
            None => Ok(op),
        };
    }
    let inputs = g.inputs(op);
    let mut changed = Vec::with_capacity(inputs.len());
    for &input in &inputs {
        changed.push(tensor(g, name, input, known)?);
    }
    if changed == inputs {
        return Ok(op);
    }
    let op_type = if op_type == "RefSwitch" { "Switch" } else { &*op_type };
    made_anew(g, op, op_type, &changed, &format!("{}_{name}", g.op_name(op)).replace(':', "_"))
}

/// A node like another one, with other inputs.
fn made_anew(g: &Graph, op: Operation, op_type: &str, inputs: &[Output], name: &str) -> Result<Operation> {
    let Some(record) = crate::ops::lookup(op_type) else { bail!(NotFound, "Op type not registered '{op_type}'") };
    let attrs = g.node_def(op)?.attr;
    let mut builder = g.op(op_type).name(name);
    let mut rest = inputs;
    for argument in &record.signature().inputs {
        let count = record.signature().arg_types(argument, &attrs)?.len().min(rest.len());
        let (own, others) = rest.split_at(count);
        rest = others;
        let is_list = argument.number.is_some() || matches!(argument.dtype, ArgType::List(_));
        builder = match own {
            [one] if !is_list => builder.input(*one),
            many => builder.input_list(many),
        };
    }
    for (name, value) in attrs {
        builder = builder.attr(&name, value);
    }
    builder.finish()
}
