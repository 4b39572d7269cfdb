//! Variables that are passed by reference, and variables of one step.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared, Variable};
use crate::graph::{Graph, Output};
use crate::ops::shape;
use crate::tensor::{DType, Shape, Tensor};
use std::sync::Arc;

pub(super) static OPS: &[Op] = &[
    Op {
        name: "Variable",
        ins: &[],
        outs: &["ref: Ref(dtype)"],
        attrs: &["shape: shape", "dtype: type", "container: string = ''", "shared_name: string = ''"],
        shape: old_variable_shape,
        kernel: Kernel::StatefulPrepared(prepare_variable),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "VariableV2",
        ins: &[],
        outs: &["ref: Ref(dtype)"],
        attrs: &["shape: shape", "dtype: type", "container: string = ''", "shared_name: string = ''"],
        shape: declared_shape,
        kernel: Kernel::StatefulPrepared(prepare_variable),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "IsVariableInitialized",
        ins: &["ref: Ref(dtype)"],
        outs: &["is_initialized: bool"],
        attrs: &["dtype: type"],
        shape: shape::scalar,
        kernel: Kernel::Stateful(is_variable_initialized),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "TemporaryVariable",
        ins: &[],
        outs: &["ref: Ref(dtype)"],
        attrs: &["shape: shape", "dtype: type", "var_name: string = ''"],
        shape: declared_shape,
        kernel: Kernel::Stateful(temporary_variable),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "DestroyTemporaryVariable",
        ins: &["ref: Ref(T)"],
        outs: &["value: T"],
        attrs: &["T: type", "var_name: string"],
        shape: shape::unchanged,
        kernel: Kernel::Stateful(destroy_temporary_variable),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "CountUpTo",
        ins: &["ref: Ref(T)"],
        outs: &["output: T"],
        attrs: &["limit: int", "T: {int32, int64}"],
        shape: count_up_to_shape,
        kernel: Kernel::Stateful(count_up_to),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "ResourceCountUpTo",
        ins: &["resource: resource"],
        outs: &["output: T"],
        attrs: &["limit: int", "T: {int32, int64}"],
        shape: resource_count_up_to_shape,
        kernel: Kernel::Stateful(count_up_to),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn declared_shape(ctx: &mut InferCtx) -> Result<()> {
    ctx.set(0, ctx.shape_attr("shape")?)
}

/// A scalar's shape stands for an unknown one here.
fn old_variable_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.shape_attr("shape")?;
    ctx.set(0, if shape.rank() == Some(0) { Shape::unknown() } else { shape })
}

/// The dimensions of a declared shape; of an unknown rank, those of a scalar.
fn declared_dims(shape: &Shape) -> Result<crate::tensor::Dims> {
    match shape.to_dims() {
        Some(dims) => Ok(dims),
        None if shape.rank().is_none() => Ok(Default::default()),
        None => bail!(InvalidArgument, "Shape {shape} is not fully defined"),
    }
}

fn prepare_variable(ctx: &PrepareCtx) -> Result<Prepared> {
    let node = ctx.node;
    let (dtype, dims) = (node.dtype("dtype")?, declared_dims(&node.shape("shape")?)?);
    let shared = node.string("shared_name")?;
    let name = if shared.is_empty() { &node.name } else { shared };
    let variable = ctx.session.resource(node.string("container")?, name, || {
        let variable = Variable::new(&*node.name, dtype, Shape::known(&dims));
        if dims.contains(&0) {
            variable.set(Some(Tensor::zeros(dtype, &dims)?));
        }
        Ok(variable)
    })?;
    if variable.dtype != dtype {
        bail!(InvalidArgument, "Trying to share variable {name} of dtype {}, expected {dtype}", variable.dtype);
    }
    Ok(Box::new(move |ctx: &mut KernelCtx| ctx.set_ref(0, variable.clone())))
}

fn is_variable_initialized(ctx: &mut KernelCtx) -> Result<()> {
    let initialized = ctx.variable(0)?.is_initialized();
    ctx.set(0, Tensor::scalar(initialized))
}

/// The name under which a step keeps a temporary variable.
fn temporary_name(name: &str) -> String {
    format!("tmp_var/{name}")
}

fn temporary_variable(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (shape, dtype) = (node.shape("shape")?, node.dtype("dtype")?);
    let Some(dims) = shape.to_dims() else { bail!(InvalidArgument, "Shape {shape} is not fully defined") };
    let name = match node.string("var_name")? {
        "" => &node.name,
        name => name,
    };
    let variable = Arc::new(Variable::new(&*node.name, dtype, shape));
    variable.set(Some(Tensor::zeros(dtype, &dims)?));
    let mut objects = ctx.step().objects.lock().unwrap_or_else(|e| e.into_inner());
    if objects.insert(temporary_name(name), variable.clone()).is_some() {
        bail!(AlreadyExists, "Resource {name} of type TmpVar exists already in this step");
    }
    drop(objects);
    ctx.set_ref(0, variable)
}

fn destroy_temporary_variable(ctx: &mut KernelCtx) -> Result<()> {
    let variable = ctx.variable(0)?;
    let name = ctx.node().string("var_name")?;
    let removed = ctx.step().objects.lock().unwrap_or_else(|e| e.into_inner()).remove(&temporary_name(name));
    if removed.is_none() {
        bail!(NotFound, "Resource {name} of type TmpVar does not exist in this step");
    }
    let value = variable.read()?;
    variable.set(None);
    ctx.set(0, value)
}

fn count_up_to_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank(0)?;
    ctx.set(0, shape)
}

