//! Shape functions of convolutions.

use crate::error::{Result, bail};
use crate::graph::op::InferCtx;
use crate::ops::nn::window::{Layout, Padding, check_length, layout_shape, static_output_size};
use crate::tensor::Shape;

fn layout_of(ctx: &InferCtx) -> Result<Layout> {
    if ctx.has_attr("data_format") {
        Layout::from_name(&ctx.string("data_format")?)
    } else {
        Ok(Layout { channels_first: false, spatial: 3 })
    }
}

fn padding_of(ctx: &InferCtx, layout: Layout) -> Result<Padding> {
    let explicit = if ctx.has_attr("explicit_paddings") { ctx.ints("explicit_paddings")? } else { Vec::new() };
    Padding::new(&ctx.string("padding")?, &explicit, layout)
}

/// The spatial sizes and the batch, from input and filter.
fn windows(ctx: &InferCtx, layout: Layout, op: &str) -> Result<(Shape, Shape, Vec<Option<usize>>)> {
    let (input, filter) = (ctx.input(0).with_rank(layout.rank())?, ctx.input(1).with_rank(layout.rank())?);
    let (strides, dilations) = (ctx.ints("strides")?, ctx.ints("dilations")?);
    check_length(op, "strides", &strides, layout.rank())?;
    check_length(op, "dilations", &dilations, layout.rank())?;
    let padding = padding_of(ctx, layout)?;
    let mut spatial = Vec::new();
    for i in 0..layout.spatial {
        let dim = layout.axis(i);
        let (input, window) = (input.dim(dim as isize), filter.dim(i as isize));
        spatial.push(static_output_size(input, window, strides[dim], dilations[dim], &padding, dim)?);
    }
    Ok((input, filter, spatial))
}

pub(super) fn forward(ctx: &mut InferCtx) -> Result<()> {
    let layout = layout_of(ctx)?;
    let (input, filter, spatial) = windows(ctx, layout, "Convolution")?;
    let group_in = filter.dim(layout.spatial as isize);
    if let (Some(channels), Some(group_in)) = (input.dim(layout.channel() as isize), group_in) {
        if group_in == 0 {
            bail!(InvalidArgument, "Depth of filter must not be 0");
        }
        if !channels.is_multiple_of(group_in) {
            bail!(InvalidArgument, "Depth of input ({channels}) is not a multiple of input depth of filter ({group_in})");
        }
        let groups = channels / group_in;
        if groups > 1
            && let Some(outputs) = filter.dim(-1)
            && !outputs.is_multiple_of(groups)
        {
            bail!(InvalidArgument, "Depth of output ({outputs}) is not a multiple of the number of groups ({groups})");
        }
    }
    ctx.set(0, layout_shape(layout, input.dim(0), &spatial, filter.dim(-1)))
}

pub(super) fn depthwise(ctx: &mut InferCtx) -> Result<()> {
    let layout = layout_of(ctx)?;
    let (input, filter, spatial) = windows(ctx, layout, "DepthwiseConv2D")?;
    let channels = Shape::from([input.dim(layout.channel() as isize)]).merge(&Shape::from([filter.dim(2)]))?.dim(0);
    let outputs = channels.zip(filter.dim(3)).and_then(|(c, m)| c.checked_mul(m));
    ctx.set(0, layout_shape(layout, input.dim(0), &spatial, outputs))
}

/// The gradient of the input: its sizes are an input of the op, whole or spatial alone.
pub(super) fn backprop_input(ctx: &mut InferCtx) -> Result<()> {
    let layout = layout_of(ctx)?;
    let sizes = ctx.constant_shape(0);
    let rank = layout.rank();
    let shape = match sizes.rank() {
        None => Shape::of_rank(rank),
        Some(r) if r == layout.spatial && ctx.has_attr("explicit_paddings") => {
            let spatial = sizes.sizes().unwrap_or_default();
            layout_shape(layout, ctx.input(2).dim(0), &spatial, ctx.input(1).dim(layout.spatial as isize))
        }
        Some(_) => sizes.with_rank(rank)?,
    };
    ctx.set(0, shape)
}

/// The gradient of the filter, whose sizes are an input of the op.
pub(super) fn backprop_filter(ctx: &mut InferCtx) -> Result<()> {
    let rank = layout_of(ctx)?.rank();
    let shape = ctx.constant_shape(1).with_rank(rank)?;
    ctx.set(0, shape)
}

/// The output has the shape of input `N`, which has as many dimensions as the data format says.
pub(super) fn like<const N: usize>(ctx: &mut InferCtx) -> Result<()> {
    let rank = layout_of(ctx)?.rank();
    let shape = ctx.input(N).with_rank(rank)?;
    ctx.set(0, shape)
}
