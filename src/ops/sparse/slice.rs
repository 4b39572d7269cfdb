//! Parts of sparse tensors.

use super::{Sparse, SparseTensor, index_matrix, pick, set_sparse, sparse_input, sparse_output};
use crate::error::{Result, bail};
use crate::graph::Graph;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::convert::Arg;
use crate::ops::state::number_type;
use crate::tensor::{DType, Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SparseSlice",
        ins: &["indices: int64", "values: T", "shape: int64", "start: int64", "size: int64"],
        outs: &["output_indices: int64", "output_values: T", "output_shape: int64"],
        attrs: &["T: type"],
        shape: slice_shape,
        kernel: Kernel::Pure(slice),
        grad: Grad::Fn(|g, op, grads| {
            let (inputs, outputs) = (g.inputs(op), g.outputs(op));
            let builder = g.op("SparseSliceGrad").input(grads.dense(g, 1)?).input(inputs[0]).input(inputs[3]);
            let grad = builder.input(outputs[0]).output()?;
            g.set_shape(grad, g.shape(inputs[1])?)?;
            Ok(vec![None, Some(grad.into()), None, None, None])
        }),
        rows: &[
            "i64[[0 0] [0 2] [1 1]], f32[1 2 3], i64[2 3], i64[0 1], i64[2 5] => i64[[0 1] [1 0]], f32[2 3], i64[2 2]",
            "i64[[0 0]], f32[1], i64[2 3], i64[5 0], i64[2 2] => i64{0,2}[], f32{0}[], i64[0 2]",
        ],
    },
    Op {
        name: "SparseSliceGrad",
        ins: &["backprop_val_grad: T", "input_indices: int64", "input_start: int64", "output_indices: int64"],
        outs: &["val_grad: T"],
        attrs: &[number_type!("T")],
        shape: |ctx| {
            let indices = ctx.input(1).with_rank(2)?;
            ctx.set(0, Shape::vector(indices.dim(0)))
        },
        kernel: Kernel::Pure(slice_grad),
        grad: Grad::Missing,
        rows: &["f32[2 3], i64[[0 0] [0 2] [1 1]], i64[0 1], i64[[0 1] [1 0]] => f32[0 2 3]"],
    },
    Op {
        name: "SparseSplit",
        ins: &["split_dim: int64", "indices: int64", "values: T", "shape: int64"],
        outs: &["output_indices: num_split * int64", "output_values: num_split * T", "output_shape: num_split * int64"],
        attrs: &["num_split: int >= 1", "T: type"],
        shape: split_shape,
        kernel: Kernel::Pure(split),
        grad: Grad::Missing,
        rows: &["num_split=2; i64 -1, i64[[0 0] [0 1] [1 2]], f32[1 2 3], i64[2 3] => \
             i64[[0 0] [0 1]], i64[[1 0]], f32[1 2], f32[3], i64[2 2], i64[2 1]"],
    },
];

fn slice_shape(ctx: &mut InferCtx) -> Result<()> {
    let (_, rank) = sparse_input(ctx, 0)?;
    let rank = Shape::vector(rank).merge(&ctx.input(3).with_rank(1)?)?.merge(&ctx.input(4).with_rank(1)?)?;
    sparse_output(ctx, 0, None, rank.dim(0))
}

fn slice(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, values, shape) = {
        let sparse = Sparse::inputs(ctx, 0)?;
        let (start, size) = (ctx.input(3)?, ctx.input(4)?);
        if start.rank() != 1 || size.rank() != 1 || start.len() != sparse.rank() || size.len() != sparse.rank() {
            bail!(
                InvalidArgument,
                "Expected start and size to be vectors of length {}, got shapes {} and {}",
                sparse.rank(),
                start.shape(),
                size.shape()
            );
        }
        let (start, size) = (start.as_slice::<i64>()?, size.as_slice::<i64>()?);
        if let Some(bad) = size.iter().find(|&&s| s < 0) {
            bail!(InvalidArgument, "Expected a non-negative size, got {bad}");
        }
        let end: Vec<i64> = start.iter().zip(size).map(|(&a, &b)| a.saturating_add(b)).collect();
        let clipped = |(d, &dim): (usize, &i64)| if start[d] >= dim { 0 } else { size[d].min(dim.saturating_sub(start[d])) };
        let shape: Vec<i64> = sparse.shape.iter().enumerate().map(clipped).collect();
        let within = |index: &[i64]| index.iter().enumerate().all(|(d, &i)| start[d] <= i && i < end[d]);
        let at: Vec<usize> = (0..sparse.len()).filter(|&at| within(sparse.index(at))).collect();
        let moved = at.iter().flat_map(|&at| sparse.index(at).iter().zip(start).map(|(&i, &s)| i.wrapping_sub(s))).collect();
        (index_matrix(at.len(), sparse.rank(), moved)?, pick(sparse.values, &at)?, shape)
    };
    set_sparse(ctx, 0, indices, values, &shape)
}

