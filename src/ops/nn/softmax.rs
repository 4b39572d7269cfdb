//! Softmax and its logarithm along the last dimension.

use super::gradients::activation as gradients;
use super::wide::Wide;
use crate::compute::level::vectorize;
use crate::compute::pool::parallel_pieces;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::tensor::{Tensor, dispatch};
use num_traits::{Float, Zero};

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
    let mut output = Tensor::uninit(logits.dtype(), logits.dims())?;
    dispatch!(logits.dtype(), floats, T => {
        let input = logits.as_slice::<T>()?;
        parallel_pieces(output.as_mut_slice::<T>()?, classes, (4usize << 10).div_ceil(classes), |first, piece| {
            let input = &input[first * classes..][..piece.len()];
            for (x, y) in input.chunks_exact(classes).zip(piece.chunks_exact_mut(classes)) {
                vectorize(#[inline(always)] || if logarithm { log_softmax_row(x, y) } else { softmax_row(x, y) });
            }
        });
    });
    ctx.set(0, output)
}

/// The largest element; NaN are passed over.
#[inline(always)]
pub(super) fn max_of<T: Wide>(row: &[T]) -> T::Wide {
    row.iter().fold(T::Wide::neg_infinity(), |m, &x| if x.widen() > m { x.widen() } else { m })
}

#[inline(always)]
fn softmax_row<T: Wide>(x: &[T], y: &mut [T]) {
    let max = max_of(x);
    if size_of::<T>() != size_of::<T::Wide>() {
        let factor = x.iter().map(|&x| (x.widen() - max).exp()).sum::<T::Wide>().recip();
        return y.iter_mut().zip(x).for_each(|(y, &x)| *y = T::narrow((x.widen() - max).exp() * factor));
    }
    let mut sum = T::Wide::zero();
    for (y, &x) in y.iter_mut().zip(x) {
        let e = (x.widen() - max).exp();
        sum += e;
        *y = T::narrow(e);
    }
    let factor = sum.recip();
    y.iter_mut().for_each(|y| *y = T::narrow(y.widen() * factor));
}

#[inline(always)]
fn log_softmax_row<T: Wide>(x: &[T], y: &mut [T]) {
    let max = max_of(x);
    let log_sum = x.iter().map(|&x| (x.widen() - max).exp()).sum::<T::Wide>().ln();
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = T::narrow(x.widen() - max - log_sum));
}
