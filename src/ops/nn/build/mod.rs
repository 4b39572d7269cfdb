//! Builder methods with the nodes and names of TensorFlow's `nn_ops.py` and `nn_impl.py`.

mod activation;
mod cross_entropy;
mod dropout;
mod softmax;
