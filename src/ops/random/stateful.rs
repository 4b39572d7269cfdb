//! Random ops whose state is a variable: a vector of a counter and a key.

use super::stateless_parameters::draw_binomial;
use super::{AUTO_SELECT, PHILOX, Standard, draw, draw_full_int, draw_int, inferred_shape, shape_input};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, Variable};
use crate::random::{PhiloxRandom, random_u64};
use crate::tensor::{DType, Shape, Tensor, element_count};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "StatefulUniform",
        ins: &["resource: resource", "algorithm: int64", "shape: shape_dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_FLOAT", "shape_dtype: type = DT_INT64"],
        shape: stateful_shape,
        kernel: Kernel::Stateful(|ctx| standard(ctx, Standard::Uniform)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "StatefulStandardNormal",
        ins: &["resource: resource", "shape: shape_dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_FLOAT", "shape_dtype: type = DT_INT64"],
        shape: tagged_shape,
        kernel: Kernel::Stateful(tagged_normal),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "StatefulStandardNormalV2",
        ins: &["resource: resource", "algorithm: int64", "shape: shape_dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_FLOAT", "shape_dtype: type = DT_INT64"],
        shape: stateful_shape,
        kernel: Kernel::Stateful(|ctx| standard(ctx, Standard::Normal)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "StatefulTruncatedNormal",
        ins: &["resource: resource", "algorithm: int64", "shape: shape_dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_FLOAT", "shape_dtype: type = DT_INT64"],
        shape: stateful_shape,
        kernel: Kernel::Stateful(|ctx| standard(ctx, Standard::TruncatedNormal)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "StatefulUniformInt",
        ins: &["resource: resource", "algorithm: int64", "shape: shape_dtype", "minval: dtype", "maxval: dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_INT64", "shape_dtype: type = DT_INT64"],
        shape: stateful_int_shape,
        kernel: Kernel::Stateful(uniform_int),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "StatefulUniformFullInt",
        ins: &["resource: resource", "algorithm: int64", "shape: shape_dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_UINT64", "shape_dtype: type = DT_INT64"],
        shape: stateful_shape,
        kernel: Kernel::Stateful(full_int),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "StatefulRandomBinomial",
        ins: &["resource: resource", "algorithm: int64", "shape: S", "counts: T", "probs: T"],
        outs: &["output: dtype"],
        attrs: &[
            "S: {int32, int64}",
            "T: {half, float, double, int32, int64} = DT_DOUBLE",
            "dtype: {half, float, double, int32, int64} = DT_INT64",
        ],
        shape: stateful_shape,
        kernel: Kernel::Stateful(binomial),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "RngSkip",
        ins: &["resource: resource", "algorithm: int64", "delta: int64"],
        outs: &[],
        attrs: &[],
        shape: skip_shape,
        kernel: Kernel::Stateful(rng_skip),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "RngReadAndSkip",
        ins: &["resource: resource", "alg: int32", "delta: uint64"],
        outs: &["value: int64"],
        attrs: &[],
        shape: skip_shape,
        kernel: Kernel::Stateful(rng_read_and_skip),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "NonDeterministicInts",
        ins: &["shape: shape_dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type = DT_INT64", "shape_dtype: type = DT_INT64"],
        shape: super::shape_of_first,
        kernel: Kernel::Stateful(non_deterministic_ints),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn stateful_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    ctx.input(1).with_rank(0)?;
    let shape = inferred_shape(ctx, 2)?;
    ctx.set(0, shape)
}

fn stateful_int_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(3).with_rank(0)?;
    ctx.input(4).with_rank(0)?;
    stateful_shape(ctx)
}

fn tagged_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(0)?;
    let shape = inferred_shape(ctx, 1)?;
    ctx.set(0, shape)
}

fn skip_shape(ctx: &mut InferCtx) -> Result<()> {
    for input in 0..3 {
        ctx.input(input).with_rank(0)?;
    }
    if ctx.num_outputs() == 1 { ctx.set(0, Shape::known(&[3])) } else { Ok(()) }
}

fn check_algorithm(alg: i64) -> Result<()> {
    if alg != PHILOX && alg != AUTO_SELECT {
        bail!(Unimplemented, "Unsupported algorithm id: {alg}");
    }
    Ok(())
}

