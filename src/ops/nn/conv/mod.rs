//! Convolutions of two and three dimensions and their gradients.

mod depthwise;
mod geometry;
mod product;
mod shapes;

use super::wide::{narrowed, widened};
use crate::error::Result;
use crate::graph::op::{Grad, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::ops::nn::gradients::conv as gradients;
use crate::tensor::Tensor;
use geometry::Attributes;

pub(in crate::ops) use depthwise::OPS as DEPTHWISE_OPS;

const FLOATS: &str = "T: {half, bfloat16, float, double}";
const FLOATS_AND_INT: &str = "T: {half, bfloat16, float, double, int32}";
const PADDING: &str = "padding: {'SAME', 'VALID', 'EXPLICIT'}";
const EXPLICIT: &str = "explicit_paddings: list(int) = []";
const FORMAT: &str = "data_format: {'NHWC', 'NCHW'} = 'NHWC'";
const FORMAT_3D: &str = "data_format: {'NDHWC', 'NCDHW'} = 'NDHWC'";
const DILATIONS: &str = "dilations: list(int) = [1, 1, 1, 1]";
const DILATIONS_3D: &str = "dilations: list(int) = [1, 1, 1, 1, 1]";
const CUDNN: &str = "use_cudnn_on_gpu: bool = true";
const STRIDES_3D: &str = "strides: list(int) >= 5";
const PADDING_3D: &str = "padding: {'SAME', 'VALID'}";

const ATTRS_2D: &[&str] = &[FLOATS, "strides: list(int)", CUDNN, PADDING, EXPLICIT, FORMAT, DILATIONS];
const ATTRS_2D_INT: &[&str] = &[FLOATS_AND_INT, "strides: list(int)", CUDNN, PADDING, EXPLICIT, FORMAT, DILATIONS];
const ATTRS_3D: &[&str] = &[FLOATS, STRIDES_3D, PADDING_3D, FORMAT_3D, DILATIONS_3D];
const ATTRS_3D_V1: &[&str] = &["T: {half, float, double}", STRIDES_3D, PADDING_3D, DILATIONS_3D];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Conv2D",
        ins: &["input: T", "filter: T"],
        outs: &["output: T"],
        attrs: ATTRS_2D_INT,
        shape: shapes::forward,
        kernel: Kernel::PurePrepared(prepare_forward),
        grad: Grad::Fn(gradients::conv2d),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1] [2]] [[3] [4]]]], f32[[[[1]] [[10]]] [[[100]] [[1000]]]] => f32[[[[4321]]]]",
            "strides=[1,1,1,1], padding='SAME'; i32[[[[1] [2]]]], i32[[[[1]] [[10]]]] => i32[[[[21] [2]]]]",
            "strides=[1,1,1,1], padding='VALID', data_format='NCHW'; f32[[[[1 2]] [[3 4]]]], f32[[[[1] [10]]]] => f32[[[[31 42]]]]",
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1 2 3 4]]]], f32[[[[1 10] [1 100]]]] => f32[[[[3 430]]]]",
        ],
    },
    Op {
        name: "Conv2DBackpropInput",
        ins: &["input_sizes: int32", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_2D_INT,
        shape: shapes::backprop_input,
        kernel: Kernel::PurePrepared(prepare_backprop_input),
        grad: Grad::Fn(gradients::conv2d_backprop_input),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; i32[1 1 3 1], f32[[[[1]] [[10]]]], f32[[[[1] [2]]]] => f32[[[[1] [12] [20]]]]",
        ],
    },
    Op {
        name: "Conv2DBackpropFilter",
        ins: &["input: T", "filter_sizes: int32", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_2D,
        shape: shapes::backprop_filter,
        kernel: Kernel::PurePrepared(prepare_backprop_filter),
        grad: Grad::Fn(gradients::conv2d_backprop_filter),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1] [2] [3]]]], i32[1 2 1 1], f32[[[[1] [10]]]] => f32[[[[21]] [[32]]]]",
        ],
    },
    Op {
        name: "Conv2DBackpropInputV2",
        ins: &["input: T", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_2D_INT,
        shape: shapes::like::<0>,
        kernel: Kernel::PurePrepared(prepare_backprop_input),
        grad: Grad::Missing,
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[0] [0] [0]]]], f32[[[[1]] [[10]]]], f32[[[[1] [2]]]] => f32[[[[1] [12] [20]]]]",
        ],
    },
    Op {
        name: "Conv2DBackpropFilterV2",
        ins: &["input: T", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_2D,
        shape: shapes::like::<1>,
        kernel: Kernel::PurePrepared(prepare_backprop_filter),
        grad: Grad::Missing,
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1] [2] [3]]]], f32[[[[0]] [[0]]]], f32[[[[1] [10]]]] => f32[[[[21]] [[32]]]]",
        ],
    },
    Op {
        name: "Conv3D",
        ins: &["input: T", "filter: T"],
        outs: &["output: T"],
        attrs: ATTRS_3D,
        shape: shapes::forward,
        kernel: Kernel::PurePrepared(prepare_forward),
        grad: Grad::Fn(gradients::conv3d),
        rows: &["strides=[1,1,1,1,1], padding='VALID'; f32[[[[[1]]] [[[2]]]]], f32[[[[[1]]]] [[[[10]]]]] => f32[[[[[21]]]]]"],
    },
    Op {
        name: "Conv3DBackpropInput",
        ins: &["input: T", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_3D_V1,
        shape: shapes::like::<0>,
        kernel: Kernel::PurePrepared(prepare_backprop_input),
        grad: Grad::Missing,
        rows: &[
            "strides=[1,1,1,1,1], padding='VALID'; f32[[[[[0]]] [[[0]]]]], f32[[[[[1]]]] [[[[10]]]]], f32[[[[[2]]]]] => f32[[[[[2]]] [[[20]]]]]",
        ],
    },
    Op {
        name: "Conv3DBackpropInputV2",
        ins: &["input_sizes: Tshape", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: &[FLOATS, STRIDES_3D, PADDING_3D, FORMAT_3D, DILATIONS_3D, "Tshape: {int32, int64} = DT_INT32"],
        shape: shapes::backprop_input,
        kernel: Kernel::PurePrepared(prepare_backprop_input),
        grad: Grad::Fn(gradients::conv3d_backprop_input),
        rows: &[
            "strides=[1,1,1,1,1], padding='VALID'; i32[1 2 1 1 1], f32[[[[[1]]]] [[[[10]]]]], f32[[[[[2]]]]] => f32[[[[[2]]] [[[20]]]]]",
        ],
    },
    Op {
        name: "Conv3DBackpropFilter",
        ins: &["input: T", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_3D_V1,
        shape: shapes::like::<1>,
        kernel: Kernel::PurePrepared(prepare_backprop_filter),
        grad: Grad::Missing,
        rows: &[
            "strides=[1,1,1,1,1], padding='VALID'; f32[[[[[1]]] [[[3]]]]], f32[[[[[0]]]] [[[[0]]]]], f32[[[[[2]]]]] => f32[[[[[2]]]] [[[[6]]]]]",
        ],
    },
    Op {
        name: "Conv3DBackpropFilterV2",
        ins: &["input: T", "filter_sizes: int32", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS_3D,
        shape: shapes::backprop_filter,
        kernel: Kernel::PurePrepared(prepare_backprop_filter),
        grad: Grad::Fn(gradients::conv3d_backprop_filter),
        rows: &[
            "strides=[1,1,1,1,1], padding='VALID'; f32[[[[[1]]] [[[3]]]]], i32[2 1 1 1 1], f32[[[[[2]]]]] => f32[[[[[2]]]] [[[[6]]]]]",
        ],
    },
];

/// Runs a function of tensors of one type; half and bfloat16 are computed in float.
fn in_float(tensors: [Tensor; 2], run: impl FnOnce([Tensor; 2]) -> Result<Tensor>) -> Result<Tensor> {
    let dtype = tensors[0].dtype();
    let [a, b] = tensors;
    narrowed(run([widened(a)?, widened(b)?])?, dtype)
}

/// Runs a block with `$T` bound to a type that convolutions are computed in.
macro_rules! dispatch_conv {
    ($dtype:expr, $T:ident => $body:expr) => {
        crate::tensor::dispatch!(@arms $dtype, $T => $body, Float f32, Double f64, Int32 i32)
    };
}

fn prepare_forward(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, filter) = (ctx.take(0)?, ctx.take(1)?);
        let geometry = attributes.geometry(input.dims(), filter.dims())?;
        let dims = attributes.layout.channels_last(&attributes.output_dims(&geometry));
        let input = attributes.layout.to_channels_last(input)?;
        let output = in_float([input, filter], |[input, filter]| {
            let mut output = Tensor::uninit(input.dtype(), &dims)?;
            dispatch_conv!(input.dtype(), T => {
                product::forward::<T>(&geometry, input.as_slice()?, filter.as_slice()?, output.as_mut_slice()?);
            });
            Ok(output)
        })?;
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

/// The dimensions that an input of the op states, either as a vector or as a tensor of that shape.
fn sizes_at(ctx: &KernelCtx, index: usize, attributes: &Attributes, by_shape: bool) -> Result<crate::tensor::Dims> {
    let input = ctx.input(index)?;
    if by_shape {
        return Ok(input.dims().into());
    }
    let filter = if index == 0 { ctx.input(1)?.dims() } else { &[] };
    attributes.input_sizes(input, filter, ctx.input(2)?.dims(), index == 0 && attributes.layout.spatial == 2)
}

/// True for the ops that take a tensor of the wanted shape, not the shape.
fn takes_shape_of(op: &str) -> bool {
    matches!(op, "Conv2DBackpropInputV2" | "Conv2DBackpropFilterV2" | "Conv3DBackpropInput" | "Conv3DBackpropFilter")
}

fn prepare_backprop_input(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    let by_shape = takes_shape_of(ctx.node.op);
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = sizes_at(ctx, 0, &attributes, by_shape)?;
        let (filter, out_backprop) = (ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.geometry(&dims, filter.dims())?;
        attributes.check_out_backprop(&geometry, &out_backprop)?;
        let dims = attributes.layout.channels_last(&dims);
        let out_backprop = attributes.layout.to_channels_last(out_backprop)?;
        let output = in_float([filter, out_backprop], |[filter, out_backprop]| {
            let mut output = Tensor::uninit(filter.dtype(), &dims)?;
            dispatch_conv!(filter.dtype(), T => {
                product::backprop_input::<T>(&geometry, filter.as_slice()?, out_backprop.as_slice()?, output.as_mut_slice()?);
            });
            Ok(output)
        })?;
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn prepare_backprop_filter(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    let by_shape = takes_shape_of(ctx.node.op);
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = sizes_at(ctx, 1, &attributes, by_shape)?;
        let (input, out_backprop) = (ctx.take(0)?, ctx.take(2)?);
        let geometry = attributes.geometry(input.dims(), &dims)?;
        attributes.check_out_backprop(&geometry, &out_backprop)?;
        let input = attributes.layout.to_channels_last(input)?;
        let out_backprop = attributes.layout.to_channels_last(out_backprop)?;
        let output = in_float([input, out_backprop], |[input, out_backprop]| {
            let mut output = Tensor::uninit(input.dtype(), &dims)?;
            dispatch_conv!(input.dtype(), T => {
                product::backprop_filter::<T>(&geometry, input.as_slice()?, out_backprop.as_slice()?, output.as_mut_slice()?);
            });
            Ok(output)
        })?;
        ctx.set(0, output)
    }))
}
