//! The simplest cell.

use super::cell::{Activation, RNNCell};
use super::layer::{Layer, check_dtypes, layer_options, with_variable};
use super::nested::{Nested, State};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::tensor::Shape;
use crate::train::Variable;
use std::sync::OnceLock;

/// The most basic cell (`tf.nn.rnn_cell.BasicRNNCell`): output and state are `tanh(W [x, state] + b)`.
#[derive(Debug)]
pub struct BasicRNNCell {
    units: usize,
    activation: Activation,
    layer: Layer,
    weights: OnceLock<(Variable, Variable)>,
}

layer_options!(BasicRNNCell);

impl BasicRNNCell {
    /// A cell of so many units.
    pub fn new(num_units: usize) -> BasicRNNCell {
        BasicRNNCell {
            units: num_units,
            activation: Activation::tanh(),
            layer: Layer::new("basic_rnn_cell"),
            weights: OnceLock::new(),
        }
    }

    /// The activation in place of tanh.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> BasicRNNCell {
        self.activation = activation;
        self
    }

    fn build(&self, g: &Graph, shape: &Shape) -> Result<()> {
        let depth = self.layer.input_depth(shape)?;
        let kernel = self.layer.add_weight(g, "kernel", &[depth + self.units, self.units], None)?;
        let bias = self.layer.add_weight(g, "bias", &[self.units], Some(self.layer.zeros()))?;
        let _ = self.weights.set((kernel, bias));
        Ok(())
    }
}

impl RNNCell for BasicRNNCell {
    fn class_name(&self) -> &'static str {
        "BasicRNNCell"
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
                let Some((kernel, bias)) = self.weights.get() else { bail!(Internal, "the cell's variables were not made") };
                let joined = g.concat(&[inputs.into(), state.into()], 1i32)?;
                let gates = with_variable(g, "MatMul", joined, kernel)?;
                let gates = with_variable(g, "BiasAdd", gates, bias)?;
                let output = self.activation.apply(g, gates)?;
                Ok((output, output.into()))
            },
        )
    }
}
