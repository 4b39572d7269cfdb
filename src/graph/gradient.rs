//! What gradient functions take and give.

use super::Graph;
use super::node::Output;
use crate::error::{Error, Result};

/// The gradient of a gathered tensor: rows `values` at `indices` of a tensor of `dense_shape`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexedSlices {
    /// The rows, `[n, ...]`.
    pub values: Output,
    /// Where they stand, `[n]`, int32 or int64; a row may stand there more than once and then counts as their sum.
    pub indices: Output,
    /// The shape of the whole, if known.
    pub dense_shape: Option<Output>,
}

/// A gradient: dense, or rows of a gathered tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gradient {
    /// A tensor of the shape of what it is the gradient of.
    Dense(Output),
    /// Some of its rows.
    Sparse(IndexedSlices),
}

impl Gradient {
    /// The tensor, if it is dense.
    pub fn dense(self) -> Option<Output> {
        if let Gradient::Dense(output) = self { Some(output) } else { None }
    }
}

impl From<Output> for Gradient {
    fn from(output: Output) -> Gradient {
        Gradient::Dense(output)
    }
}

/// Turns `IndexedSlices` into a dense tensor by emitting nodes.
pub type Densify = fn(&Graph, &IndexedSlices) -> Result<Output>;

/// The gradients of an op's outputs, as its gradient function gets them.
pub struct Grads<'a> {
    gradients: &'a [Option<Gradient>],
    densify: Densify,
}

impl<'a> Grads<'a> {
    /// One entry for each output.
    pub fn new(gradients: &'a [Option<Gradient>], densify: Densify) -> Grads<'a> {
        Grads { gradients, densify }
    }

    /// The number of outputs.
    pub fn len(&self) -> usize {
        self.gradients.len()
    }

    /// True where the op has no outputs.
    pub fn is_empty(&self) -> bool {
        self.gradients.is_empty()
    }

    /// The gradient of an output, if it has one.
    pub fn get(&self, index: usize) -> Option<Gradient> {
        self.gradients.get(index).copied().flatten()
    }

    /// The gradient of an output as a dense tensor; rows are added up by emitted nodes, as TensorFlow does.
    ///
    /// # Errors
    /// `InvalidArgument` where the output has no gradient.
    pub fn dense(&self, graph: &Graph, index: usize) -> Result<Output> {
        match self.get(index) {
            Some(Gradient::Dense(output)) => Ok(output),
            Some(Gradient::Sparse(slices)) => (self.densify)(graph, &slices),
            None => Err(Error::invalid_argument(format!("output {index} has no gradient"))),
        }
    }
}
