//! Softmax and its logarithm along the last dimension.

use super::gradients::activation as gradients;
use super::wide::{Wide, narrowed, widened};
use crate::compute::softmax;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{Tensor, dispatch};
use num_traits::Float;

const FLOATS: &[&str] = &["T: {half, bfloat16, float, double}"];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Softmax",
        ins: &["logits: T"],
        outs: &["softmax: T"],
        attrs: FLOATS,
        shape: at_least_vector,
        kernel: Kernel::Pure(|ctx| by_rows(ctx, false)),
        grad: Grad::Fn(gradients::softmax),
        rows: &["f64[[0 0] [1000 -1000]] => f64[[0.5 0.5] [1 0]]", "f32{2,0}[] => f32{2,0}[]"],
    },
    Op {
        name: "LogSoftmax",
        ins: &["logits: T"],
        outs: &["logsoftmax: T"],
        attrs: FLOATS,
        shape: at_least_vector,
        kernel: Kernel::Pure(|ctx| by_rows(ctx, true)),
        grad: Grad::Fn(gradients::log_softmax),
        rows: &["f64[0 0] => f64[-0.6931471805599453 -0.6931471805599453]", "f64[1000 0] => f64[0 -1000]"],
    },
];

fn at_least_vector(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank_at_least(1)?;
    ctx.set(0, shape)
}

fn by_rows(ctx: &mut KernelCtx, logarithm: bool) -> Result<()> {
    let logits = ctx.take(0)?;
    let Some(&classes) = logits.dims().last() else {
        bail!(InvalidArgument, "logits must have >= 1 dimension, got {:?}", logits.dims());
    };
    if logits.is_empty() {
        return ctx.set(0, logits);
    }
    let dtype = logits.dtype();
    let logits = widened(logits)?;
    let mut output = Tensor::uninit(logits.dtype(), logits.dims())?;
    dispatch!(logits.dtype(), wide, T => {
        let (x, y) = (logits.as_slice::<T>()?, output.as_mut_slice()?);
        if logarithm { softmax::log_softmax(x, classes, y) } else { softmax::softmax(x, classes, y) }
    });
    ctx.set(0, narrowed(output, dtype)?)
}

/// The largest element; NaN are passed over.
#[inline(always)]
pub(super) fn max_of<T: Wide>(row: &[T]) -> T::Wide {
    row.iter().fold(T::Wide::neg_infinity(), |m, &x| if x.widen() > m { x.widen() } else { m })
}
