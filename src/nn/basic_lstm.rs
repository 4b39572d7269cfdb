//! The long short-term memory without extras.

use super::cell::{Activation, RNNCell};
use super::layer::{Layer, check_dtypes, layer_options, with_variable};
use super::nested::{LSTMStateTuple, Nested, State};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::cast_value;
use crate::tensor::{Shape, Tensor};
use crate::train::Variable;
use std::sync::OnceLock;

/// The basic long short-term memory (`tf.nn.rnn_cell.BasicLSTMCell`), without peepholes, clipping and projection.
#[derive(Debug)]
pub struct BasicLSTMCell {
    units: usize,
    forget_bias: f64,
    state_is_tuple: bool,
    activation: Activation,
    layer: Layer,
    weights: OnceLock<(Variable, Variable)>,
}

layer_options!(BasicLSTMCell);

impl BasicLSTMCell {
    /// A cell of so many units.
    pub fn new(num_units: usize) -> BasicLSTMCell {
        BasicLSTMCell {
            units: num_units,
            forget_bias: 1.0,
            state_is_tuple: true,
            activation: Activation::tanh(),
            layer: Layer::new("basic_lstm_cell"),
            weights: OnceLock::new(),
        }
    }

    /// What is added to the forget gate; 1 if nothing is said.
    #[must_use]
    pub fn forget_bias(mut self, bias: f64) -> BasicLSTMCell {
        self.forget_bias = bias;
        self
    }

    /// Whether the state is `(c, h)`, as it is if nothing is said, or one matrix of both side by side.
    #[must_use]
    pub fn state_is_tuple(mut self, state_is_tuple: bool) -> BasicLSTMCell {
        self.state_is_tuple = state_is_tuple;
        self
    }

    /// The activation in place of tanh.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> BasicLSTMCell {
        self.activation = activation;
        self
    }

    fn build(&self, g: &Graph, shape: &Shape) -> Result<()> {
        let depth = self.layer.input_depth(shape)?;
        let kernel = self.layer.add_weight(g, "kernel", &[depth + self.units, 4 * self.units], None)?;
        let bias = self.layer.add_weight(g, "bias", &[4 * self.units], Some(self.layer.zeros()))?;
        let _ = self.weights.set((kernel, bias));
        Ok(())
    }

    fn step(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        check_dtypes(g, [inputs].into_iter().chain(state.flatten()))?;
        let Some((kernel, bias)) = self.weights.get() else { bail!(Internal, "the cell's variables were not made") };
        let one = g.constant(1i32)?;
        let LSTMStateTuple { c, h } = if self.state_is_tuple {
            state.lstm()?
        } else {
            let [c, h] = g.split(state.tensor()?, 2, one)?[..] else { bail!(Internal, "a split in two has other parts") };
            LSTMStateTuple { c, h }
        };
        let joined = g.concat(&[inputs.into(), h.into()], 1i32)?;
        let gates = with_variable(g, "MatMul", joined, kernel)?;
        let gates = with_variable(g, "BiasAdd", gates, bias)?;
        let [i, j, f, o] = g.split(gates, 4, one)?[..] else { bail!(Internal, "a split in four has other parts") };
        let forget_bias = g.constant(cast_value(&Tensor::scalar(self.forget_bias), g.dtype(f)?)?)?;

        let add = |x: Output, y: Output| g.op("AddV2").name("Add").input(x).input(y).output();
        let mul = |x: Output, y: Output| g.op("Mul").input(x).input(y).output();
        let sigmoid = |x: Output| g.op("Sigmoid").input(x).output();
        let forget = sigmoid(add(f, forget_bias)?)?;
        let kept = mul(c, forget)?;
        let input = sigmoid(i)?;
        let added = mul(input, self.activation.apply(g, j)?)?;
        let c = add(kept, added)?;
        let activated = self.activation.apply(g, c)?;
        let h = mul(activated, sigmoid(o)?)?;
        let next = if self.state_is_tuple {
            State::from(LSTMStateTuple { c, h })
        } else {
            g.concat(&[c.into(), h.into()], 1i32)?.into()
        };
        Ok((h, next))
    }
}

impl RNNCell for BasicLSTMCell {
    fn class_name(&self) -> &'static str {
        "BasicLSTMCell"
    }

    fn state_size(&self) -> Nested<Shape> {
        match self.state_is_tuple {
            true => Nested::Lstm(LSTMStateTuple { c: self.output_size(), h: self.output_size() }),
            false => Nested::One(Shape::from([2 * self.units])),
        }
    }

    fn output_size(&self) -> Shape {
        Shape::from([self.units])
    }

    fn variables(&self) -> Vec<Variable> {
        self.layer.variables()
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        self.layer.call(g, inputs, |g, shape| self.build(g, shape), |g| self.step(g, inputs, state))
    }
}
