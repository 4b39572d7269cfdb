//! TensorFlow's protocol messages, generated from `proto/` by prost.
//!
//! The packages, message names and field numbers are TensorFlow's, so the bytes are too.
#![allow(missing_docs, clippy::all, rustdoc::all)]

#[warn(clippy::all, missing_docs, rustdoc::all)]
mod attrs;
#[warn(clippy::all, missing_docs, rustdoc::all)]
mod node;
#[cfg(test)]
mod node_tests;
#[warn(clippy::all, missing_docs, rustdoc::all)]
pub mod text;

pub use attrs::Attrs;
pub use node::{NodeDef, node_def};

include!(concat!(env!("OUT_DIR"), "/tensorflow.rs"));

/// Messages of the package `tensorflow.error`.
pub mod error {
    include!(concat!(env!("OUT_DIR"), "/tensorflow.error.rs"));
}

/// The descriptors of all messages, a serialized `FileDescriptorSet`.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
