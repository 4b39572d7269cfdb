//! Linear algebra on batches of matrices, and Einstein sums.

pub(crate) mod batch;
pub(crate) mod build;
mod decompose;
mod einsum;
mod functions;
mod grad;
mod norm;
mod shapes;
mod solve;
mod tridiagonal;

pub use build::LstsqOptions;
pub use norm::{NormOrder, TensordotAxes};

use crate::graph::op::Op;

/// The records, by topic.
pub(super) static FAMILIES: &[&[Op]] = &[decompose::OPS, einsum::OPS, functions::OPS, solve::OPS, tridiagonal::OPS];
