//! Operations on sets: the rows along the last dimension of dense or sparse tensors.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::sparse::{Sparse, SparseTensor, checked_product, index_matrix, set_sparse, sparse_input, sparse_output};
use crate::tensor::{DType, Element, Shape, Tensor, dispatch};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

const OUTPUTS: &[&str] = &["result_indices: int64", "result_values: T", "result_shape: int64"];
const ATTRS: &[&str] =
    &["set_operation: string", "validate_indices: bool = true", "T: {int8, int16, int32, int64, uint8, uint16, string}"];

pub(super) static OPS: &[Op] = &[
    Op {
        name: "DenseToDenseSetOperation",
        ins: &["set1: T", "set2: T"],
        outs: OUTPUTS,
        attrs: ATTRS,
        shape: dense_to_dense_shape,
        kernel: Kernel::Pure(|ctx| operate(ctx, [false, false])),
        grad: Grad::None("sets"),
        rows: &[
            "set_operation='union'; i32[[2 1]], i32[[1 3]] => i64[[0 0] [0 1] [0 2]], i32[1 2 3], i64[1 3]",
            "set_operation='a-b'; str[[\"a\" \"b\"] [\"c\" \"c\"]], str[[\"b\"] [\"c\"]] => i64[[0 0]], str[\"a\"], i64[2 1]",
        ],
    },
    Op {
        name: "DenseToSparseSetOperation",
        ins: &["set1: T", "set2_indices: int64", "set2_values: T", "set2_shape: int64"],
        outs: OUTPUTS,
        attrs: ATTRS,
        shape: dense_to_sparse_shape,
        kernel: Kernel::Pure(|ctx| operate(ctx, [false, true])),
        grad: Grad::None("sets"),
        rows: &["set_operation='intersection'; i64[[1 2]], i64[[0 0]], i64[2], i64[1 3] => i64[[0 0]], i64[2], i64[1 1]"],
    },
    Op {
        name: "SparseToSparseSetOperation",
        ins: &[
            "set1_indices: int64",
            "set1_values: T",
            "set1_shape: int64",
            "set2_indices: int64",
            "set2_values: T",
            "set2_shape: int64",
        ],
        outs: OUTPUTS,
        attrs: ATTRS,
        shape: sparse_to_sparse_shape,
        kernel: Kernel::Pure(|ctx| operate(ctx, [true, true])),
        grad: Grad::None("sets"),
        rows: &["set_operation='b-a'; i64[[0 0]], i32[2], i64[2 1], i64[[0 0] [0 1] [1 0]], i32[2 1 3], i64[2 2] => \
             i64[[0 0] [1 0]], i32[1 3], i64[2 1]"],
    },
    Op {
        name: "SetSize",
        ins: &["set_indices: int64", "set_values: T", "set_shape: int64"],
        outs: &["size: int32"],
        attrs: &["validate_indices: bool = true", "T: {int8, int16, int32, int64, uint8, uint16, string}"],
        shape: |ctx| ctx.set(0, Shape::unknown()),
        kernel: Kernel::Pure(set_size),
        grad: Grad::None("sizes"),
        rows: &["i64[[0 0] [0 1] [2 0]], i32[1 1 2], i64[3 2] => i32[1 0 1]"],
    },
];

/// Checks the rank of a set's shape, known or not.
fn check_rank(rank: Option<usize>) -> Result<()> {
    match rank {
        Some(rank) if rank < 2 => bail!(InvalidArgument, "Input rank {rank} is less than 2."),
        _ => Ok(()),
    }
}

fn dense_to_dense_shape(ctx: &mut InferCtx) -> Result<()> {
    let (a, b) = (ctx.input(0), ctx.input(1));
    check_rank(a.rank())?;
    check_rank(b.rank())?;
    if let (Some(x), Some(y)) = (a.rank(), b.rank())
        && x != y
    {
        bail!(InvalidArgument, "Input ranks do not match: {x} and {y}");
    }
    if a.rank().is_some() && b.rank().is_some() {
        a.slice(0, -1).merge(&b.slice(0, -1))?;
    }
    sparse_output(ctx, 0, None, a.rank().or(b.rank()))
}

