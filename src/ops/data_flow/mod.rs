//! Objects that hold tensors while a graph runs: stacks, arrays of tensors, queues.

mod accumulator;
mod barrier;
mod handle;
mod mutex;
mod queue;
mod session_tensor;
mod stack;
mod staging;
mod stub_resource;
mod tensor_array;

pub use queue::{Queue, QueueOptions};
pub(crate) use tensor_array::elements as tensor_array_elements;
pub use tensor_array::{TensorArray, TensorArrayOptions};

use crate::graph::op::{Grad, Kernel, KernelFn, Op, ShapeFn};

pub(super) static ACCUMULATORS: &[Op] = accumulator::OPS;
pub(super) static BARRIERS: &[Op] = barrier::OPS;
pub(super) static MUTEXES: &[Op] = mutex::OPS;
pub(super) static QUEUES: &[Op] = queue::OPS;
pub(super) static SESSION_TENSORS: &[Op] = session_tensor::OPS;
pub(super) static STACKS: &[Op] = stack::OPS;
pub(super) static STAGING_AREAS: &[Op] = staging::OPS;
pub(super) static STUB_RESOURCES: &[Op] = stub_resource::OPS;
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
