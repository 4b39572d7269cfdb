//! Ragged tensors: values and nested row splits.

use super::{index_matrix, ragged_grad, set_sparse};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::math::number::{Number, Real};
use crate::tensor::{DType, Element, Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "RaggedTensorToSparse",
        ins: &["rt_nested_splits: RAGGED_RANK * Tsplits", "rt_dense_values: T"],
        outs: &["sparse_indices: int64", "sparse_values: T", "sparse_dense_shape: int64"],
        attrs: &["RAGGED_RANK: int >= 1", "T: type", "Tsplits: {int32, int64} = DT_INT64"],
        shape: to_sparse_shape,
        kernel: Kernel::Pure(to_sparse),
        grad: Grad::Fn(|g, op, grads| {
            let inputs = g.inputs(op);
            let shape = g.shape_tensor(inputs[inputs.len() - 1])?;
            let mut gradients = vec![None; inputs.len()];
            gradients[inputs.len() - 1] = Some(g.reshape(grads.dense(g, 1)?, shape)?.into());
            Ok(gradients)
        }),
        rows: &[
            "(i64[0 2 2 3]), f32[5 6 7] => i64[[0 0] [0 1] [2 0]], f32[5 6 7], i64[3 2]",
            "(i64[0 1 1]), i32[[5 6]] => i64[[0 0 0] [0 0 1]], i32[5 6], i64[2 1 2]",
        ],
    },
    Op {
        name: "RaggedTensorToTensor",
        ins: &["shape: Tshape", "values: T", "default_value: T", "row_partition_tensors: num_row_partition_tensors * Tindex"],
        outs: &["result: T"],
        attrs: &[
            "T: type",
            "Tindex: {int64, int32}",
            "Tshape: {int64, int32}",
            "num_row_partition_tensors: int >= 1",
            "row_partition_types: list(string)",
        ],
        shape: to_tensor_shape,
        kernel: Kernel::Pure(to_tensor),
        grad: Grad::Fn(ragged_grad::to_tensor),
        rows: &[
            "row_partition_types=['ROW_SPLITS']; i64[-1 -1], i32[1 2 3], i32 9, (i64[0 2 2 3]) => i32[[1 2] [9 9] [3 9]]",
            "row_partition_types=['FIRST_DIM_SIZE', 'VALUE_ROWIDS']; i64[2 1], i32[1 2 3], i32 0, (i64 3, i64[0 0 2]) => i32[[1] [0]]",
        ],
    },
    Op {
        name: "RaggedRange",
        ins: &["starts: T", "limits: T", "deltas: T"],
        outs: &["rt_nested_splits: Tsplits", "rt_dense_values: T"],
        attrs: &["T: {bfloat16, float, double, int32, int64} = DT_INT32", "Tsplits: {int32, int64} = DT_INT64"],
        shape: range_shape,
        kernel: Kernel::Pure(range),
        grad: Grad::None("a range"),
        rows: &["i32[2 5 8], i32[3 5 12], i32 2 => i64[0 1 1 3], i32[2 8 10]"],
    },
    Op {
        name: "RaggedGather",
        ins: &["params_nested_splits: PARAMS_RAGGED_RANK * Tsplits", "params_dense_values: Tvalues", "indices: Tindices"],
        outs: &["output_nested_splits: OUTPUT_RAGGED_RANK * Tsplits", "output_dense_values: Tvalues"],
        attrs: &[
            "Tvalues: type",
            "Tindices: {int32, int64}",
            "Tsplits: {int32, int64} = DT_INT64",
            "PARAMS_RAGGED_RANK: int >= 1",
            "OUTPUT_RAGGED_RANK: int >= 0",
        ],
        shape: gather_shape,
        kernel: Kernel::Pure(gather),
        grad: Grad::Fn(ragged_grad::gather),
        rows: &["OUTPUT_RAGGED_RANK=1; (i64[0 2 2 3]), f32[5 6 7], i32[2 0] => i64[0 1 3], f32[7 5 6]"],
    },
];

