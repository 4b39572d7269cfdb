//! Sums, extremes, element-wise ops with dense tensors, softmax.

use super::{Sparse, SparseTensor, index_matrix, set_sparse, sparse_input, sparse_output};
use crate::error::{Result, bail};
use crate::graph::Graph;
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::ops::convert::Arg;
use crate::ops::math::number::{Float, Inexact, Integer, Number, Real};
use crate::ops::state::number_type;
use crate::tensor::{Element, Shape, Tensor, dispatch};
use num_complex::Complex;
use std::cmp::Ordering;

const TWO: &[&str] = &["a_indices: int64", "a_values: T", "a_shape: int64", "b_indices: int64", "b_values: T", "b_shape: int64"];
const WITH_DENSE: &[&str] = &["sp_indices: int64", "sp_values: T", "sp_shape: int64", "dense: T"];

pub(super) static OPS: &[Op] = &[
    Op {
        name: "SparseAdd",
        ins: &[
            "a_indices: int64",
            "a_values: T",
            "a_shape: int64",
            "b_indices: int64",
            "b_values: T",
            "b_shape: int64",
            "thresh: Treal",
        ],
        outs: &["sum_indices: int64", "sum_values: T", "sum_shape: int64"],
        attrs: &[
            number_type!("T"),
            "Treal: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}",
        ],
        shape: |ctx| {
            ctx.input(2).with_rank(1)?;
            let shape = ctx.input(2).merge(&ctx.input(5).with_rank(1)?)?;
            sparse_output(ctx, 0, None, shape.dim(0))
        },
        kernel: Kernel::Pure(add),
        grad: Grad::Fn(|g, op, grads| {
            let (inputs, outputs) = (g.inputs(op), g.outputs(op));
            let builder = g.op("SparseAddGrad").input(grads.dense(g, 1)?).input(inputs[0]).input(inputs[3]);
            let emitted = builder.input(outputs[0]).outputs()?;
            g.set_shape(emitted[0], g.shape(inputs[1])?)?;
            g.set_shape(emitted[1], g.shape(inputs[4])?)?;
            Ok(vec![None, Some(emitted[0].into()), None, None, Some(emitted[1].into()), None, None])
        }),
        rows: &[
            "i64[[0] [2]], f32[1 2], i64[4], i64[[2] [3]], f32[-2 0.5], i64[4], f32 0 => i64[[0] [2] [3]], f32[1 0 0.5], i64[4]",
            "i64[[0] [2]], f32[1 2], i64[4], i64[[2] [3]], f32[-2 0.5], i64[4], f32 0.75 => i64[[0] [3]], f32[1 0.5], i64[4]",
        ],
    },
    Op {
        name: "SparseAddGrad",
        ins: &["backprop_val_grad: T", "a_indices: int64", "b_indices: int64", "sum_indices: int64"],
        outs: &["a_val_grad: T", "b_val_grad: T"],
        attrs: &[number_type!("T")],
        shape: |ctx| {
            for input in 0..2 {
                let indices = ctx.input(input + 1).with_rank(2)?;
                ctx.set(input, Shape::vector(indices.dim(0)))?;
            }
            Ok(())
        },
        kernel: Kernel::Pure(add_grad),
        grad: Grad::None("TensorFlow does not differentiate it"),
        rows: &["f32[5 7], i64[[0] [2]], i64[[2] [3]], i64[[0] [2]] => f32[5 7], f32[7 0]"],
    },
    Op {
        name: "SparseSparseMaximum",
        ins: TWO,
        outs: &["output_indices: int64", "output_values: T"],
        attrs: &["T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}"],
        shape: two_shape,
        kernel: Kernel::Pure(|ctx| extreme(ctx, true)),
        grad: Grad::Missing,
        rows: &["i64[[0] [1]], f32[-1 -2], i64[3], i64[[0] [2]], f32[1 3], i64[3] => i64[[0] [1] [2]], f32[1 0 3]"],
    },
    Op {
        name: "SparseSparseMinimum",
        ins: TWO,
        outs: &["output_indices: int64", "output_values: T"],
        attrs: &[number_type!("T")],
        shape: two_shape,
        kernel: Kernel::Pure(|ctx| extreme(ctx, false)),
        grad: Grad::Missing,
        rows: &["i64[[0] [1]], f32[-1 -2], i64[3], i64[[0] [2]], f32[1 3], i64[3] => i64[[0] [1] [2]], f32[-1 -2 0]"],
    },
    Op {
        name: "SparseDenseCwiseAdd",
        ins: WITH_DENSE,
        outs: &["output: T"],
        attrs: &[number_type!("T")],
        shape: values_shape,
        kernel: Kernel::Pure(|ctx| with_dense(ctx, Cwise::Add)),
        grad: Grad::Missing,
        rows: &["i64[[0 0] [1 1]], f32[1 2], i64[2 2], f32[10 20] => f32[11 22]"],
    },
    Op {
        name: "SparseDenseCwiseMul",
        ins: WITH_DENSE,
        outs: &["output: T"],
        attrs: &[number_type!("T")],
        shape: values_shape,
        kernel: Kernel::Pure(|ctx| with_dense(ctx, Cwise::Mul)),
        grad: Grad::Fn(|g, op, grads| super::grad::cwise(g, op, grads, true)),
        rows: &["i64[[0 0] [1 1]], f32[1 2], i64[2 2], f32[[10] [20]] => f32[10 40]"],
    },
    Op {
        name: "SparseDenseCwiseDiv",
        ins: WITH_DENSE,
        outs: &["output: T"],
        attrs: &[number_type!("T")],
        shape: values_shape,
        kernel: Kernel::Pure(|ctx| with_dense(ctx, Cwise::Div)),
        grad: Grad::Fn(|g, op, grads| super::grad::cwise(g, op, grads, false)),
        rows: &["i64[[0 0] [1 1]], i32[7 -7], i64[2 2], i32 2 => i32[3 -3]"],
    },
    Op {
        name: "SparseSoftmax",
        ins: &["sp_indices: int64", "sp_values: T", "sp_shape: int64"],
        outs: &["output: T"],
        attrs: &["T: {half, float, double}"],
        shape: values_shape,
        kernel: Kernel::Pure(softmax),
        grad: Grad::Fn(super::grad::softmax),
        rows: &["i64[[0 0] [0 1] [1 1]], f32[3 3 -5], i64[2 2] => f32[0.5 0.5 1]"],
    },
];

