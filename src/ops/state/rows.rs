//! Updating rows of a tensor in place: the core of all scatter kernels.

use super::number::{Update, update_numbers, update_reals};
use crate::error::{Result, bail};
use crate::tensor::{DType, Element, SmallInts, Tensor, dispatch};

/// Updates rows of `target`, seen as a matrix of rows of `len` elements, by those of `updates` in order; a row may be
/// named more than once. A scalar `updates` stands for every element.
///
/// # Errors
/// `InvalidArgument` if the sizes don't fit, or an integer is divided by zero; `Unimplemented` for a dtype that has no
/// such update.
pub(crate) fn update_rows(update: Update, target: &mut Tensor, rows: &[usize], len: usize, updates: &Tensor) -> Result<()> {
    let scalar = updates.is_scalar() && !(rows.len() == 1 && len == 1);
    let count = rows.len() * len;
    if !scalar && updates.len() != count {
        bail!(InvalidArgument, "{count} elements are to be updated, got updates of shape {:?}", updates.dims());
    }
    if target.dtype() != updates.dtype() {
        bail!(InvalidArgument, "a variable of {} can't be updated by {}", target.dtype(), updates.dtype());
    }
    if count == 0 {
        return Ok(());
    }
    if !target.dtype().is_plain() {
        return set_objects(update, target, rows, len, updates, scalar);
    }
    match (update, target.dtype()) {
        (Update::Set, dtype) => dispatch!(dtype, plain, T => {
            each::<T>(target, rows, len, updates, scalar, |t, s| { t.copy_from_slice(s); Ok(()) })
        }),
        (Update::Add, DType::Bool) => each::<bool>(target, rows, len, updates, scalar, |t, s| {
            t.iter_mut().zip(s).for_each(|(t, &s)| *t |= s);
            Ok(())
        }),
        (Update::Min | Update::Max, dtype) => dispatch!(dtype, real, T => {
            each::<T>(target, rows, len, updates, scalar, |t, s| update_reals(update, t, s))
        }),
        (_, dtype) => dispatch!(dtype, numbers, T => {
            each::<T>(target, rows, len, updates, scalar, |t, s| update_numbers(update, t, s))
        }),
    }
}

fn each<T: Element>(
    target: &mut Tensor,
    rows: &[usize],
    len: usize,
    updates: &Tensor,
    scalar: bool,
    change: impl Fn(&mut [T], &[T]) -> Result<()>,
) -> Result<()> {
    let source = updates.as_slice::<T>()?;
    let target = target.as_mut_slice::<T>()?;
    let repeated = if scalar { vec![source[0]; len] } else { Vec::new() };
    for (index, &row) in rows.iter().enumerate() {
        let Some(to) = target.get_mut(row * len..(row + 1) * len) else {
            bail!(InvalidArgument, "row {row} is not within the variable");
        };
        let from = if scalar { &repeated[..] } else { &source[index * len..(index + 1) * len] };
        change(to, from)?;
    }
    Ok(())
}

fn set_objects(update: Update, target: &mut Tensor, rows: &[usize], len: usize, updates: &Tensor, scalar: bool) -> Result<()> {
    if update != Update::Set {
        bail!(Unimplemented, "no kernel updates {} by {update:?}", target.dtype());
    }
    fn placed<T: Clone>(old: &[T], new: &[T], rows: &[usize], len: usize, scalar: bool) -> Result<Vec<T>> {
        let mut all = old.to_vec();
        for (index, &row) in rows.iter().enumerate() {
            for at in 0..len {
                let value = &new[if scalar { 0 } else { index * len + at }];
                match all.get_mut(row * len + at) {
                    Some(slot) => *slot = value.clone(),
                    None => bail!(InvalidArgument, "row {row} is not within the variable"),
                }
            }
        }
        Ok(all)
    }
    let dims = target.dims().to_vec();
    *target = match target.dtype() {
        DType::String => Tensor::from_strings(&dims, placed(target.strings()?, updates.strings()?, rows, len, scalar)?)?,
        dtype => Tensor::from_handles(dtype, &dims, placed(target.handles()?, updates.handles()?, rows, len, scalar)?)?,
    };
    Ok(())
}