fn resource_count_up_to_shape(ctx: &mut InferCtx) -> Result<()> {
    if let Some(handle) = ctx.handle(0) {
        let dtype = ctx.dtype("T")?;
        if handle.dtype != dtype {
            bail!(InvalidArgument, "Data types do not match: {} and {dtype}", handle.dtype);
        }
        handle.shape.with_rank(0)?;
    }
    ctx.set(0, Shape::scalar())
}

fn count_up_to(ctx: &mut KernelCtx) -> Result<()> {
    let limit = ctx.node().int("limit")?;
    let before = super::variable_input(ctx, 0)?.update(|value| {
        if !value.is_scalar() {
            bail!(InvalidArgument, "input is not a scalar: {}", value.shape());
        }
        let before = value.clone();
        let count = value.item_i64()?;
        if count >= limit {
            bail!(OutOfRange, "Reached limit of {limit}");
        }
        match value.dtype() {
            DType::Int32 => value.as_mut_slice::<i32>()?[0] += 1,
            _ => value.as_mut_slice::<i64>()?[0] += 1,
        }
        Ok(before)
    })?;
    ctx.set(0, before)
}

impl Graph {
    /// A variable node without an initial value (`gen_state_ops.variable_v2`): a reference that must be assigned
    /// before it is read. [`Graph::get_variable`] and [`Graph::variable`] make whole variables.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn variable_op_v2(&self, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
        self.op("VariableV2").default_name("Variable").attr("dtype", dtype).attr("shape", shape.into()).output()
    }

    /// Whether a variable, given by reference or by handle, has a value (`tf.is_variable_initialized`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is neither.
    pub fn is_variable_initialized(&self, variable: Output) -> Result<Output> {
        match self.dtype(variable)? {
            DType::Resource => self.op("VarIsInitializedOp").input(variable).output(),
            _ => self.op("IsVariableInitialized").input(variable).output(),
        }
    }

    /// A variable that lives as long as the step (`gen_state_ops.temporary_variable`).
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn temporary_variable(&self, dtype: DType, shape: impl Into<Shape>, var_name: &str) -> Result<Output> {
        self.op("TemporaryVariable").attr("dtype", dtype).attr("shape", shape.into()).attr("var_name", var_name).output()
    }

    /// Ends a temporary variable and returns its last value.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no reference.
    pub fn destroy_temporary_variable(&self, variable: Output, var_name: &str) -> Result<Output> {
        self.op("DestroyTemporaryVariable").input(variable).attr("var_name", var_name).output()
    }

    /// Increments a scalar integer variable and returns its old value, until it reaches `limit` (`tf.count_up_to`).
    ///
    /// # Errors
    /// `InvalidArgument` for a variable that isn't a scalar of int32 or int64.
    pub fn count_up_to(&self, variable: Output, limit: i64) -> Result<Output> {
        self.op("CountUpTo").input(variable).attr("limit", limit).output()
    }
}