fn two_shape(ctx: &mut InferCtx) -> Result<()> {
    let (_, a) = sparse_input(ctx, 0)?;
    let (_, b) = sparse_input(ctx, 3)?;
    let rank = Shape::vector(a).merge(&Shape::vector(b))?;
    ctx.set(0, Shape::matrix(None, rank.dim(0)))?;
    ctx.set(1, Shape::vector(None))
}

fn values_shape(ctx: &mut InferCtx) -> Result<()> {
    let (count, _) = sparse_input(ctx, 0)?;
    ctx.set(0, Shape::vector(count))
}

/// Walks over the union of two ascending lists of indices: the positions in either where an index stands.
fn union(a: &Sparse, b: &Sparse, mut each: impl FnMut(Option<usize>, Option<usize>)) {
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        let order = match (i < a.len(), j < b.len()) {
            (true, true) => a.index(i).cmp(b.index(j)),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        each((order != Ordering::Greater).then_some(i), (order != Ordering::Less).then_some(j));
        i += usize::from(order != Ordering::Greater);
        j += usize::from(order != Ordering::Less);
    }
}

fn same_shape(a: &Sparse, b: &Sparse) -> Result<()> {
    if a.shape != b.shape {
        bail!(InvalidArgument, "Operands' shapes do not match: got {:?} and {:?}", a.shape, b.shape);
    }
    Ok(())
}

/// A number whose size can be compared with a threshold.
trait Magnitude: Number {
    fn magnitude(self) -> f64;
}

macro_rules! magnitudes {
    ($($type:ty)*) => {
        $(impl Magnitude for $type {
            fn magnitude(self) -> f64 {
                Real::to_f64(self).abs()
            }
        })*
    };
}
magnitudes!(f32 f64 half::f16 half::bf16 i8 i16 i32 i64 u8 u16 u32 u64);

