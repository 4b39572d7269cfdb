//! Other orders, other shapes, joining, filling.

use super::{Sparse, SparseTensor, checked_product, index_matrix, pick, sparse_input, sparse_output};
use crate::error::{Result, bail};
use crate::graph::Graph;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::convert::Arg;
use crate::ops::math::number::Number;
use crate::tensor::{DType, Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SparseReorder",
        ins: &["input_indices: int64", "input_values: T", "input_shape: int64"],
        outs: &["output_indices: int64", "output_values: T"],
        attrs: &["T: type"],
        shape: reorder_shape,
        kernel: Kernel::Pure(reorder),
        grad: Grad::Fn(super::grad::reorder),
        rows: &[
            "i64[[1 0] [0 1] [0 0]], str[\"a\" \"b\" \"c\"], i64[2 2] => i64[[0 0] [0 1] [1 0]], str[\"c\" \"b\" \"a\"]",
            "i64{0,2}[], f32{0}[], i64[2 2] => i64{0,2}[], f32{0}[]",
        ],
    },
    Op {
        name: "SparseReshape",
        ins: &["input_indices: int64", "input_shape: int64", "new_shape: int64"],
        outs: &["output_indices: int64", "output_shape: int64"],
        attrs: &[],
        shape: reshape_shape,
        kernel: Kernel::Pure(reshape),
        grad: Grad::Missing,
        rows: &[
            "i64[[0 1] [1 2]], i64[2 3], i64[3 -1] => i64[[0 1] [2 1]], i64[3 2]",
            "i64{0,2}[], i64[2 3], i64[-1] => i64{0,1}[], i64[6]",
        ],
    },
    Op {
        name: "SparseConcat",
        ins: &["indices: N * int64", "values: N * T", "shapes: N * int64"],
        outs: &["output_indices: int64", "output_values: T", "output_shape: int64"],
        attrs: &["concat_dim: int", "N: int >= 2", "T: type"],
        shape: concat_shape,
        kernel: Kernel::Pure(concat),
        grad: Grad::None("TensorFlow does not differentiate it"),
        rows: &["concat_dim=-1; (i64[[0 0] [1 1]], i64[[0 0]]), (f32[1 2], f32[3]), (i64[2 2], i64[2 1]) => \
             i64[[0 0] [0 2] [1 1]], f32[1 3 2], i64[2 3]"],
    },
    Op {
        name: "SparseFillEmptyRows",
        ins: &["indices: int64", "values: T", "dense_shape: int64", "default_value: T"],
        outs: &["output_indices: int64", "output_values: T", "empty_row_indicator: bool", "reverse_index_map: int64"],
        attrs: &["T: type"],
        shape: fill_shape,
        kernel: Kernel::Pure(fill),
        grad: Grad::Fn(|g, op, grads| {
            let outputs = g.outputs(op);
            let emitted = g.op("SparseFillEmptyRowsGrad").input(outputs[3]).input(grads.dense(g, 1)?).outputs()?;
            Ok(vec![None, Some(emitted[0].into()), None, Some(emitted[1].into())])
        }),
        rows: &[
            "i64[[2 0] [0 1]], f32[1 2], i64[4 2], f32 9 => i64[[0 1] [1 0] [2 0] [3 0]], f32[2 9 1 9], \
             bool[false true false true], i64[2 0]",
            "i64{0,2}[], f32{0}[], i64[0 2], f32 9 => i64{0,2}[], f32{0}[], bool{0}[], i64{0}[]",
        ],
    },
    Op {
        name: "SparseFillEmptyRowsGrad",
        ins: &["reverse_index_map: int64", "grad_values: T"],
        outs: &["d_values: T", "d_default_value: T"],
        attrs: &["T: type"],
        shape: |ctx| {
            let map = ctx.input(0).with_rank(1)?;
            ctx.input(1).with_rank(1)?;
            ctx.set(0, map)?;
            ctx.set(1, Shape::scalar())
        },
        kernel: Kernel::Pure(fill_grad),
        grad: Grad::Missing,
        rows: &["i64[2 0], f32[1 2 4 8] => f32[4 1], f32 10"],
    },
];

fn reorder_shape(ctx: &mut InferCtx) -> Result<()> {
    let (count, rank) = sparse_input(ctx, 0)?;
    ctx.set(0, Shape::matrix(count, rank))?;
    ctx.set(1, Shape::vector(count))
}

fn reorder(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, values) = {
        let sparse = Sparse::inputs(ctx, 0)?;
        let order = sparse.order();
        if order.iter().enumerate().all(|(i, &at)| i == at) {
            (ctx.input(0)?.clone(), ctx.input(1)?.clone())
        } else {
            let indices = order.iter().flat_map(|&at| sparse.index(at)).copied().collect();
            (index_matrix(order.len(), sparse.rank(), indices)?, pick(sparse.values, &order)?)
        }
    };
    ctx.set(0, indices)?;
    ctx.set(1, values)
}

