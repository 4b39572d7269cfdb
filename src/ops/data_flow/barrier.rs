//! Barriers, which give out tuples once all their components have come.

use super::queue::{Order, TupleQueue, batch};
use super::{handle, record};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Grad, InferCtx, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{DType, Dims, Resource, Shape, Tensor};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

const NONE: Grad = Grad::None("a barrier holds no value of its own");
const HANDLE: &[&str] = &["handle: Ref(string)"];
const CREATE: &[&str] = &[
    "component_types: list(type) >= 1",
    "shapes: list(shape) >= 0 = []",
    "capacity: int = -1",
    "container: string = ''",
    "shared_name: string = ''",
];
const TAKE: &[&str] = &[
    "component_types: list(type) >= 1",
    "allow_small_batch: bool = false",
    "wait_for_incomplete: bool = false",
    "timeout_ms: int = -1",
];

pub(super) static OPS: &[Op] = &[
    record("Barrier", &[], HANDLE, CREATE, handle::shape, create, NONE),
    record(
        "BarrierInsertMany",
        &["handle: Ref(string)", "keys: string", "values: T"],
        &[],
        &["T: type", "component_index: int"],
        insert_shape,
        insert_many,
        NONE,
    ),
    record(
        "BarrierTakeMany",
        &["handle: Ref(string)", "num_elements: int32"],
        &["indices: int64", "keys: string", "values: component_types"],
        TAKE,
        shape::unknown,
        take_many,
        NONE,
    ),
    record("BarrierClose", HANDLE, &[], &["cancel_pending_enqueues: bool = false"], handle::check_shape, close, NONE),
    record("BarrierReadySize", HANDLE, &["size: int32"], &[], shape::scalar, ready_size, NONE),
    record("BarrierIncompleteSize", HANDLE, &["size: int32"], &[], shape::scalar, incomplete_size, NONE),
];

struct Barrier {
    name: String,
    dtypes: Vec<DType>,
    shapes: Vec<Shape>,
    /// Complete tuples: order, key, components.
    ready: TupleQueue,
    state: Mutex<State>,
}

struct State {
    closed: bool,
    cancelled: bool,
    queue_closed: bool,
    incomplete: HashMap<Bytes, Entry>,
    next_index: i64,
}

struct Entry {
    index: i64,
    components: Vec<Option<Tensor>>,
}

impl Resource for Barrier {
    fn kind(&self) -> &'static str {
        "Barrier"
    }
}