impl Magnitude for Complex<f32> {
    fn magnitude(self) -> f64 {
        f64::from(self.norm())
    }
}

impl Magnitude for Complex<f64> {
    fn magnitude(self) -> f64 {
        self.norm()
    }
}

fn add(ctx: &mut KernelCtx) -> Result<()> {
    let (indices, values, shape) = {
        let (a, b) = (Sparse::inputs(ctx, 0)?, Sparse::inputs(ctx, 3)?);
        same_shape(&a, &b)?;
        let thresh = ctx.input(6)?;
        if thresh.rank() != 0 {
            bail!(InvalidArgument, "The magnitude threshold must be a scalar: got shape {}", thresh.shape());
        }
        let thresh: f64 = dispatch!(thresh.dtype(), real, T => Real::to_f64(thresh.item::<T>()?));
        let mut indices = Vec::new();
        let values = dispatch!(a.values.dtype(), numbers, T => {
            let (x, y) = (a.values.as_slice::<T>()?, b.values.as_slice::<T>()?);
            let mut sums: Vec<T> = Vec::new();
            union(&a, &b, |i, j| {
                // What only one part has stays, however small.
                let is_sum = i.is_some() && j.is_some();
                let (sum, index) = match (i, j) {
                    (Some(i), Some(j)) => (Number::add(x[i], y[j]), a.index(i)),
                    (Some(i), None) => (x[i], a.index(i)),
                    (None, Some(j)) => (y[j], b.index(j)),
                    (None, None) => return,
                };
                if !is_sum || thresh <= sum.magnitude() {
                    sums.push(sum);
                    indices.extend_from_slice(index);
                }
            });
            Tensor::from(sums)
        });
        (index_matrix(values.len(), a.rank(), indices)?, values, a.shape.to_vec())
    };
    set_sparse(ctx, 0, indices, values, &shape)
}

fn add_grad(ctx: &mut KernelCtx) -> Result<()> {
    let (grads, a, b, sum) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.input(3)?);
    if a.rank() != 2 || b.rank() != 2 || sum.rank() != 2 || grads.rank() != 1 {
        bail!(
            InvalidArgument,
            "SparseAddGrad takes a vector and three matrices of indices, got shapes {}, {}, {} and {}",
            grads.shape(),
            a.shape(),
            b.shape(),
            sum.shape()
        );
    }
    let rank = a.dims()[1];
    if b.dims()[1] != rank || sum.dims()[1] != rank {
        bail!(InvalidArgument, "The indices should have the same ndims: got {rank}, {} and {}", b.dims()[1], sum.dims()[1]);
    }
    if sum.dims()[0] != grads.len() {
        bail!(
            InvalidArgument,
            "# elements of backprop_val_grad and # rows of sum_indices differ: {} and {}",
            grads.len(),
            sum.dims()[0]
        );
    }
    let sums = sum.as_slice::<i64>()?;
    let find = |indices: &Tensor| -> Result<Vec<usize>> {
        let all = indices.as_slice::<i64>()?;
        let mut next = 0;
        let mut at = Vec::with_capacity(indices.dims()[0]);
        for i in 0..indices.dims()[0] {
            let index = &all[i * rank..(i + 1) * rank];
            let sum = |k: usize| &sums[k * rank..(k + 1) * rank];
            while next < grads.len() && sum(next) < index {
                next += 1;
            }
            at.push(if next < grads.len() && sum(next) == index { next } else { grads.len() });
        }
        Ok(at)
    };
    let (a_at, b_at) = (find(a)?, find(b)?);
    let dtype = grads.dtype();
    let (a_grad, b_grad) = dispatch!(dtype, plain, T => {
        let grads = grads.as_slice::<T>()?;
        let pick = |at: Vec<usize>| Tensor::from(at.iter().map(|&i| grads.get(i).copied().unwrap_or_default()).collect::<Vec<T>>());
        (pick(a_at), pick(b_at))
    });
    ctx.set(0, a_grad.with_dtype(dtype))?;
    ctx.set(1, b_grad.with_dtype(dtype))
}

