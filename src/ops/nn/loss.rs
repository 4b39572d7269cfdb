//! Cross entropies, the L2 loss, and whether a target is among the top k.

use super::gradients::loss as gradients;
use super::wide::{Wide, lit, narrowed, widened};
use crate::compute::softmax::{softmax_cross_entropy, sparse_softmax_cross_entropy};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::array::broadcast;
use crate::ops::shape;
use crate::tensor::{Shape, Tensor, dispatch};
use num_traits::Zero;

const FLOATS: &str = "T: {half, bfloat16, float, double}";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "SoftmaxCrossEntropyWithLogits",
        ins: &["features: T", "labels: T"],
        outs: &["loss: T", "backprop: T"],
        attrs: &[FLOATS],
        shape: xent_shape,
        kernel: Kernel::Pure(xent),
        grad: Grad::Fn(gradients::softmax_cross_entropy),
        rows: &[
            "f64[[0 0] [0 0]], f64[[1 0] [0.5 0.5]] => f64[0.6931471805599453 0.6931471805599453], f64[[-0.5 0.5] [0 0]]",
            "f64[0 0], f64[[1 0]] => f64[0.6931471805599453], f64[[-0.5 0.5]]",
            "f32{2,0}[], f32{2,0}[] => f32[0 0], f32{2,0}[]",
        ],
    },
    Op {
        name: "SparseSoftmaxCrossEntropyWithLogits",
        ins: &["features: T", "labels: Tlabels"],
        outs: &["loss: T", "backprop: T"],
        attrs: &[FLOATS, "Tlabels: {int32, int64} = DT_INT64"],
        shape: sparse_xent_shape,
        kernel: Kernel::Pure(sparse_xent),
        grad: Grad::Fn(gradients::sparse_softmax_cross_entropy),
        rows: &["f64[[0 0]], i64[1] => f64[0.6931471805599453], f64[[0.5 -0.5]]", "f32{0,3}[], i32{0}[] => f32{0}[], f32{0,3}[]"],
    },
    Op {
        name: "L2Loss",
        ins: &["t: T"],
        outs: &["output: T"],
        attrs: &[FLOATS],
        shape: shape::scalar,
        kernel: Kernel::Pure(l2_loss),
        grad: Grad::Fn(gradients::l2_loss),
        rows: &["f32[[1 2] [3 0]] => f32 7", "f32{0}[] => f32 0"],
    },
    Op {
        name: "InTopK",
        ins: &["predictions: float", "targets: T"],
        outs: &["precision: bool"],
        attrs: &["k: int", "T: {int32, int64} = DT_INT32"],
        shape: in_top_k_shape,
        kernel: Kernel::Pure(|ctx| {
            let k = ctx.node().int("k")?;
            in_top_k(ctx, k)
        }),
        grad: Grad::Missing,
        rows: &["k=2; f32[[0.1 0.3 0.2 0.4] [0.1 0.2 0.3 0.4]], i32[3 1] => bool[true false]"],
    },
    Op {
        name: "InTopKV2",
        ins: &["predictions: float", "targets: T", "k: T"],
        outs: &["precision: bool"],
        attrs: &["T: {int32, int64} = DT_INT32"],
        shape: in_top_k_v2_shape,
        kernel: Kernel::Pure(|ctx| {
            let k = ctx.int_input(2)?;
            in_top_k(ctx, k)
        }),
        grad: Grad::Missing,
        rows: &[
            "f32[[0.1 0.3 0.2 0.4] [0.1 0.2 0.2 0.4]], i32[3 1], i32 2 => bool[true true]",
            "f32[[0.1 NaN] [inf 1] [1 0]], i64[0 1 9], i64 2 => bool[false false false]",
        ],
    },
];

fn xent_shape(ctx: &mut InferCtx) -> Result<()> {
    let same = ctx.input(0).with_rank(2).and_then(|s| s.merge(&ctx.input(1)));
    let shape = match same {
        Ok(shape) => shape,
        Err(_) => shape::broadcast_shapes(&ctx.input(0), &ctx.input(1))?,
    };
    match shape.rank() {
        Some(2) => {}
        Some(rank) => bail!(InvalidArgument, "Shape must be broadcasted with rank 2, but is rank {rank}"),
        None => bail!(InvalidArgument, "Shape must be broadcasted with rank 2, but its rank is unknown."),
    }
    ctx.set(0, Shape::vector(shape.dim(0)))?;
    ctx.set(1, shape)
}

fn xent(ctx: &mut KernelCtx) -> Result<()> {
    let (logits, labels) = (ctx.take(0)?, ctx.take(1)?);
    let same = logits.dims() == labels.dims();
    let shape = if same { logits.shape() } else { shape::broadcast_shapes(&logits.shape(), &labels.shape())? };
    let Some([batch, classes]) = shape.to_dims().and_then(|d| <[usize; 2]>::try_from(&d[..]).ok()) else {
        bail!(
            InvalidArgument,
            "logits and labels must be either 2-dimensional, or broadcasted to be 2-dimensional: logits {:?}, labels {:?}",
            logits.dims(),
            labels.dims()
        );
    };
    let dtype = logits.dtype();
    let whole = |part: Tensor| widened(if part.dims() == [batch, classes] { part } else { broadcast(&part, &[batch, classes])? });
    let (logits, labels) = (whole(logits)?, whole(labels)?);
    let mut loss = Tensor::uninit(logits.dtype(), &[batch])?;
    let mut backprop = Tensor::uninit(logits.dtype(), &[batch, classes])?;
    dispatch!(logits.dtype(), wide, T => {
        let (x, labels) = (logits.as_slice::<T>()?, labels.as_slice()?);
        softmax_cross_entropy(x, labels, classes, loss.as_mut_slice()?, backprop.as_mut_slice()?);
    });
    ctx.set(0, narrowed(loss, dtype)?)?;
    ctx.set(1, narrowed(backprop, dtype)?)
}

