//! TensorFlow's protocol messages, generated from `proto/` by prost.
//!
//! The packages, message names and field numbers are TensorFlow's, so the bytes are too.
#![allow(missing_docs, clippy::all, rustdoc::all)]

include!(concat!(env!("OUT_DIR"), "/tensorflow.rs"));

/// Messages of the package `tensorflow.error`.
pub mod error {
    include!(concat!(env!("OUT_DIR"), "/tensorflow.error.rs"));
}
