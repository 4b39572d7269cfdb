//! Neural-network ops: activations, losses, convolutions, pooling, normalization, CTC.

mod activation;
mod bias;
mod block;
pub mod build;
mod conv;
mod ctc;
mod data_format;
mod dilation;
mod fractional;
mod gradients;
mod loss;
mod norm;
mod pool;
mod python;
mod quantized;
mod softmax;
mod wide;
mod window;

pub(super) use wide::{Wide, lit};

use crate::graph::op::Op;

/// The lists of records, by topic.
pub(super) static FAMILIES: &[&[Op]] = &[
    activation::OPS,
    bias::OPS,
    block::OPS,
    conv::DEPTHWISE_OPS,
    conv::OPS,
    ctc::OPS,
    data_format::OPS,
    dilation::OPS,
    fractional::OPS,
    loss::OPS,
    norm::FUSED_OPS,
    norm::GLOBAL_OPS,
    norm::LOCAL_OPS,
    pool::OPS,
    quantized::OPS,
    softmax::OPS,
];
