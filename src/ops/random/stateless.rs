//! Uniform and normal values that depend on a seed given as an input, and the keys that are made of such seeds.

use super::{
    PHILOX, Standard, check_key_counter_shapes, check_seed_shape, draw, draw_full_int, draw_int, key_counter_input, seed_input,
    shape_input, shape_of_first,
};
use crate::error::Result;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::shape;
use crate::random::PhiloxRandom;
use crate::tensor::{Shape, Tensor, element_count};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "StatelessRandomUniform",
        ins: &["shape: T", "seed: Tseed"],
        outs: &["output: dtype"],
        attrs: &[
            "dtype: {half, bfloat16, float, double} = DT_FLOAT",
            "T: {int32, int64} = DT_INT32",
            "Tseed: {int32, int64} = DT_INT64",
        ],
        shape: seeded_shape,
        kernel: Kernel::Pure(|ctx| standard(ctx, Standard::Uniform, seed_input)),
        grad: Grad::None("random"),
        rows: &["i32[3], i32[1 2] => f32[0.8440604 0.19204533 0.9962232]"],
    },
    Op {
        name: "StatelessRandomUniformV2",
        ins: &["shape: Tshape", "key: uint64", "counter: uint64", "alg: int32"],
        outs: &["output: dtype"],
        attrs: &["dtype: {half, bfloat16, float, double} = DT_FLOAT", "Tshape: {int32, int64} = DT_INT32"],
        shape: keyed_shape,
        kernel: Kernel::Pure(|ctx| standard(ctx, Standard::Uniform, key_counter_input)),
        grad: Grad::None("random"),
        rows: &["i32[2], u64[5], u64[1 2], i32 3 => f32[0.2645825 0.34126556]"],
    },
    Op {
        name: "StatelessRandomNormal",
        ins: &["shape: T", "seed: Tseed"],
        outs: &["output: dtype"],
        attrs: &[
            "dtype: {half, bfloat16, float, double} = DT_FLOAT",
            "T: {int32, int64} = DT_INT32",
            "Tseed: {int32, int64} = DT_INT64",
        ],
        shape: seeded_shape,
        kernel: Kernel::Pure(|ctx| standard(ctx, Standard::Normal, seed_input)),
        grad: Grad::None("random"),
        rows: &["i32[3], i32[1 2] => f32[0.5441101 0.20738031 0.07356432]"],
    },
    Op {
        name: "StatelessRandomNormalV2",
        ins: &["shape: Tshape", "key: uint64", "counter: uint64", "alg: int32"],
        outs: &["output: dtype"],
        attrs: &["dtype: {half, bfloat16, float, double} = DT_FLOAT", "Tshape: {int32, int64} = DT_INT32"],
        shape: keyed_shape,
        kernel: Kernel::Pure(|ctx| standard(ctx, Standard::Normal, key_counter_input)),
        grad: Grad::None("random"),
        rows: &["i32[2], u64[5], u64[1 2], i32 3 => f32[1.3698597 -0.8846968]"],
    },
    Op {
        name: "StatelessTruncatedNormal",
        ins: &["shape: T", "seed: Tseed"],
        outs: &["output: dtype"],
        attrs: &[
            "dtype: {half, bfloat16, float, double} = DT_FLOAT",
            "T: {int32, int64} = DT_INT32",
            "Tseed: {int32, int64} = DT_INT64",
        ],
        shape: seeded_shape,
        kernel: Kernel::Pure(|ctx| standard(ctx, Standard::TruncatedNormal, seed_input)),
        grad: Grad::None("random"),
        rows: &["i32[3], i32[1 2] => f32[0.5441101 0.20738031 0.07356432]"],
    },
    Op {
        name: "StatelessTruncatedNormalV2",
        ins: &["shape: Tshape", "key: uint64", "counter: uint64", "alg: int32"],
        outs: &["output: dtype"],
        attrs: &["dtype: {half, bfloat16, float, double} = DT_FLOAT", "Tshape: {int32, int64} = DT_INT32"],
        shape: keyed_shape,
        kernel: Kernel::Pure(|ctx| standard(ctx, Standard::TruncatedNormal, key_counter_input)),
        grad: Grad::None("random"),
        rows: &["i32[2], u64[5], u64[1 2], i32 3 => f32[1.3698597 -0.8846968]"],
    },
    Op {
        name: "StatelessRandomUniformInt",
        ins: &["shape: T", "seed: Tseed", "minval: dtype", "maxval: dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: {int32, int64}", "T: {int32, int64}", "Tseed: {int32, int64} = DT_INT64"],
        shape: seeded_int_shape,
        kernel: Kernel::Pure(|ctx| uniform_int(ctx, 2, seed_input)),
        grad: Grad::None("random"),
        rows: &["i32[3], i32[1 2], i32 -5, i32 5 => i32[-5 4 -1]", "i32[0], i64[1 2], i64 5, i64 -5 => i64[]"],
    },
    Op {
        name: "StatelessRandomUniformIntV2",
        ins: &["shape: Tshape", "key: uint64", "counter: uint64", "alg: int32", "minval: dtype", "maxval: dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: {int32, int64, uint32, uint64}", "Tshape: {int32, int64} = DT_INT32"],
        shape: keyed_int_shape,
        kernel: Kernel::Pure(|ctx| uniform_int(ctx, 4, key_counter_input)),
        grad: Grad::None("random"),
        rows: &["i32[3], u64[5], u64[1 2], i32 3, i32 -5, i32 5 => i32[-4 2 -1]"],
    },
    Op {
        name: "StatelessRandomUniformFullInt",
        ins: &["shape: T", "seed: Tseed"],
        outs: &["output: dtype"],
        attrs: &[
            "dtype: {int32, int64, uint32, uint64} = DT_UINT64",
            "T: {int32, int64} = DT_INT32",
            "Tseed: {int32, int64, uint32, uint64} = DT_INT64",
        ],
        shape: seeded_shape,
        kernel: Kernel::Pure(|ctx| full_int(ctx, seed_input)),
        grad: Grad::None("random"),
        rows: &["dtype=uint32; i32[2], i32[1 2] => u32[1105988140 1738052849]"],
    },
    Op {
        name: "StatelessRandomUniformFullIntV2",
        ins: &["shape: Tshape", "key: uint64", "counter: uint64", "alg: int32"],
        outs: &["output: dtype"],
        attrs: &["dtype: {int32, int64, uint32, uint64} = DT_UINT64", "Tshape: {int32, int64} = DT_INT32"],
        shape: keyed_shape,
        kernel: Kernel::Pure(|ctx| full_int(ctx, key_counter_input)),
        grad: Grad::None("random"),
        rows: &["dtype=int64; i32[2], u64[5], u64[1 2], i32 3 => i64[5704845317768338903 6162861916808901020]"],
    },
    Op {
        name: "StatelessRandomGetKeyCounter",
        ins: &["seed: Tseed"],
        outs: &["key: uint64", "counter: uint64"],
        attrs: &["Tseed: {int32, int64} = DT_INT64"],
        shape: key_counter_shape,
        kernel: Kernel::Pure(key_counter),
        grad: Grad::Missing,
        rows: &["i32[1 2] => u64[10413732777507651514], u64[0 17830669156045600267]"],
    },
    Op {
        name: "StatelessRandomGetKeyCounterAlg",
        ins: &["seed: Tseed"],
        outs: &["key: uint64", "counter: uint64", "alg: int32"],
        attrs: &["Tseed: {int32, int64} = DT_INT64"],
        shape: key_counter_shape,
        kernel: Kernel::Pure(key_counter),
        grad: Grad::Missing,
        rows: &["i32[1 2] => u64[10413732777507651514], u64[0 17830669156045600267], i32 1"],
    },
    Op {
        name: "StatelessRandomGetAlg",
        ins: &[],
        outs: &["alg: int32"],
        attrs: &[],
        shape: shape::scalar,
        kernel: Kernel::Stateful(|ctx| ctx.set(0, Tensor::scalar(PHILOX as i32))),
        grad: Grad::Missing,
        rows: &[],
    },
];

