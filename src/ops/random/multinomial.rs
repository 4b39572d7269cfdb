//! Draws from categories.

use super::{check_seed_shape, generator, seed_input, threads};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::random::{PhiloxRandom, multinomial, multinomial_reserve};
use crate::tensor::{DType, Shape, Tensor, dispatch, element_count};

const LOGITS: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";

pub(super) static OPS: &[Op] = &[
    Op {
        name: "Multinomial",
        ins: &["logits: T", "num_samples: int32"],
        outs: &["output: output_dtype"],
        attrs: &["seed: int = 0", "seed2: int = 0", LOGITS, "output_dtype: {int32, int64} = DT_INT64"],
        shape: multinomial_shape,
        kernel: Kernel::StatefulPrepared(prepare),
        grad: Grad::None("random"),
        rows: &[],
    },
    Op {
        name: "StatelessMultinomial",
        ins: &["logits: T", "num_samples: int32", "seed: Tseed"],
        outs: &["output: output_dtype"],
        attrs: &[LOGITS, "Tseed: {int32, int64} = DT_INT64", "output_dtype: {int32, int64} = DT_INT64"],
        shape: stateless_multinomial_shape,
        kernel: Kernel::Pure(stateless_multinomial),
        grad: Grad::None("random"),
        rows: &["f32[[0 2 -1] [5 0 0]], i32 3, i32[1 2] => i64[[1 2 1] [0 0 0]]"],
    },
];

fn multinomial_shape(ctx: &mut InferCtx) -> Result<()> {
    let rows = ctx.input(0).with_rank(2)?.dim(0);
    ctx.input(1).with_rank(0)?;
    let samples = match ctx.constant(1) {
        None => None,
        Some(value) => match usize::try_from(value.item_i64()?) {
            Ok(samples) => Some(samples),
            Err(_) => bail!(
                InvalidArgument,
                "Dimension size, given by scalar input 1, must be non-negative but is {}",
                value.item_i64()?
            ),
        },
    };
    ctx.set(0, Shape::matrix(rows, samples))
}

fn stateless_multinomial_shape(ctx: &mut InferCtx) -> Result<()> {
    check_seed_shape(ctx, 2)?;
    multinomial_shape(ctx)
}

fn prepare(ctx: &PrepareCtx) -> Result<Prepared> {
    let generator = generator(ctx)?;
    Ok(Box::new(move |ctx: &mut KernelCtx| draw(ctx, |count| generator.reserve_random_outputs(count, 256))))
}

fn stateless_multinomial(ctx: &mut KernelCtx) -> Result<()> {
    let rng = seed_input(ctx, 2)?;
    draw(ctx, |_| rng)
}

fn draw(ctx: &mut KernelCtx, reserve: impl FnOnce(u64) -> PhiloxRandom) -> Result<()> {
    let (logits, num_samples) = (ctx.input(0)?, ctx.input(1)?);
    let &[rows, classes] = logits.dims() else {
        bail!(InvalidArgument, "logits should be a matrix, got shape {:?}", logits.dims());
    };
    if !num_samples.is_scalar() {
        bail!(InvalidArgument, "num_samples should be a scalar, got shape {:?}", num_samples.dims());
    }
    let Ok(samples) = usize::try_from(num_samples.item_i64()?) else {
        bail!(InvalidArgument, "num_samples should be non-negative, got {}", num_samples.item_i64()?);
    };
    if classes == 0 {
        bail!(InvalidArgument, "num_classes should be positive, got 0");
    }
    let dtype = ctx.node().dtype("output_dtype")?;
    let dims = [rows, samples];
    let mut out = Tensor::uninit(dtype, &dims)?;
    if element_count(&dims)? > 0 {
        let rng = reserve(multinomial_reserve(rows, samples));
        dispatch!(logits.dtype(), floats, T => {
            let logits = logits.as_slice::<T>()?;
            match dtype {
                DType::Int32 => {
                    let mut places = out.as_mut_slice::<i32>()?.iter_mut();
                    multinomial(rng, logits, classes, samples, threads(), |class| {
                        places.next().into_iter().for_each(|place| *place = class as i32);
                    });
                }
                _ => {
                    let mut places = out.as_mut_slice::<i64>()?.iter_mut();
                    multinomial(rng, logits, classes, samples, threads(), |class| {
                        places.next().into_iter().for_each(|place| *place = class as i64);
                    });
                }
            }
        });
    }
    ctx.set(0, out)
}
