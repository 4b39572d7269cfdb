//! Assignment to variables, by reference and by handle.

use super::number::{Update, update_numbers};
use super::{number_type, resource_error, variable_input, variable_shape};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op, PrepareCtx, Prepared};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[
    Op {
        name: "Assign",
        ins: &["ref: Ref(T)", "value: T"],
        outs: &["output_ref: Ref(T)"],
        attrs: &["T: type", "validate_shape: bool = true", "use_locking: bool = true"],
        shape: assign_shape,
        kernel: Kernel::StatefulPrepared(prepare_assign),
        grad: Grad::None("changes a variable"),
        rows: &[],
    },
    Op {
        name: "AssignAdd",
        ins: &["ref: Ref(T)", "value: T"],
        outs: &["output_ref: Ref(T)"],
        attrs: &[number_type!("T"), "use_locking: bool = false"],
        shape: update_shape,
        kernel: Kernel::Stateful(|ctx| assign_update(ctx, Update::Add)),
        grad: Grad::None("changes a variable"),
        rows: &[],
    },
    Op {
        name: "AssignSub",
        ins: &["ref: Ref(T)", "value: T"],
        outs: &["output_ref: Ref(T)"],
        attrs: &[number_type!("T"), "use_locking: bool = false"],
        shape: update_shape,
        kernel: Kernel::Stateful(|ctx| assign_update(ctx, Update::Sub)),
        grad: Grad::None("changes a variable"),
        rows: &[],
    },
    Op {
        name: "AssignVariableOp",
        ins: &["resource: resource", "value: dtype"],
        outs: &[],
        attrs: &["dtype: type", "validate_shape: bool = false"],
        shape: resource_shape,
        kernel: Kernel::StatefulPrepared(prepare_assign_variable),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "AssignAddVariableOp",
        ins: &["resource: resource", "value: dtype"],
        outs: &[],
        attrs: &["dtype: type"],
        shape: resource_shape,
        kernel: Kernel::Stateful(|ctx| assign_update(ctx, Update::Add)),
        grad: Grad::Missing,
        rows: &[],
    },
    Op {
        name: "AssignSubVariableOp",
        ins: &["resource: resource", "value: dtype"],
        outs: &[],
        attrs: &["dtype: type"],
        shape: resource_shape,
        kernel: Kernel::Stateful(|ctx| assign_update(ctx, Update::Sub)),
        grad: Grad::Missing,
        rows: &[],
    },
];

fn assign_shape(ctx: &mut InferCtx) -> Result<()> {
    let value = ctx.input(1);
    if ctx.boolean("validate_shape")? {
        return ctx.set(0, ctx.input(0).merge(&value)?);
    }
    ctx.set(0, value)
}

fn update_shape(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).merge(&ctx.input(1))?;
    ctx.set(0, shape)
}

fn resource_shape(ctx: &mut InferCtx) -> Result<()> {
    if let Some(handle) = ctx.handle(0) {
        check_dtype(handle.dtype, ctx.dtype("dtype")?)?;
    }
    variable_shape(ctx, 0).merge(&ctx.input(1)).map(drop)
}

fn check_dtype(variable: DType, value: DType) -> Result<()> {
    if variable != value {
        bail!(InvalidArgument, "Trying to assign variable with wrong dtype. Expected {variable} got {value}");
    }
    Ok(())
}

fn prepare_assign(ctx: &PrepareCtx) -> Result<Prepared> {
    let validate = ctx.node.boolean("validate_shape")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let variable = ctx.variable(0)?;
        let value = ctx.take(1)?;
        if validate {
            let expected = variable.get().map_or_else(|| variable.shape.clone(), |t| t.shape());
            if !expected.accepts(value.dims()) {
                bail!(
                    InvalidArgument,
                    "Assign requires shapes of both tensors to match. lhs shape= {expected} rhs shape= {}",
                    value.shape()
                );
            }
        }
        check_dtype(variable.dtype, value.dtype())?;
        variable.set(Some(value));
        ctx.forward(0, 0)
    }))
}

