//! Gathering from variables that are passed by handle.

use super::rows::{checked_rows, checked_tuples};
use super::{resource_error, variable_input};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, IndexedSlices, Operation, Output};
use crate::tensor::{DType, Dims, Tensor};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "ResourceGather",
        ins: &["resource: resource", "indices: Tindices"],
        outs: &["output: dtype"],
        attrs: &["batch_dims: int = 0", "validate_indices: bool = true", "dtype: type", "Tindices: {int32, int64}"],
        shape: resource_gather_shape,
        kernel: Kernel::Stateful(resource_gather),
        grad: Grad::Fn(resource_gather_grad),
        rows: &[],
    },
    Op {
        name: "ResourceGatherNd",
        ins: &["resource: resource", "indices: Tindices"],
        outs: &["output: dtype"],
        attrs: &["dtype: type", "Tindices: {int32, int64}"],
        shape: resource_gather_nd_shape,
        kernel: Kernel::Stateful(resource_gather_nd),
        grad: Grad::Fn(resource_gather_nd_grad),
        rows: &[],
    },
];

fn check_dtype(ctx: &InferCtx) -> Result<()> {
    let dtype = ctx.dtype("dtype")?;
    if let Some(data) = ctx.handle(0)
        && data.dtype != dtype
    {
        bail!(InvalidArgument, "Trying to read variable with wrong dtype. Expected {} got {dtype}", data.dtype);
    }
    Ok(())
}

fn resource_gather_shape(ctx: &mut InferCtx) -> Result<()> {
    check_dtype(ctx)?;
    let batch = ctx.int("batch_dims")?;
    let params = super::variable_shape(ctx, 0);
    let indices = ctx.input(1);
    let batch = match (indices.rank(), usize::try_from(batch)) {
        (None, _) => return Ok(()),
        (Some(rank), Err(_)) if batch + rank as i64 >= 0 => (batch + rank as i64) as usize,
        (Some(rank), Ok(batch)) if batch <= rank => batch,
        (Some(rank), _) => bail!(InvalidArgument, "batch_dims ({batch}) must be within the rank of indices ({rank})"),
    } as isize;
    params.with_rank_at_least(batch as usize + 1)?;
    let outer = indices.slice(0, batch).merge(&params.slice(0, batch)).unwrap_or_else(|_| params.slice(0, batch));
    let output = outer.concatenate(&indices.slice_from(batch)).concatenate(&params.slice_from(batch + 1));
    ctx.set(0, output)
}

fn resource_gather_nd_shape(ctx: &mut InferCtx) -> Result<()> {
    check_dtype(ctx)?;
    let params = super::variable_shape(ctx, 0);
    let indices = ctx.input(1).with_rank_at_least(1)?;
    let (Some(rank), Some(depth)) = (params.rank(), indices.dim(-1)) else { return Ok(()) };
    if depth > rank {
        bail!(
            InvalidArgument,
            "indices.shape[-1] must be <= params.rank, but saw indices shape: {indices} and params shape: {params}"
        );
    }
    ctx.set(0, indices.slice(0, -1).concatenate(&params.slice_from(depth as isize)))
}

/// Copies rows of `len` elements, where `params` is seen as a matrix of such rows.
fn gather(params: &Tensor, rows: &[usize], len: usize, dims: &[usize]) -> Result<Tensor> {
    fn picked<T: Clone>(all: &[T], rows: &[usize], len: usize) -> Vec<T> {
        rows.iter().flat_map(|&row| all[row * len..(row + 1) * len].iter().cloned()).collect()
    }
    match params.dtype() {
        DType::String => Tensor::from_strings(dims, picked(params.strings()?, rows, len)),
        dtype @ (DType::Resource | DType::Variant) => Tensor::from_handles(dtype, dims, picked(params.handles()?, rows, len)),
        dtype => {
            let mut output = Tensor::uninit(dtype, dims)?;
            let size = len * dtype.size();
            let source = params.bytes()?;
            if size > 0 {
                for (to, &row) in output.bytes_mut()?.chunks_exact_mut(size).zip(rows) {
                    to.copy_from_slice(&source[row * size..(row + 1) * size]);
                }
            }
            Ok(output)
        }
    }
}

fn value(ctx: &KernelCtx) -> Result<Tensor> {
    let variable = variable_input(ctx, 0)?;
    let value = variable.read().map_err(|e| resource_error(e, &variable))?;
    let dtype = ctx.node().output_types[0];
    if value.dtype() != dtype {
        bail!(InvalidArgument, "Trying to read variable with wrong dtype. Expected {dtype} got {}", value.dtype());
    }
    Ok(value)
}

