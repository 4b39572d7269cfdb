//! Variables: references and resources, assignment, scattered updates, gathering.

mod assign;
mod gather;
mod number;
mod reference;
mod resource;
mod rows;
mod scatter;

pub(crate) use number::Update;
pub(crate) use rows::position;

pub use assign::AssignOptions;

use crate::error::{Code, Error, Result, bail};
use crate::graph::op::{InferCtx, KernelCtx, Op, Variable};
use crate::tensor::{DType, Handle, Shape};
use std::sync::Arc;

/// The family's lists of records.
pub(super) static REFERENCES: &[Op] = reference::OPS;
pub(super) static RESOURCES: &[Op] = resource::OPS;
pub(super) static ASSIGNMENTS: &[Op] = assign::OPS;
pub(super) static SCATTERS: &[Op] = scatter::OPS;
pub(super) static GATHERS: &[Op] = gather::OPS;

/// An attribute whose value is any numeric dtype, as interfaces write it.
macro_rules! number_type {
    ($name:literal) => {
        concat!(
            $name,
            ": {float, double, int32, uint8, int16, int8, complex64, int64, qint8, quint8, qint32, bfloat16, qint16, ",
            "quint16, uint16, complex128, half, uint32, uint64}"
        )
    };
}
pub(crate) use number_type;

/// The variable that an input refers to, by reference or by handle.
///
/// # Errors
/// `InvalidArgument` for an input that is neither, `NotFound` for a handle whose variable is gone.
pub(crate) fn variable_input(ctx: &KernelCtx, index: usize) -> Result<Arc<Variable>> {
    if let Ok(variable) = ctx.variable(index) {
        return Ok(variable);
    }
    let [Handle::Resource(handle)] = ctx.input(index)?.handles()? else {
        bail!(InvalidArgument, "input {index} of {} isn't a handle to a variable", ctx.node().op);
    };
    if let Some(variable) = handle.downcast::<Variable>() {
        return Ok(variable);
    }
    match ctx.session().find::<Variable>(&handle.container, &handle.name) {
        Some(variable) => Ok(variable),
        None => bail!(NotFound, "Resource {}/{} of type Variable does not exist.", handle.container, handle.name),
    }
}

/// The error of an op on a variable given by handle: there, a variable without a value counts as one that isn't there.
pub(crate) fn resource_error(error: Error, variable: &Variable) -> Error {
    if error.code() == Code::FailedPrecondition && !variable.is_initialized() {
        return Error::not_found(format!("Resource {} of type Variable does not exist.", variable.name));
    }
    error
}

/// The shape of the variable at an input: the input's own for a reference, that of its value for a handle.
pub(crate) fn variable_shape(ctx: &InferCtx, index: usize) -> Shape {
    match ctx.handle(index) {
        Some(data) => data.shape,
        None if ctx.input_type(index).is_ok_and(|t| t == DType::Resource) => Shape::unknown(),
        None => ctx.input(index),
    }
}