fn reshape_shape(ctx: &mut InferCtx) -> Result<()> {
    let indices = ctx.input(0).with_rank(2)?;
    ctx.input(1).with_rank(1)?;
    let new_shape = ctx.input(2).with_rank(1)?;
    ctx.set(0, Shape::matrix(indices.dim(0), new_shape.dim(0)))?;
    ctx.set(1, new_shape)
}

/// The new shape with its -1 filled in.
fn complete_shape(old_shape: &[i64], dense_size: i64, new_shape: &[i64]) -> Result<Vec<i64>> {
    let mut unknown = None;
    let mut product = 1i64;
    for (at, &size) in new_shape.iter().enumerate() {
        if size == -1 {
            if let Some(other) = unknown.replace(at) {
                bail!(InvalidArgument, "only one output dimension may be -1, not both {other} and {at}");
            }
            continue;
        }
        if size < 0 {
            bail!(InvalidArgument, "size {at} must be non-negative, not {size}");
        }
        let Some(next) = product.checked_mul(size) else {
            bail!(InvalidArgument, "the sizes of shape {new_shape:?} overflow");
        };
        product = next;
    }
    let mut shape = new_shape.to_vec();
    if let Some(at) = unknown {
        if product == 0 {
            bail!(
                InvalidArgument,
                "reshape cannot infer the missing input size for an empty tensor unless all specified input sizes are non-zero"
            );
        }
        shape[at] = dense_size / product;
        product *= shape[at];
    }
    if product != dense_size {
        bail!(
            InvalidArgument,
            "Input to reshape is a tensor with {dense_size} dense values, but the requested shape has {product}. \
             input_shape={old_shape:?} output_shape={shape:?}"
        );
    }
    Ok(shape)
}

fn reshape(ctx: &mut KernelCtx) -> Result<()> {
    let (input, shape, requested) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if input.rank() != 2 || shape.rank() != 1 || requested.rank() != 1 {
        bail!(
            InvalidArgument,
            "SparseReshape takes a matrix of indices and two shapes, got shapes {}, {} and {}",
            input.shape(),
            shape.shape(),
            requested.shape()
        );
    }
    let (count, rank) = (input.dims()[0], input.dims()[1]);
    if rank != shape.len() {
        bail!(InvalidArgument, "Input tensor rank must match input shape length: {rank} and {}", shape.len());
    }
    let old = shape.as_slice::<i64>()?;
    let dense_size = checked_product(old)?;
    let new = complete_shape(old, dense_size, requested.as_slice()?)?;
    let indices = if old == new {
        input.clone()
    } else {
        if count > 0 && dense_size == 0 {
            bail!(InvalidArgument, "Input tensor has {count} non zero elements but its shape {old:?} has no room for any");
        }
        let mut out = Vec::with_capacity(count * new.len());
        let steps = |shape: &[i64]| {
            let mut steps = vec![1i64; shape.len()];
            for i in (1..shape.len()).rev() {
                steps[i - 1] = steps[i].wrapping_mul(shape[i]);
            }
            steps
        };
        let (old_steps, new_steps) = (steps(old), steps(&new));
        let from = input.as_slice::<i64>()?;
        for at in 0..count {
            let index = &from[at * rank..(at + 1) * rank];
            let mut id = index.iter().zip(&old_steps).fold(0i64, |id, (&i, &step)| id.wrapping_add(i.wrapping_mul(step)));
            for &step in &new_steps {
                out.push(id / step);
                id %= step;
            }
        }
        index_matrix(count, new.len(), out)?
    };
    ctx.set(0, indices)?;
    ctx.set(1, Tensor::vector(&new))
}

fn concat_shape(ctx: &mut InferCtx) -> Result<()> {
    let n = ctx.num_inputs() / 3;
    let (mut rows, mut rank) = (Some(0), None);
    for i in 0..n {
        let indices = ctx.input(i).with_rank(2)?;
        let values = ctx.input(n + i).with_rank(1)?;
        let shape = ctx.input(2 * n + i).with_rank(1)?;
        let count = Shape::vector(indices.dim(0)).merge(&values)?.dim(0);
        let own = Shape::vector(indices.dim(1)).merge(&shape)?.merge(&Shape::vector(rank))?;
        rank = own.dim(0);
        rows = rows.zip(count).map(|(a, b): (usize, usize)| a + b);
    }
    sparse_output(ctx, 0, rows, rank)
}