impl Barrier {
    fn new(name: String, dtypes: Vec<DType>, shapes: Vec<Shape>) -> Barrier {
        let all = [DType::Int64, DType::String].into_iter().chain(dtypes.iter().copied()).collect();
        let all_shapes = [Shape::scalar(), Shape::scalar()].into_iter().chain(shapes.iter().cloned()).collect();
        let ready = TupleQueue::new(format!("{name}_queue"), Order::Priority, i32::MAX as usize, all, Some(all_shapes));
        let state =
            State { closed: false, cancelled: false, queue_closed: false, incomplete: HashMap::new(), next_index: i64::MIN };
        Barrier { name, dtypes, shapes, ready, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Puts one component of many keys in; keys whose components are all there become ready.
    fn insert(&self, keys: &[Bytes], component: usize, values: &Tensor) -> Result<()> {
        let mut state = self.lock();
        if state.closed && (state.cancelled || !keys.is_empty() && state.incomplete.is_empty()) {
            bail!(
                Cancelled,
                "Barrier {} is closed.  Pending enqueues cancelled: {}.  Number of new insertions: {}.  Number of incomplete \
                 keys: {}.",
                self.name,
                u8::from(state.cancelled),
                keys.len(),
                state.incomplete.len()
            );
        }
        let (mut complete, mut is_new) = (Vec::new(), false);
        for (row, key) in keys.iter().enumerate() {
            if state.closed && !state.incomplete.contains_key(key) {
                bail!(
                    Cancelled,
                    "Barrier {} is closed, but attempted to insert a brand new key: {}.  Pending enqueues cancelled: {}.  \
                     Insertion index: {row}.  Number of incomplete keys: {}.",
                    self.name,
                    String::from_utf8_lossy(key),
                    u8::from(state.cancelled),
                    state.incomplete.len()
                );
            }
            let index = state.next_index;
            let entry = state.incomplete.entry(key.clone()).or_insert_with(|| {
                is_new = true;
                Entry { index, components: vec![None; self.dtypes.len()] }
            });
            let slot = &mut entry.components[component];
            if slot.is_some() {
                let key = String::from_utf8_lossy(key);
                bail!(InvalidArgument, "Key {key} already has a value for component {component} in barrier {}", self.name);
            }
            *slot = Some(values.row(row)?);
            if entry.components.iter().all(Option::is_some)
                && let Some(entry) = state.incomplete.remove(key)
            {
                let mut tuple = vec![Tensor::scalar(entry.index), Tensor::string(key.clone())];
                tuple.extend(entry.components.into_iter().flatten());
                for (i, (shape, value)) in self.shapes.iter().zip(&tuple[2..]).enumerate() {
                    if !shape.accepts(value.dims()) {
                        let got = value.shape();
                        bail!(InvalidArgument, "Shape mismatch in tuple component {}. Expected {shape}, got {got}", i + 2);
                    }
                }
                complete.push(tuple);
            }
        }
        if is_new {
            state.next_index += 1;
        }
        drop(state);
        if complete.is_empty() { Ok(()) } else { self.ready.enqueue(complete) }
    }

    fn take(&self, mut count: usize, allow_small: bool) -> Result<Vec<Vec<Tensor>>> {
        let state = self.lock();
        if state.closed {
            let mut available = self.ready.len();
            if allow_small {
                count = count.min(available);
            } else {
                available += state.incomplete.len();
            }
            if available < count.max(1) {
                bail!(
                    OutOfRange,
                    "Barrier '{}' is closed and has insufficient elements (requested {count}, total size {available})",
                    self.name
                );
            }
        }
        drop(state);
        self.ready.dequeue(count, allow_small)
    }

    fn close(&self, cancel: bool) -> Result<()> {
        let mut state = self.lock();
        if state.closed && (state.cancelled || !cancel) {
            bail!(Cancelled, "Barrier '{}' is already closed.", self.name);
        }
        state.cancelled = cancel;
        state.closed = true;
        if cancel || state.incomplete.is_empty() {
            state.incomplete.clear();
            let close = !std::mem::replace(&mut state.queue_closed, true) || cancel;
            if close && !self.ready.is_closed() {
                return self.ready.close(cancel);
            }
        }
        Ok(())
    }
}

fn insert_shape(ctx: &mut InferCtx) -> Result<()> {
    handle::check_shape(ctx)?;
    let (keys, values) = (ctx.input(1).with_rank(1)?, ctx.input(2).with_rank_at_least(1)?);
    match (keys.dim(0), values.dim(0)) {
        (Some(k), Some(v)) if k != v => bail!(InvalidArgument, "Dimensions must be equal, but are {k} keys and {v} values"),
        _ => Ok(()),
    }
}

fn create(ctx: &mut KernelCtx) -> Result<()> {
    let node = ctx.node();
    let (dtypes, shapes) = (node.dtypes("component_types")?, node.shapes("shapes")?);
    if shapes.len() != dtypes.len() {
        bail!(InvalidArgument, "All of the component shapes must be specified");
    }
    if node.int("capacity")? != -1 {
        bail!(
            InvalidArgument,
            "Barrier only accepts capacity=-1.  Feed the inputs to your Barrier through a queue to enforce a limited capacity."
        );
    }
    let name = match node.string("shared_name")? {
        "" => node.name.to_string(),
        shared => shared.to_string(),
    };
    let container = node.string("container")?.to_string();
    let make = || Ok(Barrier::new(name.clone(), dtypes.clone(), shapes.clone()));
    let barrier: Arc<Barrier> = ctx.session().resource(&container, &name, make)?;
    if barrier.dtypes != dtypes || barrier.shapes != shapes {
        bail!(InvalidArgument, "Shared barrier '{name}' has other component types or shapes than requested");
    }
    handle::output(ctx, &container, &name, barrier)
}

fn insert_many(ctx: &mut KernelCtx) -> Result<()> {
    let barrier = handle::input::<Barrier>(ctx)?;
    let component = ctx.node().int("component_index")?;
    let (keys, values) = (ctx.input(1)?, ctx.input(2)?);
    let Some(component) = usize::try_from(component).ok().filter(|&c| c < barrier.dtypes.len()) else {
        bail!(InvalidArgument, "The component ID is out of range {component} > num_components (= {})", barrier.dtypes.len());
    };
    if values.dtype() != barrier.dtypes[component] {
        bail!(InvalidArgument, "Signature mismatch, have: {} expected: {}", values.dtype(), barrier.dtypes[component]);
    }
    if values.rank() == 0 || values.dims()[0] != keys.len() {
        bail!(InvalidArgument, "Size of keys {} does not fit values of shape {}", keys.len(), values.shape());
    }
    if !keys.is_empty() && values.is_empty() {
        bail!(InvalidArgument, "Tensors with no elements are not supported {}: received shape {}", barrier.name, values.shape());
    }
    barrier.insert(keys.strings()?, component, values)
}

fn take_many(ctx: &mut KernelCtx) -> Result<()> {
    let barrier = handle::input::<Barrier>(ctx)?;
    let count = ctx.input(1)?;
    if !count.is_scalar() {
        bail!(InvalidArgument, "num_elements must be a scalar, but had shape {}", count.shape());
    }
    let dtypes = ctx.node().dtypes("component_types")?;
    if dtypes != barrier.dtypes {
        bail!(InvalidArgument, "the barrier holds components of {:?}, {dtypes:?} were asked for", barrier.dtypes);
    }
    let count = count.item_i64()?;
    let count = usize::try_from(count).map_err(|_| Error::invalid_argument(format!("num_elements {count} must be >= 0")))?;
    let tuples = barrier.take(count, ctx.node().boolean("allow_small_batch")?)?;
    for index in 0..ctx.num_outputs() {
        let column: Vec<Tensor> = tuples.iter().map(|t| t[index].clone()).collect();
        let value = if column.is_empty() {
            let shape = barrier.ready.shapes.as_ref().map(|s| s[index].clone()).unwrap_or_default();
            let dims: Dims = std::iter::once(0).chain(shape.to_dims().unwrap_or_default()).collect();
            Tensor::zeros(barrier.ready.dtypes[index], &dims)?
        } else {
            batch(&column)?
        };
        ctx.set(index, value)?;
    }
    Ok(())
}

fn close(ctx: &mut KernelCtx) -> Result<()> {
    let cancel = ctx.node().boolean("cancel_pending_enqueues")?;
    handle::input::<Barrier>(ctx)?.close(cancel)
}

fn ready_size(ctx: &mut KernelCtx) -> Result<()> {
    let size = handle::input::<Barrier>(ctx)?.ready.len();
    ctx.set(0, Tensor::scalar(i32::try_from(size).unwrap_or(i32::MAX)))
}

fn incomplete_size(ctx: &mut KernelCtx) -> Result<()> {
    let size = handle::input::<Barrier>(ctx)?.lock().incomplete.len();
    ctx.set(0, Tensor::scalar(i32::try_from(size).unwrap_or(i32::MAX)))
}