fn extreme(ctx: &mut KernelCtx, largest: bool) -> Result<()> {
    let (indices, values) = {
        let (a, b) = (Sparse::inputs(ctx, 0)?, Sparse::inputs(ctx, 3)?);
        same_shape(&a, &b)?;
        let mut indices = Vec::new();
        let values = dispatch!(a.values.dtype(), real, T => {
            let (x, y) = (a.values.as_slice::<T>()?, b.values.as_slice::<T>()?);
            let mut out: Vec<T> = Vec::new();
            union(&a, &b, |i, j| {
                let zero = <T as Number>::ZERO;
                let (p, q) = (i.map_or(zero, |i| x[i]), j.map_or(zero, |j| y[j]));
                out.push(if largest { Real::maximum(p, q) } else { Real::minimum(p, q) });
                indices.extend_from_slice(i.map(|i| a.index(i)).or(j.map(|j| b.index(j))).unwrap_or_default());
            });
            Tensor::from(out)
        });
        (index_matrix(values.len(), a.rank(), indices)?, values)
    };
    ctx.set(0, indices)?;
    ctx.set(1, values)
}

#[derive(Clone, Copy, PartialEq)]
enum Cwise {
    Add,
    Mul,
    Div,
}

/// Division as `SparseDenseCwiseDiv` does it.
trait Divide: Number {
    const INTEGER: bool;
    fn divide(self, other: Self) -> Self;
}

macro_rules! divides {
    ($class:ident, $integer:literal: $($type:ty)*) => {
        $(impl Divide for $type {
            const INTEGER: bool = $integer;
            fn divide(self, other: Self) -> Self {
                <$type as $class>::div(self, other)
            }
        })*
    };
}
divides!(Integer, true: i8 i16 i32 i64 u8 u16 u32 u64);
divides!(Inexact, false: f32 f64 half::f16 half::bf16 Complex<f32> Complex<f64>);

/// For each value, the position of the element of a dense tensor that stands beside it when broadcast to the shape.
fn beside(sparse: &Sparse, dense: &[usize]) -> Result<Vec<usize>> {
    let skipped = sparse.rank().checked_sub(dense.len());
    let fits = |skipped: usize| dense.iter().zip(&sparse.shape[skipped..]).all(|(&d, &s)| d == 1 || d as i64 == s);
    let Some(skipped) = skipped.filter(|&s| fits(s)) else {
        bail!(
            InvalidArgument,
            "SparseDenseBinaryOpShared broadcasts dense to sparse only; got incompatible shapes: {:?} vs. {dense:?}",
            sparse.shape
        );
    };
    sparse.check_bounds()?;
    let position = |at: usize| {
        let own = sparse.index(at)[skipped..].iter().zip(dense);
        own.fold(0usize, |position, (&i, &size)| position * size + if size == 1 { 0 } else { i as usize })
    };
    Ok((0..sparse.len()).map(position).collect())
}

fn with_dense(ctx: &mut KernelCtx, op: Cwise) -> Result<()> {
    let sparse = Sparse::inputs(ctx, 0)?;
    let dense = ctx.input(3)?;
    let at = beside(&sparse, dense.dims())?;
    let output = dispatch!(dense.dtype(), numbers, T => {
        let (values, dense) = (sparse.values.as_slice::<T>()?, dense.as_slice::<T>()?);
        if op == Cwise::Div && <T as Divide>::INTEGER && at.iter().any(|&i| dense[i] == <T as Number>::ZERO) {
            bail!(InvalidArgument, "SparseDenseCwiseDiv cannot divide by zero, but input dense tensor contains zero");
        }
        let f = match op {
            Cwise::Add => <T as Number>::add,
            Cwise::Mul => <T as Number>::mul,
            Cwise::Div => <T as Divide>::divide,
        };
        Tensor::from(values.iter().zip(&at).map(|(&v, &i)| f(v, dense[i])).collect::<Vec<T>>())
    });
    ctx.set(0, output)
}