/// The position of element `flat` in a tensor of these dimensions, as an error names it: `[1,2]`.
pub(crate) fn position(dims: &[usize], mut flat: usize) -> String {
    let mut parts = vec![0; dims.len()];
    for (part, &dim) in parts.iter_mut().zip(dims).rev() {
        *part = flat % dim.max(1);
        flat /= dim.max(1);
    }
    format!("[{}]", parts.iter().map(usize::to_string).collect::<Vec<_>>().join(","))
}

/// Checks that every index names one of `limit` rows.
///
/// # Errors
/// `InvalidArgument` that names the first that doesn't.
pub(crate) fn checked_rows(indices: &Tensor, limit: usize) -> Result<Vec<usize>> {
    let values: SmallInts = indices.to_i64s()?;
    let mut rows = Vec::with_capacity(values.len());
    for (at, &index) in values.iter().enumerate() {
        match usize::try_from(index) {
            Ok(row) if row < limit => rows.push(row),
            _ => bail!(InvalidArgument, "indices{} = {index} is not in [0, {limit})", position(indices.dims(), at)),
        }
    }
    Ok(rows)
}

/// The rows that index tuples (the last dimension of `indices`) name in the first dimensions of a tensor.
///
/// # Errors
/// `InvalidArgument` that names the first tuple which isn't within them.
pub(crate) fn checked_tuples(indices: &Tensor, dims: &[usize]) -> Result<Vec<usize>> {
    match indices.dims().split_last() {
        Some((&depth, outer)) => tuples(indices, outer, depth, dims),
        None => bail!(InvalidArgument, "indices must be at least a vector, got shape []"),
    }
}

fn tuples(indices: &Tensor, outer: &[usize], depth: usize, dims: &[usize]) -> Result<Vec<usize>> {
    if depth > dims.len() {
        bail!(InvalidArgument, "index innermost dimension length must be <= params rank; saw: {depth} vs. {}", dims.len());
    }
    let values = indices.to_i64s()?;
    let count: usize = outer.iter().product();
    let mut rows = Vec::with_capacity(count);
    for tuple in 0..count {
        let part = &values[tuple * depth..(tuple + 1) * depth];
        let mut row = 0usize;
        for (&index, &limit) in part.iter().zip(dims) {
            match usize::try_from(index) {
                Ok(index) if index < limit => row = row.wrapping_mul(limit).wrapping_add(index),
                _ => {
                    let at = position(outer, tuple);
                    bail!(InvalidArgument, "indices{at} = {part:?} does not index into shape {dims:?}");
                }
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The rows that the indices of a `ScatterNd` op name in a tensor of dimensions `dims`, and the elements in each. A
/// vector of indices names rows of the first dimension.
///
/// # Errors
/// `InvalidArgument` if the shape of the updates isn't the one that the indices ask for, or an index isn't within the
/// tensor.
pub(crate) fn scatter_nd_rows(indices: &Tensor, updates: &[usize], dims: &[usize]) -> Result<(Vec<usize>, usize)> {
    let (outer, depth) = match indices.dims() {
        [] => bail!(InvalidArgument, "Indices shape must have rank at least one. Found: []"),
        vector @ [_] => (vector, 1),
        [outer @ .., depth] => (outer, *depth),
    };
    let fits = depth <= dims.len()
        && updates.len() == outer.len() + dims.len() - depth
        && updates[..outer.len()] == *outer
        && updates[outer.len()..] == dims[depth..];
    if !fits {
        bail!(
            InvalidArgument,
            "Must have updates.shape = indices.shape[:batch_dim] + params_shape[slice_dim:], got updates.shape: {updates:?}, \
             indices.shape: {:?}, params_shape: {dims:?}, slice_dim: {depth}, and batch_dim: {}",
            indices.dims(),
            outer.len()
        );
    }
    let rows = tuples(indices, outer, depth, dims)?;
    Ok((rows, dims[depth..].iter().product()))
}