fn to_sparse_shape(ctx: &mut InferCtx) -> Result<()> {
    let levels = ctx.num_inputs() - 1;
    for level in 0..levels {
        ctx.input(level).with_rank(1)?;
    }
    let values = ctx.input(levels).with_rank_at_least(1)?;
    let rank = values.rank().map(|r| r + levels);
    ctx.set(0, Shape::matrix(values.num_elements(), rank))?;
    ctx.set(1, Shape::vector(values.num_elements()))?;
    ctx.set(2, Shape::vector(rank))
}

/// Row splits as positions.
///
/// # Errors
/// `InvalidArgument` unless they start at 0, ascend, and end at the number of values (where `total` is given).
fn splits(tensor: &Tensor, total: Option<usize>) -> Result<Vec<usize>> {
    if tensor.rank() != 1 || tensor.is_empty() {
        bail!(InvalidArgument, "Ragged splits must have rank 1 and at least one element, got shape {}", tensor.shape());
    }
    let wide = tensor.to_i64s()?;
    if wide[0] != 0 {
        bail!(InvalidArgument, "First value of ragged splits must be 0, got {}", wide[0]);
    }
    if wide.windows(2).any(|w| w[1] < w[0]) {
        bail!(InvalidArgument, "Ragged splits should be non decreasing, but found {tensor:?}");
    }
    let last = wide[wide.len() - 1];
    if let Some(total) = total.filter(|&t| t as i64 != last) {
        bail!(InvalidArgument, "Final value of ragged splits must match the length of the values: got {last}, expected {total}");
    }
    Ok(wide.iter().map(|&s| s as usize).collect())
}

/// The splits of all levels, each checked against the next.
fn nested_splits(ctx: &KernelCtx, levels: usize, values: usize) -> Result<Vec<Vec<usize>>> {
    let mut all = Vec::with_capacity(levels);
    for level in 0..levels {
        let total = if level + 1 < levels { ctx.input(level + 1)?.len().saturating_sub(1) } else { values };
        all.push(splits(ctx.input(level)?, Some(total))?);
    }
    Ok(all)
}

fn to_sparse(ctx: &mut KernelCtx) -> Result<()> {
    let levels = ctx.num_inputs() - 1;
    let (indices, values, shape) = {
        let values = ctx.input(levels)?;
        if values.rank() == 0 {
            bail!(InvalidArgument, "flat_values must have rank at least 1, got a scalar");
        }
        let all = nested_splits(ctx, levels, values.dims()[0])?;
        let inner = &values.dims()[1..];
        let step: usize = inner.iter().product();
        let mut prefixes: Vec<Vec<i64>> = (0..all[0].len() as i64 - 1).map(|row| vec![row]).collect();
        let mut shape = vec![all[0].len() as i64 - 1];
        for own in &all {
            let mut next = Vec::with_capacity(*own.last().unwrap_or(&0));
            let mut widest = 0;
            for (row, ends) in own.windows(2).enumerate() {
                let width = ends[1] - ends[0];
                widest = widest.max(width);
                for at in 0..width {
                    let mut prefix = prefixes[row].clone();
                    prefix.push(at as i64);
                    next.push(prefix);
                }
            }
            shape.push(widest as i64);
            prefixes = next;
        }
        shape.extend(inner.iter().map(|&d| d as i64));
        let mut indices = Vec::with_capacity(values.len() * shape.len());
        for prefix in &prefixes {
            for element in 0..step {
                indices.extend_from_slice(prefix);
                let (start, mut rest) = (indices.len(), element);
                indices.resize(start + inner.len(), 0);
                for (d, &size) in inner.iter().enumerate().rev() {
                    indices[start + d] = (rest % size) as i64;
                    rest /= size;
                }
            }
        }
        let count = values.len();
        (index_matrix(count, shape.len(), indices)?, values.clone().reshaped(&[count])?, shape)
    };
    set_sparse(ctx, 0, indices, values, &shape)
}

