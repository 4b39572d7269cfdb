//! Queues of tuples of tensors, which steps fill and empty.

mod builder;
mod kernels;
mod object;

pub use builder::{Queue, QueueOptions};

pub(in crate::ops::data_flow) use kernels::batch;
pub(in crate::ops::data_flow) use object::{Order, TupleQueue};

use super::{handle, record};
use crate::graph::op::{Grad, Op};
use crate::ops::shape;

const NONE: Grad = Grad::None("a queue holds no value of its own");

const FIFO: &[&str] = &[
    "component_types: list(type) >= 1",
    "shapes: list(shape) >= 0 = []",
    "capacity: int = -1",
    "container: string = ''",
    "shared_name: string = ''",
];
const PRIORITY: &[&str] = &[
    "component_types: list(type) >= 0 = []",
    "shapes: list(shape) >= 0",
    "capacity: int = -1",
    "container: string = ''",
    "shared_name: string = ''",
];
const SHUFFLE: &[&str] = &[
    "component_types: list(type) >= 1",
    "shapes: list(shape) >= 0 = []",
    "capacity: int = -1",
    "min_after_dequeue: int = 0",
    "seed: int = 0",
    "seed2: int = 0",
    "container: string = ''",
    "shared_name: string = ''",
];
const ENQUEUE: &[&str] = &["Tcomponents: list(type) >= 1", "timeout_ms: int = -1"];
const DEQUEUE: &[&str] = &["component_types: list(type) >= 1", "timeout_ms: int = -1"];
const CLOSE: &[&str] = &["cancel_pending_enqueues: bool = false"];
const COMPONENTS: &[&str] = &["components: component_types"];

/// The two versions of each op: the first with a reference to two strings as handle, the second with a resource. In TF the
/// first alone says that it has no gradient.
macro_rules! versions {
    ($({ $name:literal, [$($ins:literal),*], $outs:expr, $attrs:expr, $shape:expr, $kernel:expr },)*) => {
        &[
            $(
                record($name, &["handle: Ref(string)" $(, $ins)*], $outs, $attrs, $shape, $kernel, NONE),
                record(concat!($name, "V2"), &["handle: resource" $(, $ins)*], $outs, $attrs, $shape, $kernel, Grad::Missing),
            )*
            record("FIFOQueue", &[], REFERENCE, FIFO, handle::shape, kernels::create, Grad::Missing),
            record("FIFOQueueV2", &[], RESOURCE, FIFO, shape::scalar, kernels::create, Grad::Missing),
            record("PaddingFIFOQueue", &[], REFERENCE, FIFO, handle::shape, kernels::create, Grad::Missing),
            record("PaddingFIFOQueueV2", &[], RESOURCE, FIFO, shape::scalar, kernels::create, Grad::Missing),
            record("PriorityQueue", &[], REFERENCE, PRIORITY, handle::shape, kernels::create, Grad::Missing),
            record("PriorityQueueV2", &[], RESOURCE, PRIORITY, shape::scalar, kernels::create, Grad::Missing),
            record("RandomShuffleQueue", &[], REFERENCE, SHUFFLE, handle::shape, kernels::create, Grad::Missing),
            record("RandomShuffleQueueV2", &[], RESOURCE, SHUFFLE, shape::scalar, kernels::create, Grad::Missing),
            record("FakeQueue", &["resource: resource"], REFERENCE, &[], handle::shape, kernels::fake, Grad::Missing),
        ]
    };
}

const REFERENCE: &[&str] = &["handle: Ref(string)"];
const RESOURCE: &[&str] = &["handle: resource"];

pub(super) static OPS: &[Op] = versions! {
    { "QueueEnqueue", ["components: Tcomponents"], &[], ENQUEUE, shape::none, kernels::enqueue },
    { "QueueEnqueueMany", ["components: Tcomponents"], &[], ENQUEUE, shape::none, kernels::enqueue_many },
    { "QueueDequeue", [], COMPONENTS, DEQUEUE, shape::unknown, kernels::dequeue },
    { "QueueDequeueMany", ["n: int32"], COMPONENTS, DEQUEUE, shape::unknown, kernels::dequeue_many },
    { "QueueDequeueUpTo", ["n: int32"], COMPONENTS, DEQUEUE, shape::unknown, kernels::dequeue_up_to },
    { "QueueClose", [], &[], CLOSE, shape::none, kernels::close },
    { "QueueIsClosed", [], &["is_closed: bool"], &[], shape::scalar, kernels::is_closed },
    { "QueueSize", [], &["size: int32"], &[], shape::scalar, kernels::size },
};
