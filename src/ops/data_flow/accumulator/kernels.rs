//! Kernels of the ops on accumulators.

use super::super::handle;
use super::object::{Accumulator, Slices};
use crate::error::{Error, Result, bail};
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, Tensor};
use std::sync::Arc;

pub(super) fn create(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (dtype, shape) = (node.dtype("dtype")?, node.shape("shape")?);
    if ![DType::Half, DType::Float, DType::Double].contains(&dtype) {
        bail!(InvalidArgument, "No OpKernel was registered to support Op '{}' with dtype {dtype}", node.op);
    }
    let mean = node.string("reduction_type")? == "MEAN";
    let sparse = node.op.starts_with("Sparse");
    let name = match node.string("shared_name")? {
        "" => node.name.to_string(),
        shared => shared.to_string(),
    };
    let container = node.string("container")?.to_string();
    let make = || Ok(Accumulator::new(sparse, dtype, shape.clone(), mean));
    let object: Arc<Accumulator> = ctx.session().resource(&container, &name, make)?;
    if object.dtype != dtype {
        bail!(
            InvalidArgument,
            "Shared conditional accumulator '{name}' has type {} but requested type was {dtype}",
            object.dtype
        );
    }
    if object.shape != shape {
        bail!(
            InvalidArgument,
            "Shared conditional accumulator '{name}' has shape {} but requested shape was {shape}",
            object.shape
        );
    }
    handle::output(ctx, &container, &name, object)
}

fn accumulator(ctx: &KernelCtx, sparse: bool) -> Result<Arc<Accumulator>> {
    let object = handle::input::<Accumulator>(ctx)?;
    let dtype = ctx.node().dtype("dtype")?;
    if object.sparse != sparse {
        bail!(InvalidArgument, "{} can't work on this kind of accumulator", ctx.node().op);
    }
    if object.dtype != dtype {
        bail!(InvalidArgument, "Signature mismatch, have: {dtype} expected: {}", object.dtype);
    }
    Ok(object)
}

fn scalar(ctx: &KernelCtx, name: &str) -> Result<i64> {
    let value = ctx.input(1)?;
    if !value.is_scalar() {
        bail!(InvalidArgument, "Argument {name} must be scalar, but had bad shape {}", value.shape());
    }
    value.item_i64()
}

pub(super) fn apply(ctx: &mut KernelCtx) -> Result<()> {
    let object = accumulator(ctx, false)?;
    let step = scalar(ctx, "local_step")?;
    let gradient = ctx.take(2)?;
    object.apply(step, gradient)
}

pub(super) fn apply_sparse(ctx: &mut KernelCtx) -> Result<()> {
    let object = accumulator(ctx, true)?;
    let step = scalar(ctx, "local_step")?;
    let (indices, shape) = (ctx.input(2)?.clone(), ctx.input(4)?.clone());
    let values = ctx.take(3)?;
    if indices.rank() != 1 {
        bail!(InvalidArgument, "Input indices should be vector but received shape: {}", indices.shape());
    }
    if values.rank() == 0 {
        bail!(InvalidArgument, "Values cannot be 0-dimensional.");
    }
    let (rows, count) = (values.dims()[0], indices.len());
    if rows != count {
        bail!(InvalidArgument, "number of indices and values must match: got {count} indices and {rows} rows of values");
    }
    let known = ctx.node().boolean("has_known_shape")?;
    let shape = if known { Some(shape.as_slice::<i64>()?) } else { None };
    let slices = Slices { indices: indices.as_slice::<i64>()?.to_vec(), values, counts: vec![1; count] };
    object.apply_slices(step, slices, shape)
}

pub(super) fn count(ctx: &mut KernelCtx) -> Result<()> {
    let count = handle::input::<Accumulator>(ctx)?.count();
    ctx.set(0, Tensor::scalar(i32::try_from(count).unwrap_or(i32::MAX)))
}

pub(super) fn set_step(ctx: &mut KernelCtx) -> Result<()> {
    let object = handle::input::<Accumulator>(ctx)?;
    object.set_global_step(scalar(ctx, "new_global_step")?);
    Ok(())
}

fn required(ctx: &KernelCtx) -> Result<usize> {
    let required = scalar(ctx, "num_required")?;
    usize::try_from(required)
        .ok()
        .filter(|&n| n > 0)
        .ok_or_else(|| Error::invalid_argument(format!("Argument num_required must be positive, but was {required}")))
}

pub(super) fn take(ctx: &mut KernelCtx) -> Result<()> {
    let object = accumulator(ctx, false)?;
    let mean = object.take(required(ctx)?)?;
    ctx.set(0, mean)
}

pub(super) fn take_sparse(ctx: &mut KernelCtx) -> Result<()> {
    let object = accumulator(ctx, true)?;
    let slices = object.take_slices(required(ctx)?)?;
    let first = object.shape.signed().and_then(|s| s.first().copied()).unwrap_or(-1);
    let mut shape = vec![first];
    shape.extend(slices.values.dims()[1..].iter().map(|&d| d as i64));
    ctx.set(0, Tensor::vector(&slices.indices))?;
    ctx.set(1, slices.values)?;
    ctx.set(2, Tensor::vector(&shape))
}
