//! `get_variable`: making named variables, and finding them again.

use super::create::{InitialValue, VariableOptions};
use super::initializer::{self, Initializer};
use super::partition::{self, PartitionInfo, Partitioner};
use super::scope::{self, Reuse, Store, full_name};
use super::variable::{Constraint, Variable};
use crate::error::{Result, bail};
use crate::graph::{CollectionItem, Graph, Output, keys};
use crate::tensor::{DType, Shape};
use std::sync::Arc;

/// Emits the loss of a variable's value; none for no loss.
pub type Regularizer = Arc<dyn Fn(&Graph, &Variable) -> Result<Option<Output>> + Send + Sync>;

/// The `get_variable` that a custom getter stands around: a full name, and all options with the scope's defaults.
pub type Getter<'a> = &'a dyn Fn(&Graph, &str, GetVariable) -> Result<Variable>;

type GetterFn = dyn Fn(Getter, &Graph, &str, GetVariable) -> Result<Variable> + Send + Sync;

/// A function around `get_variable`, which may change name and options, or return another variable.
#[derive(Clone)]
pub struct CustomGetter(Arc<GetterFn>);

impl CustomGetter {
    /// Wraps a function that takes the getter that it stands around.
    pub fn new(function: impl Fn(Getter, &Graph, &str, GetVariable) -> Result<Variable> + Send + Sync + 'static) -> CustomGetter {
        CustomGetter(Arc::new(function))
    }

    /// This getter, with `inner` between it and the true one.
    pub(super) fn around(self, inner: CustomGetter) -> CustomGetter {
        CustomGetter::new(move |getter, g, name, options| {
            let through = |g: &Graph, name: &str, options: GetVariable| (inner.0)(getter, g, name, options);
            (self.0)(&through, g, name, options)
        })
    }
}

/// How `get_variable` makes or finds a variable; what isn't given is taken from the variable scope.
#[derive(Clone)]
pub struct GetVariable {
    /// The shape; not given where the initializer is a value.
    pub shape: Option<Shape>,
    /// The dtype.
    pub dtype: Option<DType>,
    /// What makes the initial value; `glorot_uniform` for floats and zeros for the rest, if nothing gives one.
    pub initializer: Option<Initializer>,
    /// Makes a loss of the variable, which goes to [`keys::REGULARIZATION_LOSSES`].
    pub regularizer: Option<Regularizer>,
    /// Whether the variable is made or found.
    pub reuse: Option<Reuse>,
    /// Whether optimizers train it.
    pub trainable: Option<bool>,
    /// The collections that hold it.
    pub collections: Option<Vec<String>>,
    /// A device on which the value that is read is cached.
    pub caching_device: Option<String>,
    /// Splits the variable.
    pub partitioner: Option<Partitioner>,
    /// Whether the initial value's shape must be known.
    pub validate_shape: bool,
    /// Whether the variable is passed by handle.
    pub use_resource: Option<bool>,
    /// A function around this one.
    pub custom_getter: Option<CustomGetter>,
    /// A projection that optimizers apply after each update.
    pub constraint: Option<Constraint>,
    /// `tf.VariableSynchronization`, recorded with the variable.
    pub synchronization: i32,
    /// `tf.VariableAggregation`, recorded with the variable.
    pub aggregation: i32,
}

impl Default for GetVariable {
    fn default() -> GetVariable {
        GetVariable {
            shape: None,
            dtype: None,
            initializer: None,
            regularizer: None,
            reuse: None,
            trainable: None,
            collections: None,
            caching_device: None,
            partitioner: None,
            validate_shape: true,
            use_resource: None,
            custom_getter: None,
            constraint: None,
            synchronization: 0,
            aggregation: 0,
        }
    }
}

impl Graph {
    /// The variable of that name in the current variable scope, made if it isn't there (`tf.get_variable`).
    ///
    /// # Errors
    /// `InvalidArgument` where the scope doesn't allow to make it or to find it, or it has another shape or dtype.
    pub fn get_variable(&self, name: &str, shape: impl Into<Shape>) -> Result<Variable> {
        self.get_variable_with(name, GetVariable { shape: Some(shape.into()), ..GetVariable::default() })
    }

