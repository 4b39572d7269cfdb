//! Counts of values as sparse tensors, one row a row of the input.

use super::{Sparse, index_matrix, set_sparse, sparse_output};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::math::number::Number;
use crate::tensor::{Tensor, dispatch};
use std::collections::BTreeMap;

const ATTRS: &[&str] = &[
    "T: {int32, int64}",
    "minlength: int >= -1 = -1",
    "maxlength: int >= -1 = -1",
    "binary_output: bool",
    "output_type: {int32, int64, float, double}",
];
const OUTS: &[&str] = &["output_indices: int64", "output_values: output_type", "output_dense_shape: int64"];

pub(super) static OPS: &[Op] = &[
    Op {
        name: "DenseCountSparseOutput",
        ins: &["values: T", "weights: output_type"],
        outs: OUTS,
        attrs: ATTRS,
        shape: |ctx| {
            let rank = ctx.input(0).rank();
            sparse_output(ctx, 0, None, rank)
        },
        kernel: Kernel::Pure(dense),
        grad: Grad::Missing,
        rows: &[
            "binary_output=false; i32[[1 1 4] [0 5 1]], i64{0}[] => i64[[0 1] [0 4] [1 0] [1 1] [1 5]], i64[2 1 1 1 1], i64[2 6]",
            "binary_output=true, maxlength=3; i64[2 2 5], f32{0}[] => i64[[2]], f32[1], i64[3]",
            "binary_output=false, minlength=4; i32[1 1], f32[0.5 2] => i64[[1]], f32[2.5], i64[4]",
        ],
    },
    Op {
        name: "SparseCountSparseOutput",
        ins: &["indices: int64", "values: T", "dense_shape: int64", "weights: output_type"],
        outs: OUTS,
        attrs: ATTRS,
        shape: |ctx| {
            let rank = ctx.input(0).with_rank(2)?.dim(1);
            sparse_output(ctx, 0, None, rank)
        },
        kernel: Kernel::Pure(sparse),
        grad: Grad::Missing,
        rows: &[
            "binary_output=false; i64[[0 0] [0 2] [2 1]], i32[3 3 0], i64[3 4], i32{0}[] => i64[[0 3] [2 0]], i32[2 1], i64[3 4]",
        ],
    },
    Op {
        name: "RaggedCountSparseOutput",
        ins: &["splits: int64", "values: T", "weights: output_type"],
        outs: OUTS,
        attrs: ATTRS,
        shape: |ctx| sparse_output(ctx, 0, None, Some(2)),
        kernel: Kernel::Pure(ragged),
        grad: Grad::Missing,
        rows: &["binary_output=false; i64[0 2 2 3], i64[1 1 0], f64[1 2 3] => i64[[0 1] [2 0]], f64[3 3], i64[3 2]"],
    },
];

/// Counts, or sums weights, of values row by row. `row_of` tells the row of an element; none counts all as one row of a
/// result of rank 1.
fn count(ctx: &mut KernelCtx, values: &Tensor, weights: &Tensor, rows: Option<usize>, row_of: &[usize]) -> Result<()> {
    let node = ctx.node();
    let (min, max) = (node.int("minlength")?, node.int("maxlength")?);
    let binary = node.boolean("binary_output")?;
    let values = values.to_i64s()?;
    if !weights.is_empty() && weights.len() != values.len() {
        bail!(InvalidArgument, "Weights and values must have the same size: got {} and {}", weights.len(), values.len());
    }
    let output_type = node.dtype("output_type")?;
    let mut largest = -1i64;
    let (indices, counts, number) = dispatch!(output_type, real, T => {
        let weights = weights.as_slice::<T>()?;
        let one = <T as Number>::ONE;
        let mut found: Vec<BTreeMap<i64, T>> = vec![BTreeMap::new(); rows.unwrap_or(1)];
        for (at, &value) in values.iter().enumerate() {
            if value < 0 {
                bail!(InvalidArgument, "Input values must all be non-negative, got {value}");
            }
            if max >= 0 && value >= max {
                continue;
            }
            largest = largest.max(value);
            let Some(row) = found.get_mut(row_of.get(at).copied().unwrap_or(0)) else {
                bail!(InvalidArgument, "a value stands in row {}, beyond the {} rows", row_of[at], rows.unwrap_or(1))
            };
            let sum = row.entry(value).or_default();
            let more = weights.get(at).copied().unwrap_or(one);
            *sum = if binary { one } else { sum.add(more) };
        }
        let (mut indices, mut counts) = (Vec::new(), Vec::new());
        for (row, found) in found.into_iter().enumerate() {
            for (value, count) in found {
                if rows.is_some() {
                    indices.push(row as i64);
                }
                indices.push(value);
                counts.push(count);
            }
        }
        let number = counts.len();
        (indices, Tensor::new(&[number], counts)?, number)
    });
    let width = if max >= 0 { max } else { (largest + 1).max(min) };
    let (rank, shape) = match rows {
        Some(rows) => (2, vec![rows as i64, width]),
        None => (1, vec![width]),
    };
    let indices = index_matrix(number, rank, indices)?;
    set_sparse(ctx, 0, indices, counts, &shape)
}

