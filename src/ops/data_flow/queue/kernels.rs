//! Kernels of the ops on queues.

use super::super::handle;
use super::object::{Order, Tuple, TupleQueue};
use crate::error::{Error, Result, bail};
use crate::graph::op::KernelCtx;
use crate::ops::array::one_by_one;
use crate::tensor::{DType, Dims, Shape, Tensor};
use std::sync::Arc;

pub(super) fn create(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let mut dtypes = node.dtypes("component_types")?;
    let mut shapes = node.shapes("shapes")?;
    let order = match node.op.trim_end_matches("V2") {
        "FIFOQueue" => Order::Fifo,
        "PaddingFIFOQueue" => Order::Padding,
        "PriorityQueue" => Order::Priority,
        _ => {
            let min = node.int("min_after_dequeue")?;
            let Ok(min_after_dequeue) = usize::try_from(min) else {
                bail!(InvalidArgument, "min_after_dequeue {min} must be >= 0")
            };
            Order::Shuffle { min_after_dequeue, seed: (node.int("seed")?, node.int("seed2")?) }
        }
    };
    if order == Order::Priority {
        dtypes.insert(0, DType::Int64);
        if !shapes.is_empty() || dtypes.len() == 1 {
            shapes.insert(0, Shape::scalar());
        }
    }
    if !(shapes.is_empty() && order != Order::Padding) && shapes.len() != dtypes.len() {
        bail!(InvalidArgument, "Different number of component types.  Types: {dtypes:?}, Shapes: {shapes:?}");
    }
    if let Some(shape) = shapes.iter().find(|s| s.rank().is_none()) {
        bail!(InvalidArgument, "shape {shape} must have known rank.");
    }
    let capacity = node.int("capacity")?;
    let capacity = usize::try_from(capacity).unwrap_or(i32::MAX as usize);
    if capacity < if let Order::Shuffle { min_after_dequeue, .. } = order { min_after_dequeue } else { 0 } {
        bail!(InvalidArgument, "capacity {capacity} must be at least min_after_dequeue");
    }
    let name = match node.string("shared_name")? {
        "" => node.name.to_string(),
        shared => shared.to_string(),
    };
    let container = node.string("container")?.to_string();
    let shapes = if shapes.is_empty() { None } else { Some(shapes) };
    let asked = TupleQueue::new(name.clone(), order, capacity, dtypes, shapes);
    let mut asked = Some(asked);
    let queue =
        ctx.session().resource(&container, &name, || asked.take().ok_or_else(|| Error::internal("a queue was made twice")))?;
    if let Some(asked) = asked {
        queue.check_same(&asked)?;
    }
    handle::output(ctx, &container, &name, queue)
}

pub(super) fn fake(ctx: &mut KernelCtx) -> Result<()> {
    let queue = ctx.resource::<TupleQueue>(0)?;
    let name = queue.name.clone();
    handle::output(ctx, "queues", &name, queue)
}

/// The components of the tuple that an op enqueues.
fn components(ctx: &mut KernelCtx, queue: &TupleQueue) -> Result<Tuple> {
    let given = ctx.num_inputs() - 1;
    if given != queue.dtypes.len() {
        bail!(InvalidArgument, "Wrong number of components in tuple. Expected {}, got {given}", queue.dtypes.len());
    }
    let mut tuple = Vec::with_capacity(given);
    for (index, &dtype) in queue.dtypes.iter().enumerate() {
        let value = ctx.take(index + 1)?;
        if value.dtype() != dtype {
            bail!(InvalidArgument, "Type mismatch in tuple component {index}. Expected {dtype}, got {}", value.dtype());
        }
        tuple.push(value);
    }
    Ok(tuple)
}

fn check_shape(index: usize, expected: &Shape, got: &[usize]) -> Result<()> {
    if !expected.accepts(got) {
        bail!(InvalidArgument, "Shape mismatch in tuple component {index}. Expected {expected}, got {got:?}");
    }
    Ok(())
}

