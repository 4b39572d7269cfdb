//! Builder methods with the nodes and names of TensorFlow's `nn_ops.py` and `nn_impl.py`.

mod activation;
mod conv;
mod cross_entropy;
mod ctc;
mod dropout;
mod embedding;
mod norm;
mod softmax;

pub use conv::ConvOptions;
pub use ctc::CtcLoss;
pub use embedding::{Combiner, PartitionStrategy, SampledLoss};
pub use norm::{FusedBatchNorm, Normalized};
