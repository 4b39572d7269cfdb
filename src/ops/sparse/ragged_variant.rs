//! Ragged tensors within variants, as functional loops pass them on.

use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation};
use crate::ops::array::{concat_tensors, zeros_of};
use crate::ops::math::select::sum_of;
use crate::tensor::{DType, Handle, Shape, Tensor, Variant};
use std::any::Any;
use std::sync::Arc;

const SPLITS: &str = "Tsplits: {int32, int64} = DT_INT64";

pub(super) static OPS: &[Op] = &[
    Op {
        name: "RaggedTensorToVariant",
        ins: &["rt_nested_splits: RAGGED_RANK * Tsplits", "rt_dense_values: Tvalues"],
        outs: &["encoded_ragged: variant"],
        attrs: &["RAGGED_RANK: int >= 0", "Tvalues: type", SPLITS, "batched_input: bool"],
        shape: to_variant_shape,
        kernel: Kernel::Stateful(to_variant),
        grad: Grad::Fn(to_variant_grad),
        rows: &[],
    },
    Op {
        name: "RaggedTensorFromVariant",
        ins: &["encoded_ragged: variant"],
        outs: &["output_nested_splits: output_ragged_rank * Tsplits", "output_dense_values: Tvalues"],
        attrs: &["input_ragged_rank: int >= -1", "output_ragged_rank: int >= 0", "Tvalues: type", SPLITS],
        shape: from_variant_shape,
        kernel: Kernel::Stateful(from_variant),
        grad: Grad::Fn(from_variant_grad),
        rows: &[],
    },
    Op {
        name: "RaggedTensorToVariantGradient",
        ins: &["encoded_ragged_grad: variant", "row_splits: Tsplits", "dense_values_shape: int32"],
        outs: &["dense_values_grad: Tvalues"],
        attrs: &["Tvalues: type", SPLITS],
        shape: |ctx| ctx.set(0, ctx.constant_shape(2)),
        kernel: Kernel::Stateful(gradient),
        grad: Grad::Missing,
        rows: &[],
    },
];

/// A ragged tensor: splits from the outermost to the innermost, and the values.
#[derive(Clone, Debug)]
struct Ragged {
    splits: Vec<Tensor>,
    values: Tensor,
}

impl Variant for Ragged {
    fn type_name(&self) -> &'static str {
        "RaggedTensorVariant"
    }

    fn zeros_like(&self) -> Result<Arc<dyn Variant>> {
        let values = zeros_of(&self.values)?;
        Ok(Arc::new(Ragged { splits: self.splits.clone(), values }))
    }

    fn plus(&self, other: &dyn Variant) -> Result<Arc<dyn Variant>> {
        let Some(other) = (other as &dyn Any).downcast_ref::<Ragged>() else {
            bail!(InvalidArgument, "a RaggedTensorVariant and a {} can't be added", other.type_name())
        };
        if self.splits.len() != other.splits.len() || self.values.dims() != other.values.dims() {
            bail!(
                InvalidArgument,
                "Can't add RaggedTensorVariants of different shapes: {} and {} splits, values of {} and {}",
                self.splits.len(),
                other.splits.len(),
                self.values.shape(),
                other.values.shape()
            );
        }
        let values = sum_of(vec![self.values.clone(), other.values.clone()])?;
        Ok(Arc::new(Ragged { splits: self.splits.clone(), values }))
    }
}

fn to_variant_shape(ctx: &mut InferCtx) -> Result<()> {
    let rank = ctx.int("RAGGED_RANK")?;
    if !ctx.boolean("batched_input")? {
        return ctx.set(0, Shape::scalar());
    }
    let rows = match rank {
        0 => ctx.input(0).dim(0),
        _ => ctx.input(0).with_rank(1)?.dim(0).map(|n| n.saturating_sub(1)),
    };
    ctx.set(0, Shape::vector(rows))
}

fn from_variant_shape(ctx: &mut InferCtx) -> Result<()> {
    let last = ctx.num_outputs() - 1;
    for index in 0..last {
        ctx.set(index, Shape::vector(None))?;
    }
    ctx.set(last, Shape::unknown())
}

/// Splits as integers.
fn ints(splits: &Tensor) -> Result<Vec<i64>> {
    if splits.rank() != 1 || splits.is_empty() {
        bail!(InvalidArgument, "Splits must be a vector of at least one element, got shape {}", splits.shape());
    }
    Ok(splits.to_i64s()?.to_vec())
}

fn splits_of(dtype: DType, values: Vec<i64>) -> Tensor {
    match dtype {
        DType::Int32 => Tensor::from(values.into_iter().map(|v| v as i32).collect::<Vec<_>>()),
        _ => Tensor::from(values),
    }
}

fn variant(ragged: Ragged) -> Handle {
    Handle::Variant(Arc::new(ragged))
}

