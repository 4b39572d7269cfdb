//! Gradients of the ops on arrays of tensors: what was read is written to the array of gradients, and the other way round.

use super::builder::TensorArray;
use crate::error::{Result, bail};
use crate::graph::{Gradient, Grads, Graph, Operation, Output, attr};

type Gradients = Result<Vec<Option<Gradient>>>;

/// The gradient computation that a node belongs to: its name up to the last part that begins with `gradients`. Each
/// computation has its own array of gradients, so that two of them that run in one step don't add up.
fn source(g: &Graph, gradient: Output) -> Result<String> {
    let name = g.tensor_name(gradient);
    let parts: Vec<&str> = name.split('/').collect();
    match parts.iter().rposition(|p| p.starts_with("gradients")) {
        Some(last) => Ok(parts[..=last].join("/")),
        None => bail!(
            InvalidArgument,
            "Expected op/tensor name to start with gradients (excluding scope), got: {name}. This means that a tf.gradients op \
             with this op in its dependency path has a custom name that does not start with 'gradients'. Please make sure all \
             calls to tf.gradients that have non-empty `name` arguments use names that start with 'gradients'."
        ),
    }
}

fn array(g: &Graph, op: Operation, dtype: &str, flow: Output, source: &str) -> Result<TensorArray> {
    let dtype = attr::dtype(&g.get_attr(op, dtype)?)?;
    TensorArray::from_handle(g, dtype, g.input(op, 0)?, flow)?.grad(g, source, Some(flow))
}

/// The array of gradients of an op that took elements out.
fn of_taken(g: &Graph, op: Operation, gradient: Output, flow: usize) -> Result<TensorArray> {
    let source = source(g, gradient)?;
    array(g, op, "dtype", g.input(op, flow)?, &source)
}

/// The array of gradients of an op that put elements in, and the flow of the gradient behind the op itself.
fn of_put(g: &Graph, op: Operation, flow: Output) -> Result<(TensorArray, Output)> {
    let source = source(g, flow)?;
    let flow_out = g.named("flow_out").identity(op.output(0))?;
    let flow = {
        let _after = g.control_dependencies(&[flow_out.op])?;
        g.named("write_barrier").identity(flow)?
    };
    Ok((array(g, op, "T", flow, &source)?, flow))
}

pub(super) fn read(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let gradient = grads.dense(g, 0)?;
    let written = of_taken(g, op, gradient, 2)?.write(g, g.input(op, 1)?, gradient)?;
    Ok(vec![None, None, Some(written.flow().into())])
}

pub(super) fn write(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (array, flow) = of_put(g, op, grads.dense(g, 0)?)?;
    let value = array.read(g, g.input(op, 1)?)?;
    Ok(vec![None, None, Some(value.into()), Some(flow.into())])
}

pub(super) fn gather(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let gradient = grads.dense(g, 0)?;
    let written = of_taken(g, op, gradient, 2)?.scatter(g, g.input(op, 1)?, gradient)?;
    Ok(vec![None, None, Some(written.flow().into())])
}

pub(super) fn scatter(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (array, flow) = of_put(g, op, grads.dense(g, 0)?)?;
    let value = array.gather(g, g.input(op, 1)?)?;
    Ok(vec![None, None, Some(value.into()), Some(flow.into())])
}

pub(super) fn concat(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let gradient = grads.dense(g, 0)?;
    let written = of_taken(g, op, gradient, 1)?.split(g, gradient, op.output(1))?;
    Ok(vec![None, Some(written.flow().into())])
}

pub(super) fn split(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (array, flow) = of_put(g, op, grads.dense(g, 0)?)?;
    let value = array.concat(g)?;
    Ok(vec![None, Some(value.into()), None, Some(flow.into())])
}
