#![doc = include_str!("../README.md")]

mod compute;
mod error;
pub use error::{Code, Error, Result};
pub use tensor::{DType, Element, Shape, Tensor};
pub mod proto;
pub mod tensor;

/// The kernels, for the benches alone.
#[doc(hidden)]
pub mod bench_internals {
    pub use crate::compute::*;
}