/// The algorithm, a scalar input of an op.
fn algorithm_input(ctx: &KernelCtx, index: usize) -> Result<()> {
    let alg = ctx.input(index)?;
    if !alg.is_scalar() {
        bail!(InvalidArgument, "algorithm must be of shape [], not {:?}", alg.dims());
    }
    check_algorithm(alg.item_i64()?)
}

/// Reads the stream from the state behind the first input, and moves the state on by 256 blocks for each value. With
/// `tagged`, the state begins with the algorithm.
fn reserve(ctx: &KernelCtx, values: u64, tagged: bool) -> Result<PhiloxRandom> {
    let variable = ctx.resource::<Variable>(0)?;
    variable.update(|state| {
        if state.dtype() != DType::Int64 {
            bail!(InvalidArgument, "dtype of RNG state variable must be int64, not {}", state.dtype());
        }
        if state.rank() != 1 {
            bail!(InvalidArgument, "RNG state must have one and only one dimension, not {}", state.rank());
        }
        let size = state.len();
        let words = match (tagged, state.as_mut_slice::<i64>()?) {
            (false, words) => words,
            (true, [alg, words @ ..]) => {
                check_algorithm(*alg)?;
                words
            }
            (true, []) => bail!(InvalidArgument, "Size of tensor must be at least 1"),
        };
        let [low, high, key, ..] = words else {
            let least = 3 + usize::from(tagged);
            bail!(InvalidArgument, "For the Philox algorithm, the size of state must be at least {least}; got {size}");
        };
        let rng = PhiloxRandom::from_counter_key([*low as u64, *high as u64], *key as u64);
        let [next_low, next_high] = rng.skipped(values.wrapping_mul(256)).counter();
        (*low, *high) = (next_low as i64, next_high as i64);
        Ok(rng)
    })
}

fn standard(ctx: &mut KernelCtx, standard: Standard) -> Result<()> {
    algorithm_input(ctx, 1)?;
    let dims = shape_input(ctx, 2)?;
    let rng = reserve(ctx, element_count(&dims)? as u64, false)?;
    ctx.set(0, draw(standard, ctx.node().dtype("dtype")?, &dims, rng)?)
}

fn tagged_normal(ctx: &mut KernelCtx) -> Result<()> {
    let dims = shape_input(ctx, 1)?;
    let rng = reserve(ctx, element_count(&dims)? as u64, true)?;
    ctx.set(0, draw(Standard::Normal, ctx.node().dtype("dtype")?, &dims, rng)?)
}

fn uniform_int(ctx: &mut KernelCtx) -> Result<()> {
    algorithm_input(ctx, 1)?;
    let dims = shape_input(ctx, 2)?;
    let values = element_count(&dims)? as u64;
    let rng = reserve(ctx, values, false)?;
    let drawn = draw_int(ctx.input(3)?, ctx.input(4)?, &dims, || rng)?;
    ctx.set(0, drawn)
}

fn full_int(ctx: &mut KernelCtx) -> Result<()> {
    algorithm_input(ctx, 1)?;
    let dims = shape_input(ctx, 2)?;
    let rng = reserve(ctx, element_count(&dims)? as u64, false)?;
    ctx.set(0, draw_full_int(ctx.node().dtype("dtype")?, &dims, rng)?)
}

fn binomial(ctx: &mut KernelCtx) -> Result<()> {
    algorithm_input(ctx, 1)?;
    let out = draw_binomial(ctx, 2, 3, |batches, samples| {
        reserve(ctx, (batches as u64).wrapping_mul(200).wrapping_mul(samples as u64 + 3) / 4, false)
    })?;
    ctx.set(0, out)
}

fn rng_skip(ctx: &mut KernelCtx) -> Result<()> {
    algorithm_input(ctx, 1)?;
    let delta = ctx.int_input(2)?;
    reserve(ctx, delta as u64, false).map(drop)
}

fn rng_read_and_skip(ctx: &mut KernelCtx) -> Result<()> {
    algorithm_input(ctx, 1)?;
    let delta = ctx.int_input(2)?;
    let rng = reserve(ctx, delta as u64, false)?;
    let [low, high] = rng.counter();
    ctx.set(0, Tensor::vector(&[low as i64, high as i64, rng.key() as i64]))
}

fn non_deterministic_ints(ctx: &mut KernelCtx) -> Result<()> {
    let dims = shape_input(ctx, 0)?;
    let rng = PhiloxRandom::new(random_u64(), random_u64());
    ctx.set(0, draw_full_int(ctx.node().dtype("dtype")?, &dims, rng)?)
}