fn sparse_xent_shape(ctx: &mut InferCtx) -> Result<()> {
    let (logits, labels) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(1)?);
    let batch = Shape::from([logits.dim(0)]).merge(&labels)?;
    ctx.set(0, batch.clone())?;
    ctx.set(1, logits.with_dim(0, batch.dim(0)))
}

fn sparse_xent(ctx: &mut KernelCtx) -> Result<()> {
    let (logits, labels) = (ctx.take(0)?, ctx.take(1)?);
    let &[batch, classes] = logits.dims() else {
        bail!(InvalidArgument, "logits must be 2-D, but got shape {:?}", logits.dims());
    };
    if labels.rank() != 1 {
        bail!(InvalidArgument, "labels must be 1-D, but got shape {:?}", labels.dims());
    }
    if labels.len() != batch {
        bail!(
            InvalidArgument,
            "logits and labels must have the same first dimension, got logits shape {:?} and labels shape {:?}",
            logits.dims(),
            labels.dims()
        );
    }
    if classes == 0 {
        bail!(InvalidArgument, "Must have at least one class, but got logits shape {:?}", logits.dims());
    }
    let labels: Vec<i64> = labels.to_i64s()?.to_vec();
    if let Some(label) = labels.iter().find(|&&l| l < 0 || l >= classes as i64) {
        let all: Vec<String> = labels.iter().take(64).map(i64::to_string).collect();
        bail!(
            InvalidArgument,
            "Received a label value of {label} which is outside the valid range of [0, {classes}).  Label values: {}",
            all.join(" ")
        );
    }
    let dtype = logits.dtype();
    let logits = widened(logits)?;
    let mut loss = Tensor::uninit(logits.dtype(), &[batch])?;
    let mut backprop = Tensor::uninit(logits.dtype(), &[batch, classes])?;
    dispatch!(logits.dtype(), wide, T => {
        let (x, label) = (logits.as_slice::<T>()?, |row: usize| labels[row] as usize);
        sparse_softmax_cross_entropy(x, label, classes, loss.as_mut_slice()?, backprop.as_mut_slice()?);
    });
    ctx.set(0, narrowed(loss, dtype)?)?;
    ctx.set(1, narrowed(backprop, dtype)?)
}

fn l2_loss(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.take(0)?;
    let output = dispatch!(input.dtype(), floats, T => Tensor::scalar(half_square_sum(input.as_slice::<T>()?)));
    ctx.set(0, output)
}

fn half_square_sum<T: Wide>(values: &[T]) -> T {
    const LANES: usize = 16;
    let (chunks, rest) = values.as_chunks::<LANES>();
    let square = |x: T| x.widen() * x.widen();
    let mut total = rest.iter().map(|&x| square(x)).sum::<T::Wide>();
    // Sums of short stretches, so that rounding errors stay small.
    for stretch in chunks.chunks(256) {
        let mut lanes = [T::Wide::zero(); LANES];
        for chunk in stretch {
            for (lane, &x) in lanes.iter_mut().zip(chunk) {
                *lane += square(x);
            }
        }
        total += lanes.into_iter().sum::<T::Wide>();
    }
    T::narrow(total * lit(0.5))
}

fn in_top_k_shape(ctx: &mut InferCtx) -> Result<()> {
    let (predictions, targets) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(1)?);
    let batch = Shape::from([predictions.dim(0)]).merge(&targets)?;
    ctx.set(0, batch)
}

fn in_top_k_v2_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(2).with_rank(0)?;
    in_top_k_shape(ctx)
}

fn in_top_k(ctx: &mut KernelCtx, k: i64) -> Result<()> {
    let (predictions, targets) = (ctx.input(0)?, ctx.input(1)?);
    if predictions.rank() != 2 {
        bail!(InvalidArgument, "predictions must be 2-dimensional, got {:?}", predictions.dims());
    }
    if targets.rank() != 1 {
        bail!(InvalidArgument, "targets must be 1-dimensional, got {:?}", targets.dims());
    }
    let (batch, classes) = (predictions.dims()[0], predictions.dims()[1]);
    if batch != targets.len() {
        bail!(InvalidArgument, "First dimension of predictions {batch} must match length of targets {}", targets.len());
    }
    let values = predictions.as_slice::<f32>()?;
    let within = |(i, &target): (usize, &i64)| {
        let row = &values[i * classes..(i + 1) * classes];
        let Some(&probability) = usize::try_from(target).ok().and_then(|t| row.get(t)) else { return false };
        row.iter().all(|p| p.is_finite()) && (row.iter().filter(|&&p| p > probability).count() as i64) < k
    };
    let output: Vec<bool> = targets.to_i64s()?.iter().enumerate().map(within).collect();
    ctx.set(0, Tensor::from(output))
}
