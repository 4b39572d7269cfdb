//! Shuffles along the first dimension.

use super::{check_key_counter_shapes, generator, key_counter_input};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::ops::shape;
use crate::random::{PhiloxRandom, permutation};
use crate::tensor::{DType, Tensor};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "RandomShuffle",
        ins: &["value: T"],
        outs: &["output: T"],
        attrs: &["seed: int = 0", "seed2: int = 0", "T: type"],
        shape: shape::unchanged,
        kernel: Kernel::StatefulPrepared(prepare),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "StatelessShuffle",
        ins: &["value: T", "key: uint64", "counter: uint64", "alg: int32"],
        outs: &["output: T"],
        attrs: &["T: type"],
        shape: stateless_shape,
        kernel: Kernel::Pure(stateless_shuffle),
        grad: Grad::Missing,
        rows: &["f32[1 2 3 4 5], u64[5], u64[1 2], i32 1 => f32[2 5 4 3 1]"],
    },
];

fn stateless_shape(ctx: &mut InferCtx) -> Result<()> {
    check_key_counter_shapes(ctx, 1)?;
    shape::unchanged(ctx)
}

fn prepare(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = generator(ctx)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| shuffle(ctx, |words| generator.reserve_samples32(words))))
}

fn stateless_shuffle(ctx: &mut KernelCtx) -> Result<()> {
    let rng = key_counter_input(ctx, 1)?;
    shuffle(ctx, |_| rng)
}

fn shuffle(ctx: &mut KernelCtx, reserve: impl FnOnce(u64) -> PhiloxRandom) -> Result<()> {
    let value = ctx.input(0)?;
    let size = match value.dims() {
        [size, ..] if *size > 1 && value.len() > 1 => *size,
        _ => return ctx.forward(0, 0),
    };
    let shuffled = gather_rows(value, &permutation(reserve(size as u64 - 1), size))?;
    ctx.set(0, shuffled)
}

fn gather_rows(value: &Tensor, order: &[usize]) -> Result<Tensor> {
    let row: usize = value.dims()[1..].iter().product();
    if value.dtype() == DType::String {
        let strings = value.strings()?;
        let rows = order.iter().flat_map(|&place| &strings[place * row..][..row]);
        return Tensor::from_strings(value.dims(), rows.cloned().collect());
    }
    if !value.dtype().is_plain() {
        bail!(Unimplemented, "no kernel for dtype {}", value.dtype());
    }
    let mut out = Tensor::zeros(value.dtype(), value.dims())?;
    let bytes = row * value.dtype().size();
    let from = value.bytes()?;
    for (to, &place) in out.bytes_mut()?.chunks_exact_mut(bytes).zip(order) {
        to.copy_from_slice(&from[place * bytes..][..bytes]);
    }
    Ok(out)
}
