//! Gradient functions: the nodes of TensorFlow's `nn_grad.py`.

pub(super) mod activation;
pub(super) mod conv;
pub(super) mod loss;
pub(super) mod norm;
pub(super) mod pool;
