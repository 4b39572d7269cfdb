//! The builder of queues (`tf.FIFOQueue` and its kin).

use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape};

/// What a new queue is told beside its capacity and component types.
#[derive(Clone, Debug, Default)]
pub struct QueueOptions {
    /// The static shapes of the components; empty where they may have any, and then only single tuples can be taken.
    pub shapes: Vec<Shape>,
    /// The name under which several nodes share the queue; the node's own if empty.
    pub shared_name: String,
}

/// A queue of tuples of tensors.
///
/// ```
/// # use metagraph::{DType, Graph, Session, Tensor};
/// # use metagraph::ops::{Queue, QueueOptions};
/// let g = Graph::new();
/// let queue = Queue::fifo(&g, 3, &[DType::Float], QueueOptions::default())?;
/// let x = g.placeholder(DType::Float, [None])?;
/// let put = queue.enqueue(&g, &[x.into()])?;
/// let get = queue.dequeue(&g)?[0];
/// let session = Session::new(&g);
/// session.run_targets(&[put], &[(x, &Tensor::from([1f32, 2.0]))])?;
/// assert_eq!(session.run(&[get], &[])?[0].to_string(), "f32[1 2]");
/// # Ok::<(), metagraph::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    handle: Output,
    name: String,
    dtypes: Vec<DType>,
    shapes: Vec<Shape>,
}

impl Queue {
    /// A queue that gives the oldest tuple first (`tf.FIFOQueue`).
    ///
    /// # Errors
    /// `InvalidArgument` without component types, or with another number of shapes.
    pub fn fifo(g: &Graph, capacity: i64, dtypes: &[DType], options: QueueOptions) -> Result<Queue> {
        let _outside = g.cleared_control_dependencies();
        let _on = g.device("/device:CPU:*");
        Queue::make(g, "fifo_queue", "FIFOQueueV2", capacity, dtypes, options, &[])
    }

    /// The same, where several tuples of different shapes are padded with zeros (`tf.PaddingFIFOQueue`).
    ///
    /// # Errors
    /// As [`Queue::fifo`].
    pub fn padding_fifo(g: &Graph, capacity: i64, dtypes: &[DType], options: QueueOptions) -> Result<Queue> {
        Queue::make(g, "padding_fifo_queue", "PaddingFIFOQueueV2", capacity, dtypes, options, &[])
    }

    /// A queue that gives the tuple of the least priority first; the priority is an int64 before the other components
    /// (`tf.PriorityQueue`).
    ///
    /// # Errors
    /// As [`Queue::fifo`].
    pub fn priority(g: &Graph, capacity: i64, dtypes: &[DType], options: QueueOptions) -> Result<Queue> {
        let mut queue = Queue::make(g, "priority_queue", "PriorityQueueV2", capacity, dtypes, options, &[])?;
        queue.dtypes.insert(0, DType::Int64);
        if !queue.shapes.is_empty() {
            queue.shapes.insert(0, Shape::scalar());
        }
        Ok(queue)
    }

    /// A queue that gives any tuple, and keeps some until it is closed (`tf.RandomShuffleQueue`).
    ///
    /// # Errors
    /// As [`Queue::fifo`].
    pub fn random_shuffle(
        g: &Graph,
        capacity: i64,
        min_after_dequeue: i64,
        dtypes: &[DType],
        seed: Option<i64>,
        options: QueueOptions,
    ) -> Result<Queue> {
        let (seed, seed2) = g.get_seed(seed);
        let more = [("min_after_dequeue", min_after_dequeue), ("seed", seed), ("seed2", seed2)];
        Queue::make(g, "random_shuffle_queue", "RandomShuffleQueueV2", capacity, dtypes, options, &more)
    }

    fn make(
        g: &Graph,
        default_name: &str,
        op: &str,
        capacity: i64,
        dtypes: &[DType],
        options: QueueOptions,
        more: &[(&str, i64)],
    ) -> Result<Queue> {
        if !options.shapes.is_empty() && options.shapes.len() != dtypes.len() {
            bail!(InvalidArgument, "a queue of {} components was given {} shapes", dtypes.len(), options.shapes.len());
        }
        let mut builder = g
            .op(op)
            .default_name(default_name)
            .attr("component_types", dtypes)
            .attr("shapes", &options.shapes[..])
            .attr("capacity", capacity)
            .attr("shared_name", options.shared_name.as_str());
        for &(name, value) in more {
            builder = builder.attr(name, value);
        }
        let handle = builder.output()?;
        let full = g.op_name(handle.op);
        let name = full.rsplit('/').next().unwrap_or(&full).to_string();
        Ok(Queue { handle, name, dtypes: dtypes.to_vec(), shapes: options.shapes })
    }

