//! Unrolling a cell over time in a loop.

use super::cell::RNNCell;
use super::nested::State;
use super::sizes::{self, Batch};
use super::step::{Lengths, copy_some_through, keep_shapes};
use crate::control_flow::{WhileOptions, containing_while};
use crate::error::{Error, Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::{TensorArray, TensorArrayOptions};
use crate::tensor::{DType, Shape};
use crate::train::{ScopeName, ScopeOptions, VariableScopeGuard};

/// What a cell's unrolling is told beside cell and inputs.
#[derive(Clone, Debug, Default)]
pub struct RnnOptions {
    /// The length of each sequence, an int32 or int64 vector. Past it, outputs are zero and the state stays.
    pub sequence_length: Option<Arg>,
    /// The first state; zeros if not given.
    pub initial_state: Option<State>,
    /// The dtype of state and outputs, needed where no first state is given.
    pub dtype: Option<DType>,
    /// How many iterations TensorFlow may run at once: 32 if not given. It is stored.
    pub parallel_iterations: Option<i64>,
    /// Whether TensorFlow may move kept values from GPU to CPU. It is stored.
    pub swap_memory: bool,
    /// Whether inputs and outputs are `[time, batch, ...]`, and not `[batch, time, ...]`.
    pub time_major: bool,
    /// The variable scope; `rnn` if not given.
    pub scope: Option<ScopeName>,
}

impl Graph {
    /// Unrolls a cell over the time steps of its inputs (`tf.nn.dynamic_rnn`): a loop runs as often as there are steps when
    /// the graph runs. Returns the outputs of all steps and the last state.
    ///
    /// # Errors
    /// `InvalidArgument` where neither a first state nor a dtype is given, the inputs' depth isn't static, or shapes don't
    /// fit; what the cell returns.
    pub fn dynamic_rnn(&self, cell: &dyn RNNCell, inputs: Output, options: &RnnOptions) -> Result<(Output, State)> {
        let g = &self.plain();
        let scope = options.scope.clone().unwrap_or_else(|| "rnn".into());
        let _scope = open_scope(g, scope)?;
        let inputs = if options.time_major { inputs } else { transpose_batch_time(g, inputs)? };
        let mut lengths = options.sequence_length.as_ref().map(|lengths| named_lengths(g, lengths)).transpose()?;
        let batch = sizes::batch_size(g, inputs)?;
        let state = match (&options.initial_state, options.dtype) {
            (Some(state), _) => state.clone(),
            (None, Some(dtype)) => cell.zero_state(g, &batch.into(), dtype)?,
            (None, None) => bail!(InvalidArgument, "If no initial_state is provided, argument `dtype` must be specified"),
        };
        if let Some(all) = &mut lengths {
            *all = checked_lengths(g, *all, batch)?;
        }
        let (outputs, state) = unroll(g, cell, inputs, state, lengths, options)?;
        let outputs = if options.time_major { outputs } else { transpose_batch_time(g, outputs)? };
        Ok((outputs, state))
    }
}

/// Opens the variable scope of an unrolled cell. Outside of loops, reads of variables are not colocated with them.
pub(super) fn open_scope(g: &Graph, name: ScopeName) -> Result<VariableScopeGuard> {
    let within_loop = containing_while(g, g.current_context()).is_some();
    let guard = g.variable_scope_with(name, ScopeOptions::default())?;
    if !within_loop && guard.scope().caching_device().is_none() {
        guard.scope().set_caching_device(Some(String::new()));
    }
    Ok(guard)
}

/// Exchanges the first two dimensions.
fn transpose_batch_time(g: &Graph, x: Output) -> Result<Output> {
    let shape = g.shape(x)?;
    if shape.rank().is_some_and(|r| r < 2) {
        return Ok(x);
    }
    let rank = g.rank(x)?;
    let rest = g.call("Range").default_name("range").arg(2i32).arg(rank).arg(1i32).output()?;
    let order = g.concat(&[[1i32, 0].into(), rest.into()], 0i32)?;
    let transposed = g.transpose(x, Some(order.into()))?;
    if shape.rank().is_some() {
        g.set_shape(transposed, Shape::from([shape.dim(1), shape.dim(0)]).concatenate(&shape.slice_from(2)))?;
    }
    Ok(transposed)
}

/// The lengths as int32, under a name by which they can be found.
fn named_lengths(g: &Graph, lengths: &Arg) -> Result<Output> {
    let lengths = match lengths {
        Arg::Output(output) if g.dtype(*output)? == DType::Int32 => *output,
        Arg::Output(output) => g.op("Cast").input(*output).attr("DstT", DType::Int32).output()?,
        value => {
            let (g, scope) = g.enter("Cast")?;
            let x = g.convert(value, None, "x")?;
            let integers = g.dtype(x)? == DType::Int32;
            if integers { x } else { g.op("Cast").name(scope.name()).input(x).attr("DstT", DType::Int32).output()? }
        }
    };
    let shape = g.shape(lengths)?;
    if shape.rank().is_some_and(|r| r != 1) {
        bail!(InvalidArgument, "Argument sequence_length must be a vector of length batch_size. Received shape: {shape}");
    }
    g.named("sequence_length").identity(lengths)
}

/// The lengths, after a check that there is one for each element of the batch.
fn checked_lengths(g: &Graph, lengths: Output, batch: Batch) -> Result<Output> {
    let shape = g.shape_tensor(lengths)?;
    let expected = g.stack_args(&[batch.into()], 0)?;
    let equal = g.op("Equal").input(shape).input(expected).output()?;
    let axes = g.constant([0i32])?;
    let all = g.op("All").input(equal).input(axes).attr("keep_dims", false).output()?;
    let first = format!("Expected shape for Tensor {} is ", g.tensor_name(lengths));
    let data: [Arg; 4] = [first.as_str().into(), expected.into(), " but saw shape: ".into(), shape.into()];
    let checked = assert(g, all, &data)?;
    let _after = g.control_dependencies(&[checked])?;
    g.named("CheckSeqLen").identity(lengths)
}

/// `tf.Assert` with data of strings and int32, which needs no condition around it.
fn assert(g: &Graph, condition: Output, data: &[Arg]) -> Result<crate::graph::Operation> {
    let (g, _scope) = g.enter("Assert")?;
    for value in data.iter().filter(|value| value.output().is_none()) {
        g.convert(value, None, "Const")?;
    }
    g.call("Assert").arg(condition).list(data.iter().cloned()).finish()
}

/// The loop over time-major inputs.
fn unroll(
    g: &Graph,
    cell: &dyn RNNCell,
    inputs: Output,
    state: State,
    lengths: Option<Output>,
    options: &RnnOptions,
) -> Result<(Output, State)> {
    let shape = g.shape_tensor(inputs)?;
    let time_steps = g.index(shape, &[0.into()])?;
    let batch = sizes::batch_size(g, inputs)?;
    let static_shape = g.shape(inputs)?.with_rank_at_least(3)?;
    if !static_shape.slice_from(2).is_fully_known() {
        bail!(
            InvalidArgument,
            "Input size (depth of inputs) must be accessible via shape inference, but saw shape {static_shape}"
        );
    }
    let dtype = state_dtype(g, options.dtype, &state)?;
    let size = cell.output_size();
    let zero_output = g.zeros(sizes::concat(g, batch, &size)?, dtype)?;
    let lengths = lengths.map(|all| Lengths::new(g, all)).transpose()?;
    let steps = lengths.map_or(time_steps, |lengths| lengths.greatest);
    let time = g.named("time").constant(0i32)?;
    let base = g.name_scope("dynamic_rnn")?.name().to_string();
    let array = |name: &str, dtype: DType, element_shape: Shape| {
        let tensor_array_name = format!("{base}{name}");
        TensorArray::new(g, dtype, time_steps, &TensorArrayOptions { tensor_array_name, element_shape, ..Default::default() })
    };
    let outputs = array("output_0", dtype, Shape::from([static_shape.dim(1)]).concatenate(&size))?;
    let elements = array("input_0", g.dtype(inputs)?, static_shape.slice_from(1))?.unstack(g, inputs)?;

    let at_least_one = g.call("Maximum").arg(1i32).arg(steps).output()?;
    let bound = g.op("Minimum").input(time_steps).input(at_least_one).output()?;
    let step = |g: &Graph, (time, outputs, state): (Output, TensorArray, State)| {
        let input = elements.read(g, time)?;
        g.set_shape(input, static_shape.slice_from(1))?;
        let (output, next) = match lengths {
            None => cell.call(g, input, &state)?,
            Some(lengths) => {
                let is_over = g.op("GreaterEqual").input(time).input(lengths.all).output()?;
                let (before, after) = ((zero_output, state.clone()), cell.call(g, input, &state)?);
                check_structure(&before.1, &after.1)?;
                let kept = copy_some_through(g, is_over, &before, &after)?;
                keep_shapes(g, &before, &kept)?;
                kept
            }
        };
        check_structure(&state, &next)?;
        let outputs = outputs.write(g, time, output)?;
        Ok((g.operator("add", "AddV2", time, 1i32)?, outputs, next))
    };
    let (_, outputs, state) = g.while_loop(
        |g, (time, _, _)| g.op("Less").input(*time).input(bound).output(),
        step,
        (time, outputs, state),
        &WhileOptions {
            parallel_iterations: options.parallel_iterations.unwrap_or(32),
            maximum_iterations: Some(time_steps.into()),
            swap_memory: options.swap_memory,
            ..WhileOptions::default()
        },
    )?;
    let outputs = outputs.stack(g)?;
    g.set_shape(outputs, sizes::concat_shapes(g, &static_shape.slice(0, 2), &size)?)?;
    Ok((outputs, state))
}

/// The dtype of states and outputs: the one given, or that of all parts of the state.
pub(super) fn state_dtype(g: &Graph, given: Option<DType>, state: &State) -> Result<DType> {
    if let Some(dtype) = given {
        return Ok(dtype);
    }
    let dtypes = state.flatten().into_iter().map(|part| g.dtype(part)).collect::<Result<Vec<DType>>>()?;
    let first = dtypes.first().ok_or_else(|| Error::invalid_argument("Unable to infer dtype from an empty state"))?;
    if dtypes.iter().any(|d| d != first) {
        bail!(InvalidArgument, "the state has tensors of different dtypes, {dtypes:?}; unable to infer a single one");
    }
    Ok(*first)
}

/// Refuses a next state of another structure than the state.
fn check_structure(before: &State, after: &State) -> Result<()> {
    if !before.is_like(after) {
        bail!(InvalidArgument, "The two structures don't have the same nested structure: state {before:?}, next {after:?}");
    }
    Ok(())
}
