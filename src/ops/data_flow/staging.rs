//! Staging areas, in which one step leaves tensors for another: in order, or by key.

use super::record;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, KernelCtx, NodeInfo, Op};
use crate::ops::shape;
use crate::tensor::{Resource, Tensor};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const TYPED: &[&str] = &[
    "capacity: int >= 0 = 0",
    "memory_limit: int >= 0 = 0",
    "dtypes: list(type) >= 1",
    "container: string = ''",
    "shared_name: string = ''",
];
const ATTRS: &[&str] = &[
    "capacity: int >= 0 = 0",
    "memory_limit: int >= 0 = 0",
    "dtypes: list(type)",
    "container: string = ''",
    "shared_name: string = ''",
];
const MAP_STAGE: &[&str] = &[
    "capacity: int >= 0 = 0",
    "memory_limit: int >= 0 = 0",
    "dtypes: list(type)",
    "fake_dtypes: list(type) >= 1",
    "container: string = ''",
    "shared_name: string = ''",
];
const VALUES: &[&str] = &["values: dtypes"];
const SIZE: &[&str] = &["size: int32"];
const KEYED: &[&str] = &["key: int64", "indices: int32"];

macro_rules! maps {
    ($($prefix:literal),*) => {
        &[
            record("Stage", VALUES, &[], TYPED, shape::none, stage, Grad::Missing),
            record("Unstage", &[], VALUES, TYPED, shape::unknown, unstage, Grad::Missing),
            record("StagePeek", &["index: int32"], VALUES, TYPED, shape::unknown, peek, Grad::Missing),
            record("StageSize", &[], SIZE, ATTRS, shape::scalar, size, Grad::Missing),
            record("StageClear", &[], &[], ATTRS, shape::none, clear, Grad::Missing),
            $(
                record(
                    concat!($prefix, "Stage"),
                    &["key: int64", "indices: int32", "values: fake_dtypes"],
                    &[],
                    MAP_STAGE,
                    shape::none,
                    map_stage,
                    Grad::Missing,
                ),
                record(concat!($prefix, "Unstage"), KEYED, VALUES, TYPED, shape::unknown, map_unstage, Grad::Missing),
                record(concat!($prefix, "Peek"), KEYED, VALUES, TYPED, shape::unknown, map_peek, Grad::Missing),
                record(
                    concat!($prefix, "UnstageNoKey"),
                    &["indices: int32"],
                    &["key: int64", "values: dtypes"],
                    TYPED,
                    no_key_shape,
                    map_unstage_no_key,
                    Grad::Missing,
                ),
                record(concat!($prefix, "Size"), &[], SIZE, ATTRS, shape::scalar, map_size, Grad::Missing),
                record(concat!($prefix, "IncompleteSize"), &[], SIZE, ATTRS, shape::scalar, map_incomplete_size, Grad::Missing),
                record(concat!($prefix, "Clear"), &[], &[], ATTRS, shape::none, map_clear, Grad::Missing),
            )*
        ]
    };
}

pub(super) static OPS: &[Op] = maps!["Map", "OrderedMap"];

fn no_key_shape(ctx: &mut InferCtx) -> Result<()> {
    shape::unknown(ctx)
}

/// How much an area holds at most; 0 for no limit.
struct Limits {
    capacity: usize,
    bytes: usize,
}

impl Limits {
    fn of(node: &NodeInfo) -> Result<Limits> {
        let limit = |name: &str| Ok::<_, crate::error::Error>(usize::try_from(node.int(name)?).unwrap_or(0));
        Ok(Limits { capacity: limit("capacity")?, bytes: limit("memory_limit")? })
    }

    /// Checks that a tuple would fit if the area were empty.
    fn check(&self, bytes: usize) -> Result<()> {
        if self.bytes > 0 && bytes > self.bytes {
            bail!(
                ResourceExhausted,
                "Attempted to insert tensors with combined size of '{bytes}' bytes into Staging Area with a memory limit of \
                 '{}'.",
                self.bytes
            );
        }
        Ok(())
    }

    fn allow(&self, count: usize, held: usize, more: usize) -> bool {
        (self.capacity == 0 || count < self.capacity) && (self.bytes == 0 || held + more <= self.bytes)
    }
}

fn size_of(tuple: &[Tensor]) -> usize {
    tuple.iter().map(Tensor::byte_size).sum()
}

/// Tuples in order.
struct Area {
    limits: Limits,
    tuples: Mutex<VecDeque<Vec<Tensor>>>,
    changed: Condvar,
}

impl Resource for Area {
    fn kind(&self) -> &'static str {
        "StagingArea"
    }
}

/// Tuples by key. An element that isn't there is none; a tuple is complete once all were there.
struct Map {
    limits: Limits,
    width: usize,
    state: Mutex<MapState>,
    changed: Condvar,
}

#[derive(Default)]
struct MapState {
    complete: BTreeMap<i64, Vec<Option<Tensor>>>,
    incomplete: BTreeMap<i64, Vec<Option<Tensor>>>,
    bytes: usize,
}

