//! Unrolling a cell over a list of inputs.

use super::cell::RNNCell;
use super::dynamic_rnn::{open_scope, state_dtype};
use super::nested::State;
use super::sizes::{self, Batch};
use super::step::{Lengths, copy_some_through, keep_shapes};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape};
use crate::train::ScopeName;

/// What [`Graph::static_rnn`] is told beside cell and inputs.
#[derive(Clone, Debug, Default)]
pub struct StaticRnnOptions {
    /// The first state; zeros if not given.
    pub initial_state: Option<State>,
    /// The dtype of state and outputs, needed where no first state is given.
    pub dtype: Option<DType>,
    /// The length of each sequence, an int32 or int64 vector. Past it, outputs are zero and the state stays.
    pub sequence_length: Option<Arg>,
    /// The variable scope; `rnn` if not given.
    pub scope: Option<ScopeName>,
}

impl Graph {
    /// Unrolls a cell over a list of inputs `[batch, depth]`, one a time step, with nodes for each step
    /// (`tf.nn.static_rnn`). Returns the outputs of all steps and the last state.
    ///
    /// # Errors
    /// As [`Graph::dynamic_rnn`]; `InvalidArgument` for an empty list.
    pub fn static_rnn(&self, cell: &dyn RNNCell, inputs: &[Output], options: &StaticRnnOptions) -> Result<(Vec<Output>, State)> {
        let g = &self.plain();
        let Some(&first) = inputs.first() else { bail!(InvalidArgument, "inputs must not be empty") };
        let scope = open_scope(g, options.scope.clone().unwrap_or_else(|| "rnn".into()))?;
        let mut size = g.shape(first)?.with_rank_at_least(1)?.slice(0, 1);
        for &input in inputs {
            let shape = g.shape(input)?;
            size = size.merge(&shape.slice(0, 1))?;
            if shape.rank() != Some(1) && !shape.with_rank_at_least(2)?.slice_from(1).is_fully_known() {
                bail!(InvalidArgument, "Input size must be accessible via shape inference, but saw shape {shape}");
            }
        }
        let batch = match g.shape(first)?.dim(0).filter(|&size| size > 0) {
            Some(size) => Batch::Static(size),
            None => {
                let shape = g.shape_tensor(first)?;
                Batch::Dynamic(g.index(shape, &[0.into()])?)
            }
        };
        let mut state = match (&options.initial_state, options.dtype) {
            (Some(state), _) => state.clone(),
            (None, Some(dtype)) => cell.zero_state(g, &batch.into(), dtype)?,
            (None, None) => bail!(InvalidArgument, "If no initial_state is provided, argument `dtype` must be specified"),
        };
        let lengths = match &options.sequence_length {
            Some(lengths) => Some(prepare(g, cell, lengths, batch, &size, state_dtype(g, options.dtype, &state)?)?),
            None => None,
        };
        let mut outputs = Vec::with_capacity(inputs.len());
        for (time, &input) in inputs.iter().enumerate() {
            if time > 0 {
                scope.scope().reuse_variables();
            }
            let (output, next) = match lengths {
                None => cell.call(g, input, &state)?,
                Some((lengths, zeros)) => step(g, cell, input, (zeros, state), lengths, time as i32)?,
            };
            outputs.push(output);
            state = next;
        }
        Ok((outputs, state))
    }
}

/// The lengths and the output of sequences that are over.
fn prepare(g: &Graph, cell: &dyn RNNCell, lengths: &Arg, batch: Batch, size: &Shape, dtype: DType) -> Result<(Lengths, Output)> {
    let lengths = g.convert(lengths, None, "sequence_length")?;
    let shape = g.shape(lengths)?;
    if shape.rank().is_some_and(|r| r != 1) {
        bail!(InvalidArgument, "Argument `sequence_length` must be a vector. Received shape: {shape}");
    }
    let zeros = g.zeros(sizes::concat(g, batch, &cell.output_size())?, dtype)?;
    g.set_shape(zeros, sizes::concat_shapes(g, size, &cell.output_size())?)?;
    let integers = g.dtype(lengths)? == DType::Int32;
    let lengths = if integers { lengths } else { g.op("Cast").input(lengths).attr("DstT", DType::Int32).output()? };
    Ok((Lengths::new(g, lengths)?, zeros))
}

/// One step: nothing where all sequences are over, everything where none is.
fn step(
    g: &Graph,
    cell: &dyn RNNCell,
    input: Output,
    before: (Output, State),
    lengths: Lengths,
    time: i32,
) -> Result<(Output, State)> {
    let is_over = g.call("LessEqual").arg(lengths.all).arg(time).output()?;
    let all_over = g.call("LessEqual").arg(lengths.greatest).arg(time).output()?;
    let flat = |(output, state): &(Output, State)| {
        let mut parts = vec![*output];
        parts.extend(state.flatten());
        parts
    };
    let results = g.cond(
        all_over,
        |_| Ok(flat(&before)),
        |g| {
            let after = cell.call(g, input, &before.1)?;
            let none_over = g.call("Greater").arg(lengths.least).arg(time).output()?;
            g.cond(none_over, |_| Ok(flat(&after)), |g| copy_some_through(g, is_over, &before, &after).map(|r| flat(&r)))
        },
    )?;
    let mut parts = results.into_iter();
    let Some(output) = parts.next() else { bail!(Internal, "a step has no output") };
    let after = (output, before.1.pack(&mut parts)?);
    keep_shapes(g, &before, &after)?;
    Ok(after)
}
