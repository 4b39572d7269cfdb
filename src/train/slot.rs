//! Variables that belong to other variables: what optimizers and moving averages keep beside them.

use super::get_variable::GetVariable;
use super::initializer::Initializer;
use super::scope::ScopeName;
use super::variable::{SaveSliceInfo, Variable};
use crate::error::Result;
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Shape};

/// What a slot begins with.
enum Start {
    Value(Output),
    Initializer { initializer: Initializer, shape: Shape, dtype: DType },
}

/// A slot named `<variable>/<name>` that begins with a tensor, whose shape and dtype it takes.
pub(super) fn create_slot(g: &Graph, primary: &Variable, value: Output, name: &str, colocate: bool) -> Result<Variable> {
    create(g, primary, Start::Value(value), name, colocate)
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
    create(g, primary, Start::Initializer { initializer, shape, dtype }, name, true)
}

/// A slot of zeros, of the variable's shape and dtype.
pub(super) fn create_zeros_slot(g: &Graph, primary: &Variable, name: &str, colocate: bool) -> Result<Variable> {
    let (shape, dtype) = (primary.shape(), primary.dtype());
    if shape.is_fully_known() {
        return create(g, primary, Start::Initializer { initializer: Initializer::zeros(), shape, dtype }, name, colocate);
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
    create(g, primary, Start::Value(zeros), name, colocate)
}

fn create(g: &Graph, primary: &Variable, start: Start, name: &str, colocate: bool) -> Result<Variable> {
    let validate_shape = match &start {
        Start::Value(value) => g.shape(*value)?.is_fully_known(),
        Start::Initializer { shape, .. } => shape.is_fully_known(),
    };
    let scope = g.variable_scope(ScopeName::Default(format!("{}/{name}", primary.op_name())))?;
    let _beside = if colocate { Some(g.colocate_with(primary.op()?)?) } else { None };
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
            use_resource: Some(primary.is_resource()),
            ..GetVariable::default()
        },
    )?;
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