fn to_tensor_shape(ctx: &mut InferCtx) -> Result<()> {
    let types = crate::graph::attr::list(ctx.attr("row_partition_types")?)?.s.clone();
    let first = types.first().is_some_and(|t| &t[..] == b"FIRST_DIM_SIZE");
    let levels = types.len() - usize::from(first && !types.is_empty());
    let requested = ctx.constant_shape(0);
    let inner = ctx.input(1).slice_from(1);
    let shape = match (requested.signed(), inner.rank()) {
        (Some(dims), _) if ctx.input(0).rank() == Some(1) => {
            let known = Shape::from_signed(dims.iter().copied());
            match inner.rank() {
                Some(rank) if dims.len() == levels + 1 + rank => {
                    let outer = Shape::from_signed(dims[..levels + 1].iter().copied());
                    outer.concatenate(&known.slice_from(levels as isize + 1).merge(&inner)?)
                }
                _ => known,
            }
        }
        (_, Some(rank)) if ctx.input(0).rank() == Some(1) => Shape::of_rank(levels + 1 + rank),
        _ => Shape::unknown(),
    };
    ctx.set(0, shape)
}

/// How a level of rows is given.
#[derive(PartialEq)]
enum Partition {
    FirstDim,
    RowIds,
    RowSplits,
}

fn partition_types(names: &[String]) -> Result<Vec<Partition>> {
    let parse = |name: &String| match name.as_str() {
        "FIRST_DIM_SIZE" => Ok(Partition::FirstDim),
        "VALUE_ROWIDS" => Ok(Partition::RowIds),
        "ROW_SPLITS" => Ok(Partition::RowSplits),
        other => Err(Error::invalid_argument(format!("Unsupported row partition type {other}"))),
    };
    names.iter().map(parse).collect()
}

/// The row of each value of a level, and the number of rows where the splits tell it.
fn row_ids(kind: &Partition, tensor: &Tensor) -> Result<(Vec<usize>, Option<usize>)> {
    if *kind == Partition::RowSplits {
        let splits = splits(tensor, None)?;
        let ids = splits.windows(2).enumerate().flat_map(|(row, w)| std::iter::repeat_n(row, w[1] - w[0])).collect();
        return Ok((ids, Some(splits.len() - 1)));
    }
    if tensor.rank() != 1 {
        bail!(InvalidArgument, "value_rowids must be a vector, got shape {}", tensor.shape());
    }
    let wide = tensor.to_i64s()?;
    if wide.iter().any(|&i| i < 0) || wide.windows(2).any(|w| w[1] < w[0]) {
        bail!(InvalidArgument, "value_rowids must be non-negative and ascend, got {tensor:?}");
    }
    Ok((wide.iter().map(|&i| i as usize).collect(), None))
}

