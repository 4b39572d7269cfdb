//! Dense tensors from sparse ones, and their sums.

use super::{Sparse, SparseTensor};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::math::number::Number;
use crate::ops::state::number_type;
use crate::tensor::{DType, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SparseToDense",
        ins: &["sparse_indices: Tindices", "output_shape: Tindices", "sparse_values: T", "default_value: T"],
        outs: &["dense: T"],
        attrs: &["validate_indices: bool = true", "T: type", "Tindices: {int32, int64}"],
        shape: |ctx| {
            ctx.input(1).with_rank(1)?;
            ctx.set(0, ctx.constant_shape(1))
        },
        kernel: Kernel::Pure(to_dense),
        grad: Grad::Fn(super::grad::to_dense),
        rows: &[
            "i32[[0 1] [1 0]], i32[2 3], i32 5, i32 -1 => i32[[-1 5 -1] [5 -1 -1]]",
            "i64[1 2], i64[4], str[\"a\" \"b\"], str \"-\" => str[\"-\" \"a\" \"b\" \"-\"]",
            "i64 1, i64[2], f32 3, f32 0 => f32[0 3]",
            "validate_indices=false; i64[2 2], i64[3], f32[3 4], f32 0 => f32[0 0 4]",
        ],
    },
    Op {
        name: "SparseTensorDenseAdd",
        ins: &["a_indices: Tindices", "a_values: T", "a_shape: Tindices", "b: T"],
        outs: &["output: T"],
        attrs: &[number_type!("T"), "Tindices: {int32, int64}"],
        shape: |ctx| ctx.set(0, ctx.input(3)),
        kernel: Kernel::Pure(dense_add),
        grad: Grad::Fn(|g, op, grads| {
            let grad = grads.dense(g, 0)?;
            let picked = g.op("GatherNd").input(grad).input(g.input(op, 0)?).output()?;
            Ok(vec![None, Some(picked.into()), None, Some(grad.into())])
        }),
        rows: &["i64[[0 1] [1 0]], f32[5 6], i64[2 2], f32[[1 2] [3 4]] => f32[[1 7] [9 4]]"],
    },
];

fn to_dense(ctx: &mut KernelCtx) -> Result<()> {
    let dense = {
        let (indices, shape, values, default) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
        if indices.rank() > 2 {
            bail!(InvalidArgument, "sparse_indices should be a scalar, vector, or matrix, got shape {}", indices.shape());
        }
        let count = if indices.rank() > 0 { indices.dims()[0] } else { 1 };
        let rank = if indices.rank() > 1 { indices.dims()[1] } else { 1 };
        if shape.rank() != 1 {
            bail!(InvalidArgument, "output_shape must be rank 1, got shape {}", shape.shape());
        }
        if shape.len() != rank {
            bail!(InvalidArgument, "output_shape has incorrect number of elements: {} should be: {rank}", shape.len());
        }
        if values.rank() > 1 || (values.rank() == 1 && values.len() != count) {
            bail!(InvalidArgument, "sparse_values has incorrect shape {}, should be [] or [{count}]", values.shape());
        }
        if default.rank() != 0 {
            bail!(InvalidArgument, "default_value should be a scalar.");
        }
        let dims = shape.to_dims()?;
        let wide: Vec<i64> = indices.to_i64s()?.to_vec();
        let matrix = super::index_matrix(count, rank, wide)?;
        let dims_wide = Tensor::vector(&shape.to_i64s()?);
        let placeholder = Tensor::zeros(DType::Bool, &[count])?;
        let sparse = Sparse::new(&matrix, &placeholder, &dims_wide)?;
        match ctx.node().boolean("validate_indices")? {
            true => sparse.check_order()?,
            false => sparse.check_bounds()?,
        }
        let at = (0..count).map(|i| sparse.index(i).iter().zip(&dims).fold(0, |n, (&i, &size)| n * size + i as usize));
        let scalar = values.rank() == 0;
        if values.dtype() == DType::String {
            let (from, default) = (values.strings()?, &default.strings()?[0]);
            let mut dense = Tensor::zeros(DType::String, &dims)?.strings()?.to_vec();
            dense.fill(default.clone());
            at.enumerate().for_each(|(i, at)| dense[at] = from[if scalar { 0 } else { i }].clone());
            Tensor::from_strings(&dims, dense)?
        } else {
            let dtype = values.dtype();
            let dense = dispatch!(dtype, plain, T => {
                let from = values.as_slice::<T>()?;
                let mut dense = Tensor::full(&dims, default.as_slice::<T>()?[0])?;
                let to = dense.as_mut_slice::<T>()?;
                at.enumerate().for_each(|(i, at)| to[at] = from[if scalar { 0 } else { i }]);
                dense
            });
            dense.with_dtype(dtype)
        }
    };
    ctx.set(0, dense)
}

fn dense_add(ctx: &mut KernelCtx) -> Result<()> {
    let mut dense = ctx.take(3)?;
    let (indices, values, shape) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    if indices.rank() != 2 {
        bail!(InvalidArgument, "Input a_indices should be a matrix but received shape: {}", indices.shape());
    }
    let matrix = super::index_matrix(indices.dims()[0], indices.dims()[1], indices.to_i64s()?.to_vec())?;
    if shape.rank() != 1 {
        bail!(InvalidArgument, "Inputs a_shape should be a vector but received shape {}", shape.shape());
    }
    let wide = Tensor::vector(&shape.to_i64s()?);
    let sparse = Sparse::new(&matrix, values, &wide)?;
    if dense.rank() != sparse.rank() || dense.dims().iter().zip(sparse.shape).any(|(&d, &s)| d as i64 != s) {
        bail!(
            InvalidArgument,
            "Operands' shapes do not match: got {:?} for a sparse and {:?} for a dense one",
            sparse.shape,
            dense.dims()
        );
    }
    sparse.check_bounds()?;
    let dims = dense.dims().to_vec();
    dispatch!(dense.dtype(), numbers, T => {
        let from = values.as_slice::<T>()?;
        let to = dense.as_mut_slice::<T>()?;
        for (at, &value) in from.iter().enumerate() {
            let position = sparse.index(at).iter().zip(&dims).fold(0, |n, (&i, &size)| n * size + i as usize);
            to[position] = Number::add(to[position], value);
        }
    });
    ctx.set(0, dense)
}

impl Graph {
    /// A dense tensor that holds values at indices and a default elsewhere (`tf.sparse_to_dense`).
    ///
    /// # Errors
    /// `InvalidArgument` for other types.
    pub fn sparse_to_dense(
        &self,
        indices: impl Into<Arg>,
        output_shape: impl Into<Arg>,
        values: impl Into<Arg>,
        default_value: impl Into<Arg>,
    ) -> Result<Output> {
        self.call("SparseToDense").arg(indices).arg(output_shape).arg(values).arg(default_value).output()
    }

    /// The sparse tensor as a dense one (`tf.sparse.to_dense`).
    ///
    /// # Errors
    /// `InvalidArgument` for a default of another type.
    pub fn sparse_tensor_to_dense(&self, input: SparseTensor, default_value: impl Into<Arg>) -> Result<Output> {
        let call = self.call("SparseToDense").default_name("SparseToDense").arg(input.indices).arg(input.dense_shape);
        call.arg(input.values).arg(default_value).output()
    }
}
