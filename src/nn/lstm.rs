//! The long short-term memory.

use super::cell::{Activation, RNNCell};
use super::layer::{Layer, check_dtypes, layer_options, with_variable};
use super::nested::{LSTMStateTuple, Nested, State};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::tensor::{Shape, Tensor};
use crate::train::{Initializer, Variable};
use std::sync::OnceLock;

/// The long short-term memory (`tf.nn.rnn_cell.LSTMCell`), with optional peepholes, clipping and projection.
///
/// ```
/// # use metagraph::{DType, Graph, nn::{LSTMCell, RNNCell, RnnOptions}};
/// let g = Graph::new();
/// let x = g.placeholder(DType::Float, [None, Some(1), Some(3)])?;
/// let cell = LSTMCell::new(4).name("celula");
/// let options = RnnOptions { dtype: Some(DType::Float), time_major: true, ..Default::default() };
/// let (outputs, state) = g.dynamic_rnn(&cell, x, &options)?;
/// assert_eq!(g.shape(outputs)?.to_string(), "[?,1,4]");
/// assert_eq!(g.tensor_name(state.lstm()?.h), "rnn/while/Exit_4:0");
/// assert_eq!(cell.variables()[0].name(), "rnn/celula/kernel:0");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Debug)]
pub struct LSTMCell {
    units: usize,
    use_peepholes: bool,
    cell_clip: Option<f64>,
    initializer: Option<Initializer>,
    num_proj: Option<usize>,
    proj_clip: Option<f64>,
    forget_bias: f64,
    state_is_tuple: bool,
    activation: Activation,
    layer: Layer,
    weights: OnceLock<Weights>,
}

#[derive(Debug)]
struct Weights {
    kernel: Variable,
    bias: Variable,
    /// Of the forget, input and output gates.
    peepholes: Option<[Variable; 3]>,
    projection: Option<Variable>,
}

layer_options!(LSTMCell);

impl LSTMCell {
    /// A cell of so many units.
    pub fn new(num_units: usize) -> LSTMCell {
        LSTMCell {
            units: num_units,
            use_peepholes: false,
            cell_clip: None,
            initializer: None,
            num_proj: None,
            proj_clip: None,
            forget_bias: 1.0,
            state_is_tuple: true,
            activation: Activation::tanh(),
            layer: Layer::new("lstm_cell"),
            weights: OnceLock::new(),
        }
    }

    /// Whether the gates see the memory.
    #[must_use]
    pub fn use_peepholes(mut self, use_peepholes: bool) -> LSTMCell {
        self.use_peepholes = use_peepholes;
        self
    }

    /// The memory is kept within this distance from zero.
    #[must_use]
    pub fn cell_clip(mut self, clip: f64) -> LSTMCell {
        self.cell_clip = Some(clip);
        self
    }

    /// What makes the initial values of kernel, peepholes and projection.
    #[must_use]
    pub fn initializer(mut self, initializer: Initializer) -> LSTMCell {
        self.initializer = Some(initializer);
        self
    }

    /// The output is projected to this size.
    #[must_use]
    pub fn num_proj(mut self, size: usize) -> LSTMCell {
        self.num_proj = Some(size);
        self
    }

    /// The projected output is kept within this distance from zero.
    #[must_use]
    pub fn proj_clip(mut self, clip: f64) -> LSTMCell {
        self.proj_clip = Some(clip);
        self
    }

    /// What is added to the forget gate; 1 if nothing is said.
    #[must_use]
    pub fn forget_bias(mut self, bias: f64) -> LSTMCell {
        self.forget_bias = bias;
        self
    }

    /// Whether the state is `(c, h)`, as it is if nothing is said, or one matrix of both side by side.
    #[must_use]
    pub fn state_is_tuple(mut self, state_is_tuple: bool) -> LSTMCell {
        self.state_is_tuple = state_is_tuple;
        self
    }

    /// The activation in place of tanh.
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> LSTMCell {
        self.activation = activation;
        self
    }

    /// The size of the output.
    fn outputs(&self) -> usize {
        self.num_proj.unwrap_or(self.units)
    }

    fn build(&self, g: &Graph, shape: &Shape) -> Result<()> {
        let rows = self.layer.input_depth(shape)? + self.outputs();
        let own = || self.initializer.clone();
        let kernel = self.layer.add_weight(g, "kernel", &[rows, 4 * self.units], own())?;
        let bias = self.layer.add_weight(g, "bias", &[4 * self.units], Some(self.layer.zeros()))?;
        let diagonal = |name: &str| self.layer.add_weight(g, name, &[self.units], own());
        let peepholes = match self.use_peepholes {
            true => Some([diagonal("w_f_diag")?, diagonal("w_i_diag")?, diagonal("w_o_diag")?]),
            false => None,
        };
        let projection = match self.num_proj {
            Some(size) => Some(self.layer.add_weight(g, "projection/kernel", &[self.units, size], own())?),
            None => None,
        };
        let _ = self.weights.set(Weights { kernel, bias, peepholes, projection });
        Ok(())
    }