fn prepare_assign_variable(ctx: &PrepareCtx) -> Result<Prepared> {
    let validate = ctx.node.boolean("validate_shape")?;
    Ok(Box::new(move |ctx: &mut KernelCtx| {
        let variable = variable_input(ctx, 0)?;
        let value = ctx.take(1)?;
        check_dtype(variable.dtype, value.dtype())?;
        if validate
            && let Some(old) = variable.get()
            && old.dims() != value.dims()
        {
            bail!(
                InvalidArgument,
                "Trying to assign to variable with tensor with wrong shape. Expected {} got {}",
                old.shape(),
                value.shape()
            );
        }
        variable.set(Some(value));
        Ok(())
    }))
}

/// Adds to or subtracts from a variable, in place where nothing else holds its value.
fn assign_update(ctx: &mut KernelCtx, update: Update) -> Result<()> {
    let variable = variable_input(ctx, 0)?;
    let source = ctx.take(1)?;
    let by_handle = ctx.num_outputs() == 0;
    let change = |target: &mut Tensor| {
        check_dtype(target.dtype(), source.dtype())?;
        if target.dims() != source.dims() {
            if by_handle {
                bail!(
                    InvalidArgument,
                    "Cannot update variable with shape {} using a Tensor with shape {}, shapes must be equal.",
                    target.shape(),
                    source.shape()
                );
            }
            bail!(InvalidArgument, "Parameters and update must be the same size, got {} and {}", target.shape(), source.shape());
        }
        add_in_place(update, target, &source)
    };
    if by_handle {
        return variable.update(change).map_err(|e| resource_error(e, &variable));
    }
    variable.update(change)?;
    ctx.forward(0, 0)
}

fn add_in_place(update: Update, target: &mut Tensor, source: &Tensor) -> Result<()> {
    dispatch!(target.dtype(), numbers, T => update_numbers(update, target.as_mut_slice::<T>()?, source.as_slice::<T>()?))
}

/// How a value is assigned.
#[derive(Clone, Copy, Debug)]
pub struct AssignOptions {
    /// Whether the value must have the variable's shape.
    pub validate_shape: bool,
    /// Whether the assignment takes the variable's lock; recorded in the node, and always done.
    pub use_locking: Option<bool>,
}

impl Default for AssignOptions {
    fn default() -> AssignOptions {
        AssignOptions { validate_shape: true, use_locking: None }
    }
}

impl Graph {
    /// Assigns to a variable given by reference, and returns the reference (`tf.assign`).
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no reference, or a value of another dtype or shape.
    pub fn assign(&self, variable: Output, value: impl Into<Arg>) -> Result<Output> {
        self.assign_with(variable, value, AssignOptions::default())
    }

    /// [`Graph::assign`] with options.
    ///
    /// # Errors
    /// As [`Graph::assign`].
    pub fn assign_with(&self, variable: Output, value: impl Into<Arg>, options: AssignOptions) -> Result<Output> {
        let locking = options.use_locking.unwrap_or(true);
        let op = self.call("Assign").arg(variable).arg(value);
        op.attr("validate_shape", options.validate_shape).attr("use_locking", locking).output()
    }

    /// Adds to a variable given by reference, and returns the reference (`tf.assign_add`).
    ///
    /// # Errors
    /// As [`Graph::assign`].
    pub fn assign_add(&self, variable: Output, value: impl Into<Arg>) -> Result<Output> {
        self.call("AssignAdd").arg(variable).arg(value).output()
    }

    /// Subtracts from a variable given by reference, and returns the reference (`tf.assign_sub`).
    ///
    /// # Errors
    /// As [`Graph::assign`].
    pub fn assign_sub(&self, variable: Output, value: impl Into<Arg>) -> Result<Output> {
        self.call("AssignSub").arg(variable).arg(value).output()
    }

    /// Assigns to a variable given by handle.
    ///
    /// # Errors
    /// `InvalidArgument` for a tensor that is no handle, or a value of another dtype or shape.
    pub fn assign_variable_op(&self, handle: Output, value: Output) -> Result<Operation> {
        self.op("AssignVariableOp").input(handle).input(value).finish()
    }
}