fn to_tensor(ctx: &mut KernelCtx) -> Result<()> {
    let result = {
        let (shape, values, default) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
        let types = partition_types(&ctx.node().strings("row_partition_types")?)?;
        if types.len() + 3 != ctx.num_inputs() {
            bail!(InvalidArgument, "{} row partition types for {} tensors", types.len(), ctx.num_inputs() - 3);
        }
        if values.rank() == 0 {
            bail!(InvalidArgument, "values must have rank at least 1, got a scalar");
        }
        let first = types.first() == Some(&Partition::FirstDim);
        if types.iter().skip(usize::from(first)).any(|t| *t == Partition::FirstDim) || types.len() == usize::from(first) {
            bail!(InvalidArgument, "row_partition_types must be FIRST_DIM_SIZE, VALUE_ROWIDS, ... or ROW_SPLITS, ...");
        }
        if !first && types[0] != Partition::RowSplits {
            bail!(InvalidArgument, "Cannot handle VALUE_ROWIDS without FIRST_DIM_SIZE in row_partition_types");
        }
        let mut levels = Vec::new();
        for (at, kind) in types.iter().enumerate().skip(usize::from(first)) {
            levels.push(row_ids(kind, ctx.input(3 + at)?)?);
        }
        let first_dim = match first {
            true => usize::try_from(ctx.int_input(3)?).map_err(|_| Error::invalid_argument("FIRST_DIM_SIZE is negative"))?,
            false => levels[0].1.unwrap_or(0),
        };
        let requested: Option<Vec<i64>> = match shape.rank() {
            0 if shape.item_i64()? == -1 => None,
            1 => Some(shape.to_i64s()?.to_vec()),
            _ => bail!(InvalidArgument, "The only valid scalar shape tensor is the fully unknown shape specified as -1."),
        };
        let inner = &values.dims()[1..];
        let rank = levels.len() + 1 + inner.len();
        let mut dims = vec![first_dim];
        for (ids, _) in &levels {
            let (mut widest, mut run) = (0, 0);
            for (at, id) in ids.iter().enumerate() {
                run = if at > 0 && ids[at - 1] == *id { run + 1 } else { 1 };
                widest = widest.max(run);
            }
            dims.push(widest);
        }
        dims.extend_from_slice(inner);
        if let Some(requested) = requested {
            if requested.len() != rank {
                bail!(InvalidArgument, "rt_input.shape has rank {rank} but shape={requested:?} has rank {}", requested.len());
            }
            for (d, &size) in requested.iter().enumerate().filter(|(_, s)| **s >= 0) {
                if d > levels.len() && size as usize != dims[d] {
                    bail!(
                        InvalidArgument,
                        "Inner dimension {d} of the values is {}, shape={requested:?} asks for {size}",
                        dims[d]
                    );
                }
                dims[d] = size as usize;
            }
        }
        let step: usize = inner.iter().product();
        if default.rank() > inner.len() {
            bail!(
                InvalidArgument,
                "default_value.shape={} and rt_input.flat_values.shape={} are incompatible",
                default.shape(),
                values.shape()
            );
        }
        let skipped = inner.len() - default.rank();
        if default.dims().iter().zip(&inner[skipped..]).any(|(&d, &s)| d != 1 && d != s) {
            bail!(
                InvalidArgument,
                "default_value.shape={} and rt_input.flat_values.shape={} are incompatible",
                default.shape(),
                values.shape()
            );
        }
        // Where each row of a level starts in the result, counted in values; none for rows cut off.
        let mut starts: Vec<Option<usize>> = Vec::new();
        let unit: Vec<usize> = (0..=levels.len()).map(|d| dims[d + 1..=levels.len()].iter().product()).collect();
        starts.extend((0..first_dim).map(|row| (row < dims[0]).then(|| row * unit[0])));
        for (level, (ids, rows)) in levels.iter().enumerate() {
            if ids.last().is_some_and(|&last| last >= starts.len()) || rows.is_some_and(|r| r != starts.len()) {
                bail!(InvalidArgument, "Row partition {level} does not fit the {} rows before it", starts.len());
            }
            let (mut next, mut within) = (Vec::with_capacity(ids.len()), 0);
            for (at, &id) in ids.iter().enumerate() {
                within = if at > 0 && ids[at - 1] == id { within + 1 } else { 0 };
                next.push(starts[id].filter(|_| within < dims[level + 1]).map(|start| start + within * unit[level + 1]));
            }
            starts = next;
        }
        if starts.len() != values.dims()[0] {
            bail!(InvalidArgument, "The row partitions hold {} values, got {}", starts.len(), values.dims()[0]);
        }
        let default_at = |element: usize| {
            let (mut rest, mut at, mut stride) = (element, 0, 1);
            for d in (0..inner.len()).rev() {
                let i = rest % inner[d].max(1);
                rest /= inner[d].max(1);
                if d >= skipped && default.dims()[d - skipped] != 1 {
                    at += i * stride;
                }
                if d >= skipped {
                    stride *= default.dims()[d - skipped];
                }
            }
            at
        };
        let pattern: Vec<usize> = (0..step).map(default_at).collect();
        if values.dtype() == DType::String {
            let (from, default) = (values.strings()?, default.strings()?);
            let mut out = Tensor::zeros(DType::String, &dims)?.strings()?.to_vec();
            out.iter_mut().enumerate().for_each(|(i, slot)| *slot = default[pattern[i % step]].clone());
            for (row, start) in starts.iter().enumerate().filter_map(|(row, s)| s.map(|s| (row, s))) {
                out[start * step..(start + 1) * step].clone_from_slice(&from[row * step..(row + 1) * step]);
            }
            Tensor::from_strings(&dims, out)?
        } else {
            let dtype = values.dtype();
            let out = dispatch!(dtype, plain, T => {
                let (from, default) = (values.as_slice::<T>()?, default.as_slice::<T>()?);
                let mut out = Tensor::zeros(T::DTYPE, &dims)?;
                let to = out.as_mut_slice::<T>()?;
                to.iter_mut().enumerate().for_each(|(i, slot)| *slot = default[pattern[i % step]]);
                for (row, start) in starts.iter().enumerate().filter_map(|(row, s)| s.map(|s| (row, s))) {
                    to[start * step..(start + 1) * step].copy_from_slice(&from[row * step..(row + 1) * step]);
                }
                out
            });
            out.with_dtype(dtype)
        }
    };
    ctx.set(0, result)
}

