//! The gated recurrent unit.

use super::cell::{Activation, RNNCell};
use super::layer::{Layer, check_dtypes, layer_options, with_variable};
use super::nested::{Nested, State};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::tensor::Shape;
use crate::train::{Initializer, Variable};
use std::sync::OnceLock;

/// The gated recurrent unit (`tf.nn.rnn_cell.GRUCell`).
#[derive(Debug)]
pub struct GRUCell {
    units: usize,
    activation: Activation,
    kernel_initializer: Option<Initializer>,
    bias_initializer: Option<Initializer>,
    layer: Layer,
    weights: OnceLock<Weights>,
}

#[derive(Debug)]
struct Weights {
    gate_kernel: Variable,
    gate_bias: Variable,
    candidate_kernel: Variable,
    candidate_bias: Variable,
}

layer_options!(GRUCell);

impl GRUCell {
    /// A cell of so many units.
    pub fn new(num_units: usize) -> GRUCell {
        GRUCell {
            units: num_units,
            activation: Activation::tanh(),
            kernel_initializer: None,
            bias_initializer: None,
            layer: Layer::new("gru_cell"),
            weights: OnceLock::new(),
        }
    }

    /// The activation in place of tanh.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> GRUCell {
        self.activation = activation;
        self
    }

    /// What makes the initial values of the kernels.
    #[must_use]
    pub fn kernel_initializer(mut self, initializer: Initializer) -> GRUCell {
        self.kernel_initializer = Some(initializer);
        self
    }

    /// What makes the initial values of the biases; ones for the gates and zeros for the candidate if nothing is said.
    #[must_use]
    pub fn bias_initializer(mut self, initializer: Initializer) -> GRUCell {
        self.bias_initializer = Some(initializer);
        self
    }

    fn build(&self, g: &Graph, shape: &Shape) -> Result<()> {
        let rows = self.layer.input_depth(shape)? + self.units;
        let bias = |default: Initializer| Some(self.bias_initializer.clone().unwrap_or(default));
        let kernel = || self.kernel_initializer.clone();
        let gate_kernel = self.layer.add_weight(g, "gates/kernel", &[rows, 2 * self.units], kernel())?;
        let ones = Initializer::constant(1f32).dtype(self.layer.variable_dtype());
        let gate_bias = self.layer.add_weight(g, "gates/bias", &[2 * self.units], bias(ones))?;
        let candidate_kernel = self.layer.add_weight(g, "candidate/kernel", &[rows, self.units], kernel())?;
        let candidate_bias = self.layer.add_weight(g, "candidate/bias", &[self.units], bias(self.layer.zeros()))?;
        let _ = self.weights.set(Weights { gate_kernel, gate_bias, candidate_kernel, candidate_bias });
        Ok(())
    }
}

impl RNNCell for GRUCell {
    fn class_name(&self) -> &'static str {
        "GRUCell"
    }

    fn state_size(&self) -> Nested<Shape> {
        Nested::One(self.output_size())
    }

    fn output_size(&self) -> Shape {
        Shape::from([self.units])
    }

    fn variables(&self) -> Vec<Variable> {
        self.layer.variables()
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        self.layer.call(
            g,
            inputs,
            |g, shape| self.build(g, shape),
            |g| {
                let state = state.tensor()?;
                check_dtypes(g, [inputs, state])?;
                let Some(weights) = self.weights.get() else { bail!(Internal, "the cell's variables were not made") };
                let joined = g.concat(&[inputs.into(), state.into()], 1i32)?;
                let gates = with_variable(g, "MatMul", joined, &weights.gate_kernel)?;
                let gates = with_variable(g, "BiasAdd", gates, &weights.gate_bias)?;
                let value = g.op("Sigmoid").input(gates).output()?;
                let [r, u] = g.split(value, 2, 1i32)?[..] else { bail!(Internal, "a split in two has other parts") };
                let r_state = g.operator("mul", "Mul", r, state)?;
                let joined = g.concat(&[inputs.into(), r_state.into()], 1i32)?;
                let candidate = with_variable(g, "MatMul", joined, &weights.candidate_kernel)?;
                let candidate = with_variable(g, "BiasAdd", candidate, &weights.candidate_bias)?;
                let c = self.activation.apply(g, candidate)?;
                let kept = g.operator("mul", "Mul", u, state)?;
                let rest = g.operator("sub", "Sub", 1i32, u)?;
                let added = g.operator("mul", "Mul", rest, c)?;
                let output = g.operator("add", "AddV2", kept, added)?;
                Ok((output, output.into()))
            },
        )
    }
}