/// Rows `from..to` of the first dimension.
fn rows(values: &Tensor, from: i64, to: i64) -> Result<Tensor> {
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from <= to => values.rows(from, to - from),
        _ => bail!(InvalidArgument, "Splits {from}, {to} must ascend from 0"),
    }
}

fn to_variant(ctx: &mut KernelCtx) -> Result<()> {
    let count = ctx.num_inputs() - 1;
    let splits = (0..count).map(|i| Ok(ctx.input(i)?.clone())).collect::<Result<Vec<_>>>()?;
    let values = ctx.input(count)?.clone();
    if !ctx.node().boolean("batched_input")? {
        return ctx.set(0, Tensor::from_handles(DType::Variant, &[], vec![variant(Ragged { splits, values })])?);
    }
    let handles = unbatch(&splits, &values)?;
    ctx.set(0, Tensor::from_handles(DType::Variant, &[handles.len()], handles)?)
}

/// The rows of the outermost dimension, each a ragged tensor of its own.
fn unbatch(splits: &[Tensor], values: &Tensor) -> Result<Vec<Handle>> {
    let Some((outer, inner)) = splits.split_first() else {
        if values.rank() == 0 {
            bail!(InvalidArgument, "A batch of values must have at least one dimension");
        }
        let row = |i: usize| Ok(variant(Ragged { splits: Vec::new(), values: values.row(i)? }));
        return (0..values.dims()[0]).map(row).collect();
    };
    let dtype = outer.dtype();
    let outer = ints(outer)?;
    let inner = inner.iter().map(ints).collect::<Result<Vec<_>>>()?;
    let mut handles = Vec::with_capacity(outer.len() - 1);
    for pair in outer.windows(2) {
        let (mut from, mut to) = (pair[0], pair[1]);
        let mut own = Vec::with_capacity(inner.len());
        for level in &inner {
            let part = usize::try_from(from).ok().zip(usize::try_from(to).ok()).and_then(|(f, t)| level.get(f..=t));
            let Some(part) = part else { bail!(InvalidArgument, "Splits {from}, {to} are not within {} splits", level.len()) };
            let (first, last) = (part[0], part[part.len() - 1]);
            own.push(splits_of(dtype, part.iter().map(|v| v - first).collect()));
            (from, to) = (first, last);
        }
        handles.push(variant(Ragged { splits: own, values: rows(values, from, to)? }));
    }
    Ok(handles)
}

fn decode(handles: &[Handle]) -> Result<Vec<Ragged>> {
    let decode = |handle: &Handle| match handle {
        Handle::Variant(value) => (&**value as &dyn Any).downcast_ref::<Ragged>().cloned().ok_or_else(|| value.type_name()),
        _ => Err("an empty variant"),
    };
    let all = handles.iter().enumerate().map(|(i, handle)| {
        decode(handle).map_err(|got| {
            Error::invalid_argument(format!("Input Variant element at index {i} doesn't hold a RaggedTensorVariant: {got}"))
        })
    });
    all.collect()
}

fn from_variant(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (mut input_rank, output_rank) = (node.int("input_ragged_rank")?, node.int("output_ragged_rank")?);
    let (dtype, split_type) = (node.dtype("Tvalues")?, node.dtype("Tsplits")?);
    let encoded = ctx.input(0)?;
    let batch = encoded.dims().to_vec();
    if input_rank == -1 {
        input_rank = output_rank - batch.len() as i64;
        if input_rank < 0 {
            bail!(
                InvalidArgument,
                "Inferred input_ragged_rank (output_ragged_rank - encoded_variant.dims()) must be >= 0, found \
                 output_ragged_rank: {output_rank}, encoded_variant.dims(): {}, inferred input_ragged_rank: {input_rank}",
                batch.len()
            );
        }
    }
    if output_rank != batch.len() as i64 + input_rank {
        bail!(
            InvalidArgument,
            "output_ragged_rank must be equal to input_ragged_rank + encoded_ragged.dims(); output_ragged_rank: {output_rank}, \
             input_ragged_rank: {input_rank}, encoded_ragged.dims(): {}.",
            batch.len()
        );
    }
    let parts = decode(encoded.handles()?)?;
    for (i, part) in parts.iter().enumerate() {
        if part.splits.len() as i64 != input_rank {
            bail!(
                InvalidArgument,
                "Encoded input RaggedTensorVariant at index {i} has {} splits, expected input_ragged_rank {input_rank}",
                part.splits.len()
            );
        }
        if part.values.dtype() != dtype {
            bail!(InvalidArgument, "Expected values Tensor dtype: {dtype}, found: {}", part.values.dtype());
        }
        if let Some(splits) = part.splits.iter().find(|s| s.dtype() != split_type) {
            bail!(InvalidArgument, "Expected row_splits Tensor dtype: {split_type}, found: {}", splits.dtype());
        }
        if !batch.is_empty() && part.values.rank() == 0 {
            bail!(InvalidArgument, "Ragged values must have rank >= 1; encoded scalar element at index {i}");
        }
    }
    let whole = if batch.is_empty() {
        match parts.into_iter().next() {
            Some(part) => part,
            None => bail!(Internal, "a scalar has one element"),
        }
    } else {
        stack(&batch, &parts, input_rank as usize, dtype, split_type)?
    };
    for (index, splits) in whole.splits.into_iter().enumerate() {
        ctx.set(index, splits)?;
    }
    ctx.set(output_rank as usize, whole.values)
}