fn check_weights(values: &Tensor, weights: &Tensor) -> Result<()> {
    if !weights.is_empty() && weights.dims() != values.dims() {
        bail!(
            InvalidArgument,
            "Weights and values must have the same shape. Weight shape: {}; values shape: {}",
            weights.shape(),
            values.shape()
        );
    }
    Ok(())
}

fn dense(ctx: &mut KernelCtx) -> Result<()> {
    let (values, weights) = (ctx.input(0)?.clone(), ctx.input(1)?.clone());
    check_weights(&values, &weights)?;
    match *values.dims() {
        [_] => count(ctx, &values, &weights, None, &[]),
        [rows, columns] => {
            let row_of: Vec<usize> = (0..rows * columns).map(|at| at / columns).collect();
            count(ctx, &values, &weights, Some(rows), &row_of)
        }
        _ => bail!(InvalidArgument, "Input must be a 1 or 2-dimensional tensor. Got: {}", values.shape()),
    }
}

fn sparse(ctx: &mut KernelCtx) -> Result<()> {
    let (rows, row_of) = {
        let sparse = Sparse::inputs(ctx, 0)?;
        if sparse.shape.is_empty() {
            bail!(InvalidArgument, "The shape argument requires at least one element.");
        }
        let rows = if sparse.rank() == 1 { None } else { Some(sparse.shape[0] as usize) };
        if rows.is_some_and(|r| r > 1 << 28) {
            bail!(InvalidArgument, "the number of rows {} is too large", sparse.shape[0]);
        }
        sparse.check_bounds()?;
        let row = |at: usize| if rows.is_some() { sparse.index(at)[0] as usize } else { 0 };
        (rows, (0..sparse.len()).map(row).collect::<Vec<_>>())
    };
    let (values, weights) = (ctx.input(1)?.clone(), ctx.input(3)?.clone());
    check_weights(&values, &weights)?;
    count(ctx, &values, &weights, rows, &row_of)
}

fn ragged(ctx: &mut KernelCtx) -> Result<()> {
    let (values, weights) = (ctx.input(1)?.clone(), ctx.input(2)?.clone());
    let splits = ctx.input(0)?.as_slice::<i64>()?.to_vec();
    check_weights(&values, &weights)?;
    let (Some(&first), Some(&last)) = (splits.first(), splits.last()) else {
        bail!(InvalidArgument, "Must provide at least 2 elements for the splits argument")
    };
    if splits.len() < 2 {
        bail!(InvalidArgument, "Must provide at least 2 elements for the splits argument");
    }
    if first != 0 {
        bail!(InvalidArgument, "Splits must start with 0, not with {first}");
    }
    if last != values.len() as i64 {
        bail!(InvalidArgument, "Splits must end with the number of values, got {last} instead of {}", values.len());
    }
    if splits.windows(2).any(|w| w[0] > w[1]) {
        bail!(InvalidArgument, "Splits must not descend, got {splits:?}");
    }
    let mut row_of = Vec::with_capacity(values.len());
    for (row, pair) in splits.windows(2).enumerate() {
        row_of.resize(pair[1] as usize, row);
    }
    count(ctx, &values, &weights, Some(splits.len() - 1), &row_of)
}
