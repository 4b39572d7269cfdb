//! Graphs around ops whose examples don't serve to differentiate, and the ops for which differences mean nothing.

use metagraph::{Graph, Output, Result};

/// A graph around an op, with the point at which it is differentiated.
pub struct Sample {
    /// The op, which the graph holds.
    pub op: &'static str,
    /// The values of the inputs, all of floats.
    pub inputs: &'static [&'static str],
    /// Builds what is differentiated by the inputs.
    pub build: fn(&Graph, &[Output]) -> Result<Vec<Output>>,
}

/// The samples.
pub const SAMPLES: &[Sample] = &[];

/// Inputs whose gradients TensorFlow defines otherwise than by the derivative: op, position among the inputs of floats, why.
pub const UNLIKE_DIFFERENCES: &[(&str, usize, &str)] = &[];

/// Examples at which the op isn't differentiable, or TensorFlow's gradient isn't defined: op, example, why.
pub const NOT_DIFFERENTIATED: &[(&str, &str, &str)] = &[];

/// Ops whose gradients are checked in another way: op, how.
pub const OTHERWISE: &[(&str, &str)] = &[];