fn concat(ctx: &mut KernelCtx) -> Result<()> {
    let n = ctx.num_inputs() / 3;
    let axis = ctx.node().int("concat_dim")?;
    let (indices, values, shape) = {
        let mut parts = Vec::with_capacity(n);
        for i in 0..n {
            parts.push(Sparse::new(ctx.input(i)?, ctx.input(n + i)?, ctx.input(2 * n + i)?)?);
        }
        let rank = parts[0].rank();
        let axis = if axis < 0 { axis + rank as i64 } else { axis };
        if !(0..rank as i64).contains(&axis) {
            bail!(InvalidArgument, "Concat dimension must be in range [-{rank}, {rank}), got {axis}");
        }
        let axis = axis as usize;
        let mut shape = parts[0].shape.to_vec();
        let (mut all, mut offset) = (Vec::new(), shape[axis]);
        all.extend_from_slice(parts[0].indices);
        for (i, part) in parts.iter().enumerate().skip(1) {
            if part.rank() != rank {
                bail!(
                    InvalidArgument,
                    "Ranks of all input tensors must match: expected {rank} but got {} at position {i}",
                    part.rank()
                );
            }
            for d in (0..rank).filter(|&d| d != axis) {
                if part.shape[d] != shape[d] {
                    bail!(
                        InvalidArgument,
                        "Input shapes must match: expected {} for dimension {d} but got {} at position {i}",
                        shape[d],
                        part.shape[d]
                    );
                }
            }
            let start = all.len();
            all.extend_from_slice(part.indices);
            for index in all[start..].chunks_exact_mut(rank) {
                index[axis] = index[axis].wrapping_add(offset);
            }
            offset = offset.saturating_add(part.shape[axis]);
        }
        shape[axis] = offset;
        let count = all.len() / rank;
        let all = index_matrix(count, rank, all)?;
        let values = join(&parts.iter().map(|p| p.values).collect::<Vec<_>>())?;
        let shape = Tensor::vector(&shape);
        let whole = Sparse::new(&all, &values, &shape)?;
        let order = whole.order();
        let sorted = order.iter().flat_map(|&at| whole.index(at)).copied().collect();
        (index_matrix(count, rank, sorted)?, pick(&values, &order)?, shape)
    };
    ctx.set(0, indices)?;
    ctx.set(1, values)?;
    ctx.set(2, shape)
}

/// Vectors of one type, one behind the other.
pub(super) fn join(parts: &[&Tensor]) -> Result<Tensor> {
    let dtype = parts[0].dtype();
    if dtype == DType::String {
        let mut all = Vec::new();
        for part in parts {
            all.extend_from_slice(part.strings()?);
        }
        return Tensor::from_strings(&[all.len()], all);
    }
    let joined = dispatch!(dtype, plain, T => {
        let mut all: Vec<T> = Vec::new();
        for part in parts {
            all.extend_from_slice(part.as_slice()?);
        }
        Tensor::from(all)
    });
    Ok(joined.with_dtype(dtype))
}

fn fill_shape(ctx: &mut InferCtx) -> Result<()> {
    let (count, rank) = sparse_input(ctx, 0)?;
    ctx.input(3).with_rank(0)?;
    ctx.set(0, Shape::matrix(None, rank))?;
    ctx.set(1, Shape::vector(None))?;
    let rows = ctx.constant_shape(2);
    ctx.set(2, Shape::vector(rows.dim(0)))?;
    ctx.set(3, Shape::vector(count))
}

fn fill(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, values, empty, map) = {
        let sparse = Sparse::inputs(ctx, 0)?;
        let default = ctx.input(3)?;
        if default.rank() != 0 {
            bail!(InvalidArgument, "default_value must be a scalar, saw: {}", default.shape());
        }
        let (count, rank) = (sparse.len(), sparse.rank());
        if rank == 0 {
            bail!(InvalidArgument, "Dense shape cannot be empty.");
        }
        let rows = sparse.shape[0];
        if rows == 0 && count != 0 {
            bail!(InvalidArgument, "Received SparseTensor with dense_shape[0] = 0 but indices.shape[0] = {count}");
        }
        let mut starts: Vec<usize> = Vec::new();
        if starts.try_reserve_exact(rows as usize).is_err() {
            bail!(ResourceExhausted, "OOM when allocating {rows} rows");
        }
        starts.resize(rows as usize, 0);
        for at in 0..count {
            let row = sparse.index(at)[0];
            if row < 0 || row >= rows {
                bail!(InvalidArgument, "indices({at}, 0) is invalid: {row} >= {rows}");
            }
            starts[row as usize] += 1;
        }
        let empty: Vec<bool> = starts.iter().map(|&n| n == 0).collect();
        let mut total = 0;
        for start in &mut starts {
            let size = (*start).max(1);
            *start = total;
            total += size;
        }
        let mut indices = vec![0i64; total * rank];
        let mut from = vec![count; total];
        for (row, _) in empty.iter().enumerate().filter(|(_, e)| **e) {
            indices[starts[row] * rank] = row as i64;
        }
        let mut map = Vec::with_capacity(count);
        for at in 0..count {
            let index = sparse.index(at);
            let slot = &mut starts[index[0] as usize];
            indices[*slot * rank..(*slot + 1) * rank].copy_from_slice(index);
            from[*slot] = at;
            map.push(*slot as i64);
            *slot += 1;
        }
        let default = default.clone().reshaped(&[1])?;
        let values = pick(&join(&[sparse.values, &default])?, &from)?;
        (index_matrix(total, rank, indices)?, values, Tensor::from(empty), Tensor::from(map))
    };
    ctx.set(0, indices)?;
    ctx.set(1, values)?;
    ctx.set(2, empty)?;
    ctx.set(3, map)
}

