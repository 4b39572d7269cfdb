//! Other orders of dimensions.

use super::items::{View, read_view, row_major};
use super::shaping::index_tensor;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Dims, Shape, Tensor};
use num_complex::Complex;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Transpose",
        ins: &["x: T", "perm: Tperm"],
        outs: &["y: T"],
        attrs: &["T: type", "Tperm: {int32, int64} = DT_INT32"],
        shape: transpose_shape,
        kernel: Kernel::Pure(|ctx| transpose_kernel(ctx, false)),
        grad: Grad::Fn(|g, op, grads| {
            let inverse = g.invert_permutation(g.input(op, 1)?)?;
            let grad = grads.dense(g, 0)?;
            Ok(vec![Some(g.transpose(grad, Some(inverse.into()))?.into()), None])
        }),
        rows: &[
            "f32[[1 2 3] [4 5 6]], i32[1 0] => f32[[1 4] [2 5] [3 6]]",
            "f32 1, i32{0}[] => f32 1",
            "str[[\"a\" \"b\"]], i64[1 0] => str[[\"a\"] [\"b\"]]",
        ],
    },
    Op {
        name: "ConjugateTranspose",
        ins: &["x: T", "perm: Tperm"],
        outs: &["y: T"],
        attrs: &["T: type", "Tperm: {int32, int64} = DT_INT32"],
        shape: transpose_shape,
        kernel: Kernel::Pure(|ctx| transpose_kernel(ctx, true)),
        grad: Grad::Fn(|g, op, grads| {
            let inverse = g.invert_permutation(g.input(op, 1)?)?;
            let grad = grads.dense(g, 0)?;
            Ok(vec![Some(g.conjugate_transpose(grad, Some(inverse.into()))?.into()), None])
        }),
        rows: &["c64[[1:2 3:-4]], i32[1 0] => c64[[1:-2] [3:4]]"],
    },
    Op {
        name: "InvertPermutation",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: &["T: {int32, int64} = DT_INT32"],
        shape: |ctx| ctx.set(0, ctx.input(0).with_rank(1)?),
        kernel: Kernel::Pure(invert_permutation_kernel),
        grad: Grad::None("integers"),
        rows: &["i32[3 4 0 2 1] => i32[2 4 3 0 1]"],
    },
];

fn transpose_shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, perm) = (ctx.input(0), ctx.input(1));
    let order = ctx.constant(1);
    let rank = input.rank().or(perm.num_elements()).or(order.as_ref().map(Tensor::len));
    let Some(rank) = rank else { return ctx.set(0, Shape::unknown()) };
    let input = input.with_rank(rank)?;
    perm.merge(&Shape::vector(Some(rank)))?;
    let Some(order) = order else {
        // All dimensions may be moved, unless there is but one.
        return ctx.set(0, if rank < 2 { input } else { Shape::of_rank(rank) });
    };
    let mut dims = Vec::with_capacity(rank);
    for &from in order.to_i64s()?.iter() {
        if !(-(rank as i64)..rank as i64).contains(&from) {
            bail!(InvalidArgument, "perm dim {from} is out of range of input rank {rank}");
        }
        dims.push(input.dim(from as isize));
    }
    ctx.set(0, Shape::from(dims))
}

/// The dimensions of a tensor in another order: dimension `i` of the result is dimension `perm[i]`.
///
/// # Errors
/// `InvalidArgument` where `perm` isn't a permutation of the dimensions.
pub(crate) fn permute(input: &Tensor, perm: &[usize]) -> Result<Tensor> {
    let strides = row_major(input.dims());
    let dims: Dims = perm.iter().map(|&p| input.dims()[p]).collect();
    // Moving dimensions of size 1 moves no elements.
    let large = perm.iter().filter(|&&p| input.dims()[p] != 1);
    if large.is_sorted() {
        return input.clone().reshaped(&dims);
    }
    read_view(input, &View { dims, strides: perm.iter().map(|&p| strides[p]).collect(), offset: 0 })
}

