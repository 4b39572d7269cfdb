//! Cells around cells.

use super::cell::RNNCell;
use super::nested::{LSTMStateTuple, Nested, State};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape};
use crate::train::Variable;

/// What a [`DropoutWrapper`] is told: the probabilities with which elements are kept, numbers or scalar tensors.
#[derive(Clone, Debug)]
pub struct DropoutWrapperOptions {
    /// For the inputs.
    pub input_keep_prob: Arg,
    /// For the output.
    pub output_keep_prob: Arg,
    /// For the next state; the memory `c` of an LSTM is always kept.
    pub state_keep_prob: Arg,
    /// The seed from which those of all dropouts derive.
    pub seed: Option<i64>,
}

impl Default for DropoutWrapperOptions {
    fn default() -> DropoutWrapperOptions {
        let one = || Arg::from(1f32);
        DropoutWrapperOptions { input_keep_prob: one(), output_keep_prob: one(), state_keep_prob: one(), seed: None }
    }
}

/// A probability: a number, or a tensor.
#[derive(Clone, Copy, Debug)]
enum Probability {
    Number(f64),
    Tensor(Output),
}

impl Probability {
    fn new(g: &Graph, value: &Arg, name: &str) -> Result<Probability> {
        let tensor = g.convert(value, None, "Const")?;
        let Some(constant) = g.constant_value(tensor) else { return Ok(Probability::Tensor(tensor)) };
        let number = match constant.dtype() {
            DType::Double => constant.item::<f64>()?,
            DType::Float => f64::from(constant.item::<f32>()?),
            other if other.is_integer() => constant.item_i64()? as f64,
            other => bail!(InvalidArgument, "Parameter {name} must be a float, got {other}"),
        };
        if !(0.0..=1.0).contains(&number) {
            bail!(InvalidArgument, "Parameter {name} must be between 0 and 1. Received {number}");
        }
        Ok(Probability::Number(number))
    }

    fn drops(&self) -> bool {
        !matches!(self, Probability::Number(p) if *p >= 1.0)
    }

    fn dropout(&self, g: &Graph, x: Output, seed: Option<i64>) -> Result<Output> {
        let rate = match self {
            Probability::Number(p) => Arg::from(1.0 - p),
            Probability::Tensor(p) => g.operator("sub", "Sub", 1f64, *p)?.into(),
        };
        g.dropout(x, rate, seed)
    }
}

/// Drops elements of a cell's inputs, outputs and state (`tf.nn.rnn_cell.DropoutWrapper`), anew at each step.
pub struct DropoutWrapper {
    cell: Box<dyn RNNCell>,
    input: Probability,
    output: Probability,
    state: Probability,
    seed: Option<i64>,
}

impl DropoutWrapper {
    /// A wrapper around a cell.
    ///
    /// # Errors
    /// `InvalidArgument` for a probability that isn't within 0 and 1.
    pub fn new(g: &Graph, cell: Box<dyn RNNCell>, options: &DropoutWrapperOptions) -> Result<DropoutWrapper> {
        let g = &g.plain();
        let _names = g.name_scope("DropoutWrapperInit")?;
        let input = Probability::new(g, &options.input_keep_prob, "input_keep_prob")?;
        let state = Probability::new(g, &options.state_keep_prob, "state_keep_prob")?;
        let output = Probability::new(g, &options.output_keep_prob, "output_keep_prob")?;
        Ok(DropoutWrapper { cell, input, output, state, seed: options.seed })
    }

    fn seed(&self, salt: &str, index: usize) -> Option<i64> {
        self.seed.map(|seed| super::seed::salted(seed, salt, index))
    }

    /// Drops elements of all parts but the memory of LSTMs. Parts are numbered in order.
    fn drop_state(&self, g: &Graph, state: &State, index: &mut usize) -> Result<State> {
        let mut next = |dropped: bool, x: Output| {
            let number = *index;
            *index += 1;
            if dropped { self.state.dropout(g, x, self.seed("state", number)) } else { Ok(x) }
        };
        Ok(match state {
            Nested::One(x) => Nested::One(next(true, *x)?),
            Nested::Lstm(LSTMStateTuple { c, h }) => Nested::Lstm(LSTMStateTuple { c: next(false, *c)?, h: next(true, *h)? }),
            Nested::Tuple(items) => {
                Nested::Tuple(items.iter().map(|item| self.drop_state(g, item, index)).collect::<Result<_>>()?)
            }
        })
    }
}

/// What a wrapper passes on unchanged.
macro_rules! delegate {
    ($class:literal) => {
        fn class_name(&self) -> &'static str {
            $class
        }

        fn state_size(&self) -> Nested<Shape> {
            self.cell.state_size()
        }

        fn output_size(&self) -> Shape {
            self.cell.output_size()
        }

        fn variables(&self) -> Vec<Variable> {
            self.cell.variables()
        }
    };
}

impl RNNCell for DropoutWrapper {
    delegate!("DropoutWrapper");

    fn zero_state(&self, g: &Graph, batch_size: &Arg, dtype: DType) -> Result<State> {
        let _names = g.name_scope("DropoutWrapperZeroState")?;
        self.cell.zero_state(g, batch_size, dtype)
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        let inputs = if self.input.drops() { self.input.dropout(g, inputs, self.seed("input", 0))? } else { inputs };
        let (mut output, mut next) = self.cell.call(g, inputs, state)?;
        if self.state.drops() {
            next = self.drop_state(g, &next, &mut 0)?;
        }
        if self.output.drops() {
            output = self.output.dropout(g, output, self.seed("output", 0))?;
        }
        Ok((output, next))
    }
}

/// Adds a cell's inputs to its outputs (`tf.nn.rnn_cell.ResidualWrapper`).
pub struct ResidualWrapper {
    cell: Box<dyn RNNCell>,
}

impl ResidualWrapper {
    /// A wrapper around a cell whose output has the shape of its inputs.
    pub fn new(cell: Box<dyn RNNCell>) -> ResidualWrapper {
        ResidualWrapper { cell }
    }
}

impl RNNCell for ResidualWrapper {
    delegate!("ResidualWrapper");

    fn zero_state(&self, g: &Graph, batch_size: &Arg, dtype: DType) -> Result<State> {
        let _names = g.name_scope("ResidualWrapperZeroState")?;
        self.cell.zero_state(g, batch_size, dtype)
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        let (output, next) = self.cell.call(g, inputs, state)?;
        g.shape(inputs)?.merge(&g.shape(output)?)?;
        Ok((g.operator("add", "AddV2", inputs, output)?, next))
    }
}

/// Places a cell's nodes on a device (`tf.nn.rnn_cell.DeviceWrapper`), which is stored.
pub struct DeviceWrapper {
    cell: Box<dyn RNNCell>,
    device: String,
}

impl DeviceWrapper {
    /// A wrapper around a cell.
    pub fn new(cell: Box<dyn RNNCell>, device: &str) -> DeviceWrapper {
        DeviceWrapper { cell, device: device.to_string() }
    }
}

impl RNNCell for DeviceWrapper {
    delegate!("DeviceWrapper");

    fn zero_state(&self, g: &Graph, batch_size: &Arg, dtype: DType) -> Result<State> {
        let _names = g.name_scope("DeviceWrapperZeroState")?;
        let _device = g.device(&self.device);
        self.cell.zero_state(g, batch_size, dtype)
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        let _device = g.device(&self.device);
        self.cell.call(g, inputs, state)
    }
}
