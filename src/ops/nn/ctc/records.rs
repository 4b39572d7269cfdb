//! The records of the CTC ops.

use super::{decode, loss};
use crate::error::Result;
use crate::graph::op::{Grad, InferCtx, Kernel, Op};
use crate::ops::nn::gradients::loss as gradients;
use crate::tensor::Shape;

const COLLAPSE: &str = "preprocess_collapse_repeated: bool = false";
const MERGE: &str = "ctc_merge_repeated: bool = true";
const IGNORE: &str = "ignore_longer_outputs_than_inputs: bool = false";
const TYPE: &str = "T: {float, double} = DT_FLOAT";

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "CTCLoss",
        ins: &["inputs: T", "labels_indices: int64", "labels_values: int32", "sequence_length: int32"],
        outs: &["loss: T", "gradient: T"],
        attrs: &[COLLAPSE, MERGE, IGNORE, TYPE],
        shape: loss_shape,
        kernel: Kernel::Pure(loss::ctc_loss),
        grad: Grad::Fn(gradients::ctc_loss),
        rows: &[
            "f32[[[0 0 0 0]] [[0 0 0 0]] [[0 0 0 0]]], i64[[0 0]], i32[1], i32[3] => f32[2.3671236], \
             f32[[[0.25 -0.25 0.25 -0.25]] [[0.25 -0.4166667 0.25 -0.0833333]] [[0.25 -0.25 0.25 -0.25]]]",
            "ignore_longer_outputs_than_inputs=true; f32[[[0 0]]], i64[[0 0]], i32[0], i32[0] => f32[0], f32[[[0 0]]]",
        ],
    },
    Op {
        name: "CTCLossV2",
        ins: &["inputs: float", "labels_indices: int64", "labels_values: int32", "sequence_length: int32"],
        outs: &["loss: float", "gradient: float"],
        attrs: &[COLLAPSE, MERGE, IGNORE],
        shape: loss_shape,
        kernel: Kernel::Missing("TensorFlow has a kernel for it on GPUs only"),
        grad: Grad::Fn(gradients::ctc_loss),
        rows: &[],
    },
    Op {
        name: "CTCGreedyDecoder",
        ins: &["inputs: T", "sequence_length: int32"],
        outs: &["decoded_indices: int64", "decoded_values: int64", "decoded_shape: int64", "log_probability: T"],
        attrs: &["merge_repeated: bool = false", "blank_index: int = -1", TYPE],
        shape: greedy_shape,
        kernel: Kernel::Pure(decode::greedy),
        grad: Grad::None("labels"),
        rows: &["merge_repeated=true; f32[[[1 0 0]] [[3 0 0]] [[0 0 2]] [[4 0 0]]], i32[4] \
             => i64[[0 0] [0 1]], i64[0 0], i64[1 2], f32[[-10]]"],
    },
    Op {
        name: "CTCBeamSearchDecoder",
        ins: &["inputs: T", "sequence_length: int32"],
        outs: &[
            "decoded_indices: top_paths * int64",
            "decoded_values: top_paths * int64",
            "decoded_shape: top_paths * int64",
            "log_probability: T",
        ],
        attrs: &["beam_width: int >= 1", "top_paths: int >= 1", "merge_repeated: bool = true", TYPE],
        shape: beam_shape,
        kernel: Kernel::Pure(decode::beam_search),
        grad: Grad::None("labels"),
        rows: &["beam_width=2, top_paths=1; f32[[[0 0]]], i32[1] => i64{0,2}[], i64{0}[], i64[1 0], f32[[-0.6931472]]"],
    },
];

fn loss_shape(ctx: &mut InferCtx) -> Result<()> {
    let inputs = ctx.input(0).with_rank(3)?;
    let (indices, values) = (ctx.input(1).with_rank(2)?, ctx.input(2).with_rank(1)?);
    let lengths = ctx.input(3).with_rank(1)?;
    Shape::from([indices.dim(0)]).merge(&values)?;
    let batch = Shape::from([inputs.dim(1)]).merge(&lengths)?;
    ctx.set(1, inputs.with_dim(1, batch.dim(0)))?;
    ctx.set(0, batch)
}

fn batch_of(ctx: &InferCtx) -> Result<Option<usize>> {
    let (inputs, lengths) = (ctx.input(0).with_rank(3)?, ctx.input(1).with_rank(1)?);
    Ok(Shape::from([inputs.dim(1)]).merge(&lengths)?.dim(0))
}

fn greedy_shape(ctx: &mut InferCtx) -> Result<()> {
    let batch = batch_of(ctx)?;
    ctx.set(0, Shape::matrix(None, Some(2)))?;
    ctx.set(1, Shape::vector(None))?;
    ctx.set(2, Shape::vector(Some(2)))?;
    ctx.set(3, Shape::matrix(batch, Some(1)))
}

fn beam_shape(ctx: &mut InferCtx) -> Result<()> {
    let batch = batch_of(ctx)?;
    let paths = usize::try_from(ctx.int("top_paths")?).unwrap_or(1);
    for path in 0..paths {
        ctx.set(path, Shape::matrix(None, Some(2)))?;
        ctx.set(paths + path, Shape::vector(None))?;
        ctx.set(2 * paths + path, Shape::vector(Some(2)))?;
    }
    ctx.set(3 * paths, Shape::matrix(batch, Some(paths)))
}
