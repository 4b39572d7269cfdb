//! Sums and maxima along axes.

use super::{Sparse, SparseTensor, index_matrix, set_sparse, sparse_input, sparse_output};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::math::number::{Number, Real};
use crate::ops::state::number_type;
use crate::tensor::{Element, Shape, Tensor, dispatch};

const INPUTS: &[&str] = &["input_indices: int64", "input_values: T", "input_shape: int64", "reduction_axes: int32"];
const SPARSE: &[&str] = &["output_indices: int64", "output_values: T", "output_shape: int64"];
const REAL: &str = "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}";

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SparseReduceSum",
        ins: INPUTS,
        outs: &["output: T"],
        attrs: &["keep_dims: bool = false", number_type!("T")],
        shape: reduced_shape,
        kernel: Kernel::Pure(|ctx| reduce(ctx, false, false)),
        grad: Grad::Fn(super::grad::reduce_sum),
        rows: &[
            "i64[[0 0] [0 2] [1 1]], i32[1 1 1], i64[2 3], i32 0 => i32[1 1 1]",
            "keep_dims=true; i64[[0 0] [0 2] [1 1]], i32[1 1 1], i64[2 3], i32[-1] => i32[[2] [1]]",
            "i64[[0 0] [0 2] [1 1]], i32[1 1 1], i64[2 3], i32[0 1] => i32 3",
        ],
    },
    Op {
        name: "SparseReduceMax",
        ins: INPUTS,
        outs: &["output: T"],
        attrs: &["keep_dims: bool = false", REAL],
        shape: reduced_shape,
        kernel: Kernel::Pure(|ctx| reduce(ctx, true, false)),
        grad: Grad::Missing,
        rows: &["i64[[0 0] [0 1] [1 1]], f32[-1 -2 -3], i64[3 2], i32[1] => f32[-1 -3 0]"],
    },
    Op {
        name: "SparseReduceSumSparse",
        ins: INPUTS,
        outs: SPARSE,
        attrs: &["keep_dims: bool = false", number_type!("T")],
        shape: |ctx| sparse_output(ctx, 0, None, None),
        kernel: Kernel::Pure(|ctx| reduce(ctx, false, true)),
        grad: Grad::Missing,
        rows: &["keep_dims=true; i64[[0 0] [0 1] [1 1]], f32[1 2 3], i64[2 2], i32 1 => i64[[0 0] [1 0]], f32[3 3], i64[2 1]"],
    },
    Op {
        name: "SparseReduceMaxSparse",
        ins: INPUTS,
        outs: SPARSE,
        attrs: &["keep_dims: bool = false", REAL],
        shape: |ctx| sparse_output(ctx, 0, None, None),
        kernel: Kernel::Pure(|ctx| reduce(ctx, true, true)),
        grad: Grad::Missing,
        rows: &["i64[[0 0] [0 1] [1 1]], f32[1 2 3], i64[2 2], i32 0 => i64[[0] [1]], f32[1 3], i64[2]"],
    },
];

fn reduced_shape(ctx: &mut InferCtx) -> Result<()> {
    sparse_input(ctx, 0)?;
    let keep = ctx.boolean("keep_dims")?;
    let (shape, axes) = (ctx.constant_shape(2), ctx.constant(3).and_then(|a| a.to_i64s().ok()));
    let (Some(sizes), Some(axes)) = (shape.signed(), axes) else { return ctx.set(0, Shape::unknown()) };
    let Ok(reduced) = reduced_axes(&axes, sizes.len()) else { return ctx.set(0, Shape::unknown()) };
    let sizes = sizes.iter().enumerate().filter(|(d, _)| keep || !reduced[*d]);
    ctx.set(0, Shape::from_signed(sizes.map(|(d, &size)| if reduced[d] { 1 } else { size })))
}

/// For each axis, whether it is reduced.
fn reduced_axes(axes: &[i64], rank: usize) -> Result<Vec<bool>> {
    let mut reduced = vec![false; rank];
    for &axis in axes {
        if axis < -(rank as i64) || axis >= rank as i64 {
            bail!(InvalidArgument, "Invalid reduction dimension {axis}, for input with {rank} dimensions.");
        }
        reduced[axis.rem_euclid(rank as i64) as usize] = true;
    }
    Ok(reduced)
}

