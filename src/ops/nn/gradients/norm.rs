//! Gradients of normalizations.

use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::python::{Gradients, add, cast, first_of, mul, node, node_like, some, sub};
use crate::tensor::DType;

pub fn lrn(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = [grads.dense(g, 0)?, g.input(op, 0)?, op.output(0)];
    first_of(node_like(g, "LRNGrad", &inputs, op, &["depth_radius", "bias", "alpha", "beta"])?, 1)
}

pub fn global(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = [g.input(op, 0)?, g.input(op, 1)?, g.input(op, 2)?, g.input(op, 4)?, grads.dense(g, 0)?];
    let mut builder = g.op("BatchNormWithGlobalNormalizationGrad");
    for input in inputs {
        builder = builder.input(input);
    }
    for attr in ["variance_epsilon", "scale_after_normalization"] {
        builder = builder.attr(attr, g.get_attr(op, attr)?);
    }
    Ok(builder.outputs()?.into_iter().map(some).collect())
}

pub fn fused(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    fused_by(g, op, grads, "FusedBatchNormGrad", false)
}

pub fn fused_v2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    fused_by(g, op, grads, "FusedBatchNormGradV2", false)
}

pub fn fused_v3(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    fused_by(g, op, grads, "FusedBatchNormGradV3", true)
}

fn fused_by(g: &Graph, op: Operation, grads: &Grads, kind: &str, has_third: bool) -> Gradients {
    let (mut x, scale) = (g.input(op, 0)?, g.input(op, 1)?);
    let mut gradient = grads.dense(g, 0)?;
    let training = crate::graph::attr::boolean(&g.get_attr(op, "is_training")?)?;
    let format = g.string_attr(op, "data_format")?;
    let permuted = |x: Output, perm: &[i32]| -> Result<Output> { g.transpose(x, Some(Arg::from(perm))) };
    let (mut own_format, mut back): (&str, Option<&[i32]>) = (&format, None);
    let statistics = if training {
        (op.output(3), op.output(4))
    } else {
        let orders: Option<(&[i32], &[i32])> = match format.as_str() {
            "NCHW" => Some((&[0, 2, 3, 1], &[0, 3, 1, 2])),
            "NCDHW" => Some((&[0, 2, 3, 4, 1], &[0, 4, 1, 2, 3])),
            _ => None,
        };
        if let Some((to_last, to_first)) = orders {
            (x, gradient) = (permuted(x, to_last)?, permuted(gradient, to_last)?);
            back = Some(to_first);
        }
        own_format = if matches!(format.as_str(), "NCHW" | "NHWC") { "NHWC" } else { "NDHWC" };
        (g.input(op, 3)?, g.input(op, 4)?)
    };
    let mut builder = g.op(kind).input(gradient).input(x).input(scale).input(statistics.0).input(statistics.1);
    if has_third {
        builder = builder.input(op.output(5));
    }
    let builder = builder.attr("epsilon", g.get_attr(op, "epsilon")?).attr("data_format", own_format);
    let outputs = builder.attr("is_training", training).outputs()?;
    let mut dx = outputs[0];
    if let Some(order) = back {
        dx = permuted(dx, order)?;
    }
    Ok(vec![some(dx), some(outputs[1]), some(outputs[2]), None, None])
}

/// The gradient of the backward op: of the same numbers written as elementary operations.
pub fn fused_grad(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    // Apart from what they were computed from, so that a path outside the op doesn't count.
    let own = inputs[..3].iter().map(|&x| node(g, "Identity", &[x])).collect::<Result<Vec<_>>>()?;
    let epsilon = crate::graph::attr::float(&g.get_attr(op, "epsilon")?)?;
    let format = g.string_attr(op, "data_format")?;
    let training = crate::graph::attr::boolean(&g.get_attr(op, "is_training")?)?;
    let results = elementary(g, &own, (inputs[3], inputs[4]), epsilon, &format, training)?;
    let given = (0..3).map(|i| grads.dense(g, i)).collect::<Result<Vec<_>>>()?;
    let differentiate = g.read().differentiate;
    let mut found: Vec<_> = differentiate(g, &results, &own, &given)?.into_iter().map(some).collect();
    found.resize(inputs.len(), None);
    Ok(found)
}

/// The gradients by x, scale and offset of a batch normalization.
fn elementary(
    g: &Graph,
    inputs: &[Output],
    population: (Output, Output),
    epsilon: f32,
    format: &str,
    training: bool,
) -> Result<Vec<Output>> {
    let &[grad_y, x, scale] = inputs else { return Ok(Vec::new()) };
    let dtype = g.dtype(x)?;
    let (x, grad_y) = match dtype {
        DType::Half | DType::Bfloat16 => (cast(g, x, DType::Float)?, cast(g, grad_y, DType::Float)?),
        _ => (x, grad_y),
    };
    let rank = if format.len() == 5 { 5 } else { 4 };
    let first = format.starts_with("NC");
    let axes: Vec<i32> = if first { std::iter::once(0).chain(2..rank).collect() } else { (0..rank - 1).collect() };
    let along = |y: Output| -> Result<Output> {
        if !first {
            return Ok(y);
        }
        let mut shape = vec![Arg::from(1i32); rank as usize];
        shape[1] = g.size(y)?.into();
        g.reshape(y, shape)
    };
    let scale = along(scale)?;
    let over = |op: &str, y: Output, keep: bool| -> Result<Output> {
        g.call(op).arg(y).arg(axes.clone()).attr("keep_dims", keep).output()
    };
    let inverse = |variance: Output| -> Result<Output> { node(g, "Rsqrt", &[add(g, variance, epsilon)?]) };
    if !training {
        let (mean, variance) = (along(population.0)?, along(population.1)?);
        let offset = over("Sum", grad_y, false)?;
        let inverse = inverse(variance)?;
        let centred = mul(g, grad_y, sub(g, x, mean)?)?;
        let grad_scale = over("Sum", mul(g, centred, inverse)?, false)?;
        let grad_x = mul(g, mul(g, grad_y, scale)?, inverse)?;
        return Ok(vec![cast(g, grad_x, dtype)?, grad_scale, offset]);
    }
    let mean_grad = over("Mean", grad_y, first)?;
    let mean = over("Mean", x, first)?;
    let squares = node(g, "SquaredDifference", &[x, node(g, "StopGradient", &[mean])?])?;
    let variance = over("Mean", squares, first)?;
    let (grad_offset, x_offset) = (sub(g, grad_y, mean_grad)?, sub(g, x, mean)?);
    let product = over("Mean", mul(g, grad_y, x_offset)?, first)?;
    let share = node(g, "Reciprocal", &[add(g, variance, epsilon)?])?;
    let along_x = mul(g, mul(g, share, product)?, x_offset)?;
    let grad_x = mul(g, mul(g, scale, inverse(variance)?)?, sub(g, grad_offset, along_x)?)?;
    let mut grad_scale = mul(g, inverse(variance)?, over("Sum", mul(g, grad_y, x_offset)?, first)?)?;
    if first {
        grad_scale = g.squeeze(grad_scale, &[])?;
    }
    Ok(vec![cast(g, grad_x, dtype)?, grad_scale, over("Sum", grad_y, false)?])
}