fn range_shape(ctx: &mut InferCtx) -> Result<()> {
    let mut rows = Shape::of_rank(1);
    for input in 0..3 {
        let shape = ctx.input(input).with_rank_at_most(1)?;
        if shape.rank() == Some(1) {
            rows = rows.merge(&shape)?;
        }
    }
    let known = (0..3).all(|i| ctx.input(i).rank() == Some(0));
    let rows = if known { Some(1) } else { rows.dim(0) };
    ctx.set(0, Shape::vector(rows.map(|n| n + 1)))?;
    ctx.set(1, Shape::vector(None))
}

/// Split positions in the dtype of an output.
fn split_tensor(dtype: DType, splits: &[usize]) -> Result<Tensor> {
    if dtype == DType::Int64 {
        return Ok(Tensor::from(splits.iter().map(|&s| s as i64).collect::<Vec<i64>>()));
    }
    let narrow: std::result::Result<Vec<i32>, _> = splits.iter().map(|&s| i32::try_from(s)).collect();
    match narrow {
        Ok(narrow) => Ok(Tensor::from(narrow)),
        Err(_) => bail!(InvalidArgument, "Row splits are beyond int32"),
    }
}

fn range(ctx: &mut KernelCtx) -> Result<()> {
    let (splits, values) = {
        let inputs = [ctx.input(0)?, ctx.input(1)?, ctx.input(2)?];
        let mut rows = None;
        for input in inputs {
            match input.rank() {
                0 => {}
                1 if rows.is_none_or(|r| r == input.len()) => rows = Some(input.len()),
                1 => bail!(InvalidArgument, "starts, limits, and deltas must have the same shape"),
                _ => bail!(InvalidArgument, "starts, limits and deltas must be scalars or vectors, got shape {}", input.shape()),
            }
        }
        let rows = rows.unwrap_or(1);
        let integer = inputs[0].dtype().is_integer();
        dispatch!(inputs[0].dtype(), real, T => ranges::<T>(inputs, rows, integer)?)
    };
    let splits = split_tensor(ctx.node().output_types[0], &splits)?;
    ctx.set(0, splits)?;
    ctx.set(1, values)
}

fn ranges<T: Real + Element>(inputs: [&Tensor; 3], rows: usize, integer: bool) -> Result<(Vec<usize>, Tensor)> {
    let slices = [inputs[0].as_slice::<T>()?, inputs[1].as_slice::<T>()?, inputs[2].as_slice::<T>()?];
    let at = |input: usize, row: usize| slices[input][if inputs[input].rank() == 0 { 0 } else { row }];
    let mut splits = vec![0usize];
    let mut values = Vec::new();
    for row in 0..rows {
        let (start, limit, delta) = (at(0, row), at(1, row), at(2, row));
        if delta == T::ZERO {
            bail!(InvalidArgument, "Requires delta != 0");
        }
        let empty = (delta > T::ZERO && limit < start) || (delta < T::ZERO && limit > start);
        let size = if empty {
            0.0
        } else if integer {
            let (start, limit, delta) = (inputs_i128(start), inputs_i128(limit), inputs_i128(delta));
            ((limit - start).abs() + delta.abs() - 1).div_euclid(delta.abs()) as f64
        } else {
            ((limit.to_f64() - start.to_f64()) / delta.to_f64()).abs().ceil()
        };
        if !(size <= f64::from(i32::MAX)) || values.try_reserve(size as usize).is_err() {
            bail!(InvalidArgument, "Requires ((limit - start) / delta) <= {}", i32::MAX);
        }
        let mut value = start;
        for _ in 0..size as usize {
            values.push(value);
            value = Number::add(value, delta);
        }
        splits.push(values.len());
    }
    Ok((splits, Tensor::from(values)))
}