fn transpose_kernel(ctx: &mut KernelCtx, conjugate: bool) -> Result<()> {
    let (input, perm) = (ctx.input(0)?, ctx.input(1)?);
    let rank = input.rank();
    if perm.rank() != 1 {
        bail!(InvalidArgument, "perm must be rank 1, got shape {:?}", perm.dims());
    }
    if perm.len() != rank {
        bail!(InvalidArgument, "transpose expects a vector of size {rank}. But input(1) is a vector of size {}", perm.len());
    }
    let mut order = Dims::new();
    for &from in perm.to_i64s()?.iter() {
        let Some(from) = usize::try_from(from).ok().filter(|&f| f < rank) else {
            bail!(InvalidArgument, "{from} is out of range [0 .. {rank})");
        };
        order.push(from);
    }
    if let Some(missing) = (0..rank).find(|i| !order.contains(i)) {
        bail!(
            InvalidArgument,
            "{missing} is missing from {{{}}}.",
            order.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
        );
    }
    let mut output = permute(input, &order)?;
    if conjugate {
        match output.dtype() {
            DType::Complex64 => output.as_mut_slice::<Complex<f32>>()?.iter_mut().for_each(|c| *c = c.conj()),
            DType::Complex128 => output.as_mut_slice::<Complex<f64>>()?.iter_mut().for_each(|c| *c = c.conj()),
            _ => {}
        }
    }
    ctx.set(0, output)
}

fn invert_permutation_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let input = ctx.input(0)?;
    if input.rank() != 1 {
        bail!(InvalidArgument, "invert_permutation expects a 1D vector.");
    }
    let count = input.len();
    let mut inverse = vec![usize::MAX; count];
    for (i, &at) in input.to_i64s()?.iter().enumerate() {
        let Some(slot) = usize::try_from(at).ok().and_then(|at| inverse.get_mut(at)) else {
            bail!(InvalidArgument, "{at} is not between 0 and {count}");
        };
        if std::mem::replace(slot, i) != usize::MAX {
            bail!(InvalidArgument, "{at} is duplicated in the input.");
        }
    }
    let output = index_tensor(input.dtype(), &[count], inverse)?;
    ctx.set(0, output)
}

impl Graph {
    /// The dimensions in another order, reversed where none is given (`tf.transpose`): dimension `i` of the result is
    /// dimension `perm[i]` of the input.
    ///
    /// # Errors
    /// `InvalidArgument` where `perm` isn't a permutation of the dimensions.
    pub fn transpose(&self, a: Output, perm: Option<Arg>) -> Result<Output> {
        self.transposed(a, perm, "Transpose")
    }

    /// The same with the complex conjugate of each element (`tf.transpose(conjugate=True)`).
    ///
    /// # Errors
    /// As [`Graph::transpose`].
    pub fn conjugate_transpose(&self, a: Output, perm: Option<Arg>) -> Result<Output> {
        let op = if self.dtype(a)?.is_complex() { "ConjugateTranspose" } else { "Transpose" };
        self.transposed(a, perm, op)
    }

    fn transposed(&self, a: Output, perm: Option<Arg>, op: &str) -> Result<Output> {
        let (g, scope) = self.enter("transpose")?;
        let perm = match (perm, g.shape(a)?.rank()) {
            (Some(perm), _) => perm,
            (None, Some(rank)) => Arg::Value(Tensor::from((0..rank as i32).rev().collect::<Vec<_>>())),
            (None, None) => {
                let rank = g.op("Rank").input(a).output()?;
                let last = g.operator("sub", "Sub", rank, 1i32)?;
                g.call("Range").arg(last).arg(-1i32).arg(-1i32).output()?.into()
            }
        };
        g.named(scope.name()).call(op).arg(a).arg(perm).output()
    }

    /// Matrices transposed: the last two dimensions exchanged (`tf.linalg.matrix_transpose`).
    ///
    /// # Errors
    /// `InvalidArgument` for a static rank below 2.
    pub fn matrix_transpose(&self, a: Output, conjugate: bool) -> Result<Output> {
        let (g, _scope) = self.enter("matrix_transpose")?;
        let perm = match g.shape(a)?.rank() {
            Some(rank) if rank < 2 => {
                bail!(InvalidArgument, "Argument `a` should be a (batch) matrix with rank >= 2, got rank {rank}")
            }
            Some(rank) => {
                let mut perm: Vec<i32> = (0..rank as i32).collect();
                perm.swap(rank - 1, rank - 2);
                Arg::Value(Tensor::from(perm))
            }
            None => {
                let rank = g.rank(a)?;
                let outer = g.operator("sub", "Sub", rank, 2i32)?;
                let range = g.call("Range").arg(0i32).arg(outer).arg(1i32).output()?;
                let last = g.operator("sub", "Sub", rank, 1i32)?;
                let before = g.operator("sub", "Sub", rank, 2i32)?;
                g.concat(&[range.into(), [last, before].into()], 0i32)?.into()
            }
        };
        if conjugate { g.conjugate_transpose(a, Some(perm)) } else { g.transpose(a, Some(perm)) }
    }

    /// The permutation that undoes one (`tf.math.invert_permutation`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that isn't a vector of integers.
    pub fn invert_permutation(&self, x: Output) -> Result<Output> {
        self.op("InvertPermutation").input(x).output()
    }
}