fn resource_gather(ctx: &mut KernelCtx) -> Result<()> {
    let params = value(ctx)?;
    let indices = ctx.input(1)?;
    if params.rank() == 0 {
        bail!(InvalidArgument, "params must be at least 1 dimensional");
    }
    let mut batch = ctx.node().int("batch_dims")?;
    if batch < 0 {
        batch += indices.rank() as i64;
    }
    let batch = usize::try_from(batch).ok().filter(|&b| b <= indices.rank() && b < params.rank());
    let Some(batch) = batch else {
        bail!(
            InvalidArgument,
            "batch_dims must be within the ranks of params {:?} and indices {:?}",
            params.dims(),
            indices.dims()
        );
    };
    if params.dims()[..batch] != indices.dims()[..batch] {
        bail!(
            InvalidArgument,
            "params.shape[:{batch}]: {:?} should be equal to indices.shape[:{batch}]: {:?}",
            &params.dims()[..batch],
            &indices.dims()[..batch]
        );
    }
    let limit = params.dims()[batch];
    let mut rows = checked_rows(indices, limit)?;
    let per_batch: usize = indices.dims()[batch..].iter().product();
    if batch > 0 && per_batch > 0 {
        for (at, group) in rows.chunks_mut(per_batch).enumerate() {
            group.iter_mut().for_each(|row| *row += at * limit);
        }
    }
    let inner = &params.dims()[batch + 1..];
    let dims: Dims = indices.dims().iter().chain(inner).copied().collect();
    let output = gather(&params, &rows, inner.iter().product(), &dims)?;
    ctx.set(0, output)
}

fn resource_gather_nd(ctx: &mut KernelCtx) -> Result<()> {
    let params = value(ctx)?;
    let indices = ctx.input(1)?;
    let Some((&depth, outer)) = indices.dims().split_last() else {
        bail!(InvalidArgument, "indices must be at least a vector");
    };
    if params.rank() == 0 {
        bail!(InvalidArgument, "params must be at least a vector");
    }
    let rows = checked_tuples(indices, params.dims())?;
    let inner = &params.dims()[depth..];
    let dims: Dims = outer.iter().chain(inner).copied().collect();
    let output = gather(&params, &rows, inner.iter().product(), &dims)?;
    ctx.set(0, output)
}

fn resource_gather_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let (handle, indices) = (g.input(op, 0)?, g.input(op, 1)?);
    let params_shape = g.variable_shape(handle)?;
    let size = g.expand_dims(g.size(indices)?, 0i32)?;
    let inner = g.index(params_shape, &[(1..).into()])?;
    let values_shape = g.concat(&[size.into(), inner.into()], 0i32)?;
    let values = g.reshape(grad, values_shape)?;
    let indices = g.reshape(indices, size)?;
    Ok(vec![Some(Gradient::Sparse(IndexedSlices { values, indices, dense_shape: Some(params_shape) })), None])
}

fn resource_gather_nd_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let grad = grads.dense(g, 0)?;
    let (handle, indices) = (g.input(op, 0)?, g.input(op, 1)?);
    let shape = g.op("VariableShape").input(handle).attr("out_type", g.dtype(indices)?).output()?;
    let rows = g.shape(indices)?;
    let gradient = if rows.rank() == Some(2) && rows.dim(-1) == Some(1) {
        let indices = g.squeeze(indices, &[-1])?;
        Gradient::Sparse(IndexedSlices { values: grad, indices, dense_shape: Some(shape) })
    } else {
        g.scatter_nd(indices, grad, shape)?.into()
    };
    Ok(vec![Some(gradient), None])
}

impl Graph {
    /// Rows of a variable given by handle (`gen_resource_variable_ops.resource_gather`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle of a variable of this dtype.
    pub fn resource_gather(&self, handle: Output, indices: Output, dtype: DType) -> Result<Output> {
        self.op("ResourceGather").input(handle).input(indices).attr("dtype", dtype).output()
    }

    /// Slices at index tuples of a variable given by handle (`gen_resource_variable_ops.resource_gather_nd`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle of a variable of this dtype.
    pub fn resource_gather_nd(&self, handle: Output, indices: Output, dtype: DType) -> Result<Output> {
        self.op("ResourceGatherNd").input(handle).input(indices).attr("dtype", dtype).output()
    }
}