fn dense_to_sparse_shape(ctx: &mut InferCtx) -> Result<()> {
    let (_, rank) = sparse_input(ctx, 1)?;
    let dense = ctx.input(0);
    check_rank(dense.rank())?;
    if let (Some(x), Some(y)) = (dense.rank(), rank)
        && x != y
    {
        bail!(InvalidArgument, "Input ranks do not match: {x} and {y}");
    }
    sparse_output(ctx, 0, None, dense.rank().or(rank))
}

fn sparse_to_sparse_shape(ctx: &mut InferCtx) -> Result<()> {
    let (_, a) = sparse_input(ctx, 0)?;
    let (_, b) = sparse_input(ctx, 3)?;
    check_rank(a)?;
    let rank = Shape::vector(a).merge(&Shape::vector(b))?;
    sparse_output(ctx, 0, None, rank.dim(0))
}

/// Sets by the number of their group.
type Groups<T> = BTreeMap<usize, BTreeSet<T>>;

/// The number of the group at leading indices.
fn group_number(index: &[i64], sizes: &[i64]) -> usize {
    index.iter().zip(sizes).fold(0usize, |n, (&i, &size)| n.wrapping_mul(size as usize).wrapping_add(i as usize))
}

/// A set input and the shape of its groups.
enum SetInput<'a> {
    Dense(&'a Tensor),
    Sparse(Sparse<'a>),
}

impl<'a> SetInput<'a> {
    fn read(ctx: &'a KernelCtx, first: usize, sparse: bool, validate: bool) -> Result<SetInput<'a>> {
        let input = if sparse {
            let sparse = Sparse::inputs(ctx, first)?;
            match validate {
                true => sparse.check_order()?,
                false => sparse.check_bounds()?,
            }
            SetInput::Sparse(sparse)
        } else {
            SetInput::Dense(ctx.input(first)?)
        };
        let rank = input.shape().len();
        if rank < 2 {
            bail!(InvalidArgument, "Shape {:?} has rank {rank} < 2", input.shape());
        }
        Ok(input)
    }

    fn shape(&self) -> Vec<i64> {
        match self {
            SetInput::Dense(tensor) => tensor.dims().iter().map(|&d| d as i64).collect(),
            SetInput::Sparse(sparse) => sparse.shape.to_vec(),
        }
    }

    /// The sets, with the elements that `get` reads from the values.
    fn groups<T: Ord>(&self, get: impl Fn(&Tensor, usize) -> T) -> Groups<T> {
        let mut groups: Groups<T> = BTreeMap::new();
        match self {
            SetInput::Dense(tensor) => {
                let width = tensor.dims()[tensor.rank() - 1];
                for at in 0..tensor.len() {
                    groups.entry(at / width).or_default().insert(get(tensor, at));
                }
            }
            SetInput::Sparse(sparse) => {
                let leading = sparse.rank() - 1;
                for at in 0..sparse.len() {
                    let group = group_number(&sparse.index(at)[..leading], sparse.shape);
                    groups.entry(group).or_default().insert(get(sparse.values, at));
                }
            }
        }
        groups
    }
}

#[derive(Clone, Copy)]
enum SetOperation {
    AMinusB,
    BMinusA,
    Intersection,
    Union,
}

fn combine<T: Ord + Clone>(a: &BTreeSet<T>, b: &BTreeSet<T>, operation: SetOperation) -> Vec<T> {
    match operation {
        SetOperation::AMinusB => a.difference(b).cloned().collect(),
        SetOperation::BMinusA => b.difference(a).cloned().collect(),
        SetOperation::Intersection => a.intersection(b).cloned().collect(),
        SetOperation::Union => a.union(b).cloned().collect(),
    }
}

/// The indices, elements and largest size of the resulting sets.
fn results<T: Ord + Clone>(a: &Groups<T>, b: &Groups<T>, operation: SetOperation, sizes: &[i64]) -> (Vec<i64>, Vec<T>, i64) {
    let numbers: BTreeSet<usize> = a.keys().chain(b.keys()).copied().collect();
    let empty = BTreeSet::new();
    let (mut indices, mut values, mut largest) = (Vec::new(), Vec::new(), 0);
    for number in numbers {
        let set = combine(a.get(&number).unwrap_or(&empty), b.get(&number).unwrap_or(&empty), operation);
        largest = largest.max(set.len() as i64);
        for at in 0..set.len() {
            let (start, mut rest) = (indices.len(), number);
            indices.resize(start + sizes.len(), 0i64);
            for (d, &size) in sizes.iter().enumerate().rev() {
                indices[start + d] = (rest % size as usize) as i64;
                rest /= size as usize;
            }
            indices.push(at as i64);
        }
        values.extend(set);
    }
    (indices, values, largest)
}

fn operate(ctx: &mut KernelCtx, sparse: [bool; 2]) -> Result<()> {
    let name = ctx.node().string("set_operation")?.to_lowercase();
    let operation = match name.as_str() {
        "a-b" => SetOperation::AMinusB,
        "b-a" => SetOperation::BMinusA,
        "intersection" => SetOperation::Intersection,
        "union" => SetOperation::Union,
        _ => bail!(InvalidArgument, "Invalid set_operation {name}."),
    };
    let validate = ctx.node().boolean("validate_indices")?;
    let (indices, values, shape) = {
        let a = SetInput::read(ctx, 0, sparse[0], validate)?;
        let b = SetInput::read(ctx, if sparse[0] { 3 } else { 1 }, sparse[1], validate)?;
        let (mut shape, other) = (a.shape(), b.shape());
        let leading = shape.len() - 1;
        if shape.len() != other.len() || shape[..leading] != other[..leading] {
            bail!(InvalidArgument, "Mismatched group shapes {shape:?} vs {other:?}.");
        }
        let dtype = ctx.input(if sparse[0] { 1 } else { 0 })?.dtype();
        let (indices, values, largest) = if dtype == DType::String {
            let get = |t: &Tensor, at: usize| t.strings().map(|s| s[at].clone()).unwrap_or_default();
            let (indices, values, largest) = results::<Bytes>(&a.groups(get), &b.groups(get), operation, &shape[..leading]);
            (indices, Tensor::from_strings(&[values.len()], values)?, largest)
        } else {
            dispatch!(dtype, integers, T => {
                let get = |t: &Tensor, at: usize| t.as_slice::<T>().map(|s| s[at]).unwrap_or_default();
                let (indices, values, largest) = results::<T>(&a.groups(get), &b.groups(get), operation, &shape[..leading]);
                (indices, typed(values), largest)
            })
        };
        shape[leading] = largest;
        (index_matrix(values.len(), shape.len(), indices)?, values, shape)
    };
    set_sparse(ctx, 0, indices, values, &shape)
}

fn typed<T: Element>(values: Vec<T>) -> Tensor {
    Tensor::from(values)
}

fn set_size(ctx: &mut KernelCtx) -> Result<()> {
    let sizes = {
        let validate = ctx.node().boolean("validate_indices")?;
        let sparse = Sparse::inputs(ctx, 0)?;
        if sparse.rank() == 0 {
            bail!(InvalidArgument, "Shape [] has rank 0 < 1");
        }
        match validate {
            true => sparse.check_order()?,
            false => sparse.check_bounds()?,
        }
        let leading = sparse.rank() - 1;
        let dims: Vec<usize> = sparse.shape[..leading].iter().map(|&d| d as usize).collect();
        checked_product(&sparse.shape[..leading])?;
        let mut sizes = Tensor::zeros(DType::Int32, &dims)?;
        let dtype = sparse.values.dtype();
        let input = SetInput::Sparse(sparse);
        let counts: Vec<(usize, usize)> = if dtype == DType::String {
            let groups = input.groups(|t, at| t.strings().map(|s| s[at].clone()).unwrap_or_default());
            groups.iter().map(|(&number, set)| (number, set.len())).collect()
        } else {
            dispatch!(dtype, integers, T => {
                let groups = input.groups(|t, at| t.as_slice::<T>().map(|s| s[at]).unwrap_or_default());
                groups.iter().map(|(&number, set)| (number, set.len())).collect()
            })
        };
        let to = sizes.as_mut_slice::<i32>()?;
        counts.iter().for_each(|&(number, count)| to[number] = count as i32);
        sizes
    };
    ctx.set(0, sizes)
}

/// A tensor whose innermost rows are sets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SetTensor {
    /// Every element of a row is a member.
    Dense(Output),
    /// The elements that are there are members.
    Sparse(SparseTensor),
}

impl From<Output> for SetTensor {
    fn from(output: Output) -> SetTensor {
        SetTensor::Dense(output)
    }
}

impl From<SparseTensor> for SetTensor {
    fn from(sparse: SparseTensor) -> SetTensor {
        SetTensor::Sparse(sparse)
    }
}

impl Graph {
    /// The number of unique elements in each innermost row (`tf.sets.size`).
    ///
    /// # Errors
    /// `InvalidArgument` for elements that are neither integers nor strings.
    pub fn set_size(&self, set: SparseTensor) -> Result<Output> {
        self.op("SetSize").input(set.indices).input(set.values).input(set.dense_shape).output()
    }

    /// The elements that both have (`tf.sets.intersection`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or types that don't fit.
    pub fn set_intersection(&self, a: impl Into<SetTensor>, b: impl Into<SetTensor>) -> Result<SparseTensor> {
        self.set_operation(a.into(), b.into(), "intersection")
    }

    /// The elements of `a` that `b` hasn't (`tf.sets.difference`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or types that don't fit.
    pub fn set_difference(&self, a: impl Into<SetTensor>, b: impl Into<SetTensor>) -> Result<SparseTensor> {
        self.set_operation(a.into(), b.into(), "a-b")
    }

    /// The elements that either has (`tf.sets.union`).
    ///
    /// # Errors
    /// `InvalidArgument` for shapes or types that don't fit.
    pub fn set_union(&self, a: impl Into<SetTensor>, b: impl Into<SetTensor>) -> Result<SparseTensor> {
        self.set_operation(a.into(), b.into(), "union")
    }

    fn set_operation(&self, a: SetTensor, b: SetTensor, operation: &str) -> Result<SparseTensor> {
        let (a, b, operation) = match (a, b, operation) {
            (SetTensor::Sparse(_), SetTensor::Dense(_), "a-b") => (b, a, "b-a"),
            (SetTensor::Sparse(_), SetTensor::Dense(_), other) => (b, a, other),
            other => other,
        };
        let (name, inputs) = match (a, b) {
            (SetTensor::Dense(a), SetTensor::Dense(b)) => ("DenseToDenseSetOperation", vec![a, b]),
            (SetTensor::Dense(a), SetTensor::Sparse(b)) => {
                ("DenseToSparseSetOperation", vec![a, b.indices, b.values, b.dense_shape])
            }
            (SetTensor::Sparse(a), SetTensor::Sparse(b)) => {
                ("SparseToSparseSetOperation", vec![a.indices, a.values, a.dense_shape, b.indices, b.values, b.dense_shape])
            }
            (SetTensor::Sparse(_), SetTensor::Dense(_)) => bail!(Internal, "a sparse set stands before a dense one"),
        };
        let op = inputs.into_iter().fold(self.op(name), |op, input| op.input(input));
        let outputs = op.attr("set_operation", operation).outputs()?;
        Ok(SparseTensor::new(outputs[0], outputs[1], outputs[2]))
    }
}
