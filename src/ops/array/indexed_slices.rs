//! Rows of a gathered tensor as a dense tensor.

use crate::error::{Error, Result};
use crate::graph::{Graph, IndexedSlices, Output};

/// Adds rows up to a dense tensor, as Python's conversion of `IndexedSlices` does: `UnsortedSegmentSum` over the first
/// dimension of the dense shape. This is the [`Densify`](crate::graph::Grads) that the gradient builder hands to gradient
/// functions.
///
/// # Errors
/// `InvalidArgument` where the dense shape isn't known.
pub fn densify(g: &Graph, slices: &IndexedSlices) -> Result<Output> {
    let shape = slices
        .dense_shape
        .ok_or_else(|| Error::invalid_argument("Tensor conversion requested for IndexedSlices without dense_shape"))?;
    let rows = g.plain().index(shape, &[0.into()])?;
    g.op("UnsortedSegmentSum").input(slices.values).input(slices.indices).input(rows).output()
}
