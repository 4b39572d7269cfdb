//! Gradients of convolutions and of their gradients.

use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output};
use crate::ops::nn::python::{Gradients, node_like, some};
use crate::tensor::DType;

const ATTRS_2D: &[&str] = &["dilations", "strides", "padding", "explicit_paddings", "use_cudnn_on_gpu", "data_format"];
const ATTRS_DEPTHWISE: &[&str] = &["dilations", "strides", "padding", "explicit_paddings", "data_format"];
const ATTRS_3D: &[&str] = &["dilations", "strides", "padding", "data_format"];
const ATTRS_DILATION: &[&str] = &["strides", "rates", "padding"];

/// The ops of a kind of convolution.
struct Kind {
    forward: &'static str,
    input: &'static str,
    filter: &'static str,
    attrs: &'static [&'static str],
}

const CONV_2D: Kind = Kind { forward: "Conv2D", input: "Conv2DBackpropInput", filter: "Conv2DBackpropFilter", attrs: ATTRS_2D };
const DEPTHWISE: Kind = Kind {
    forward: "DepthwiseConv2dNative",
    input: "DepthwiseConv2dNativeBackpropInput",
    filter: "DepthwiseConv2dNativeBackpropFilter",
    attrs: ATTRS_DEPTHWISE,
};
const CONV_3D: Kind =
    Kind { forward: "Conv3D", input: "Conv3DBackpropInputV2", filter: "Conv3DBackpropFilterV2", attrs: ATTRS_3D };

/// The gradients of input and filter, given their shapes by one node.
fn forward(g: &Graph, op: Operation, grads: &Grads, kind: &Kind) -> Gradients {
    let (input, filter) = (g.input(op, 0)?, g.input(op, 1)?);
    let shapes = g.shape_n(&[input, filter], DType::Int32)?;
    let grad = grads.dense(g, 0)?;
    Ok(vec![
        some(node_like(g, kind.input, &[shapes[0], filter, grad], op, kind.attrs)?),
        some(node_like(g, kind.filter, &[input, shapes[1], grad], op, kind.attrs)?),
    ])
}

/// The gradients of the filter and the output's gradient, of the op that gives the gradient of the input.
fn of_input(g: &Graph, op: Operation, grads: &Grads, kind: &Kind) -> Gradients {
    let (grad, filter) = (grads.dense(g, 0)?, g.input(op, 1)?);
    let shape = g.shape_tensor(filter)?;
    let filter_gradient = node_like(g, kind.filter, &[grad, shape, g.input(op, 2)?], op, kind.attrs)?;
    let output_gradient = node_like(g, kind.forward, &[grad, filter], op, kind.attrs)?;
    Ok(vec![None, some(filter_gradient), some(output_gradient)])
}

/// The gradients of the input and the output's gradient, of the op that gives the gradient of the filter.
fn of_filter(g: &Graph, op: Operation, grads: &Grads, kind: &Kind) -> Gradients {
    let (grad, input) = (grads.dense(g, 0)?, g.input(op, 0)?);
    let shape = g.shape_tensor(input)?;
    let input_gradient = node_like(g, kind.input, &[shape, grad, g.input(op, 2)?], op, kind.attrs)?;
    let output_gradient = node_like(g, kind.forward, &[input, grad], op, kind.attrs)?;
    Ok(vec![some(input_gradient), None, some(output_gradient)])
}

pub fn conv2d(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    forward(g, op, grads, &CONV_2D)
}

pub fn conv2d_backprop_input(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, &CONV_2D)
}

pub fn conv2d_backprop_filter(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_filter(g, op, grads, &CONV_2D)
}

pub fn conv3d(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    forward(g, op, grads, &CONV_3D)
}

pub fn conv3d_backprop_input(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, &CONV_3D)
}

pub fn conv3d_backprop_filter(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_filter(g, op, grads, &CONV_3D)
}

pub fn depthwise(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (input, filter, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let shape = g.shape_tensor(input)?;
    let input_gradient = node_like(g, DEPTHWISE.input, &[shape, filter, grad], op, ATTRS_DEPTHWISE)?;
    let shape = g.shape_tensor(filter)?;
    let filter_gradient = node_like(g, DEPTHWISE.filter, &[input, shape, grad], op, ATTRS_DEPTHWISE)?;
    Ok(vec![some(input_gradient), some(filter_gradient)])
}

pub fn depthwise_backprop_input(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_input(g, op, grads, &DEPTHWISE)
}

pub fn depthwise_backprop_filter(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    of_filter(g, op, grads, &DEPTHWISE)
}

pub fn dilation2d(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = [g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?];
    let gradient = |kind: &str| -> Result<Output> { node_like(g, kind, &inputs, op, ATTRS_DILATION) };
    Ok(vec![some(gradient("Dilation2DBackpropInput")?), some(gradient("Dilation2DBackpropFilter")?)])
}
