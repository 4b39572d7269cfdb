//! Mathematics: element-wise functions, reductions, products, scans, segments, counting.

pub(super) mod arithmetic;
pub(crate) mod broadcast;
pub(super) mod cast;
pub(super) mod compare;
pub(crate) mod elementwise;
pub(crate) mod number;
pub(crate) mod select;
pub(crate) mod special;
pub(super) mod unary;