    /// The handle.
    pub fn handle(&self) -> Output {
        self.handle
    }

    /// The dtypes of the components.
    pub fn dtypes(&self) -> &[DType] {
        &self.dtypes
    }

    fn scope(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.name)
    }

    /// Puts a tuple in; waits where there is no room.
    ///
    /// # Errors
    /// `InvalidArgument` for components that don't fit.
    pub fn enqueue(&self, g: &Graph, components: &[Arg]) -> Result<Operation> {
        self.put(g, "enqueue", "QueueEnqueueV2", components, |shape| shape.clone())
    }

    /// Puts a tuple in for each row of the components.
    ///
    /// # Errors
    /// `InvalidArgument` for components that don't fit.
    pub fn enqueue_many(&self, g: &Graph, components: &[Arg]) -> Result<Operation> {
        self.put(g, "EnqueueMany", "QueueEnqueueManyV2", components, |shape| Shape::vector(None).concatenate(shape))
    }

    fn put(
        &self,
        g: &Graph,
        suffix: &str,
        op: &str,
        components: &[Arg],
        expected: impl Fn(&Shape) -> Shape,
    ) -> Result<Operation> {
        if components.len() != self.dtypes.len() {
            bail!(InvalidArgument, "the queue takes {} components, got {}", self.dtypes.len(), components.len());
        }
        let (g, scope) = g.enter(&self.scope(suffix))?;
        let mut outputs = Vec::with_capacity(components.len());
        for (index, (component, &dtype)) in components.iter().zip(&self.dtypes).enumerate() {
            outputs.push(g.convert_to_tensor(component.clone(), Some(dtype), &format!("component_{index}"))?);
        }
        for (&output, shape) in outputs.iter().zip(&self.shapes) {
            g.shape(output)?.merge(&expected(shape))?;
        }
        g.op(op).name(scope.name()).input(self.handle).input_list(&outputs).finish()
    }

    /// Takes a tuple; waits until there is one.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn dequeue(&self, g: &Graph) -> Result<Vec<Output>> {
        let op = g.op("QueueDequeueV2").default_name(&self.scope("Dequeue")).input(self.handle);
        let outputs = op.attr("component_types", &self.dtypes[..]).outputs()?;
        for (&output, shape) in outputs.iter().zip(&self.shapes) {
            g.set_shape(output, shape.clone())?;
        }
        Ok(outputs)
    }

    /// Takes `n` tuples, each component along a new first dimension; waits until there are so many.
    ///
    /// # Errors
    /// `InvalidArgument` for an `n` that is no int32 scalar.
    pub fn dequeue_many(&self, g: &Graph, n: impl Into<Arg>) -> Result<Vec<Output>> {
        let outputs = self.take_batch(g, "DequeueMany", "QueueDequeueManyV2", n.into())?;
        let rows = g.constant_value(g.input(outputs[0].op, 1)?).and_then(|n| n.item_i64().ok());
        let rows = rows.and_then(|n| usize::try_from(n).ok());
        for (&output, shape) in outputs.iter().zip(&self.shapes) {
            g.set_shape(output, Shape::vector(rows).concatenate(shape))?;
        }
        Ok(outputs)
    }

    /// The same, or what is left where the queue is closed.
    ///
    /// # Errors
    /// As [`Queue::dequeue_many`].
    pub fn dequeue_up_to(&self, g: &Graph, n: impl Into<Arg>) -> Result<Vec<Output>> {
        let outputs = self.take_batch(g, "DequeueUpTo", "QueueDequeueUpToV2", n.into())?;
        for (&output, shape) in outputs.iter().zip(&self.shapes) {
            g.set_shape(output, Shape::vector(None).concatenate(shape))?;
        }
        Ok(outputs)
    }

    fn take_batch(&self, g: &Graph, suffix: &str, op: &str, n: Arg) -> Result<Vec<Output>> {
        let call = g.call(op).default_name(g.name_or(&self.scope(suffix))).arg(self.handle).arg(n);
        call.attr("component_types", &self.dtypes[..]).outputs()
    }

    /// Lets nothing more in.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn close(&self, g: &Graph, cancel_pending_enqueues: bool) -> Result<Operation> {
        let op = g.op("QueueCloseV2").default_name(&self.scope("Close")).input(self.handle);
        op.attr("cancel_pending_enqueues", cancel_pending_enqueues).finish()
    }

    /// Whether the queue is closed.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn is_closed(&self, g: &Graph) -> Result<Output> {
        g.op("QueueIsClosedV2").default_name(&self.scope("Is_Closed")).input(self.handle).output()
    }

    /// The number of tuples in the queue.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn size(&self, g: &Graph) -> Result<Output> {
        g.op("QueueSizeV2").default_name(&self.scope("Size")).input(self.handle).output()
    }
}