/// Ragged tensors along the dimensions of a batch.
fn stack(batch: &[usize], parts: &[Ragged], inner: usize, dtype: DType, split_type: DType) -> Result<Ragged> {
    let mut splits = Vec::new();
    let mut rows: i64 = batch[0] as i64;
    for &size in &batch[1..] {
        splits.push(splits_of(split_type, (0..=rows).map(|i| i * size as i64).collect()));
        rows *= size as i64;
    }
    let mut outer = vec![0i64];
    let mut levels: Vec<Vec<i64>> = vec![vec![0]; inner];
    for part in parts {
        let own = part.splits.iter().map(ints).collect::<Result<Vec<_>>>()?;
        let count = own.first().map_or(part.values.dims()[0], |s| s.len() - 1) as i64;
        outer.push(outer[outer.len() - 1] + count);
        for (level, own) in levels.iter_mut().zip(own) {
            let offset = level[level.len() - 1];
            level.extend(own[1..].iter().map(|v| v + offset));
        }
    }
    splits.push(splits_of(split_type, outer));
    splits.extend(levels.into_iter().map(|level| splits_of(split_type, level)));
    let values: Vec<&Tensor> = parts.iter().map(|p| &p.values).collect();
    let values = match values.first() {
        Some(first) => {
            if let Some(other) = values.iter().find(|v| v.dims()[1..] != first.dims()[1..]) {
                bail!(
                    InvalidArgument,
                    "Shapes of values that are stacked differ beyond the first dimension: {} and {}",
                    first.shape(),
                    other.shape()
                );
            }
            concat_tensors(&values, 0)?
        }
        None => Tensor::zeros(dtype, &[0])?,
    };
    Ok(Ragged { splits, values })
}

/// The gradients of the values, from those of each row.
fn gradient(ctx: &mut KernelCtx) -> Result<()> {
    let (dtype, dims) = (ctx.node().dtype("Tvalues")?, ctx.dims_input(2)?);
    let encoded = ctx.input(0)?;
    let parts = decode(encoded.handles()?)?;
    if encoded.rank() == 0 {
        let values = parts.into_iter().next().map(|p| p.values);
        return match values {
            Some(values) => ctx.set(0, values.reshaped(&dims)?),
            None => bail!(Internal, "a scalar has one element"),
        };
    }
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        if part.values.dtype() != dtype {
            bail!(InvalidArgument, "Expected values Tensor dtype: {dtype}, found: {}", part.values.dtype());
        }
        // Rows of the values that a scalar stands for, or rows as they are.
        let own: Vec<usize> = if part.values.rank() < dims.len() {
            std::iter::once(1).chain(part.values.dims().iter().copied()).collect()
        } else {
            part.values.dims().to_vec()
        };
        values.push(part.values.reshaped(&own)?);
    }
    let joined = match values.is_empty() {
        true => Tensor::zeros(dtype, &dims)?,
        false => concat_tensors(&values.iter().collect::<Vec<_>>(), 0)?,
    };
    ctx.set(0, joined.reshaped(&dims)?)
}

fn to_variant_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let inputs = g.inputs(op);
    let Some((&values, splits)) = inputs.split_last() else { bail!(Internal, "there are values") };
    let splits = match splits.first() {
        Some(&first) => first,
        None => g.constant(Tensor::scalar(0i32))?,
    };
    let grad = grads.dense(g, 0)?;
    let shape = g.op("Shape").input(values).output()?;
    let builder = g.op("RaggedTensorToVariantGradient").input(grad).input(splits).input(shape);
    let values = builder.attr("Tvalues", g.dtype(values)?).output()?;
    let mut all = vec![None; inputs.len() - 1];
    all.push(Some(values.into()));
    Ok(all)
}

fn from_variant_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let outputs = g.outputs(op);
    let last = outputs.len() - 1;
    let grad = grads.dense(g, last)?;
    let batched = g.shape(g.inputs(op)[0])?.rank().is_none_or(|r| r > 0);
    let builder = g.op("RaggedTensorToVariant").input_list(&outputs[..last]).input(grad);
    let builder = match crate::graph::attr::dtype(&g.get_attr(op, "Tsplits")?) {
        Ok(dtype) => builder.attr("Tsplits", dtype),
        Err(_) => builder,
    };
    Ok(vec![Some(builder.attr("batched_input", batched).output()?.into())])
}
