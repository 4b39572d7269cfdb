//! Pooling over two and three dimensions, and its gradients.

mod average;
mod geometry;
mod max;
mod records;

pub(in crate::ops) use records::OPS;

use crate::error::{Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, PrepareCtx, Prepared};
use crate::tensor::{DType, Dims, Shape, Tensor, dispatch};
use geometry::{Attributes, Geometry, pooled_shape};

fn pooled(ctx: &mut InferCtx) -> Result<()> {
    let shape = pooled_shape(ctx, 1)?;
    for output in 0..ctx.num_outputs() {
        ctx.set(output, shape.clone())?;
    }
    Ok(())
}

fn like_input<const RANK: usize>(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank(RANK)?;
    ctx.set(0, shape)
}

fn twice(ctx: &mut InferCtx) -> Result<()> {
    let shape = pooled_shape(ctx, 3)?;
    ctx.input(0).merge(&ctx.input(2))?;
    let shape = ctx.input(1).merge(&shape)?;
    ctx.set(0, shape)
}

fn stated<const RANK: usize>(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.constant_shape(0).with_rank(RANK)?;
    ctx.set(0, shape)
}

fn argmax_twice(ctx: &mut InferCtx) -> Result<()> {
    let shape = pooled_shape(ctx, 3)?;
    ctx.input(0).merge(&ctx.input(1))?;
    let shape = ctx.input(2).merge(&shape)?;
    ctx.set(0, shape)
}

fn max_pool(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let input = ctx.take(0)?;
        let geometry = attributes.geometry(ctx, 1, input.dims())?;
        let input = attributes.layout.to_channels_last(input)?;
        let mut output = Tensor::uninit(input.dtype(), &geometry.output_dims(attributes.layout))?;
        dispatch!(input.dtype(), real, T => max::forward::<T>(&geometry, input.as_slice()?, output.as_mut_slice()?));
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn max_pool_grad(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, maxima, gradient) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.geometry(ctx, 3, input.dims())?;
        attributes.check_output(&geometry, "orig_output", maxima.dims())?;
        attributes.check_output(&geometry, "grad", gradient.dims())?;
        let input = attributes.layout.to_channels_last(input)?;
        let gradient = attributes.layout.to_channels_last(gradient)?;
        let mut output = Tensor::uninit(input.dtype(), input.dims())?;
        dispatch!(input.dtype(), real, T => {
            max::backprop::<T>(&geometry, input.as_slice()?, gradient.as_slice()?, output.as_mut_slice()?);
        });
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn max_pool_grad_grad(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, maxima, gradient) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.geometry(ctx, 3, input.dims())?;
        attributes.check_output(&geometry, "orig_output", maxima.dims())?;
        attributes.check_same("grad", gradient.dims(), input.dims())?;
        let [input, maxima, gradient] = [input, maxima, gradient].map(|t| attributes.layout.to_channels_last(t));
        let (input, maxima, gradient) = (input?, maxima?, gradient?);
        let mut output = Tensor::uninit(input.dtype(), maxima.dims())?;
        dispatch!(input.dtype(), real, T => {
            max::backprop_twice::<T>(
                &geometry,
                input.as_slice()?,
                maxima.as_slice()?,
                gradient.as_slice()?,
                output.as_mut_slice()?,
            );
        });
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn max_pool_with_argmax(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    let with_batch = ctx.node.boolean("include_batch_in_index")?;
    let argmax = ctx.node.dtype("Targmax")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let input = ctx.take(0)?;
        let geometry = attributes.geometry(ctx, 1, input.dims())?;
        let dims = geometry.output_dims(attributes.layout);
        let mut output = Tensor::uninit(input.dtype(), &dims)?;
        let mut places = dispatch!(input.dtype(), real, T => {
            let values = input.as_slice::<T>()?;
            let places = max::places(&geometry, values);
            let each = geometry.rows() * geometry.row();
            for (i, (out, &place)) in output.as_mut_slice::<T>()?.iter_mut().zip(&places).enumerate() {
                *out = values[i / each * geometry.image() + place as usize];
            }
            places
        });
        if with_batch {
            let each = geometry.rows() * geometry.row();
            places.iter_mut().enumerate().for_each(|(i, p)| *p += (i / each * geometry.image()) as i64);
        }
        ctx.set(0, output)?;
        let places = match argmax {
            DType::Int32 => Tensor::new(&dims, places.into_iter().map(|p| p as i32).collect())?,
            _ => Tensor::new(&dims, places)?,
        };
        ctx.set(1, places)
    }))
}