fn slice_grad(ctx: &mut KernelCtx) -> Result<()> {
    let (grads, input, start, output) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    if grads.rank() != 1 || input.rank() != 2 || output.rank() != 2 || start.rank() != 1 {
        bail!(
            InvalidArgument,
            "SparseSliceGrad takes a vector, a matrix, a vector and a matrix, got shapes {}, {}, {} and {}",
            grads.shape(),
            input.shape(),
            start.shape(),
            output.shape()
        );
    }
    let rank = input.dims()[1];
    if output.dims()[1] != rank || start.len() != rank {
        bail!(
            InvalidArgument,
            "The input and output should have the same ndims: got {rank}, {} and {}",
            start.len(),
            output.dims()[1]
        );
    }
    if output.dims()[0] != grads.len() {
        bail!(InvalidArgument, "# rows of output_indices must match backprop_val_grad: {} and {}", output.dims()[0], grads.len());
    }
    let count = input.dims()[0];
    let (from, to, start) = (input.as_slice::<i64>()?, output.as_slice::<i64>()?, start.as_slice::<i64>()?);
    let mut at = vec![grads.len(); count];
    let mut next = 0;
    for (i, slot) in at.iter_mut().enumerate() {
        if next == grads.len() {
            break;
        }
        let own = &to[next * rank..(next + 1) * rank];
        let index = &from[i * rank..(i + 1) * rank];
        if index.iter().zip(own).zip(start).all(|((&i, &o), &s)| i == o.wrapping_add(s)) {
            *slot = next;
            next += 1;
        }
    }
    if next != grads.len() {
        bail!(InvalidArgument, "Elements of backprop_val_grad aren't all propagated. Num elements:{}, used: {next}", grads.len());
    }
    let dtype = grads.dtype();
    let result = dispatch!(dtype, plain, T => {
        let grads = grads.as_slice::<T>()?;
        Tensor::from(at.iter().map(|&i| grads.get(i).copied().unwrap_or_default()).collect::<Vec<T>>())
    });
    ctx.set(0, result.with_dtype(dtype))
}

fn split_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(3).with_rank(1)?;
    let splits = ctx.num_outputs() / 3;
    for i in 0..splits {
        ctx.set(i, Shape::matrix(None, shape.dim(0)))?;
        ctx.set(splits + i, Shape::vector(None))?;
        ctx.set(2 * splits + i, shape.clone())?;
    }
    Ok(())
}

fn split(ctx: &mut KernelCtx) -> Result<()> {
    let splits = ctx.num_outputs() / 3;
    let mut parts = Vec::with_capacity(splits);
    {
        let axis = ctx.int_input(0)?;
        let sparse = Sparse::inputs(ctx, 1)?;
        let rank = sparse.rank();
        let positive = if axis < 0 { axis + rank as i64 } else { axis };
        if !(0..rank as i64).contains(&positive) {
            bail!(InvalidArgument, "Input axis should be in range [-{rank}, {rank}), got {axis}");
        }
        let axis = positive as usize;
        let dim = sparse.shape[axis];
        if splits as i64 > dim {
            bail!(InvalidArgument, "Input num_split should be between 1 and the splitting dimension size ({dim}), got {splits}");
        }
        sparse.check_bounds()?;
        let (size, residual) = (dim / splits as i64, dim % splits as i64);
        let large = residual * (size + 1);
        let part_of = |i: i64| if i < large { i / (size + 1) } else { residual + (i - large) / size };
        let start_of = |part: i64| part * size + part.min(residual);
        let mut members = vec![Vec::new(); splits];
        for at in 0..sparse.len() {
            members[part_of(sparse.index(at)[axis]) as usize].push(at);
        }
        for (part, at) in members.iter().enumerate() {
            let start = start_of(part as i64);
            let mut indices: Vec<i64> = at.iter().flat_map(|&at| sparse.index(at)).copied().collect();
            indices.chunks_exact_mut(rank).for_each(|index| index[axis] -= start);
            let mut shape = sparse.shape.to_vec();
            shape[axis] = start_of(part as i64 + 1) - start;
            parts.push((index_matrix(at.len(), rank, indices)?, pick(sparse.values, at)?, shape));
        }
    }
    for (i, (indices, values, shape)) in parts.into_iter().enumerate() {
        ctx.set(i, indices)?;
        ctx.set(splits + i, values)?;
        ctx.set(2 * splits + i, Tensor::from(shape))?;
    }
    Ok(())
}

impl Graph {
    /// The part of a sparse tensor from `start` on, of at most `size` (`tf.sparse.slice`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_slice(&self, input: SparseTensor, start: impl Into<Arg>, size: impl Into<Arg>) -> Result<SparseTensor> {
        let (g, scope) = self.enter("SparseSlice")?;
        let start = g.convert(&start.into(), Some(DType::Int64), "Const")?;
        let size = g.convert(&size.into(), Some(DType::Int64), "Const")?;
        let op = g.op("SparseSlice").name(scope.name()).input(input.indices).input(input.values).input(input.dense_shape);
        let outputs = op.input(start).input(size).outputs()?;
        Ok(SparseTensor::new(outputs[0], outputs[1], outputs[2]))
    }

    /// The sparse tensor cut along an axis into parts of sizes that differ by at most one (`tf.sparse.split`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_split(&self, input: SparseTensor, num_split: usize, axis: i64) -> Result<Vec<SparseTensor>> {
        let call = self.call("SparseSplit").arg(axis).arg(input.indices).arg(input.values).arg(input.dense_shape);
        let o = call.attr("num_split", num_split).outputs()?;
        Ok((0..num_split).map(|i| SparseTensor::new(o[i], o[num_split + i], o[2 * num_split + i])).collect())
    }
}