    /// [`Graph::get_variable`] with options.
    ///
    /// # Errors
    /// As [`Graph::get_variable`]; `InvalidArgument` where the initializer can't make such a value.
    pub fn get_variable_with(&self, name: &str, options: GetVariable) -> Result<Variable> {
        let g = self.plain();
        let scope = scope::current(&g).defaults();
        let mut options = options;
        options.regularizer = options.regularizer.or(scope.regularizer);
        options.caching_device = options.caching_device.or(scope.caching_device);
        options.partitioner = options.partitioner.or(scope.partitioner);
        options.reuse = options.reuse.or(Some(scope.reuse));
        options.use_resource = options.use_resource.or(scope.use_resource);
        let custom_getter = options.custom_getter.take().or(scope.custom_getter);
        let full = full_name(&scope.name, name);
        let _root = g.name_scope("")?;
        if let (Some(dtype), Some(value)) = (options.dtype, options.initializer.as_ref().and_then(Initializer::value)) {
            let got = initializer::value_dtype(&g, value)?;
            if got != dtype {
                bail!(InvalidArgument, "Initializer type '{got}' and explicit dtype '{dtype}' don't match.");
            }
        }
        options.initializer = options.initializer.or(scope.initializer);
        options.constraint = options.constraint.or(scope.constraint);
        options.dtype = options.dtype.or(Some(scope.dtype));
        match custom_getter {
            Some(getter) => (getter.0)(&true_getter, &g, &full, options),
            None => true_getter(&g, &full, options),
        }
    }

    /// [`Graph::get_variable_with`], for a variable that is local to a process: not trained, not saved
    /// (`tf.get_local_variable`).
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    pub fn get_local_variable(&self, name: &str, mut options: GetVariable) -> Result<Variable> {
        options.trainable = Some(false);
        options.collections.get_or_insert_default().push(keys::LOCAL_VARIABLES.to_string());
        self.get_variable_with(name, options)
    }
}

/// The name's own `get_variable`, without custom getters.
fn true_getter(g: &Graph, name: &str, options: GetVariable) -> Result<Variable> {
    let scalar = options.shape.as_ref().and_then(Shape::rank) == Some(0);
    let found = g.with_extension(|store: &mut Store| {
        (store.partitioned.contains_key(name), store.variables.contains_key(&format!("{name}/part_0")))
    });
    match &options.partitioner {
        Some(partitioner) if !scalar => {
            let partitioner = partitioner.clone();
            return partitioned(g, name, options, Some(&partitioner));
        }
        _ => {}
    }
    match found {
        (true, _) if options.reuse == Some(Reuse::Yes) => partitioned(g, name, options, None),
        (_, true) => bail!(
            InvalidArgument,
            "No partitioner was provided, but a partitioned version of the variable was found: {name}/part_0. Perhaps a \
             variable of the same name was already created with partitioning?"
        ),
        _ => single(g, name, options, None),
    }
}

fn check_found(found: &Variable, options: &GetVariable) -> Result<()> {
    let (name, shape, dtype) = (found.op_name(), found.shape(), found.dtype());
    if let Some(asked) = options.shape.as_ref().filter(|s| !s.is_compatible_with(&shape)) {
        bail!(InvalidArgument, "Trying to share variable {name}, but specified shape {asked} and found shape {shape}.");
    }
    if let Some(asked) = options.dtype.filter(|&d| d != dtype) {
        bail!(InvalidArgument, "Trying to share variable {name}, but specified dtype {asked} and found dtype {dtype}.");
    }
    Ok(())
}

fn single(g: &Graph, name: &str, options: GetVariable, part: Option<&PartitionInfo>) -> Result<Variable> {
    let given = options.initializer.as_ref().and_then(Initializer::value).is_some();
    if options.shape.is_some() && given {
        bail!(InvalidArgument, "If initializer is a constant, do not specify shape.");
    }
    let reuse = options.reuse.unwrap_or(Reuse::Auto);
    if let Some(found) = g.with_extension(|store: &mut Store| store.variables.get(name).cloned()) {
        if reuse == Reuse::No {
            bail!(
                InvalidArgument,
                "Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
            );
        }
        check_found(&found, &options)?;
        return Ok(found);
    }
    if reuse == Reuse::Yes {
        bail!(
            InvalidArgument,
            "Variable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set \
             reuse=tf.AUTO_REUSE in VarScope?"
        );
    }
    let dtype = options.dtype.unwrap_or(DType::Float);
    let initializer = match &options.initializer {
        Some(initializer) => initializer.clone(),
        None if options.shape.is_none() => {
            bail!(InvalidArgument, "Variable {name} did not get an initializer, so its `shape` argument must be specified.")
        }
        None => initializer::default_for(name, dtype)?,
    };
    let (initial, dtype) = match initializer.value() {
        Some(value) => (InitialValue::Arg(value.clone()), None),
        None => {
            let dims = options.shape.as_ref().and_then(Shape::to_dims);
            let Some(dims) = dims else {
                bail!(
                    InvalidArgument,
                    "The shape of a new variable ({name}) must be fully defined, but instead was {}.",
                    options.shape.clone().unwrap_or_default()
                );
            };
            let part = part.cloned();
            let make = move |g: &Graph| initializer.emit(g, &dims, Some(dtype), part.as_ref());
            (InitialValue::from_fn(make), Some(dtype))
        }
    };
    let variable = g.named(name).variable_with(
        initial,
        VariableOptions {
            trainable: options.trainable,
            collections: options.collections,
            validate_shape: options.validate_shape,
            caching_device: options.caching_device,
            dtype,
            constraint: options.constraint,
            use_resource: Some(options.use_resource.unwrap_or(false)),
            shape: options.shape,
            synchronization: options.synchronization,
            aggregation: options.aggregation,
        },
    )?;
    g.with_extension(|store: &mut Store| store.variables.insert(name.to_string(), variable.clone()));
    if let Some(regularizer) = &options.regularizer {
        regularize(g, name, &variable, regularizer)?;
    }
    Ok(variable)
}

