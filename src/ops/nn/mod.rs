//! Neural-network ops: activations, losses, convolutions, pooling, normalization, CTC.

pub(super) mod activation;
pub(super) mod bias;
pub(super) mod conv;
pub(super) mod ctc;
pub(super) mod dilation;
pub(super) mod fractional;
pub(super) mod loss;
pub(super) mod norm;
pub(super) mod pool;
pub(super) mod softmax;
mod wide;
mod window;