    fn split_state(&self, g: &Graph, state: &State) -> Result<LSTMStateTuple> {
        if self.state_is_tuple {
            return state.lstm();
        }
        let (state, units) = (state.tensor()?, self.units as i32);
        let c = g.slice(state, [0i32, 0], [-1i32, units])?;
        let h = g.slice(state, [0i32, units], [-1i32, self.outputs() as i32])?;
        Ok(LSTMStateTuple { c, h })
    }

    fn step(&self, g: &Graph, inputs: Output, state: &State, weights: &Weights) -> Result<(Output, State)> {
        check_dtypes(g, [inputs].into_iter().chain(state.flatten()))?;
        let previous = self.split_state(g, state)?;
        let joined = g.concat(&[inputs.into(), previous.h.into()], 1i32)?;
        let gates = with_variable(g, "MatMul", joined, &weights.kernel)?;
        let gates = with_variable(g, "BiasAdd", gates, &weights.bias)?;
        let [i, j, f, o] = g.split(gates, 4, 1i32)?[..] else { bail!(Internal, "a split in four has other parts") };

        let add = |x: Output, y: Output| g.operator("add", "AddV2", x, y);
        let mul = |x: Output, y: Output| g.operator("mul", "Mul", x, y);
        let sigmoid = |x: Output| g.op("Sigmoid").input(x).output();
        // A peephole: the diagonal times the memory, added to a gate.
        let peek = |gate: Output, diagonal: &Variable, memory: Output| -> Result<Output> {
            let seen = mul(diagonal.value()?, memory)?;
            add(gate, seen)
        };
        let peepholes = weights.peepholes.as_ref();
        let mut forget = g.operator("add", "AddV2", f, self.forget_bias)?;
        if let Some([forget_diagonal, _, _]) = peepholes {
            forget = peek(forget, forget_diagonal, previous.c)?;
        }
        let kept = mul(sigmoid(forget)?, previous.c)?;
        let input = match peepholes {
            Some([_, input_diagonal, _]) => peek(i, input_diagonal, previous.c)?,
            None => i,
        };
        let input = sigmoid(input)?;
        let added = mul(input, self.activation.apply(g, j)?)?;
        let mut c = add(kept, added)?;
        if let Some(clip) = self.cell_clip {
            c = clipped(g, c, clip)?;
        }
        let output = match peepholes {
            Some([_, _, output_diagonal]) => peek(o, output_diagonal, c)?,
            None => o,
        };
        let output = sigmoid(output)?;
        let mut h = mul(output, self.activation.apply(g, c)?)?;
        if let Some(projection) = &weights.projection {
            h = with_variable(g, "MatMul", h, projection)?;
            if let Some(clip) = self.proj_clip {
                h = clipped(g, h, clip)?;
            }
        }
        let next = if self.state_is_tuple {
            State::from(LSTMStateTuple { c, h })
        } else {
            g.concat(&[c.into(), h.into()], 1i32)?.into()
        };
        Ok((h, next))
    }
}

/// `tf.clip_by_value(x, -clip, clip)`.
fn clipped(g: &Graph, x: Output, clip: f64) -> Result<Output> {
    let (g, scope) = g.enter("clip_by_value")?;
    let bound = |value: f64| crate::ops::convert::cast_value(&Tensor::scalar(value), g.dtype(x)?);
    let below = g.call("Minimum").arg(x).arg(bound(clip)?).output()?;
    g.named(scope.name()).call("Maximum").arg(below).arg(bound(-clip)?).output()
}

impl RNNCell for LSTMCell {
    fn class_name(&self) -> &'static str {
        "LSTMCell"
    }

    fn state_size(&self) -> Nested<Shape> {
        let (c, h) = (self.units, self.outputs());
        match self.state_is_tuple {
            true => Nested::Lstm(LSTMStateTuple { c: Shape::from([c]), h: Shape::from([h]) }),
            false => Nested::One(Shape::from([c + h])),
        }
    }

    fn output_size(&self) -> Shape {
        Shape::from([self.outputs()])
    }

    fn variables(&self) -> Vec<Variable> {
        self.layer.variables()
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        self.layer.call(
            g,
            inputs,
            |g, shape| self.build(g, shape),
            |g| match self.weights.get() {
                Some(weights) => self.step(g, inputs, state, weights),
                None => bail!(Internal, "the cell's variables were not made"),
            },
        )
    }
}
