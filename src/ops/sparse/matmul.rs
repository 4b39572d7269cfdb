//! Products of sparse and dense matrices.

use super::{Sparse, SparseTensor, index_matrix};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::math::number::Number;
use crate::tensor::{Element, Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[Op {
    name: "SparseTensorDenseMatMul",
    ins: &["a_indices: Tindices", "a_values: T", "a_shape: int64", "b: T"],
    outs: &["product: T"],
    attrs: &["T: type", "Tindices: {int32, int64} = DT_INT64", "adjoint_a: bool = false", "adjoint_b: bool = false"],
    shape: matmul_shape,
    kernel: Kernel::Pure(matmul),
    grad: Grad::Fn(super::grad::matmul),
    rows: &[
        "i64[[0 1] [1 0]], f32[2 3], i64[2 2], f32[[1 2] [3 4]] => f32[[6 8] [3 6]]",
        "adjoint_a=true, adjoint_b=true; i64[[0 1] [1 0]], f32[2 3], i64[2 2], f32[[1 2] [3 4]] => f32[[6 12] [2 6]]",
        "adjoint_a=true; i64[[0 0]], c64[1:2], i64[1 1], c64[[1:1]] => c64[[3:-1]]",
    ],
}];

fn matmul_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(2)?;
    ctx.input(1).with_rank(1)?;
    let a = ctx.constant_shape(2).with_rank(2)?;
    let b = ctx.input(3).with_rank(2)?;
    let side = |adjoint: bool, at: isize| if adjoint { 1 - at } else { at };
    let (adjoint_a, adjoint_b) = (ctx.boolean("adjoint_a")?, ctx.boolean("adjoint_b")?);
    Shape::vector(a.dim(side(adjoint_a, 1))).merge(&Shape::vector(b.dim(side(adjoint_b, 0))))?;
    ctx.set(0, Shape::matrix(a.dim(side(adjoint_a, 0)), b.dim(side(adjoint_b, 1))))
}

fn matmul(ctx: &mut KernelCtx) -> Result<()> {
    let (adjoint_a, adjoint_b) = (ctx.node().boolean("adjoint_a")?, ctx.node().boolean("adjoint_b")?);
    let product = {
        let (indices, values, shape, b) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
        if b.rank() != 2 {
            bail!(InvalidArgument, "Tensor 'b' is not a matrix: shape {}", b.shape());
        }
        if shape.rank() != 1 || shape.len() != 2 {
            bail!(InvalidArgument, "Tensor 'a_shape' must have 2 elements: got shape {}", shape.shape());
        }
        if indices.rank() != 2 || indices.dims()[1] != 2 {
            bail!(InvalidArgument, "Tensor 'a_indices' must be a matrix of 2 columns, got shape {}", indices.shape());
        }
        let matrix = index_matrix(indices.dims()[0], 2, indices.to_i64s()?.to_vec())?;
        let a = Sparse::new(&matrix, values, shape)?;
        let (rows, inner) = if adjoint_a { (a.shape[1], a.shape[0]) } else { (a.shape[0], a.shape[1]) };
        let (b_inner, columns) = if adjoint_b { (b.dims()[1], b.dims()[0]) } else { (b.dims()[0], b.dims()[1]) };
        if inner != b_inner as i64 {
            bail!(
                InvalidArgument,
                "Cannot multiply A and B because inner dimension does not match: {inner} vs. {b_inner}. Did you forget a \
                 transpose? Dimensions of A: {:?}. Dimensions of B: {:?}",
                a.shape,
                b.dims()
            );
        }
        a.check_bounds()?;
        dispatch!(b.dtype(), numbers, T => product::<T>(&a, b, rows as usize, columns, adjoint_a, adjoint_b)?)
    };
    ctx.set(0, product)
}

fn product<T: Number + Element>(
    a: &Sparse,
    b: &Tensor,
    rows: usize,
    columns: usize,
    adjoint_a: bool,
    adjoint_b: bool,
) -> Result<Tensor> {
    let mut out = Tensor::zeros(T::DTYPE, &[rows, columns])?;
    let (values, b_values) = (a.values.as_slice::<T>()?, b.as_slice::<T>()?);
    let width = b.dims()[1];
    let to = out.as_mut_slice::<T>()?;
    for (at, &value) in values.iter().enumerate() {
        let index = a.index(at);
        let (row, inner) = if adjoint_a { (index[1], index[0]) } else { (index[0], index[1]) };
        let (row, inner) = (row as usize, inner as usize);
        let value = if adjoint_a { value.conj() } else { value };
        let to = &mut to[row * columns..(row + 1) * columns];
        if adjoint_b {
            for (j, slot) in to.iter_mut().enumerate() {
                *slot = Number::add(*slot, Number::mul(value, b_values[j * width + inner].conj()));
            }
        } else {
            for (slot, &other) in to.iter_mut().zip(&b_values[inner * width..(inner + 1) * width]) {
                *slot = Number::add(*slot, Number::mul(value, other));
            }
        }
    }
    Ok(out)
}

impl Graph {
    /// The product of a sparse matrix and a dense one (`tf.sparse.sparse_dense_matmul`), either taken as its adjoint.
    ///
    /// # Errors
    /// `InvalidArgument` for sizes that don't fit.
    pub fn sparse_tensor_dense_matmul(&self, a: SparseTensor, b: Output, adjoint_a: bool, adjoint_b: bool) -> Result<Output> {
        let (g, _scope) = self.enter("SparseTensorDenseMatMul")?;
        let op = g.op("SparseTensorDenseMatMul").input(a.indices).input(a.values);
        op.input(a.dense_shape).input(b).attr("adjoint_a", adjoint_a).attr("adjoint_b", adjoint_b).output()
    }
}