/// Makes the stream from the inputs that begin at an index.
type StreamInput = fn(&KernelCtx, usize) -> Result<PhiloxRandom>;

fn seeded_shape(ctx: &mut InferCtx) -> Result<()> {
    check_seed_shape(ctx, 1)?;
    shape_of_first(ctx)
}

fn keyed_shape(ctx: &mut InferCtx) -> Result<()> {
    check_key_counter_shapes(ctx, 1)?;
    shape_of_first(ctx)
}

fn seeded_int_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(2).with_rank(0)?;
    ctx.input(3).with_rank(0)?;
    seeded_shape(ctx)
}

fn keyed_int_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(4).with_rank(0)?;
    ctx.input(5).with_rank(0)?;
    keyed_shape(ctx)
}

fn key_counter_shape(ctx: &mut InferCtx) -> Result<()> {
    check_seed_shape(ctx, 0)?;
    ctx.set(0, Shape::known(&[1]))?;
    ctx.set(1, Shape::known(&[2]))?;
    if ctx.num_outputs() == 3 { ctx.set(2, Shape::scalar()) } else { Ok(()) }
}

fn standard(ctx: &mut KernelCtx, standard: Standard, stream: StreamInput) -> Result<()> {
    let dims = shape_input(ctx, 0)?;
    let rng = stream(ctx, 1)?;
    ctx.set(0, draw(standard, ctx.node().dtype("dtype")?, &dims, rng)?)
}

fn uniform_int(ctx: &mut KernelCtx, bounds: usize, stream: StreamInput) -> Result<()> {
    let dims = shape_input(ctx, 0)?;
    let rng = stream(ctx, 1)?;
    let (minval, maxval) = (ctx.input(bounds)?, ctx.input(bounds + 1)?);
    let drawn = match element_count(&dims)? {
        0 => Tensor::zeros(minval.dtype(), &dims)?,
        _ => draw_int(minval, maxval, &dims, || rng)?,
    };
    ctx.set(0, drawn)
}

fn full_int(ctx: &mut KernelCtx, stream: StreamInput) -> Result<()> {
    let dims = shape_input(ctx, 0)?;
    let rng = stream(ctx, 1)?;
    ctx.set(0, draw_full_int(ctx.node().dtype("dtype")?, &dims, rng)?)
}

fn key_counter(ctx: &mut KernelCtx) -> Result<()> {
    let rng = seed_input(ctx, 0)?;
    ctx.set(0, Tensor::vector(&[rng.key()]))?;
    ctx.set(1, Tensor::vector(&rng.counter()))?;
    if ctx.num_outputs() == 3 { ctx.set(2, Tensor::scalar(PHILOX as i32)) } else { Ok(()) }
}