fn check_priority(queue: &TupleQueue, tuple: &[Tensor]) -> Result<()> {
    match tuple.first() {
        Some(priority) if queue.order == Order::Priority && !priority.is_scalar() => {
            bail!(InvalidArgument, "Expected the priority element to be a scalar, but received shape: {:?}", priority.dims())
        }
        _ => Ok(()),
    }
}

pub(super) fn enqueue(ctx: &mut KernelCtx) -> Result<()> {
    let queue = handle::input::<TupleQueue>(ctx)?;
    let tuple = components(ctx, &queue)?;
    for (index, shape) in queue.shapes.iter().flatten().enumerate() {
        check_shape(index, shape, tuple[index].dims())?;
    }
    check_priority(&queue, &tuple)?;
    queue.enqueue(vec![tuple])
}

pub(super) fn enqueue_many(ctx: &mut KernelCtx) -> Result<()> {
    let queue = handle::input::<TupleQueue>(ctx)?;
    let batches = components(ctx, &queue)?;
    let mut size = None;
    for (index, batch) in batches.iter().enumerate() {
        let [rows, rest @ ..] = batch.dims() else {
            bail!(InvalidArgument, "Expected component {index} to have at least one dimension, got a scalar");
        };
        let size = *size.get_or_insert(*rows);
        if let Some(shapes) = &queue.shapes {
            let expected = Shape::from([size]).concatenate(&shapes[index]);
            check_shape(index, &expected, batch.dims())?;
        }
        if *rows != size {
            bail!(
                InvalidArgument,
                "All input tensors must have the same size in the 0th dimension. Component {index} has {rows}, and should have \
                 {size}"
            );
        }
        if index == 0 && queue.order == Order::Priority && !rest.is_empty() {
            bail!(InvalidArgument, "Expected the priority element to be a scalar, but received shape: {rest:?}");
        }
    }
    let size = size.unwrap_or(0);
    if size == 0 {
        return Ok(());
    }
    let mut tuples = Vec::with_capacity(size);
    for row in 0..size {
        tuples.push(batches.iter().map(|b| b.row(row)).collect::<Result<Tuple>>()?);
    }
    queue.enqueue(tuples)
}

/// Checks that an op expects what the queue holds.
fn check_dtypes(ctx: &KernelCtx, queue: &TupleQueue) -> Result<()> {
    let expected = ctx.node().dtypes("component_types")?;
    if expected != queue.dtypes {
        bail!(InvalidArgument, "the queue holds components of {:?}, {expected:?} were asked for", queue.dtypes);
    }
    Ok(())
}

pub(super) fn dequeue(ctx: &mut KernelCtx) -> Result<()> {
    let queue = handle::input::<TupleQueue>(ctx)?;
    check_dtypes(ctx, &queue)?;
    for (index, component) in queue.dequeue(1, false)?.into_iter().flatten().enumerate() {
        ctx.set(index, component)?;
    }
    Ok(())
}

pub(super) fn dequeue_many(ctx: &mut KernelCtx) -> Result<()> {
    dequeue_batch(ctx, "DequeueManyOp", false)
}

pub(super) fn dequeue_up_to(ctx: &mut KernelCtx) -> Result<()> {
    dequeue_batch(ctx, "DequeueUpToOp", true)
}

fn dequeue_batch(ctx: &mut KernelCtx, what: &str, partial: bool) -> Result<()> {
    let queue = handle::input::<TupleQueue>(ctx)?;
    check_dtypes(ctx, &queue)?;
    let count = ctx.int_input(1)?;
    let Ok(count) = usize::try_from(count) else {
        bail!(InvalidArgument, "{what} requested {count} < 0 elements");
    };
    let Some(shapes) = &queue.shapes else {
        bail!(
            InvalidArgument,
            "{}'s DequeueMany and DequeueUpTo require the components to have specified shapes.",
            ctx.node().op
        );
    };
    if count == 0 {
        for (index, (shape, &dtype)) in shapes.iter().zip(&queue.dtypes).enumerate() {
            let rest = shape.sizes().unwrap_or_default();
            let dims: Dims = std::iter::once(0).chain(rest.iter().map(|d| d.unwrap_or(0))).collect();
            ctx.set(index, Tensor::zeros(dtype, &dims)?)?;
        }
        return Ok(());
    }
    let tuples = queue.dequeue(count, partial)?;
    let mut columns: Vec<Vec<Tensor>> = vec![Vec::with_capacity(tuples.len()); queue.dtypes.len()];
    for tuple in tuples {
        for (column, component) in columns.iter_mut().zip(tuple) {
            column.push(component);
        }
    }
    for (index, column) in columns.into_iter().enumerate() {
        ctx.set(index, batch(&column)?)?;
    }
    Ok(())
}

