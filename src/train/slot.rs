//! Variables that belong to other variables: what optimizers and moving averages keep beside them.

use super::get_variable::GetVariable;
use super::initializer::Initializer;
use super::scope::ScopeName;
use super::variable::{SaveSliceInfo, Variable};
use crate::error::Result;
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Shape};

/// What a slot stands beside.
#[derive(Clone, Copy)]
enum Primary<'a> {
    Variable(&'a Variable),
    Tensor(Output),
}

/// What a slot begins with.
#[allow(clippy::large_enum_variant)] // One lives at a time.
enum Start {
    Value(Output),
    Initializer { initializer: Initializer, shape: Shape, dtype: DType },
}

/// A slot named `<variable>/<name>` that begins with a tensor, whose shape and dtype it takes.
pub(super) fn create_slot(g: &Graph, primary: &Variable, value: Output, name: &str, colocate: bool) -> Result<Variable> {
    create(g, Primary::Variable(primary), Start::Value(value), name, colocate)
}

/// A slot named `<variable>/<name>` that an initializer makes.
pub(super) fn create_slot_with_initializer(
    g: &Graph,
    primary: &Variable,
    initializer: Initializer,
    shape: Shape,
    dtype: DType,
    name: &str,
) -> Result<Variable> {
    create(g, Primary::Variable(primary), Start::Initializer { initializer, shape, dtype }, name, true)
}

/// A slot of zeros, of the variable's shape and dtype.
pub(super) fn create_zeros_slot(g: &Graph, primary: &Variable, name: &str, colocate: bool) -> Result<Variable> {
    let (shape, dtype) = (primary.shape(), primary.dtype());
    if shape.is_fully_known() {
        let start = Start::Initializer { initializer: Initializer::zeros(), shape, dtype };
        return create(g, Primary::Variable(primary), start, name, colocate);
    }
    let initialized = g.is_variable_initialized(primary.handle()?)?;
    let initial = primary.initial_value()?;
    let value = g.cond(
        initialized,
        |_| primary.read_value(),
        |_| initial.ok_or_else(|| crate::error::Error::invalid_argument("a slot needs a variable with an initial value")),
    )?;
    let dims = g.shape_tensor(value)?;
    let zeros = g.zeros(dims, dtype)?;
    create(g, Primary::Variable(primary), Start::Value(zeros), name, colocate)
}

/// A variable of zeros named `<op>/<name>`, of a tensor's shape and dtype.
pub(super) fn create_zeros_slot_of(g: &Graph, primary: Output, name: &str, colocate: bool) -> Result<Variable> {
    let (shape, dtype) = (g.shape(primary)?, g.dtype(primary)?);
    let start = if shape.is_fully_known() {
        Start::Initializer { initializer: Initializer::zeros(), shape, dtype }
    } else {
        let dims = g.shape_tensor(primary)?;
        Start::Value(g.zeros(dims, dtype)?)
    };
    create(g, Primary::Tensor(primary), start, name, colocate)
}

fn create(g: &Graph, primary: Primary, start: Start, name: &str, colocate: bool) -> Result<Variable> {
    let validate_shape = match &start {
        Start::Value(value) => g.shape(*value)?.is_fully_known(),
        Start::Initializer { shape, .. } => shape.is_fully_known(),
    };
    let (op, prefix, use_resource) = match primary {
        Primary::Variable(variable) => (variable.op()?, variable.op_name().to_string(), Some(variable.is_resource())),
        Primary::Tensor(output) => (output.op, g.op_name(output.op), None),
    };
    let scope = g.variable_scope(ScopeName::Default(format!("{prefix}/{name}")))?;
    let _beside = if colocate { Some(g.colocate_with(op)?) } else { None };
    scope.scope().set_partitioner(None);
    let (initializer, shape, dtype) = match start {
        Start::Value(value) => (Initializer::from_value(value), None, None),
        Start::Initializer { initializer, shape, dtype } => (initializer, Some(shape), Some(dtype)),
    };
    let slot = g.get_variable_with(
        "",
        GetVariable {
            shape,
            dtype,
            initializer: Some(initializer),
            trainable: Some(false),
            validate_shape,
            use_resource,
            ..GetVariable::default()
        },
    )?;
    let Primary::Variable(primary) = primary else { return Ok(slot) };
    if let Some(whole) = primary.save_slice_info() {
        let rank = slot.shape().rank();
        if rank != Some(0) {
            let own = slot.op_name().get(primary.op_name().len() + 1..).unwrap_or_default();
            let cut = |values: &[i64]| values.iter().copied().take(rank.unwrap_or(usize::MAX)).collect();
            slot.set_save_slice_info(Some(SaveSliceInfo {
                full_name: format!("{}/{own}", whole.full_name),
                full_shape: cut(&whole.full_shape),
                var_offset: cut(&whole.var_offset),
                var_shape: cut(&whole.var_shape),
            }));
        }
    }
    Ok(slot)
}
