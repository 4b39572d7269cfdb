//! What a cell is.

use super::nested::{Nested, State};
use super::sizes::{self, Batch};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape};
use crate::train::{ScopeName, ScopeOptions, Variable, VariableScope};
use std::sync::{Arc, Mutex};

/// A function that is applied to each element of a cell's inner values.
#[derive(Clone)]
pub struct Activation(Arc<ActivationFn>);

type ActivationFn = dyn Fn(&Graph, Output) -> Result<Output> + Send + Sync;

impl Activation {
    /// Wraps a function, such as `Activation::new(|g, x| g.relu(x))`.
    pub fn new(function: impl Fn(&Graph, Output) -> Result<Output> + Send + Sync + 'static) -> Activation {
        Activation(Arc::new(function))
    }

    /// The hyperbolic tangent.
    pub fn tanh() -> Activation {
        Activation::new(|g, x| g.op("Tanh").input(x).output())
    }

    pub(crate) fn apply(&self, g: &Graph, x: Output) -> Result<Output> {
        (self.0)(g, x)
    }
}

impl std::fmt::Debug for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<activation>")
    }
}

/// A cell of a recurrent network (`tf.nn.rnn_cell.RNNCell`): a step from inputs and state to output and next state.
pub trait RNNCell {
    /// The name of the cell's class in TensorFlow, such as `LSTMCell`.
    fn class_name(&self) -> &'static str;

    /// The shapes of the parts of the state, without the batch.
    fn state_size(&self) -> Nested<Shape>;

    /// The shape of the output, without the batch.
    fn output_size(&self) -> Shape;

    /// Emits the nodes of one step: from inputs `[batch, depth]` and the state, the output `[batch, output_size]` and the
    /// next state. The first call makes the variables, and later calls use them.
    ///
    /// # Errors
    /// `InvalidArgument` for inputs or a state of other shapes.
    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)>;

    /// The cell's variables, once there are some.
    fn variables(&self) -> Vec<Variable>;

    /// A state of zeros for a batch size that is a number or a scalar tensor.
    ///
    /// # Errors
    /// `InvalidArgument` for a batch size that is neither.
    fn zero_state(&self, g: &Graph, batch_size: &Arg, dtype: DType) -> Result<State> {
        let _names = g.name_scope(&format!("{}ZeroState", self.class_name()))?;
        sizes::zero_state(g, &self.state_size(), batch_of(batch_size)?, dtype)
    }
}

/// The batch size that an argument is.
pub(super) fn batch_of(size: &Arg) -> Result<Batch> {
    if let Some(output) = size.output() {
        return Ok(Batch::Dynamic(output));
    }
    let value = size.value()?.map(|v| v.item_i64()).transpose()?;
    match value.and_then(|v| usize::try_from(v).ok()) {
        Some(size) => Ok(Batch::Static(size)),
        None => bail!(InvalidArgument, "a batch size must be a number of at least 0 or a scalar tensor"),
    }
}

impl From<Batch> for Arg {
    fn from(batch: Batch) -> Arg {
        match batch {
            Batch::Static(size) => Arg::from(size),
            Batch::Dynamic(output) => Arg::from(output),
        }
    }
}

/// The variable scope in which a composed cell was first called: it is entered again at each call.
#[derive(Debug, Default)]
pub(super) struct CallScope(Mutex<Option<VariableScope>>);

impl CallScope {
    /// Opens the scope: the current one, the first time.
    pub fn enter(&self, g: &Graph) -> Result<crate::train::VariableScopeGuard> {
        let mut kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        let scope = kept.clone().unwrap_or_else(|| g.get_variable_scope());
        let guard = g.variable_scope_with(ScopeName::Scope(scope), ScopeOptions::default())?;
        kept.get_or_insert_with(|| guard.scope().clone());
        Ok(guard)
    }
}