fn softmax(ctx: &mut KernelCtx) -> Result<()> {
    let sparse = Sparse::inputs(ctx, 0)?;
    if sparse.rank() < 2 {
        bail!(InvalidArgument, "Input should have rank >= 2, but received shape: {:?}", sparse.shape);
    }
    sparse.check_bounds()?;
    let output = dispatch!(sparse.values.dtype(), floats, T => softmax_of::<T>(&sparse)?);
    ctx.set(0, output)
}

fn softmax_of<T: Float + Element>(sparse: &Sparse) -> Result<Tensor> {
    let values = sparse.values.as_slice::<T>()?;
    let mut out = values.to_vec();
    let group = |at: usize| &sparse.index(at)[..sparse.rank() - 1];
    let mut start = 0;
    while start < out.len() {
        let mut end = start + 1;
        while end < out.len() && group(end) == group(start) {
            end += 1;
        }
        let largest = values[start..end].iter().copied().fold(T::LOWEST, Real::maximum);
        let mut sum = T::ZERO;
        for value in &mut out[start..end] {
            *value = Inexact::exp(Number::sub(*value, largest));
            sum = Number::add(sum, *value);
        }
        for value in &mut out[start..end] {
            *value = Inexact::div(*value, sum);
        }
        start = end;
    }
    Ok(Tensor::from(out))
}

impl Graph {
    /// The sum of two sparse tensors; sums smaller than `threshold` vanish (`tf.sparse.add`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit, or a threshold of another type.
    pub fn sparse_add(&self, a: SparseTensor, b: SparseTensor, threshold: impl Into<Arg>) -> Result<SparseTensor> {
        let real = self.dtype(a.values)?.real();
        let (g, scope) = self.enter("SparseAdd")?;
        let threshold = g.convert(&threshold.into(), Some(real), "thresh")?;
        let op = g.op("SparseAdd").name(scope.name()).input(a.indices).input(a.values).input(a.dense_shape);
        let outputs = op.input(b.indices).input(b.values).input(b.dense_shape).input(threshold).outputs()?;
        Ok(SparseTensor::new(outputs[0], outputs[1], outputs[2]))
    }

    /// The larger of two sparse tensors' elements, missing ones being zero (`tf.sparse.maximum`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_maximum(&self, a: SparseTensor, b: SparseTensor) -> Result<SparseTensor> {
        self.sparse_extreme("SparseSparseMaximum", a, b)
    }

    /// The smaller of two sparse tensors' elements, missing ones being zero (`tf.sparse.minimum`).
    ///
    /// # Errors
    /// `InvalidArgument` for parts whose shapes don't fit.
    pub fn sparse_minimum(&self, a: SparseTensor, b: SparseTensor) -> Result<SparseTensor> {
        self.sparse_extreme("SparseSparseMinimum", a, b)
    }

    fn sparse_extreme(&self, op: &str, a: SparseTensor, b: SparseTensor) -> Result<SparseTensor> {
        let builder = self.op(op).input(a.indices).input(a.values).input(a.dense_shape);
        let outputs = builder.input(b.indices).input(b.values).input(b.dense_shape).outputs()?;
        Ok(SparseTensor::new(outputs[0], outputs[1], a.dense_shape))
    }

    /// The softmax of the values in each innermost row (`tf.sparse.softmax`).
    ///
    /// # Errors
    /// `InvalidArgument` for values that aren't floats.
    pub fn sparse_softmax(&self, input: SparseTensor) -> Result<SparseTensor> {
        let op = self.op("SparseSoftmax").input(input.indices).input(input.values).input(input.dense_shape);
        Ok(SparseTensor { values: op.output()?, ..input })
    }

    /// The sum of a sparse tensor and a dense one that is broadcast to it, at the sparse tensor's indices
    /// (`sparse_dense_cwise_add`).
    ///
    /// # Errors
    /// `InvalidArgument` for other types.
    pub fn sparse_dense_cwise_add(&self, a: SparseTensor, dense: crate::graph::Output) -> Result<SparseTensor> {
        let op = self.op("SparseDenseCwiseAdd").input(a.indices).input(a.values).input(a.dense_shape).input(dense);
        Ok(SparseTensor { values: op.output()?, ..a })
    }
}
