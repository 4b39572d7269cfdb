//! Sparse tensors that a session keeps under handles, to be taken out as one batch.

use super::arrange::join;
use super::{Sparse, index_matrix, pick, set_sparse, sparse_input, sparse_output};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::tensor::{DType, Resource, Shape, Tensor};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

const ATTRS: &[&str] = &["T: type", "container: string = ''", "shared_name: string = ''"];
const INS: &[&str] = &["sparse_indices: int64", "sparse_values: T", "sparse_shape: int64"];

pub(super) static OPS: &[Op] = &[
    Op {
        name: "AddSparseToTensorsMap",
        ins: INS,
        outs: &["sparse_handle: int64"],
        attrs: ATTRS,
        shape: |ctx| {
            sparse_input(ctx, 0)?;
            ctx.set(0, Shape::scalar())
        },
        kernel: Kernel::Stateful(add),
        grad: Grad::None("a handle"),
        rows: &[],
    },
    Op {
        name: "AddManySparseToTensorsMap",
        ins: INS,
        outs: &["sparse_handles: int64"],
        attrs: ATTRS,
        shape: |ctx| {
            sparse_input(ctx, 0)?;
            ctx.set(0, Shape::vector(None))
        },
        kernel: Kernel::Stateful(add_many),
        grad: Grad::None("handles"),
        rows: &[],
    },
    Op {
        name: "TakeManySparseFromTensorsMap",
        ins: &["sparse_handles: int64"],
        outs: &["sparse_indices: int64", "sparse_values: dtype", "sparse_shape: int64"],
        attrs: &["dtype: type", "container: string = ''", "shared_name: string = ''"],
        shape: |ctx| {
            ctx.input(0).with_rank(1)?;
            sparse_output(ctx, 0, None, None)
        },
        kernel: Kernel::Stateful(take_many),
        grad: Grad::None("handles"),
        rows: &[],
    },
];

/// The sparse tensors by handle.
#[derive(Default)]
struct TensorsMap(Mutex<Held>);

#[derive(Default)]
struct Held {
    next: i64,
    tensors: HashMap<i64, [Tensor; 3]>,
}

impl Resource for TensorsMap {
    fn kind(&self) -> &'static str {
        "SparseTensorsMap"
    }
}

impl TensorsMap {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Held {
    fn add(&mut self, parts: [Tensor; 3]) -> i64 {
        self.next += 1;
        self.tensors.insert(self.next - 1, parts);
        self.next - 1
    }
}

/// The map of a node's shared name. A node that takes sparse tensors out names the one that put them in.
fn map(ctx: &KernelCtx) -> Result<Arc<TensorsMap>> {
    let node = ctx.node();
    let name = match node.string("shared_name")? {
        "" => &*node.name,
        shared => shared,
    };
    ctx.session().resource(node.string("container")?, name, || Ok(TensorsMap::default()))
}

fn add(ctx: &mut KernelCtx) -> Result<()> {
    Sparse::inputs(ctx, 0)?;
    let parts = [ctx.input(0)?.clone(), ctx.input(1)?.clone(), ctx.input(2)?.clone()];
    let handle = map(ctx)?.lock().add(parts);
    ctx.set(0, Tensor::scalar(handle))
}

fn add_many(ctx: &mut KernelCtx) -> Result<()> {
    let rows = {
        let sparse = Sparse::inputs(ctx, 0)?;
        if sparse.rank() < 2 {
            bail!(InvalidArgument, "Rank of input SparseTensor should be > 1, but saw rank: {}", sparse.rank());
        }
        sparse.check_bounds()?;
        let shape = Tensor::vector(&sparse.shape[1..]);
        let order = sparse.order();
        let (mut next, mut rows) = (0, Vec::new());
        for row in 0..sparse.shape[0] {
            let start = next;
            while next < order.len() && sparse.index(order[next])[0] == row {
                next += 1;
            }
            let at = &order[start..next];
            let indices = at.iter().flat_map(|&at| &sparse.index(at)[1..]).copied().collect();
            rows.push([index_matrix(at.len(), sparse.rank() - 1, indices)?, pick(sparse.values, at)?, shape.clone()]);
        }
        rows
    };
    let map = map(ctx)?;
    let mut held = map.lock();
    // Rows with values get their handles first.
    let (full, empty): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(_, parts)| !parts[1].is_empty());
    let mut handles = vec![0; full.len() + empty.len()];
    for (row, parts) in full.into_iter().chain(empty) {
        handles[row] = held.add(parts);
    }
    drop(held);
    ctx.set(0, Tensor::vector(&handles))
}

fn take_many(ctx: &mut KernelCtx) -> Result<()> {
    let handles = ctx.input(0)?;
    if handles.rank() != 1 {
        bail!(InvalidArgument, "sparse_handles should be a vector but received shape {}", handles.shape());
    }
    let dtype = ctx.node().dtype("dtype")?;
    let map = map(ctx)?;
    let mut held = map.lock();
    let mut parts = Vec::with_capacity(handles.len());
    for handle in handles.as_slice::<i64>()? {
        match held.tensors.remove(handle) {
            Some(found) => parts.push(found),
            None => bail!(InvalidArgument, "Unable to find SparseTensor: {handle} in map: {}", ctx.node().name),
        }
    }
    drop(held);
    let (indices, values, shape) = batch(&parts, dtype)?;
    set_sparse(ctx, 0, indices, values, &shape)
}

/// Sparse tensors along a new first dimension, in a shape that holds all of them.
fn batch(parts: &[[Tensor; 3]], dtype: DType) -> Result<(Tensor, Tensor, Vec<i64>)> {
    let Some(first) = parts.first() else { bail!(InvalidArgument, "Must have at least one handle, got none") };
    let rank = first[2].len();
    let mut shape = vec![0i64; rank];
    let (mut indices, mut count) = (Vec::new(), 0);
    for (number, part) in parts.iter().enumerate() {
        let sparse = Sparse::new(&part[0], &part[1], &part[2])?;
        if sparse.values.dtype() != dtype {
            bail!(
                InvalidArgument,
                "dtype of SparseTensor[{number}] is {} but the requested dtype is {dtype}",
                sparse.values.dtype()
            );
        }
        if sparse.rank() != rank {
            bail!(
                InvalidArgument,
                "Inconsistent rank across SparseTensors: rank prior to SparseTensor[{number}] was: {rank} but rank of \
                 SparseTensor[{number}] is: {}",
                sparse.rank()
            );
        }
        shape.iter_mut().zip(sparse.shape).for_each(|(size, &own)| *size = own.max(*size));
        for at in 0..sparse.len() {
            indices.push(number as i64);
            indices.extend_from_slice(sparse.index(at));
        }
        count += sparse.len();
    }
    let values = join(&parts.iter().map(|p| &p[1]).collect::<Vec<_>>())?;
    shape.insert(0, parts.len() as i64);
    Ok((index_matrix(count, rank + 1, indices)?, values, shape))
}
