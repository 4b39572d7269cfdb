#![doc = include_str!("../README.md")]

pub mod bundle;
mod compute;
mod error;
mod exec;
pub mod graph;
pub mod numpy;
pub mod ops;
pub mod proto;
pub mod random;
mod session;
pub mod tensor;
pub mod train;

pub use error::{Code, Error, Result};
pub use exec::Rewrites;
pub use graph::{Gradient, Graph, IndexedSlices, Operation, Output};
pub use session::{Callable, Session, SessionOptions};
pub use tensor::{DType, Element, Shape, Tensor};

/// The kernels, for the benches alone.
#[doc(hidden)]
pub mod bench_internals {
    pub use crate::compute::*;
}