/// Adds the variable's loss to the collection. The regularizer is called once to see whether there is a loss, and once
/// more in the scope `<name>/Regularizer`, as TensorFlow does.
fn regularize(g: &Graph, name: &str, variable: &Variable, regularizer: &Regularizer) -> Result<()> {
    if regularizer(g, variable)?.is_none() {
        return Ok(());
    }
    let _beside = g.colocate_with(variable.op()?)?;
    let _scope = g.name_scope(&format!("{name}/Regularizer/"))?;
    if let Some(loss) = regularizer(g, variable)? {
        g.add_to_collection(keys::REGULARIZATION_LOSSES, CollectionItem::Tensor(loss));
    }
    Ok(())
}

/// Makes or finds a variable that is split along one dimension.
pub(super) fn partitioned(g: &Graph, name: &str, options: GetVariable, partitioner: Option<&Partitioner>) -> Result<Variable> {
    let given = options.initializer.as_ref().and_then(Initializer::value).cloned();
    let shape = match (&options.shape, &given) {
        (Some(shape), Some(value)) => shape.merge(&initializer::value_shape(g, value)?)?,
        (Some(shape), None) => shape.clone(),
        (None, Some(value)) => initializer::value_shape(g, value)?,
        (None, None) => Shape::unknown(),
    };
    let reuse = options.reuse.unwrap_or(Reuse::Auto);
    if g.with_extension(|store: &mut Store| store.variables.contains_key(name)) {
        bail!(
            InvalidArgument,
            "A partitioner was provided, but an unpartitioned version of the variable was found: {name}. Perhaps a variable of \
             the same name was already created without partitioning?"
        );
    }
    let partitions = partitioner.map(|p| partition::call(p, &shape, options.dtype.unwrap_or(DType::Float))).transpose()?;
    if let Some(found) = g.with_extension(|store: &mut Store| store.partitioned.get(name).cloned()) {
        if reuse == Reuse::No {
            bail!(
                InvalidArgument,
                "Partitioned variable with name {name} already exists. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in \
                 VarScope?"
            );
        }
        check_found(&found, &GetVariable { shape: Some(shape), ..options })?;
        if partitions.as_deref().is_some_and(|p| Some(p) != found.partitions()) {
            bail!(
                InvalidArgument,
                "Trying to reuse partitioned variable {name}, but specified partitions {partitions:?} and found partitions {:?}.",
                found.partitions()
            );
        }
        return Ok(found);
    }
    if reuse == Reuse::Yes {
        bail!(
            InvalidArgument,
            "PartitionedVariable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set \
             reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
        );
    }
    let (Some(partitions), Some(dims)) = (partitions, shape.to_dims()) else {
        bail!(InvalidArgument, "Shape of a new partitioned variable must be fully defined, but instead was {shape}.");
    };
    let slices = partition::slices(&dims, &partitions);
    let there = |part: usize| g.with_extension(|s: &mut Store| s.variables.contains_key(&format!("{name}/part_{part}")));
    if there(0) && (!there(slices.len() - 1) || there(slices.len())) {
        bail!(
            InvalidArgument,
            "Partitioner returned a different partitioning than what was already found. Partitioner returned {} shards, and \
             shard {name}/part_0 was found.",
            slices.len()
        );
    }
    let mut parts = Vec::with_capacity(slices.len());
    for (number, slice) in slices.iter().enumerate() {
        let part_name = format!("{name}/part_{number}");
        let part = PartitionInfo { full_shape: dims.to_vec(), var_offset: slice.offset.clone() };
        let mut own = options.clone();
        {
            let _scope = g.name_scope(&format!("{part_name}/PartitionedInitializer"))?;
            own.shape = Some(Shape::known(&slice.shape));
            if let Some(value) = &given {
                let whole = g.convert(value, None, "Const")?;
                own.initializer = Some(Initializer::from_value(g.slice(whole, slice.offset.clone(), slice.shape.clone())?));
                own.shape = None;
                own.dtype = Some(g.dtype(whole)?);
            }
        }
        let _root = g.name_scope("")?;
        let variable = single(g, &part_name, own, Some(&part))?;
        variable.set_save_slice_info(Some(partition::slice_info(name, &dims, slice)));
        parts.push(variable);
    }
    let variable = partition::joined(g, name, &dims, parts, partitions)?;
    g.with_extension(|store: &mut Store| store.partitioned.insert(name.to_string(), variable.clone()));
    Ok(variable)
}
