//! Sparse tensors (indices, values, shape) and ragged ones.

mod arithmetic;
mod arrange;
mod count;
mod cross;
mod dense;
mod grad;
mod matmul;
mod ragged;
mod ragged_fill;
mod ragged_grad;
mod ragged_variant;
mod reduce;
mod serialize;
mod slice;
mod tensors_map;

pub(crate) use serialize::{tensor_bytes, tensor_of_bytes};

use crate::error::{Error, Result, bail};
use crate::graph::Output;
use crate::graph::op::{InferCtx, KernelCtx, Op};
use crate::tensor::{DType, Shape, Tensor, dispatch};
use std::cmp::Ordering;

/// The family's lists of records.
pub(super) static FAMILIES: &[&[Op]] = &[
    arithmetic::OPS,
    arrange::OPS,
    count::OPS,
    cross::OPS,
    dense::OPS,
    matmul::OPS,
    ragged::OPS,
    ragged_fill::OPS,
    ragged_variant::OPS,
    reduce::OPS,
    serialize::OPS,
    slice::OPS,
    tensors_map::OPS,
];

/// A sparse tensor of a graph (`tf.SparseTensor`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SparseTensor {
    /// Where the values stand, int64 `[n, rank]`, in row-major order for most ops.
    pub indices: Output,
    /// The values, `[n]`.
    pub values: Output,
    /// The shape of the whole, int64 `[rank]`.
    pub dense_shape: Output,
}

impl SparseTensor {
    /// A sparse tensor of its three parts.
    pub fn new(indices: Output, values: Output, dense_shape: Output) -> SparseTensor {
        SparseTensor { indices, values, dense_shape }
    }
}

/// The value of a sparse tensor: `[n, rank]` indices, `[n]` values, `[rank]` shape.
pub(crate) struct Sparse<'a> {
    pub indices: &'a [i64],
    pub values: &'a Tensor,
    pub shape: &'a [i64],
}

impl<'a> Sparse<'a> {
    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// `InvalidArgument` for parts of other ranks, of sizes that don't fit, or a negative size in the shape.
    pub fn new(indices: &'a Tensor, values: &'a Tensor, shape: &'a Tensor) -> Result<Sparse<'a>> {
        if indices.rank() != 2 {
            bail!(InvalidArgument, "Input indices should be a matrix but received shape {}", indices.shape());
        }
        if values.rank() != 1 {
            bail!(InvalidArgument, "Input values should be a vector but received shape {}", values.shape());
        }
        if shape.rank() != 1 {
            bail!(InvalidArgument, "Input shape should be a vector but received shape {}", shape.shape());
        }
        if indices.dims()[0] != values.len() {
            bail!(
                InvalidArgument,
                "The number of values must match the number of indices: got {} values and {} indices",
                values.len(),
                indices.dims()[0]
            );
        }
        if indices.dims()[1] != shape.len() {
            bail!(InvalidArgument, "Index rank ({}) and shape rank ({}) do not match", indices.dims()[1], shape.len());
        }
        let shape = shape.as_slice::<i64>()?;
        checked_product(shape)?;
        Ok(Sparse { indices: indices.as_slice()?, values, shape })
    }

    /// The sparse tensor whose parts are three inputs in a row.
    ///
    /// # Errors
    /// As [`Sparse::new`].
    pub fn inputs(ctx: &'a KernelCtx, first: usize) -> Result<Sparse<'a>> {
        Sparse::new(ctx.input(first)?, ctx.input(first + 1)?, ctx.input(first + 2)?)
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Where a value stands.
    pub fn index(&self, at: usize) -> &'a [i64] {
        &self.indices[at * self.rank()..(at + 1) * self.rank()]
    }

    /// The order in which the indices ascend, equal ones as they stand.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        if !(1..self.len()).all(|i| self.index(i - 1) <= self.index(i)) {
            order.sort_by(|&a, &b| self.index(a).cmp(self.index(b)));
        }
        order
    }

    /// Checks that every index is within the shape.
    ///
    /// # Errors
    /// `InvalidArgument` for one that is not.
    pub fn check_bounds(&self) -> Result<()> {
        for at in 0..self.len() {
            let index = self.index(at);
            if index.iter().zip(self.shape).any(|(&i, &size)| i < 0 || i >= size) {
                bail!(InvalidArgument, "indices[{at}] = {index:?} is out of bounds: need 0 <= index < {:?}", self.shape);
            }
        }
        Ok(())
    }

