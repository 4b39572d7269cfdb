//! Tensors of one value.

use super::items::{Item, moved};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Graph, Output};
use crate::ops::convert::{Arg, cast_value};
use crate::ops::math::functions::Axes;
use crate::ops::shape;
use crate::tensor::{DType, Dims, Handle, Tensor};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Fill",
        ins: &["dims: index_type", "value: T"],
        outs: &["output: T"],
        attrs: &["T: type", "index_type: {int32, int64} = DT_INT32"],
        shape: fill_shape,
        kernel: Kernel::Pure(fill_kernel),
        grad: Grad::Fn(|g, _, grads| {
            let grad = grads.dense(g, 0)?;
            Ok(vec![None, Some(g.reduce_sum(grad, Axes::All, false)?.into())])
        }),
        rows: &["i32[2 3], f32 7 => f32[[7 7 7] [7 7 7]]", "i64{0}[], str \"a\" => str \"a\"", "i32[2 0], i32 1 => i32{2,0}[]"],
    },
    Op {
        name: "ZerosLike",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: &["T: type"],
        shape: super::identity::passed_on,
        kernel: Kernel::Pure(zeros_like_kernel),
        grad: Grad::None("doesn't depend on the values"),
        rows: &["f32[1 2] => f32[0 0]", "str[\"a\"] => str[\"\"]"],
    },
    Op {
        name: "OnesLike",
        ins: &["x: T"],
        outs: &["y: T"],
        attrs: &[
            "T: {bfloat16, half, float, double, int8, uint8, int16, uint16, int32, uint32, int64, uint64, complex64, complex128, bool}",
        ],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| {
            let input = ctx.input(0)?;
            let ones = one(input.dtype())?;
            let filled = full(&ones, input.dims())?;
            ctx.set(0, filled)
        }),
        grad: Grad::None("doesn't depend on the values"),
        rows: &["f32[3 2] => f32[1 1]", "bool[false] => bool[true]"],
    },
    Op {
        name: "Empty",
        ins: &["shape: int32"],
        outs: &["output: dtype"],
        attrs: &["dtype: type", "init: bool = false"],
        shape: |ctx| {
            let dims = ctx.constant_shape(0);
            ctx.set(0, dims)
        },
        kernel: Kernel::Stateful(|ctx| {
            let dims = ctx.dims_input(0)?;
            let zeros = Tensor::zeros(ctx.node().dtype("dtype")?, &dims)?;
            ctx.set(0, zeros)
        }),
        grad: Grad::Missing,
        rows: &["dtype=DT_FLOAT, init=true; i32[2] => f32[0 0]"],
    },
];

fn fill_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.input(0).with_rank(1)?;
    ctx.input(1).with_rank(0)?;
    let dims = ctx.constant_shape(0);
    ctx.set(0, dims)
}

/// A tensor of which every element is the one of `value`.
pub(crate) fn full(value: &Tensor, dims: &[usize]) -> Result<Tensor> {
    moved!(value.dtype(), T => {
        let [element] = T::of(value)? else {
            bail!(InvalidArgument, "value must be a scalar, got shape {:?}", value.dims())
        };
        T::build(value.dtype(), dims, |to| {
            to.fill(element.clone());
            Ok(())
        })
    })
}

fn fill_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let (dims, value) = (ctx.input(0)?, ctx.input(1)?);
    if dims.rank() != 1 && !(dims.rank() == 0 && dims.dtype() == DType::Int32) {
        bail!(InvalidArgument, "dims must represent a vector, got shape {:?}", dims.dims());
    }
    if value.rank() != 0 && !(value.rank() == 1 && value.len() == 1) {
        bail!(InvalidArgument, "value must represent a scalar, got shape {:?}", value.dims());
    }
    let filled = full(value, &dims.to_dims()?)?;
    ctx.set(0, filled)
}

/// Zeros of a tensor's shape and dtype; a variant gives its own.
///
/// # Errors
/// `InvalidArgument` for resources, `Unimplemented` for a variant of a kind that has no zeros.
pub(crate) fn zeros_of(tensor: &Tensor) -> Result<Tensor> {
    match tensor.dtype() {
        DType::Variant => {
            let zero = |handle: &Handle| match handle {
                Handle::Variant(value) => value.zeros_like().map(Handle::Variant),
                other => Ok(other.clone()),
            };
            Tensor::from_handles(DType::Variant, tensor.dims(), tensor.handles()?.iter().map(zero).collect::<Result<_>>()?)
        }
        DType::Resource => bail!(InvalidArgument, "a resource has no zeros"),
        dtype => Tensor::zeros(dtype, tensor.dims()),
    }
}

fn zeros_like_kernel(ctx: &mut KernelCtx) -> Result<()> {
    let zeros = zeros_of(ctx.input(0)?)?;
    ctx.set(0, zeros)
}

