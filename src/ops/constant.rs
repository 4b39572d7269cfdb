//! Constants and placeholders.

use super::shape;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Element, Shape, Tensor};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "Const",
        ins: &[],
        outs: &["output: dtype"],
        attrs: &["value: tensor", "dtype: type"],
        shape: const_shape,
        kernel: Kernel::PurePrepared(prepare_const),
        grad: Grad::None("a constant"),
        rows: &["value=f32[1 2], dtype=f32; => f32[1 2]", "value=str \"a\", dtype=str; => str \"a\""],
    },
    Op {
        name: "Placeholder",
        ins: &[],
        outs: &["output: dtype"],
        attrs: &["dtype: type", "shape: shape = shape?"],
        shape: placeholder_shape,
        kernel: Kernel::Stateful(placeholder),
        grad: Grad::None("an input of the graph"),
        rows: &[],
    },
    Op {
        name: "PlaceholderV2",
        ins: &[],
        outs: &["output: dtype"],
        attrs: &["dtype: type", "shape: shape"],
        shape: placeholder_shape,
        kernel: Kernel::Stateful(placeholder),
        grad: Grad::None("an input of the graph"),
        rows: &[],
    },
    Op {
        name: "PlaceholderWithDefault",
        ins: &["input: dtype"],
        outs: &["output: dtype"],
        attrs: &["dtype: type", "shape: shape"],
        shape: placeholder_with_default_shape,
        kernel: Kernel::Pure(|ctx| ctx.forward(0, 0)),
        grad: Grad::Fn(|g, _, grads| Ok(vec![Some(grads.dense(g, 0)?.into())])),
        rows: &["shape=shape?; f32[1 2] => f32[1 2]"],
    },
    Op {
        name: "NoOp",
        ins: &[],
        outs: &[],
        attrs: &[],
        shape: shape::none,
        kernel: Kernel::Stateful(|_| Ok(())),
        grad: Grad::None("no outputs"),
        rows: &[],
    },
];

fn const_shape(ctx: &mut InferCtx) -> Result<()> {
    let message = crate::graph::attr::tensor(ctx.attr("value")?)?;
    ctx.set(0, message.shape())
}

fn prepare_const(ctx: &PrepareCtx) -> Result<Prepared> {
    let value = ctx.node.tensor("value")?;
    if value.dtype() != ctx.node.dtype("dtype")? {
        bail!(
            InvalidArgument,
            "Inconsistent constant dtype: {} in 'value', {} in 'dtype'",
            value.dtype(),
            ctx.node.dtype("dtype")?
        );
    }
    Ok(Box::new(move |ctx: &mut KernelCtx| ctx.set(0, value.clone())))
}

fn placeholder_shape(ctx: &mut InferCtx) -> Result<()> {
    /// Up to this version, graphs wrote a scalar where the shape is unknown.
    const SCALAR_IS_UNKNOWN: i32 = 21;
    let shape = ctx.shape_attr("shape")?;
    let unknown = shape.rank() == Some(0) && ctx.graph_def_version() <= SCALAR_IS_UNKNOWN;
    ctx.set(0, if unknown { Shape::unknown() } else { shape })
}

fn placeholder(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let shape = node.shape("shape")?;
    let known = if shape.rank().is_some_and(|r| r > 0) { format!(" and shape {shape}") } else { String::new() };
    bail!(
        InvalidArgument,
        "You must feed a value for placeholder tensor '{}' with dtype {}{known}",
        node.name,
        node.dtype("dtype")?.interface_name()
    )
}

fn placeholder_with_default_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.shape_attr("shape")?;
    ctx.input(0).merge(&shape)?;
    ctx.set(0, shape)
}

/// Something that can be the value of a constant: a tensor, a number, or (nested) arrays and vectors of numbers.
pub trait IntoTensor {
    /// The value.
    ///
    /// # Errors
    /// `InvalidArgument` for rows of different lengths.
    fn into_tensor(self) -> Result<Tensor>;
}

impl IntoTensor for Tensor {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(self)
    }
}

impl IntoTensor for &Tensor {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(self.clone())
    }
}

impl<T: Element> IntoTensor for T {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::scalar(self))
    }
}

impl IntoTensor for &str {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::from(self))
    }
}

impl<T: Element> IntoTensor for &[T] {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::vector(self))
    }
}

impl<T: Element> IntoTensor for Vec<T> {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::from(self))
    }
}

impl<T: Element, const N: usize> IntoTensor for [T; N] {
    fn into_tensor(self) -> Result<Tensor> {
        Ok(Tensor::vector(&self))
    }
}

impl<T: Element, const N: usize, const M: usize> IntoTensor for [[T; M]; N] {
    fn into_tensor(self) -> Result<Tensor> {
        Tensor::new(&[N, M], self.into_iter().flatten().collect())
    }
}

impl<T: Element, const N: usize, const M: usize, const L: usize> IntoTensor for [[[T; L]; M]; N] {
    fn into_tensor(self) -> Result<Tensor> {
        Tensor::new(&[N, M, L], self.into_iter().flatten().flatten().collect())
    }
}

impl Graph {
    /// A constant (`tf.constant`).
    ///
    /// # Errors
    /// `InvalidArgument` for a value of resources or variants.
    pub fn constant(&self, value: impl IntoTensor) -> Result<Output> {
        let value = value.into_tensor()?;
        self.op("Const").attr("value", value.to_message()?).attr("dtype", value.dtype()).output()
    }

    /// A constant of the given dimensions, all elements of which are the scalar `value` (`tf.constant(value, shape=dims)`).
    /// The graph holds the one value.
    ///
    /// # Errors
    /// `InvalidArgument` for a value that is no scalar, or of resources or variants.
    pub fn constant_of_shape(&self, value: impl IntoTensor, dims: &[usize]) -> Result<Output> {
        let value = value.into_tensor()?;
        if !value.is_scalar() {
            bail!(InvalidArgument, "a constant of one value takes a scalar, got shape {}", value.shape());
        }
        let mut message = value.to_message()?;
        message.tensor_shape = Some(Shape::known(dims).to_message());
        self.op("Const").attr("value", message).attr("dtype", value.dtype()).output()
    }

    /// A tensor that is fed when the graph runs (`tf.placeholder`). `shape` may have unknown dimensions, or be
    /// [`Shape::unknown`].
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn placeholder(&self, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
        self.op("Placeholder").attr("dtype", dtype).attr("shape", shape.into()).output()
    }

    /// A tensor that may be fed when the graph runs, and otherwise passes `input` on.
    ///
    /// # Errors
    /// `InvalidArgument` where `shape` contradicts the input's.
    pub fn placeholder_with_default(&self, input: Output, shape: impl Into<Shape>) -> Result<Output> {
        self.op("PlaceholderWithDefault").input(input).attr("shape", shape.into()).output()
    }

    /// Does nothing; with control inputs, it runs after them (`tf.no_op`).
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn no_op(&self) -> Result<crate::graph::Operation> {
        self.op("NoOp").finish()
    }
}