fn reduce(ctx: &mut KernelCtx, largest: bool, sparse_result: bool) -> Result<()> {
    let keep = ctx.node().boolean("keep_dims")?;
    let (dims, groups, kept, values) = {
        let sparse = Sparse::inputs(ctx, 0)?;
        let axes = ctx.input(3)?;
        if axes.rank() > 1 {
            bail!(InvalidArgument, "Expected reduction_axes to be a scalar or a vector, got shape {}", axes.shape());
        }
        let reduced = reduced_axes(&axes.to_i64s()?, sparse.rank())?;
        sparse.check_bounds()?;
        let kept: Vec<usize> = (0..sparse.rank()).filter(|&d| !reduced[d]).collect();
        let group_of = |at: usize| kept.iter().map(|&d| sparse.index(at)[d]).collect::<Vec<i64>>();
        let mut order: Vec<(Vec<i64>, usize)> = (0..sparse.len()).map(|at| (group_of(at), at)).collect();
        order.sort();
        let mut groups: Vec<Vec<i64>> = Vec::new();
        let mut ends = Vec::new();
        let mut members = Vec::with_capacity(order.len());
        for (group, at) in order {
            if groups.last() != Some(&group) {
                groups.push(group);
                ends.push(0);
            }
            members.push(at);
            *ends.last_mut().unwrap_or(&mut 0) = members.len();
        }
        let values = match largest {
            true => dispatch!(sparse.values.dtype(), real, T => fold::<T>(&sparse, &members, &ends, Real::maximum)?),
            false => dispatch!(sparse.values.dtype(), numbers, T => fold::<T>(&sparse, &members, &ends, Number::add)?),
        };
        let dims = sparse.shape.iter().enumerate().filter(|(d, _)| keep || !reduced[*d]);
        let dims: Vec<i64> = dims.map(|(d, &size)| if reduced[d] { 1 } else { size }).collect();
        (dims, groups, kept, values)
    };
    let place = |group: &Vec<i64>| -> Vec<i64> {
        if !keep {
            return group.clone();
        }
        let mut index = vec![0; dims.len()];
        kept.iter().zip(group).for_each(|(&d, &i)| index[d] = i);
        index
    };
    if sparse_result {
        let indices = groups.iter().flat_map(place).collect();
        let indices = index_matrix(groups.len(), dims.len(), indices)?;
        return set_sparse(ctx, 0, indices, values, &dims);
    }
    let sizes: Vec<usize> = dims.iter().map(|&d| d as usize).collect();
    let mut out = Tensor::zeros(values.dtype(), &sizes)?;
    let at = groups.iter().map(|g| place(g).iter().zip(&sizes).fold(0, |n, (&i, &size)| n * size + i as usize));
    dispatch!(values.dtype(), numbers, T => {
        let to = out.as_mut_slice::<T>()?;
        at.zip(values.as_slice::<T>()?).for_each(|(at, &value)| to[at] = value);
    });
    ctx.set(0, out)
}

fn fold<T: Element>(sparse: &Sparse, members: &[usize], ends: &[usize], combine: fn(T, T) -> T) -> Result<Tensor> {
    let from = sparse.values.as_slice::<T>()?;
    let mut start = 0;
    let mut out = Vec::with_capacity(ends.len());
    for &end in ends {
        let own = members[start..end].iter().map(|&at| from[at]);
        out.push(own.reduce(combine).unwrap_or_default());
        start = end;
    }
    Ok(Tensor::from(out))
}

impl Graph {
    /// Sums a sparse tensor along axes, all where none are given (`tf.sparse.reduce_sum`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_reduce_sum(&self, input: SparseTensor, axes: Option<Arg>, keepdims: bool) -> Result<Output> {
        self.sparse_reduce("SparseReduceSum", input, axes, keepdims)
    }

    /// The largest elements of a sparse tensor along axes, all where none are given (`tf.sparse.reduce_max`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_reduce_max(&self, input: SparseTensor, axes: Option<Arg>, keepdims: bool) -> Result<Output> {
        self.sparse_reduce("SparseReduceMax", input, axes, keepdims)
    }

    fn sparse_reduce(&self, op: &str, input: SparseTensor, axes: Option<Arg>, keepdims: bool) -> Result<Output> {
        let axes = match axes {
            Some(axes) => axes,
            None => {
                let g = self.plain();
                let rank = g.op("Rank").input(input.dense_shape).output()?;
                let range = g.call("Range").default_name("range").arg(0i32).arg(rank).arg(1i32);
                Arg::from(range.output()?)
            }
        };
        let call = self.call(op).arg(input.indices).arg(input.values).arg(input.dense_shape).arg(axes);
        call.attr("keep_dims", keepdims).output()
    }
}
