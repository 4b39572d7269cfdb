//! Uniform and normal values.

use super::{Standard, draw, draw_int, generator, inferred_shape, shape_input, shape_of_first};
use crate::error::Result;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::tensor::{Tensor, element_count};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "RandomUniform",
        ins: &["shape: T"],
        outs: &["output: dtype"],
        attrs: &["seed: int = 0", "seed2: int = 0", "dtype: {half, bfloat16, float, double}", "T: {int32, int64}"],
        shape: shape_of_first,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, Standard::Uniform)),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "RandomStandardNormal",
        ins: &["shape: T"],
        outs: &["output: dtype"],
        attrs: &["seed: int = 0", "seed2: int = 0", "dtype: {half, bfloat16, float, double}", "T: {int32, int64}"],
        shape: shape_of_first,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, Standard::Normal)),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "TruncatedNormal",
        ins: &["shape: T"],
        outs: &["output: dtype"],
        attrs: &["seed: int = 0", "seed2: int = 0", "dtype: {half, bfloat16, float, double}", "T: {int32, int64}"],
        shape: shape_of_first,
        kernel: Kernel::StatefulPrepared(|ctx| prepare(ctx, Standard::TruncatedNormal)),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "RandomUniformInt",
        ins: &["shape: T", "minval: Tout", "maxval: Tout"],
        outs: &["output: Tout"],
        attrs: &["seed: int = 0", "seed2: int = 0", "Tout: {int32, int64}", "T: {int32, int64}"],
        shape: uniform_int_shape,
        kernel: Kernel::StatefulPrepared(prepare_int),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn prepare(ctx: &PrepareCtx, standard: Standard) -> Result<Prepared> {
    let generator = generator(ctx)?;
    let dtype = ctx.node.dtype("dtype")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = shape_input(ctx, 0)?;
        let values = element_count(&dims)? as u64;
        ctx.set(0, draw(standard, dtype, &dims, generator.reserve_random_outputs(values, 256))?)
    }))
}

fn uniform_int_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(1).with_rank(0)?;
    ctx.input(2).with_rank(0)?;
    let shape = inferred_shape(ctx, 0)?;
    ctx.set(0, shape)
}

fn prepare_int(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = generator(ctx)?;
    let dtype = ctx.node.dtype("Tout")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let dims = shape_input(ctx, 0)?;
        let values = element_count(&dims)?;
        if values == 0 {
            return ctx.set(0, Tensor::zeros(dtype, &dims)?);
        }
        let reserve = || generator.reserve_random_outputs(values as u64, 256);
        let drawn = draw_int(ctx.input(1)?, ctx.input(2)?, &dims, reserve)?;
        ctx.set(0, drawn)
    }))
}