impl Resource for Map {
    fn kind(&self) -> &'static str {
        "StagingMap"
    }
}

/// The object of a node: the one of its shared name, or its own.
fn object<T: Resource>(ctx: &KernelCtx, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    let node = ctx.node();
    let name = match node.string("shared_name")? {
        "" => node.name.to_string(),
        shared => shared.to_string(),
    };
    ctx.session().resource(node.string("container")?, &name, make)
}

fn area(ctx: &KernelCtx) -> Result<Arc<Area>> {
    let limits = Limits::of(ctx.node())?;
    object(ctx, || Ok(Area { limits, tuples: Mutex::default(), changed: Condvar::new() }))
}

fn map(ctx: &KernelCtx) -> Result<Arc<Map>> {
    let (limits, width) = (Limits::of(ctx.node())?, ctx.node().dtypes("dtypes")?.len());
    object(ctx, || Ok(Map { limits, width, state: Mutex::default(), changed: Condvar::new() }))
}

fn output(ctx: &mut KernelCtx, first: usize, tuple: Vec<Tensor>) -> Result<()> {
    let expected = ctx.num_outputs() - first;
    if tuple.len() != expected {
        bail!(InvalidArgument, "Mismatch stage/unstage: {} vs. {expected}", tuple.len());
    }
    tuple.into_iter().enumerate().try_for_each(|(i, value)| ctx.set(first + i, value))
}

impl Area {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<Tensor>>> {
        self.tuples.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, VecDeque<Vec<Tensor>>>) -> MutexGuard<'a, VecDeque<Vec<Tensor>>> {
        self.changed.wait(guard).unwrap_or_else(|e| e.into_inner())
    }
}

fn stage(ctx: &mut KernelCtx) -> Result<()> {
    let area = area(ctx)?;
    let tuple = (0..ctx.num_inputs()).map(|i| ctx.take(i)).collect::<Result<Vec<_>>>()?;
    let bytes = size_of(&tuple);
    area.limits.check(bytes)?;
    let mut tuples = area.lock();
    while !area.limits.allow(tuples.len(), tuples.iter().map(|t| size_of(t)).sum(), bytes) {
        tuples = area.wait(tuples);
    }
    tuples.push_back(tuple);
    area.changed.notify_all();
    Ok(())
}

fn unstage(ctx: &mut KernelCtx) -> Result<()> {
    let area = area(ctx)?;
    let mut tuples = area.lock();
    let tuple = loop {
        match tuples.pop_front() {
            Some(tuple) => break tuple,
            None => tuples = area.wait(tuples),
        }
    };
    drop(tuples);
    area.changed.notify_all();
    output(ctx, 0, tuple)
}

fn peek(ctx: &mut KernelCtx) -> Result<()> {
    let area = area(ctx)?;
    let index = ctx.int_input(0)?;
    let Ok(index) = usize::try_from(index) else { bail!(InvalidArgument, "index {index} must be >= 0") };
    let mut tuples = area.lock();
    while tuples.len() <= index {
        tuples = area.wait(tuples);
    }
    let tuple = tuples[index].clone();
    drop(tuples);
    output(ctx, 0, tuple)
}

fn size(ctx: &mut KernelCtx) -> Result<()> {
    let size = area(ctx)?.lock().len();
    ctx.set(0, Tensor::scalar(i32::try_from(size).unwrap_or(i32::MAX)))
}

fn clear(ctx: &mut KernelCtx) -> Result<()> {
    let area = area(ctx)?;
    area.lock().clear();
    area.changed.notify_all();
    Ok(())
}

impl Map {
    fn lock(&self) -> MutexGuard<'_, MapState> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, MapState>) -> MutexGuard<'a, MapState> {
        self.changed.wait(guard).unwrap_or_else(|e| e.into_inner())
    }

    /// Checks that indices ascend and are within the tuples.
    fn check(&self, key: i64, indices: &[i32]) -> Result<Vec<usize>> {
        if !indices.windows(2).all(|w| w[0] < w[1]) {
            bail!(InvalidArgument, "Indices are not strictly ordered");
        }
        let within = |&i: &i32| match usize::try_from(i) {
            Ok(at) if at < self.width => Ok(at),
            _ => bail!(InvalidArgument, "Index '{i}' for key '{key}' was out of bounds '{}'.", self.width),
        };
        indices.iter().map(within).collect()
    }

