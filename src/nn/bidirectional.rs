//! A cell for each direction of time.

use super::cell::RNNCell;
use super::dynamic_rnn::RnnOptions;
use super::nested::State;
use crate::error::Result;
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;
use crate::train::ScopeName;

/// What [`Graph::bidirectional_dynamic_rnn`] is told beside cells and inputs; the fields are those of [`RnnOptions`].
#[derive(Clone, Debug, Default)]
pub struct BidirectionalOptions {
    /// The length of each sequence.
    pub sequence_length: Option<Arg>,
    /// The first state of the forward cell.
    pub initial_state_fw: Option<State>,
    /// The first state of the backward cell.
    pub initial_state_bw: Option<State>,
    /// The dtype of states and outputs.
    pub dtype: Option<DType>,
    /// How many iterations TensorFlow may run at once.
    pub parallel_iterations: Option<i64>,
    /// Whether TensorFlow may move kept values from GPU to CPU.
    pub swap_memory: bool,
    /// Whether inputs and outputs are `[time, batch, ...]`.
    pub time_major: bool,
    /// The variable scope; `bidirectional_rnn` if not given.
    pub scope: Option<ScopeName>,
}

/// The results of both directions.
#[derive(Clone, Debug)]
pub struct Bidirectional {
    /// The outputs, forward and backward.
    pub outputs: (Output, Output),
    /// The last states, forward and backward.
    pub states: (State, State),
}

impl Graph {
    /// Unrolls one cell forward and another backward in time (`tf.nn.bidirectional_dynamic_rnn`).
    ///
    /// # Errors
    /// As [`Graph::dynamic_rnn`].
    pub fn bidirectional_dynamic_rnn(
        &self,
        cell_fw: &dyn RNNCell,
        cell_bw: &dyn RNNCell,
        inputs: Output,
        options: &BidirectionalOptions,
    ) -> Result<Bidirectional> {
        let g = &self.plain();
        let direction = |initial_state: &Option<State>, scope: &crate::train::VariableScope| RnnOptions {
            sequence_length: options.sequence_length.clone(),
            initial_state: initial_state.clone(),
            dtype: options.dtype,
            parallel_iterations: options.parallel_iterations,
            swap_memory: options.swap_memory,
            time_major: options.time_major,
            scope: Some(scope.into()),
        };
        let whole = g.variable_scope(options.scope.clone().unwrap_or_else(|| "bidirectional_rnn".into()))?;
        let (outputs_fw, state_fw) = {
            let scope = g.variable_scope("fw")?;
            g.dynamic_rnn(cell_fw, inputs, &direction(&options.initial_state_fw, scope.scope()))?
        };
        let (backward, state_bw) = {
            let scope = g.variable_scope("bw")?;
            let reversed = reverse(g, inputs, options)?;
            g.dynamic_rnn(cell_bw, reversed, &direction(&options.initial_state_bw, scope.scope()))?
        };
        drop(whole);
        let outputs_bw = reverse(g, backward, options)?;
        Ok(Bidirectional { outputs: (outputs_fw, outputs_bw), states: (state_fw, state_bw) })
    }
}

/// The sequences in reverse order of time, each up to its length.
fn reverse(g: &Graph, input: Output, options: &BidirectionalOptions) -> Result<Output> {
    let (time, batch) = if options.time_major { (0, 1) } else { (1, 0) };
    match &options.sequence_length {
        Some(lengths) => {
            let call = g.call("ReverseSequence").arg(input).arg(lengths.clone());
            call.attr("seq_dim", i64::from(time)).attr("batch_dim", i64::from(batch)).output()
        }
        None => g.call("ReverseV2").arg(input).arg([time]).output(),
    }
}
