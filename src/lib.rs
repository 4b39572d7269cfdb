#![doc = include_str!("../README.md")]

mod error;
pub use error::{Code, Error, Result};
pub use tensor::{DType, Element, Shape, Tensor};
pub mod proto;
pub mod tensor;
