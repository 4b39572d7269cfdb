//! Variables that are split along one dimension.

use super::get_variable::{self, GetVariable};
use super::initializer::Initializer;
use super::scope::{Reuse, ScopeName, ScopeOptions};
use super::variable::{Kind, Parts, SaveSliceInfo, Variable};
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Shape};
use std::sync::{Arc, Mutex};

/// Which part of a partitioned variable is initialized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The shape of the whole.
    pub full_shape: Vec<usize>,
    /// Where the part begins.
    pub var_offset: Vec<usize>,
}

impl PartitionInfo {
    /// The one dimension in which a part of this shape is smaller than the whole; none where no one is.
    ///
    /// # Errors
    /// `InvalidArgument` if there are several, or the shape isn't that of a part.
    pub fn single_slice_dim(&self, shape: &[usize]) -> Result<Option<usize>> {
        if shape.len() != self.full_shape.len() {
            bail!(InvalidArgument, "Expected equal length, but received shape={shape:?} and full_shape={:?}", self.full_shape);
        }
        let mut found = None;
        for (i, (&part, &full)) in shape.iter().zip(&self.full_shape).enumerate() {
            if self.var_offset.get(i).is_none_or(|offset| offset + part > full) {
                bail!(
                    InvalidArgument,
                    "With offsets {:?} and full shape {:?}, shape={shape:?} is no part",
                    self.var_offset,
                    self.full_shape
                );
            }
            if part != full && found.replace(i).is_some() {
                bail!(InvalidArgument, "A part of shape {shape:?} is split in several dimensions of {:?}", self.full_shape);
            }
        }
        Ok(found)
    }

    /// Where a part of this shape begins in the dimension in which the variable is split; 0 where it isn't.
    ///
    /// # Errors
    /// As [`PartitionInfo::single_slice_dim`].
    pub fn single_offset(&self, shape: &[usize]) -> Result<usize> {
        Ok(self.single_slice_dim(shape)?.map_or(0, |i| self.var_offset[i]))
    }
}

type PartitionFn = dyn Fn(&[usize], DType) -> Result<Vec<usize>> + Send + Sync;

/// Says into how many parts a variable is split in each dimension.
#[derive(Clone)]
pub struct Partitioner(Arc<PartitionFn>);

impl Partitioner {
    /// A partitioner from a function of shape and dtype.
    pub fn from_fn(function: impl Fn(&[usize], DType) -> Result<Vec<usize>> + Send + Sync + 'static) -> Partitioner {
        Partitioner(Arc::new(function))
    }

    /// So many parts along an axis (`tf.fixed_size_partitioner`).
    pub fn fixed_size(num_shards: usize, axis: usize) -> Partitioner {
        Partitioner::from_fn(move |shape, _| {
            let mut partitions = vec![1; shape.len()];
            let size = *partitions_axis(shape, axis)?;
            partitions[axis] = num_shards.min(size);
            Ok(partitions)
        })
    }

    /// Parts of at most `max_shard_bytes` along an axis, at most `max_shards` of them
    /// (`tf.variable_axis_size_partitioner`). A string counts 16 bytes.
    pub fn variable_axis_size(max_shard_bytes: usize, axis: usize, max_shards: Option<usize>) -> Partitioner {
        Partitioner::from_fn(move |shape, dtype| {
            if max_shard_bytes < 1 || max_shards == Some(0) {
                bail!(InvalidArgument, "max_shard_bytes and max_shards must be positive");
            }
            let mut partitions = vec![1; shape.len()];
            let size = *partitions_axis(shape, axis)? as f64;
            let elements: f64 = shape.iter().map(|&d| d as f64).product();
            let per_slice = elements / size * element_size(dtype) as f64;
            let per_shard = (max_shard_bytes as f64 / per_slice).floor().max(1.0);
            let shards = (size / per_shard).ceil() as usize;
            partitions[axis] = max_shards.map_or(shards, |max| max.min(shards));
            Ok(partitions)
        })
    }

    /// At most `max_partitions` parts along an axis, of at least `min_slice_size` bytes
    /// (`tf.min_max_variable_partitioner`). A string counts 16 bytes.
    pub fn min_max_variable(max_partitions: usize, axis: usize, min_slice_size: usize) -> Partitioner {
        Partitioner::from_fn(move |shape, dtype| {
            let mut partitions = vec![1; shape.len()];
            let size = *partitions_axis(shape, axis)?;
            let bytes = shape.iter().map(|&d| d as f64).product::<f64>() * element_size(dtype) as f64;
            let wanted = (bytes / min_slice_size as f64).ceil() as usize;
            partitions[axis] = size.min(max_partitions).min(wanted).max(1);
            Ok(partitions)
        })
    }
}

fn partitions_axis(shape: &[usize], axis: usize) -> Result<&usize> {
    match shape.get(axis) {
        Some(size) => Ok(size),
        None => bail!(InvalidArgument, "Cannot partition variable along axis {axis} when shape is only {shape:?}"),
    }
}

fn element_size(dtype: DType) -> usize {
    if dtype == DType::String { 16 } else { dtype.size() }
}