/// The scalar one of a dtype; `true` for bools.
pub(crate) fn one(dtype: DType) -> Result<Tensor> {
    match dtype {
        DType::Bool => Ok(Tensor::scalar(true)),
        dtype => cast_value(&Tensor::scalar(1i32), dtype),
    }
}

impl Graph {
    /// A tensor of which every element is `value` (`tf.fill`).
    ///
    /// # Errors
    /// `InvalidArgument` for dimensions that are no vector of integers or a value that is no scalar.
    pub fn fill(&self, dims: impl Into<Arg>, value: impl Into<Arg>) -> Result<Output> {
        self.call("Fill").arg(dims).arg(value).output()
    }

    /// A tensor of zeros (`tf.zeros`): a constant where it is small and its shape known.
    ///
    /// # Errors
    /// `InvalidArgument` for dimensions that are no vector of integers.
    pub fn zeros(&self, shape: impl Into<Arg>, dtype: DType) -> Result<Output> {
        self.constant_or_fill("zeros", shape.into(), dtype, &Tensor::zeros(dtype, &[])?)
    }

    /// A tensor of ones (`tf.ones`): a constant where it is small and its shape known.
    ///
    /// # Errors
    /// `InvalidArgument` for dimensions that are no vector of integers, or a dtype without ones.
    pub fn ones(&self, shape: impl Into<Arg>, dtype: DType) -> Result<Output> {
        self.constant_or_fill("ones", shape.into(), dtype, &one(dtype)?)
    }

    fn constant_or_fill(&self, name: &str, shape: Arg, dtype: DType, value: &Tensor) -> Result<Output> {
        /// Tensors of at least this many elements are filled when the graph runs.
        const LARGE: usize = 1000;
        let (g, scope) = self.enter(name)?;
        let shape = match shape.value()? {
            Some(dims) => {
                let dims = dims_of_value(&dims)?;
                if dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_some_and(|n| n < LARGE) {
                    return g.named(scope.name()).constant(full(value, &dims)?);
                }
                g.shape_as_tensor(&dims)?
            }
            None => match &shape {
                Arg::Output(output) => *output,
                list => g.convert(list, Some(DType::Int32), "packed")?,
            },
        };
        let is_vector = g.shape(shape)?.rank().is_some_and(|r| r > 0);
        let shape = if is_vector { shape } else { g.reshape(shape, [-1i32])? };
        let value = g.constant(value)?;
        debug_assert_eq!(g.dtype(value)?, dtype);
        g.named(scope.name()).fill(shape, value)
    }

    /// Zeros of a tensor's shape and dtype (`tf.zeros_like`).
    ///
    /// # Errors
    /// `InvalidArgument` where the graph's shapes contradict each other.
    pub fn zeros_like(&self, tensor: Output) -> Result<Output> {
        self.zeros_like_with(tensor, None, true)
    }

    /// Zeros of a tensor's shape and of the given dtype. With `optimize`, a static shape gives a constant or a `Fill`.
    ///
    /// # Errors
    /// `InvalidArgument` where the graph's shapes contradict each other.
    pub fn zeros_like_with(&self, tensor: Output, dtype: Option<DType>, optimize: bool) -> Result<Output> {
        let (g, scope) = self.enter("zeros_like")?;
        let own = g.dtype(tensor)?;
        let named = g.named(scope.name());
        if optimize
            && own != DType::Variant
            && let Some(dims) = g.shape(tensor)?.to_dims()
        {
            return named.zeros(&dims[..], dtype.unwrap_or(own));
        }
        if let Some(dtype) = dtype.filter(|&d| d != own && d != DType::Variant) {
            let shape = g.shape_internal(tensor, None, optimize)?;
            return named.zeros(shape, dtype);
        }
        g.op("ZerosLike").name(scope.name()).input(tensor).output()
    }

    /// Ones of a tensor's shape and dtype (`tf.ones_like`).
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype without ones.
    pub fn ones_like(&self, tensor: Output) -> Result<Output> {
        self.ones_like_with(tensor, None, true)
    }

    /// Ones of a tensor's shape and of the given dtype. With `optimize`, a static shape gives a constant shape.
    ///
    /// # Errors
    /// `InvalidArgument` for a dtype without ones.
    pub fn ones_like_with(&self, tensor: Output, dtype: Option<DType>, optimize: bool) -> Result<Output> {
        let (g, scope) = self.enter("ones_like")?;
        let shape = g.shape_internal(tensor, None, optimize)?;
        let dtype = dtype.unwrap_or(g.dtype(tensor)?);
        let ones = g.named(scope.name()).ones(shape, dtype)?;
        g.set_shape(ones, g.shape(tensor)?)?;
        Ok(ones)
    }
}

/// The dimensions that a constant given as a shape stands for; a scalar stands for a vector of one.
fn dims_of_value(dims: &Tensor) -> Result<Dims> {
    if dims.is_empty() { Ok(Dims::new()) } else { dims.to_dims() }
}
