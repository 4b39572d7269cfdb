//! Default values for the empty rows of ragged tensors.

use super::arrange::join;
use super::pick;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::math::number::Number;
use crate::tensor::{Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "RaggedFillEmptyRows",
        ins: &["value_rowids: int64", "values: T", "nrows: int64", "default_value: T"],
        outs: &["output_value_rowids: int64", "output_values: T", "empty_row_indicator: bool", "reverse_index_map: int64"],
        attrs: &["T: type"],
        shape: |ctx| {
            let rows = ctx.constant(2).and_then(|n| n.item_i64().ok()).and_then(|n| usize::try_from(n).ok());
            ctx.set(0, Shape::vector(None))?;
            ctx.set(1, Shape::vector(None))?;
            ctx.set(2, Shape::vector(rows))?;
            ctx.set(3, Shape::vector(ctx.input(0).with_rank(1)?.dim(0)))
        },
        kernel: Kernel::Pure(fill),
        grad: Grad::Fn(|g, op, grads| {
            let outputs = g.outputs(op);
            let emitted = g.op("RaggedFillEmptyRowsGrad").input(outputs[3]).input(grads.dense(g, 1)?).outputs()?;
            Ok(vec![None, Some(emitted[0].into()), None, Some(emitted[1].into())])
        }),
        rows: &[
            "i64[0 0 2], f32[1 2 3], i64 4, f32 9 => i64[0 0 1 2 3], f32[1 2 9 3 9], bool[false true false true], i64[0 1 3]",
        ],
    },
    Op {
        name: "RaggedFillEmptyRowsGrad",
        ins: &["reverse_index_map: int64", "grad_values: T"],
        outs: &["d_values: T", "d_default_value: T"],
        attrs: &["T: type"],
        shape: |ctx| {
            ctx.set(0, Shape::vector(ctx.input(0).with_rank(1)?.dim(0)))?;
            ctx.set(1, Shape::scalar())
        },
        kernel: Kernel::Pure(gradient),
        grad: Grad::Missing,
        rows: &["i64[0 1 3], f32[1 2 3 4 5] => f32[1 2 4], f32 8"],
    },
];

fn fill(ctx: &mut KernelCtx) -> Result<()> {
    let (ids, values, default) = (ctx.input(0)?, ctx.input(1)?, ctx.input(3)?);
    if ids.rank() != 1 || values.rank() != 1 || ids.len() != values.len() {
        bail!(
            InvalidArgument,
            "value_rowids and values must be vectors of one length, saw: {} and {}",
            ids.shape(),
            values.shape()
        );
    }
    if !default.is_scalar() {
        bail!(InvalidArgument, "default_value must be a scalar, saw: {}", default.shape());
    }
    let count = ids.len();
    let rows = ctx.int_input(2)?;
    if rows == 0 && count != 0 {
        bail!(InvalidArgument, "Received RaggedTensor with nrows = 0 but value_rowids.shape[0] = {count}");
    }
    let Ok(rows) = usize::try_from(rows) else { bail!(InvalidArgument, "nrows must be >= 0, got {rows}") };
    let mut starts: Vec<usize> = Vec::new();
    if starts.try_reserve_exact(rows).is_err() {
        bail!(ResourceExhausted, "OOM when allocating {rows} rows");
    }
    starts.resize(rows, 0);
    let ids = ids.as_slice::<i64>()?;
    for (at, &row) in ids.iter().enumerate() {
        match usize::try_from(row).ok().and_then(|row| starts.get_mut(row)) {
            Some(size) => *size += 1,
            None => bail!(InvalidArgument, "value_rowids({at}) is invalid: {row} >= {rows}"),
        }
    }
    let empty: Vec<bool> = starts.iter().map(|&n| n == 0).collect();
    let mut total = 0;
    for start in &mut starts {
        let size = (*start).max(1);
        *start = total;
        total += size;
    }
    let (mut rowids, mut from) = (vec![0i64; total], vec![count; total]);
    for (row, _) in empty.iter().enumerate().filter(|(_, empty)| **empty) {
        rowids[starts[row]] = row as i64;
    }
    let mut map = Vec::with_capacity(count);
    for (at, &row) in ids.iter().enumerate() {
        let slot = &mut starts[row as usize];
        rowids[*slot] = row;
        from[*slot] = at;
        map.push(*slot as i64);
        *slot += 1;
    }
    let filled = pick(&join(&[values, &default.clone().reshaped(&[1])?])?, &from)?;
    ctx.set(0, Tensor::from(rowids))?;
    ctx.set(1, filled)?;
    ctx.set(2, Tensor::from(empty))?;
    ctx.set(3, Tensor::from(map))
}

fn gradient(ctx: &mut KernelCtx) -> Result<()> {
    let (map, grads) = (ctx.input(0)?, ctx.input(1)?);
    if map.rank() != 1 || grads.rank() != 1 {
        bail!(InvalidArgument, "reverse_index_map and grad_values must be vectors, saw: {} and {}", map.shape(), grads.shape());
    }
    let map = map.as_slice::<i64>()?;
    let mut places = Vec::with_capacity(map.len());
    for &at in map {
        match usize::try_from(at).ok().filter(|&at| at < grads.len()) {
            Some(at) => places.push(at),
            None => bail!(InvalidArgument, "Elements in reverse index must be in [0, {}) but got {at}", grads.len()),
        }
    }
    let (values, default) = dispatch!(grads.dtype(), numbers, T => {
        let grads = grads.as_slice::<T>()?;
        let mut rest = vec![true; grads.len()];
        places.iter().for_each(|&at| rest[at] = false);
        let default = grads.iter().zip(&rest).filter(|(_, rest)| **rest).fold(<T as Number>::ZERO, |sum, (&g, _)| Number::add(sum, g));
        (Tensor::from(places.iter().map(|&at| grads[at]).collect::<Vec<T>>()), Tensor::scalar(default))
    });
    ctx.set(0, values)?;
    ctx.set(1, default)
}
