//! Mathematics: element-wise functions, reductions, products, scans, segments, counting.

pub(super) mod argmax;
pub(super) mod arithmetic;
pub(crate) mod axes;
pub(crate) mod broadcast;
pub(crate) mod cast;
pub(super) mod compare;
pub(super) mod count;
pub(crate) mod elementwise;
pub mod functions;
mod grad;
pub(crate) mod matmul;
pub(crate) mod number;
mod operators;
pub(crate) mod range;
pub(super) mod reduce;
pub(super) mod scan;
pub(super) mod segment;
pub(crate) mod select;
pub(super) mod sparse_segment;
pub(crate) mod special;
pub(super) mod unary;

pub(crate) use grad::reduced_shape;
