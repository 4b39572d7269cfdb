//! Depthwise convolutions: each input channel has filters of its own.

use super::geometry::{Attributes, Geometry};
use super::product::axis;
use super::{DILATIONS, EXPLICIT, FLOATS, FORMAT, PADDING, in_float, shapes, sizes_at};
use crate::compute::conv::{self, DepthwiseConv2d};
use crate::error::Result;
use crate::graph::op::{Grad, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::ops::nn::gradients::conv as gradients;
use crate::tensor::{DType, Tensor};

const ATTRS: &[&str] = &[FLOATS, "strides: list(int)", PADDING, EXPLICIT, FORMAT, DILATIONS];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "DepthwiseConv2dNative",
        ins: &["input: T", "filter: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: shapes::depthwise,
        kernel: Kernel::PurePrepared(prepare_forward),
        grad: Grad::Fn(gradients::depthwise),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1 2] [3 4]]]], f32[[[[1] [1]] [[10] [100]]]] => f32[[[[31 402]]]]",
            "strides=[1,1,1,1], padding='SAME'; f64[[[[1 2]]]], f64[[[[1 10] [1 100]]]] => f64[[[[1 10 2 200]]]]",
        ],
    },
    Op {
        name: "DepthwiseConv2dNativeBackpropInput",
        ins: &["input_sizes: int32", "filter: T", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: shapes::backprop_input,
        kernel: Kernel::PurePrepared(prepare_backprop_input),
        grad: Grad::Fn(gradients::depthwise_backprop_input),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; i32[1 1 2 2], f32[[[[1] [1]] [[10] [100]]]], f32[[[[1 2]]]] => f32[[[[1 2] [10 200]]]]",
        ],
    },
    Op {
        name: "DepthwiseConv2dNativeBackpropFilter",
        ins: &["input: T", "filter_sizes: int32", "out_backprop: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: shapes::backprop_filter,
        kernel: Kernel::PurePrepared(prepare_backprop_filter),
        grad: Grad::Fn(gradients::depthwise_backprop_filter),
        rows: &[
            "strides=[1,1,1,1], padding='VALID'; f32[[[[1 2] [3 4]]]], i32[1 2 2 1], f32[[[[1 10]]]] => f32[[[[1] [20]] [[3] [40]]]]",
        ],
    },
];

fn sizes(geometry: &Geometry) -> DepthwiseConv2d {
    let [_, rows, columns] = &geometry.axes;
    let multiplier = geometry.out_channels / geometry.in_channels;
    let (rows, columns) = (axis(rows), axis(columns));
    DepthwiseConv2d { batch: geometry.batch, rows, columns, channels: geometry.in_channels, multiplier }
}

/// One of the three functions, for float or double.
macro_rules! run {
    ($function:ident, $geometry:expr, $a:expr, $b:expr, $dims:expr) => {
        in_float([$a, $b], |[a, b]| {
            let mut output = Tensor::uninit(a.dtype(), $dims)?;
            match a.dtype() {
                DType::Double => conv::$function::<f64>(&sizes($geometry), a.as_slice()?, b.as_slice()?, output.as_mut_slice()?),
                _ => conv::$function::<f32>(&sizes($geometry), a.as_slice()?, b.as_slice()?, output.as_mut_slice()?),
            }
            Ok(output)
        })
    };
}

fn prepare_forward(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, filter) = (ctx.take(0)?, ctx.take(1)?);
        let geometry = attributes.depthwise(input.dims(), filter.dims())?;
        let dims = attributes.layout.channels_last(&attributes.output_dims(&geometry));
        let input = attributes.layout.to_channels_last(input)?;
        let output = run!(depthwise_conv2d, &geometry, input, filter, &dims)?;
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn prepare_backprop_input(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = sizes_at(ctx, 0, &attributes, false)?;
        let (filter, out_backprop) = (ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.depthwise(&dims, filter.dims())?;
        attributes.check_out_backprop(&geometry, &out_backprop)?;
        let out_backprop = attributes.layout.to_channels_last(out_backprop)?;
        let output =
            run!(depthwise_conv2d_backprop_input, &geometry, filter, out_backprop, &attributes.layout.channels_last(&dims))?;
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn prepare_backprop_filter(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = sizes_at(ctx, 1, &attributes, false)?;
        let (input, out_backprop) = (ctx.take(0)?, ctx.take(2)?);
        let geometry = attributes.depthwise(input.dims(), &dims)?;
        attributes.check_out_backprop(&geometry, &out_backprop)?;
        let input = attributes.layout.to_channels_last(input)?;
        let out_backprop = attributes.layout.to_channels_last(out_backprop)?;
        let output = run!(depthwise_conv2d_backprop_filter, &geometry, input, out_backprop, &dims)?;
        ctx.set(0, output)
    }))
}