    /// Puts values at a key's indices, once there is room.
    fn put(&self, key: i64, indices: &[usize], values: Vec<Tensor>) -> Result<()> {
        let bytes = size_of(&values);
        self.limits.check(bytes)?;
        let mut state = self.lock();
        while !self.limits.allow(state.complete.len(), state.bytes, bytes) {
            state = self.wait(state);
        }
        if values.len() > self.width {
            bail!(InvalidArgument, "The number of values {} is above the number of dtypes {}", values.len(), self.width);
        }
        let mut tuple = state.incomplete.remove(&key).unwrap_or_else(|| vec![None; self.width]);
        if let Some(&index) = indices.iter().find(|&&i| tuple[i].is_some()) {
            state.incomplete.insert(key, tuple);
            bail!(InvalidArgument, "The tensor for index '{index}' for key '{key}' was already initialized '{}'.", self.width);
        }
        for (&index, value) in indices.iter().zip(values) {
            tuple[index] = Some(value);
        }
        state.bytes += bytes;
        if tuple.iter().all(Option::is_some) {
            state.complete.insert(key, tuple);
            self.changed.notify_all();
        } else {
            state.incomplete.insert(key, tuple);
        }
        Ok(())
    }

    /// The values at a key's indices once its tuple is complete. With `remove`, they are taken out.
    fn get(&self, key: i64, indices: &[usize], remove: bool) -> Result<Vec<Tensor>> {
        let mut state = self.lock();
        while !state.complete.contains_key(&key) {
            state = self.wait(state);
        }
        let values = state.values(key, indices, remove)?;
        self.changed.notify_all();
        Ok(values)
    }
}

impl MapState {
    fn values(&mut self, key: i64, indices: &[usize], remove: bool) -> Result<Vec<Tensor>> {
        let Some(tuple) = self.complete.get_mut(&key) else { bail!(Internal, "key {key} is gone") };
        if let Some(index) = indices.iter().find(|&&i| tuple[i].is_none()) {
            bail!(InvalidArgument, "Tensor at index '{index}' for key '{key}' has already been removed.");
        }
        let take = |&i: &usize| if remove { tuple[i].take() } else { tuple[i].clone() };
        let values: Vec<Tensor> = indices.iter().filter_map(take).collect();
        if remove {
            if tuple.iter().all(Option::is_none) {
                self.complete.remove(&key);
            }
            self.bytes = self.bytes.saturating_sub(size_of(&values));
        }
        Ok(values)
    }
}

fn key_of(ctx: &KernelCtx) -> Result<i64> {
    let key = ctx.input(0)?;
    if key.len() != 1 {
        bail!(InvalidArgument, "key must be an int64 scalar, got shape: {}", key.shape());
    }
    key.item_i64()
}

fn indices_of(ctx: &KernelCtx, map: &Map, key: i64, input: usize) -> Result<Vec<usize>> {
    let indices = ctx.input(input)?;
    if indices.rank() != 1 {
        bail!(InvalidArgument, "indices must be a vector, got shape: {}", indices.shape());
    }
    map.check(key, indices.as_slice()?)
}

fn map_stage(ctx: &mut KernelCtx) -> Result<()> {
    let map = map(ctx)?;
    let key = key_of(ctx)?;
    let indices = indices_of(ctx, &map, key, 1)?;
    if indices.is_empty() {
        bail!(InvalidArgument, "indices must not be empty");
    }
    if ctx.num_inputs() - 2 != indices.len() {
        bail!(InvalidArgument, "Mismatch between {} indices and {} values", indices.len(), ctx.num_inputs() - 2);
    }
    let values = (2..ctx.num_inputs()).map(|i| ctx.take(i)).collect::<Result<Vec<_>>>()?;
    map.put(key, &indices, values)
}

fn map_get(ctx: &mut KernelCtx, remove: bool) -> Result<()> {
    let map = map(ctx)?;
    let key = key_of(ctx)?;
    let indices = indices_of(ctx, &map, key, 1)?;
    let values = map.get(key, &indices, remove)?;
    output(ctx, 0, values)
}

fn map_unstage(ctx: &mut KernelCtx) -> Result<()> {
    map_get(ctx, true)
}

fn map_peek(ctx: &mut KernelCtx) -> Result<()> {
    map_get(ctx, false)
}

fn map_unstage_no_key(ctx: &mut KernelCtx) -> Result<()> {
    let map = map(ctx)?;
    let indices = indices_of(ctx, &map, 0, 0)?;
    let mut state = map.lock();
    let key = loop {
        match state.complete.keys().next() {
            Some(&key) => break key,
            None => state = map.wait(state),
        }
    };
    let values = state.values(key, &indices, true)?;
    drop(state);
    map.changed.notify_all();
    ctx.set(0, Tensor::scalar(key))?;
    output(ctx, 1, values)
}

fn map_size(ctx: &mut KernelCtx) -> Result<()> {
    let size = map(ctx)?.lock().complete.len();
    ctx.set(0, Tensor::scalar(i32::try_from(size).unwrap_or(i32::MAX)))
}

fn map_incomplete_size(ctx: &mut KernelCtx) -> Result<()> {
    let size = map(ctx)?.lock().incomplete.len();
    ctx.set(0, Tensor::scalar(i32::try_from(size).unwrap_or(i32::MAX)))
}

fn map_clear(ctx: &mut KernelCtx) -> Result<()> {
    let map = map(ctx)?;
    *map.lock() = MapState::default();
    map.changed.notify_all();
    Ok(())
}
