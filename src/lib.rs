#![doc = include_str!("../README.md")]

pub mod bundle;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod compute;
pub mod control_flow;
mod error;
mod exec;
pub mod grad;
pub mod graph;
pub mod layers;
pub mod losses;
pub mod nn;
pub mod numpy;
pub mod ops;
pub mod proto;
pub mod random;
pub mod safetensors;
pub mod saved_model;
mod session;
pub mod summary;
pub mod tensor;
pub mod train;

#[doc = include_str!("tutorial.md")]
pub mod tutorial {}

#[doc = include_str!("python.md")]
pub mod python {}

pub use control_flow::WhileOptions;
pub use error::{Code, Error, Result};
pub use exec::{NodeEvent, NodeTime, Rewrites, RunMetadata, RunOptions, TensorDescription};
pub use grad::{AggregationMethod, GradientOptions, UnconnectedGradients};
pub use graph::{Gradient, Graph, IndexedSlices, Operation, Output};
pub use ops::TensorArray;
pub use session::{Callable, Session, SessionOptions};
pub use tensor::{DType, Element, Shape, Tensor};

impl Graph {
    /// An empty graph that knows all ops of this crate and their gradients.
    pub fn new() -> Graph {
        Graph::with_ops(ops::lookup, grad::differentiate)
    }
}

impl Default for Graph {
    fn default() -> Graph {
        Graph::new()
    }
}

/// The kernels, for the benches alone.
#[doc(hidden)]
pub mod bench_internals {
    pub use crate::compute::*;
}