    /// Checks bounds, order and uniqueness of the indices.
    ///
    /// # Errors
    /// `InvalidArgument` for the first that is out of bounds, out of order or repeated.
    pub fn check_order(&self) -> Result<()> {
        self.check_bounds()?;
        for at in 1..self.len() {
            let index = self.index(at);
            match self.index(at - 1).cmp(index) {
                Ordering::Less => {}
                Ordering::Equal => bail!(InvalidArgument, "indices[{at}] = {index:?} is repeated"),
                Ordering::Greater => bail!(
                    InvalidArgument,
                    "indices[{at}] = {index:?} is out of order. Many sparse ops require sorted indices. Use \
                     `tf.sparse.reorder` to create a correctly ordered copy."
                ),
            }
        }
        Ok(())
    }
}

/// The product of sizes.
///
/// # Errors
/// `InvalidArgument` for a negative size or a product beyond int64.
pub(crate) fn checked_product(sizes: &[i64]) -> Result<i64> {
    if let Some(size) = sizes.iter().find(|&&s| s < 0) {
        bail!(InvalidArgument, "Dimension {size} must be >= 0 in shape {sizes:?}");
    }
    if sizes.contains(&0) {
        return Ok(0);
    }
    let product = sizes.iter().try_fold(1i64, |n, &s| n.checked_mul(s));
    product.ok_or_else(|| Error::invalid_argument(format!("Shape {sizes:?} would have more than 2**63 - 1 elements")))
}

/// The elements of a vector of any type that stand at these positions.
///
/// # Errors
/// `Internal` for a position that isn't there.
pub(crate) fn pick(values: &Tensor, at: &[usize]) -> Result<Tensor> {
    if at.iter().any(|&i| i >= values.len()) {
        bail!(Internal, "a position is beyond {} values", values.len());
    }
    match values.dtype() {
        DType::String => {
            let strings = values.strings()?;
            Tensor::from_strings(&[at.len()], at.iter().map(|&i| strings[i].clone()).collect())
        }
        DType::Resource | DType::Variant => {
            let handles = values.handles()?;
            Tensor::from_handles(values.dtype(), &[at.len()], at.iter().map(|&i| handles[i].clone()).collect())
        }
        dtype => {
            let picked = dispatch!(dtype, plain, T => {
                let from = values.as_slice::<T>()?;
                Tensor::from(at.iter().map(|&i| from[i]).collect::<Vec<T>>())
            });
            Ok(picked.with_dtype(dtype))
        }
    }
}

/// Indices as a matrix of `count` rows.
pub(crate) fn index_matrix(count: usize, rank: usize, indices: Vec<i64>) -> Result<Tensor> {
    Tensor::new(&[count, rank], indices)
}

/// Sets the three outputs that make up a sparse tensor.
pub(crate) fn set_sparse(ctx: &mut KernelCtx, first: usize, indices: Tensor, values: Tensor, shape: &[i64]) -> Result<()> {
    ctx.set(first, indices)?;
    ctx.set(first + 1, values)?;
    ctx.set(first + 2, Tensor::vector(shape))
}

/// Checks the static shapes of three inputs that make up a sparse tensor; gives the number of values and the rank.
pub(crate) fn sparse_input(ctx: &InferCtx, first: usize) -> Result<(Option<usize>, Option<usize>)> {
    let indices = ctx.input(first).with_rank(2)?;
    let values = ctx.input(first + 1).with_rank(1)?;
    let shape = ctx.input(first + 2).with_rank(1)?;
    let count = Shape::vector(indices.dim(0)).merge(&values)?;
    let rank = Shape::vector(indices.dim(1)).merge(&shape)?;
    Ok((count.dim(0), rank.dim(0)))
}

/// Sets the static shapes of three outputs that make up a sparse tensor.
pub(crate) fn sparse_output(ctx: &mut InferCtx, first: usize, count: Option<usize>, rank: Option<usize>) -> Result<()> {
    ctx.set(first, Shape::matrix(count, rank))?;
    ctx.set(first + 1, Shape::vector(count))?;
    ctx.set(first + 2, Shape::vector(rank))
}