/// The place of each maximum among all elements of the input, checked.
fn checked_places(ctx: &KernelCtx, geometry: &Geometry, argmax: &Tensor, with_batch: bool) -> Result<Vec<usize>> {
    let (image, each) = (geometry.image(), geometry.rows() * geometry.row());
    let place = |(i, &p): (usize, &i64)| {
        let batch = i / each;
        let place = usize::try_from(p).ok().and_then(|p| p.checked_add(if with_batch { 0 } else { batch * image }));
        match place {
            Some(place) if place >= batch * image && place < (batch + 1) * image => Ok(place),
            _ => bail!(InvalidArgument, "{}: Invalid argmax index {p}, images have {image} elements", ctx.node().op),
        }
    };
    argmax.to_i64s()?.iter().enumerate().map(place).collect()
}

fn max_pool_grad_with_argmax(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    let with_batch = ctx.node.boolean("include_batch_in_index")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, gradient, argmax) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.geometry(ctx, 3, input.dims())?;
        attributes.check_output(&geometry, "grad", gradient.dims())?;
        attributes.check_same("argmax", argmax.dims(), gradient.dims())?;
        let places = checked_places(ctx, &geometry, &argmax, with_batch)?;
        let mut output = Tensor::zeros(input.dtype(), input.dims())?;
        dispatch!(input.dtype(), real, T => {
            let output = output.as_mut_slice::<T>()?;
            for (&place, &g) in places.iter().zip(gradient.as_slice::<T>()?) {
                output[place] = output[place] + g;
            }
        });
        ctx.set(0, output)
    }))
}

fn max_pool_grad_grad_with_argmax(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    let with_batch = ctx.node.boolean("include_batch_in_index")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (input, gradient, argmax) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
        let geometry = attributes.geometry(ctx, 3, input.dims())?;
        attributes.check_same("grad", gradient.dims(), input.dims())?;
        attributes.check_output(&geometry, "argmax", argmax.dims())?;
        let places = checked_places(ctx, &geometry, &argmax, with_batch)?;
        let output = dispatch!(input.dtype(), real, T => {
            let values = gradient.as_slice::<T>()?;
            Tensor::new(argmax.dims(), places.iter().map(|&p| values[p]).collect())?
        });
        ctx.set(0, output)
    }))
}

fn avg_pool(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let input = ctx.take(0)?;
        let geometry = attributes.geometry(ctx, 1, input.dims())?;
        let input = attributes.layout.to_channels_last(input)?;
        let mut output = Tensor::uninit(input.dtype(), &geometry.output_dims(attributes.layout))?;
        dispatch!(input.dtype(), floats, T => average::forward::<T>(&geometry, input.as_slice()?, output.as_mut_slice()?));
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

fn avg_pool_grad(ctx: &PrepareCtx) -> Result<Prepared> {
    let attributes = Attributes::new(ctx.node)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let (sizes, gradient) = (ctx.take(0)?, ctx.take(1)?);
        if sizes.rank() != 1 || sizes.len() != attributes.layout.rank() {
            bail!(
                InvalidArgument,
                "out_backprop and orig_input_shape must be {}-dimensional, got shape {sizes}",
                attributes.layout.rank()
            );
        }
        let dims = sizes.to_dims()?;
        let mut geometry = attributes.geometry(ctx, 2, &dims)?;
        use_windows_of(&attributes, &mut geometry, gradient.dims())?;
        let gradient = attributes.layout.to_channels_last(gradient)?;
        let mut output = Tensor::uninit(gradient.dtype(), &attributes.layout.channels_last(&dims))?;
        dispatch!(gradient.dtype(), floats, T => {
            average::backprop::<T>(&geometry, gradient.as_slice()?, output.as_mut_slice()?);
        });
        ctx.set(0, attributes.layout.to_own(output)?)
    }))
}

/// Takes the number of windows from the gradients, which may be fewer than fit.
fn use_windows_of(attributes: &Attributes, geometry: &mut Geometry, dims: &[usize]) -> Result<()> {
    let last: Dims = attributes.layout.channels_last(dims);
    let computed = geometry.output_dims(attributes.layout);
    let spatial = attributes.layout.spatial;
    let fits = last.len() == computed.len()
        && last[0] == computed[0]
        && last[spatial + 1] == computed[spatial + 1]
        && last.iter().zip(&computed).all(|(a, b)| a <= b);
    if !fits {
        return attributes.check_output(geometry, "grad", dims);
    }
    for (axis, &size) in geometry.axes[3 - spatial..].iter_mut().zip(&last[1..]) {
        axis.output = size;
    }
    Ok(())
}

/// The shape of a pooled output, for both results of a pooling with places.
fn pooled_with_argmax(ctx: &mut InferCtx) -> Result<()> {
    let shape: Shape = pooled_shape(ctx, 1)?;
    ctx.set(0, shape.clone())?;
    ctx.set(1, shape)
}