fn fill_grad(ctx: &mut KernelCtx) -> Result<()> {
    let (map, grads) = (ctx.input(0)?, ctx.input(1)?);
    if map.rank() != 1 || grads.rank() != 1 {
        bail!(InvalidArgument, "reverse_index_map and grad_values must be vectors, saw: {} and {}", map.shape(), grads.shape());
    }
    let map = map.as_slice::<i64>()?;
    let mut visited = vec![false; grads.len()];
    let mut at = Vec::with_capacity(map.len());
    for (i, &position) in map.iter().enumerate() {
        match usize::try_from(position).ok().filter(|&p| p < visited.len()) {
            Some(position) => {
                visited[position] = true;
                at.push(position);
            }
            None => bail!(InvalidArgument, "Elements in reverse index must be in [0, {}) but got {position} at {i}", grads.len()),
        }
    }
    let d_values = pick(grads, &at)?;
    let d_default = dispatch!(grads.dtype(), numbers, T => {
        let unvisited = grads.as_slice::<T>()?.iter().zip(&visited).filter(|(_, v)| !**v);
        Tensor::scalar(unvisited.fold(<T as Number>::ZERO, |sum, (&grad, _)| Number::add(sum, grad)))
    });
    ctx.set(0, d_values)?;
    ctx.set(1, d_default)
}

impl Graph {
    /// The sparse tensor with its indices in row-major order (`tf.sparse.reorder`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_reorder(&self, input: SparseTensor) -> Result<SparseTensor> {
        let op = self.op("SparseReorder").input(input.indices).input(input.values).input(input.dense_shape);
        let outputs = op.outputs()?;
        let g = self.plain();
        let dense_shape = match g.constant_value_as_shape(input.dense_shape).to_dims() {
            Some(dims) => {
                let (g, _scope) = g.enter("SparseTensor")?;
                g.named("dense_shape").constant(dims.iter().map(|&d| d as i64).collect::<Vec<i64>>())?
            }
            None => {
                let same = g.op("Identity").input(input.dense_shape).output()?;
                drop(g.enter("SparseTensor")?);
                same
            }
        };
        Ok(SparseTensor::new(outputs[0], outputs[1], dense_shape))
    }

    /// The sparse tensor in another shape, of which one size may be -1 (`tf.sparse.reshape`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_reshape(&self, input: SparseTensor, shape: impl Into<Arg>) -> Result<SparseTensor> {
        let (g, scope) = self.enter("SparseReshape")?;
        let shape = g.convert(&shape.into(), Some(DType::Int64), "shape")?;
        let op = g.op("SparseReshape").name(scope.name()).input(input.indices).input(input.dense_shape).input(shape);
        let outputs = op.outputs()?;
        Ok(SparseTensor::new(outputs[0], input.values, outputs[1]))
    }

    /// Sparse tensors one behind the other along an axis (`tf.sparse.concat`).
    ///
    /// # Errors
    /// `InvalidArgument` for fewer than two, or parts whose shapes don't fit.
    pub fn sparse_concat(&self, axis: i64, inputs: &[SparseTensor]) -> Result<SparseTensor> {
        if let [single] = inputs {
            return Ok(*single);
        }
        let list = |part: fn(&SparseTensor) -> crate::graph::Output| inputs.iter().map(part).collect::<Vec<_>>();
        let op = self.op("SparseConcat").input_list(&list(|s| s.indices)).input_list(&list(|s| s.values));
        let outputs = op.input_list(&list(|s| s.dense_shape)).attr("concat_dim", axis).outputs()?;
        Ok(SparseTensor::new(outputs[0], outputs[1], outputs[2]))
    }
}