/// Asks a partitioner, and checks its answer.
pub(super) fn call(partitioner: &Partitioner, shape: &Shape, dtype: DType) -> Result<Vec<usize>> {
    let Some(dims) = shape.to_dims() else {
        bail!(InvalidArgument, "Shape of a new partitioned variable must be fully defined, but instead was {shape}.");
    };
    if dims.is_empty() {
        bail!(InvalidArgument, "A partitioned Variable must have rank at least 1, shape: {shape}");
    }
    let partitions = (partitioner.0)(&dims, dtype)?;
    if partitions.len() != dims.len() {
        bail!(
            InvalidArgument,
            "Partitioner returned a partition list that does not match the Variable's rank: {partitions:?} vs. {shape}"
        );
    }
    if partitions.contains(&0) {
        bail!(InvalidArgument, "Partitioner returned zero partitions for some axes: {partitions:?}");
    }
    if partitions.iter().filter(|&&p| p > 1).count() > 1 {
        bail!(InvalidArgument, "Can only slice a variable along one dimension: shape: {shape}, partitioning: {partitions:?}");
    }
    Ok(partitions)
}

/// One part: where it begins, and its shape.
pub(super) struct Slice {
    pub offset: Vec<usize>,
    pub shape: Vec<usize>,
}

/// The parts of a shape; the first ones are larger by one where it doesn't come out even.
pub(super) fn slices(dims: &[usize], partitions: &[usize]) -> Vec<Slice> {
    let axis = partitions.iter().position(|&p| p > 1).unwrap_or(0);
    let count = partitions.get(axis).copied().unwrap_or(1);
    let mut slices = Vec::with_capacity(count);
    let mut offset = vec![0; dims.len()];
    for number in 0..count {
        let mut shape = dims.to_vec();
        shape[axis] = dims[axis] / count + usize::from(number < dims[axis] % count);
        slices.push(Slice { offset: offset.clone(), shape: shape.clone() });
        offset[axis] += shape[axis];
    }
    slices
}

pub(super) fn slice_info(name: &str, dims: &[usize], slice: &Slice) -> SaveSliceInfo {
    let signed = |values: &[usize]| values.iter().map(|&v| v as i64).collect();
    SaveSliceInfo {
        full_name: name.to_string(),
        full_shape: signed(dims),
        var_offset: signed(&slice.offset),
        var_shape: signed(&slice.shape),
    }
}

/// The variable that parts make up.
pub(super) fn joined(g: &Graph, name: &str, dims: &[usize], parts: Vec<Variable>, partitions: Vec<usize>) -> Result<Variable> {
    let Some(first) = parts.first() else { bail!(InvalidArgument, "a partitioned variable needs at least one part") };
    let (dtype, trainable, synchronization, aggregation) =
        (first.dtype(), first.trainable(), first.0.synchronization, first.0.aggregation);
    Ok(Variable(Arc::new(Parts {
        graph: g.downgrade(),
        name: name.to_string(),
        dtype,
        shape: Shape::known(dims),
        trainable,
        validate_shape: true,
        caching_device: None,
        constraint: first.constraint().cloned(),
        synchronization,
        aggregation,
        save_slice_info: Mutex::new(None),
        kind: Kind::Partitioned { parts, partitions, value: Mutex::new(None) },
    })))
}

/// Emits the nodes that put the parts of a variable together.
pub(super) fn whole(g: &Graph, name: &str, parts: &[Variable], partitions: &[usize]) -> Result<Output> {
    let _free = g.cleared_control_dependencies();
    let values = parts.iter().map(Variable::value).collect::<Result<Vec<_>>>()?;
    let joined = match values[..] {
        [one] => one,
        _ => {
            let _scope = g.name_scope(&format!("{name}/ConcatPartitions/"))?;
            let axis = partitions.iter().position(|&p| p > 1).unwrap_or(0);
            g.concat(&values.iter().map(|&v| v.into()).collect::<Vec<_>>(), axis as i32)?
        }
    };
    let _root = g.name_scope("")?;
    g.named(name).identity(joined)
}

impl Graph {
    /// The parts of a variable that is split as `slicing` says (`tf.create_partitioned_variables`), in the scope
    /// `PartitionedVariable` or of the name given.
    ///
    /// # Errors
    /// `InvalidArgument` where shape and slicing don't fit, or as [`Graph::get_variable_with`].
    pub fn create_partitioned_variables(
        &self,
        shape: &[usize],
        slicing: &[usize],
        initializer: Initializer,
        options: GetVariable,
    ) -> Result<Vec<Variable>> {
        if shape.len() != slicing.len() || shape.is_empty() {
            bail!(
                InvalidArgument,
                "The 'shape' and 'slicing' of a partitioned Variable must have the same length, at least 1: shape: {shape:?}, \
                 slicing: {slicing:?}"
            );
        }
        let reuse = options.reuse.unwrap_or(Reuse::No);
        let name = match self.pending_name() {
            Some(name) => ScopeName::Name(name.to_string()),
            None => ScopeName::Default("PartitionedVariable".to_string()),
        };
        let g = self.plain();
        let guard = g.variable_scope_with(name, ScopeOptions { reuse, ..ScopeOptions::default() })?;
        let scope = guard.scope().defaults();
        let slicing = slicing.to_vec();
        let partitioner = Partitioner::from_fn(move |_, _| Ok(slicing.clone()));
        let is_value = initializer.value().is_some();
        let options = GetVariable {
            shape: (!is_value).then(|| Shape::known(shape)),
            dtype: options.dtype.or(Some(DType::Float)),
            initializer: Some(initializer),
            reuse: Some(scope.reuse),
            use_resource: options.use_resource.or(scope.use_resource),
            ..options
        };
        let _root = g.name_scope("")?;
        Ok(get_variable::partitioned(&g, &scope.name, options, Some(&partitioner))?.parts())
    }
}
