//! The ops: one record each, one file a family. The lists below are the only registry.

pub(crate) mod array;
mod audio;
mod clip;
mod constant;
mod constant_value;
mod control_flow;
pub mod convert;
mod data_flow;
mod functional;
mod image;
mod io;
pub mod linalg;
mod logging;
mod lookup;
pub mod math;
mod nn;
mod parsing;
pub mod random;
pub mod set;
pub(crate) mod shape;
mod signal;
pub mod sparse;
pub mod state;
mod string;
mod summary;
mod tensor_list;
mod tensor_list_grad;
mod training;

pub use array::{FakeQuant, Idx, ImagePatches, MatrixDiag, OneHot, PadMode, StridedSliceMasks, densify};
pub use clip::Clip;
pub use convert::Arg;

pub(crate) use data_flow::tensor_array_elements;
pub use data_flow::{Queue, QueueOptions, TensorArray, TensorArrayOptions};
pub use image::{CropAndResize, ResizeMethod, ResizeOptions};
pub use nn::build::{Combiner, ConvOptions, CtcLoss, FusedBatchNorm, Normalized, PartitionStrategy, SampledLoss};

use crate::graph::op::Op;
use std::collections::HashMap;
use std::sync::OnceLock;

/// The families, each a list of records.
static FAMILIES: &[&[Op]] = &[
    audio::OPS,
    constant::OPS,
    control_flow::OPS,
    functional::OPS,
    data_flow::ACCUMULATORS,
    data_flow::BARRIERS,
    data_flow::MUTEXES,
    data_flow::QUEUES,
    data_flow::SESSION_TENSORS,
    data_flow::STACKS,
    data_flow::STAGING_AREAS,
    data_flow::STUB_RESOURCES,
    data_flow::TENSOR_ARRAYS,
    io::OPS,
    math::argmax::OPS,
    math::arithmetic::OPS,
    math::cast::OPS,
    math::compare::OPS,
    math::count::OPS,
    math::matmul::OPS,
    math::range::OPS,
    math::reduce::OPS,
    math::scan::OPS,
    math::segment::OPS,
    math::select::OPS,
    math::sparse_segment::OPS,
    math::unary::OPS,
    logging::OPS,
    random::INDEPENDENT,
    random::PARAMETERS,
    random::CATEGORIES,
    random::SHUFFLES,
    random::INDEX_SHUFFLES,
    random::STATELESS,
    random::STATELESS_PARAMETERS,
    random::STATEFUL,
    random::CANDIDATES,
    set::OPS,
    state::ASSIGNMENTS,
    state::GATHERS,
    state::REFERENCES,
    state::RESOURCES,
    state::SCATTERS,
    string::basic::OPS,
    string::encode::OPS,
    string::hash::OPS,
    string::join::OPS,
    string::number::OPS,
    string::regex::OPS,
    string::split::OPS,
    string::unicode::OPS,
    summary::OPS,
    tensor_list::OPS,
    training::OPS,
];

/// Every op, by family.
pub fn all() -> impl Iterator<Item = &'static Op> {
    let folders = [
        array::FAMILIES,
        image::FAMILIES,
        linalg::FAMILIES,
        lookup::FAMILIES,
        nn::FAMILIES,
        parsing::FAMILIES,
        signal::FAMILIES,
        sparse::FAMILIES,
    ];
    FAMILIES.iter().chain(folders.into_iter().flatten()).flat_map(|family| family.iter())
}

/// The record of an op type.
pub fn lookup(name: &str) -> Option<&'static Op> {
    static BY_NAME: OnceLock<HashMap<&'static str, &'static Op>> = OnceLock::new();
    BY_NAME.get_or_init(|| all().map(|op| (op.name, op)).collect()).get(name).copied()
}