/// Tensors along a new first dimension, each padded with zeros to the largest sizes.
pub fn batch(values: &[Tensor]) -> Result<Tensor> {
    let Some(first) = values.first() else { bail!(Internal, "a batch without rows") };
    let mut largest = Dims::from_slice(first.dims());
    for value in values {
        if value.rank() != largest.len() {
            bail!(InvalidArgument, "components of one batch have ranks {} and {}", largest.len(), value.rank());
        }
        largest.iter_mut().zip(value.dims()).for_each(|(most, &d)| *most = d.max(*most));
    }
    let padded = values.iter().map(|v| pad(v, &largest)).collect::<Result<Vec<_>>>()?;
    let mut dims = largest;
    dims.insert(0, values.len());
    one_by_one(&padded, &dims)
}

/// The tensor at the front of one of zeros.
fn pad(value: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if value.dims() == dims {
        return Ok(value.clone());
    }
    let mut padded = Tensor::zeros(value.dtype(), dims)?;
    let run = *value.dims().last().unwrap_or(&1);
    let (from, to) = (rows(value.dims()), rows_within(value.dims(), dims));
    if value.dtype() == DType::String {
        let mut strings = padded.strings()?.to_vec();
        for (from, to) in from.zip(to) {
            strings[to..to + run].clone_from_slice(&value.strings()?[from..from + run]);
        }
        return Tensor::from_strings(dims, strings);
    }
    let size = value.dtype().size();
    let source = value.bytes()?;
    let target = padded.bytes_mut()?;
    for (from, to) in from.zip(to) {
        target[to * size..(to + run) * size].copy_from_slice(&source[from * size..(from + run) * size]);
    }
    Ok(padded)
}

/// Where the runs along the last dimension begin.
fn rows(dims: &[usize]) -> impl Iterator<Item = usize> {
    let run = dims.last().copied().unwrap_or(1);
    let count: usize = dims.iter().rev().skip(1).product();
    (0..if run == 0 { 0 } else { count }).map(move |row| row * run)
}

/// Where the same runs begin within larger dimensions.
fn rows_within<'a>(dims: &'a [usize], larger: &'a [usize]) -> impl Iterator<Item = usize> + 'a {
    let count: usize = dims.iter().rev().skip(1).product();
    (0..count).map(move |mut row| {
        let (mut at, mut stride) = (0, larger.last().copied().unwrap_or(1));
        for (&d, &l) in dims.iter().zip(larger).rev().skip(1) {
            at += row % d * stride;
            row /= d;
            stride *= l;
        }
        at
    })
}

pub(super) fn close(ctx: &mut KernelCtx) -> Result<()> {
    let cancel = ctx.node().boolean("cancel_pending_enqueues")?;
    handle::input::<TupleQueue>(ctx)?.close(cancel)
}

pub(super) fn is_closed(ctx: &mut KernelCtx) -> Result<()> {
    let closed = handle::input::<TupleQueue>(ctx)?.is_closed();
    ctx.set(0, Tensor::scalar(closed))
}

pub(super) fn size(ctx: &mut KernelCtx) -> Result<()> {
    let queue: Arc<TupleQueue> = handle::input(ctx)?;
    let Ok(size) = i32::try_from(queue.len()) else { bail!(OutOfRange, "the queue holds {} tuples", queue.len()) };
    ctx.set(0, Tensor::scalar(size))
}