/// An integer, exactly up to 2^53.
fn inputs_i128<T: Real>(value: T) -> i128 {
    value.to_f64() as i128
}

fn gather_shape(ctx: &mut InferCtx) -> Result<()> {
    let levels = ctx.int("PARAMS_RAGGED_RANK")? as usize;
    for level in 0..levels {
        ctx.input(level).with_rank(1)?;
    }
    let (values, indices) = (ctx.input(levels).with_rank_at_least(1)?, ctx.input(levels + 1));
    let outputs = ctx.num_outputs() - 1;
    if indices.rank().is_some_and(|r| r + levels != outputs + 1) {
        bail!(InvalidArgument, "Expected OUTPUT_RAGGED_RANK to be indices rank + PARAMS_RAGGED_RANK - 1, got {outputs}");
    }
    for output in 0..outputs {
        ctx.set(output, Shape::vector(None))?;
    }
    let inner = values.slice_from(1);
    ctx.set(outputs, if values.rank().is_some() { Shape::vector(None).concatenate(&inner) } else { Shape::unknown() })
}

fn gather(ctx: &mut KernelCtx) -> Result<()> {
    let levels = ctx.node().int("PARAMS_RAGGED_RANK")? as usize;
    let (all, values) = {
        let (values, indices) = (ctx.input(levels)?, ctx.input(levels + 1)?);
        if values.rank() == 0 {
            bail!(InvalidArgument, "params.rank must be nonzero");
        }
        if indices.rank() + levels != ctx.num_outputs() {
            bail!(
                InvalidArgument,
                "Expected OUTPUT_RAGGED_RANK to be {}, got {}",
                indices.rank() + levels - 1,
                ctx.num_outputs() - 1
            );
        }
        let params = nested_splits(ctx, levels, values.dims()[0])?;
        let mut all: Vec<Vec<usize>> = Vec::new();
        for d in 1..indices.rank() {
            let rows: usize = indices.dims()[..d].iter().product();
            all.push((0..=rows).map(|row| row * indices.dims()[d]).collect());
        }
        let rows = params[0].len() - 1;
        let mut picked = Vec::with_capacity(indices.len());
        for (at, &index) in indices.to_i64s()?.iter().enumerate() {
            match usize::try_from(index).ok().filter(|&i| i < rows) {
                Some(index) => picked.push(index),
                None => bail!(InvalidArgument, "indices[{at}] = {index} is not in [0, {rows})"),
            }
        }
        for own in &params {
            let mut ends = vec![0];
            let mut next = Vec::new();
            for &row in &picked {
                next.extend(own[row]..own[row + 1]);
                ends.push(next.len());
            }
            all.push(ends);
            picked = next;
        }
        let step: usize = values.dims()[1..].iter().product();
        let flat = values.clone().reshaped(&[values.len()])?;
        let at: Vec<usize> = picked.iter().flat_map(|&row| row * step..(row + 1) * step).collect();
        let mut dims = values.dims().to_vec();
        dims[0] = picked.len();
        (all, super::pick(&flat, &at)?.reshaped(&dims)?)
    };
    for (output, splits) in all.iter().enumerate() {
        let tensor = split_tensor(ctx.node().output_types[output], splits)?;
        ctx.set(output, tensor)?;
    }
    ctx.set(all.len(), values)
}
