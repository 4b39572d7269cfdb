//! Gradients of normalizations.

use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::python::{Gradients, first_of, node_like, some};

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
