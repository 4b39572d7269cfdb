//! Objects that hold tensors while a graph runs: stacks, arrays of tensors, queues.

mod handle;
mod stack;
mod tensor_array;

pub use tensor_array::{TensorArray, TensorArrayOptions};

use crate::graph::op::{Grad, Kernel, KernelFn, Op, ShapeFn};

pub(super) static STACKS: &[Op] = stack::OPS;
pub(super) static TENSOR_ARRAYS: &[Op] = tensor_array::OPS;

/// The record of an op with state.
const fn record(
    name: &'static str,
    ins: &'static [&'static str],
    outs: &'static [&'static str],
    attrs: &'static [&'static str],
    shape: ShapeFn,
    kernel: KernelFn,
    grad: Grad,
) -> Op {
    Op { name, ins, outs, attrs, shape, kernel: Kernel::Stateful(kernel), grad, rows: &[] }
}
