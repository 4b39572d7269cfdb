//! Ops that make, join, cut, move and look up elements, and TensorFlow's `array_ops`.

mod bits;
mod compound;
mod concat;
mod diag;
mod fill;
mod gather;
mod identity;
mod indexed_slices;
mod items;
mod pad;
mod patches;
mod quantize;
mod quantized;
mod reverse;
mod scatter;
mod search;
mod shaping;
mod slice;
mod space;
mod split;
mod stitch;
mod strided;
mod tile;
mod transpose;
mod unique;

pub(in crate::ops) use concat::one_by_one;
pub(crate) use concat::{concat_tensors, resolve_axis};
pub use diag::MatrixDiag;
pub(crate) use fill::zeros_of;
pub use indexed_slices::densify;
pub(crate) use items::{View, read_view, row_major, write_view};
pub use pad::PadMode;
pub use patches::ImagePatches;
pub use quantize::FakeQuant;
pub use reverse::OneHot;
pub(super) use strided::strided_slice_assign_kernel;
pub use strided::{Idx, StridedSliceMasks};
pub(crate) use tile::broadcast;
pub(crate) use transpose::permute;

use crate::error::Result;
use crate::graph::op::Op;
use crate::graph::{Graph, Operation, attr};
use crate::tensor::{DType, Tensor};

/// The records, by topic.
pub(super) static FAMILIES: &[&[Op]] = &[
    bits::OPS,
    concat::OPS,
    diag::OPS,
    fill::OPS,
    gather::OPS,
    identity::OPS,
    pad::OPS,
    patches::OPS,
    quantize::OPS,
    quantized::OPS,
    reverse::OPS,
    scatter::OPS,
    search::OPS,
    shaping::OPS,
    slice::OPS,
    space::OPS,
    split::OPS,
    stitch::OPS,
    strided::OPS,
    tile::OPS,
    transpose::OPS,
    unique::OPS,
];

impl Graph {
    /// An integer attribute of a node.
    pub(crate) fn int_attr(&self, op: Operation, name: &str) -> Result<i64> {
        attr::int(&self.get_attr(op, name)?)
    }

    /// A string attribute of a node.
    pub(crate) fn string_attr(&self, op: Operation, name: &str) -> Result<String> {
        Ok(attr::string(&self.get_attr(op, name)?)?.to_string())
    }
}

/// A scalar of an integer dtype.
fn scalar_of(dtype: DType, value: i64) -> Result<Tensor> {
    crate::ops::convert::cast_value(&Tensor::scalar(value), dtype)
}
