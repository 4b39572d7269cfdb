//! Variable scopes: the defaults of `get_variable`, kept with the graph.

use super::get_variable::{CustomGetter, Regularizer};
use super::initializer::Initializer;
use super::partition::Partitioner;
use super::variable::{Constraint, Variable};
use crate::error::{Result, bail};
use crate::graph::{Graph, NameScope};
use crate::tensor::DType;
use indexmap::IndexMap;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Whether `get_variable` makes variables or finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reuse {
    /// Variables are made, and must be new.
    #[default]
    No,
    /// Variables are found, and must be there.
    Yes,
    /// Variables are found where they are there, and made otherwise (`tf.AUTO_REUSE`).
    Auto,
}

/// The defaults that a variable scope gives to `get_variable`.
#[derive(Clone)]
pub(super) struct Defaults {
    pub name: String,
    pub name_scope: String,
    pub reuse: Reuse,
    pub initializer: Option<Initializer>,
    pub regularizer: Option<Regularizer>,
    pub caching_device: Option<String>,
    pub partitioner: Option<Partitioner>,
    pub custom_getter: Option<CustomGetter>,
    pub dtype: DType,
    pub use_resource: Option<bool>,
    pub constraint: Option<Constraint>,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults {
            name: String::new(),
            name_scope: String::new(),
            reuse: Reuse::No,
            initializer: None,
            regularizer: None,
            caching_device: None,
            partitioner: None,
            custom_getter: None,
            dtype: DType::Float,
            use_resource: None,
            constraint: None,
        }
    }
}

/// A variable scope (`tf.VariableScope`): it can be kept, changed, and entered again. Cloning shares it.
#[derive(Clone, Default)]
pub struct VariableScope(Arc<Mutex<Defaults>>);

impl std::fmt::Debug for VariableScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<VariableScope {:?} {:?}>", self.name(), self.reuse())
    }
}

impl VariableScope {
    fn of(defaults: Defaults) -> VariableScope {
        VariableScope(Arc::new(Mutex::new(defaults)))
    }

    fn lock(&self) -> MutexGuard<'_, Defaults> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub(super) fn defaults(&self) -> Defaults {
        self.lock().clone()
    }

    /// The scope's full name, the prefix of its variables; empty for the outermost.
    pub fn name(&self) -> String {
        self.lock().name.clone()
    }

    /// The name scope that was opened with the scope, with a closing slash.
    pub fn original_name_scope(&self) -> String {
        self.lock().name_scope.clone()
    }

    /// Whether variables are made or found.
    pub fn reuse(&self) -> Reuse {
        self.lock().reuse
    }

    /// The dtype of new variables.
    pub fn dtype(&self) -> DType {
        self.lock().dtype
    }

    /// Whether new variables are passed by handle, if the scope says so.
    pub fn use_resource(&self) -> Option<bool> {
        self.lock().use_resource
    }

    /// The initializer of new variables, if the scope gives one.
    pub fn initializer(&self) -> Option<Initializer> {
        self.lock().initializer.clone()
    }

    /// The device on which new variables are cached, if the scope gives one.
    pub fn caching_device(&self) -> Option<String> {
        self.lock().caching_device.clone()
    }

    /// Sets the device on which new variables are cached; an empty one is that of the variable itself.
    pub fn set_caching_device(&self, device: Option<String>) {
        self.lock().caching_device = device;
    }

    /// From now on, variables are found, and must be there.
    pub fn reuse_variables(&self) {
        self.lock().reuse = Reuse::Yes;
    }

    /// Sets the initializer of new variables.
    pub fn set_initializer(&self, initializer: Option<Initializer>) {
        self.lock().initializer = initializer;
    }

    /// Sets the regularizer of new variables.
    pub fn set_regularizer(&self, regularizer: Option<Regularizer>) {
        self.lock().regularizer = regularizer;
    }

    /// Sets the partitioner of new variables.
    pub fn set_partitioner(&self, partitioner: Option<Partitioner>) {
        self.lock().partitioner = partitioner;
    }

    /// Sets the dtype of new variables.
    pub fn set_dtype(&self, dtype: DType) {
        self.lock().dtype = dtype;
    }

    /// Sets whether new variables are passed by handle.
    pub fn set_use_resource(&self, use_resource: bool) {
        self.lock().use_resource = Some(use_resource);
    }
}

/// What the graph keeps: the variables that `get_variable` made, and the scopes.
#[derive(Default)]
pub(super) struct Store {
    pub variables: IndexMap<String, Variable>,
    pub partitioned: IndexMap<String, Variable>,
    current: VariableScope,
    /// How often each scope was opened within the one around it.
    counts: HashMap<String, usize>,
}

/// The current variable scope.
pub(super) fn current(g: &Graph) -> VariableScope {
    g.with_extension(|store: &mut Store| store.current.clone())
}

/// What a variable scope is opened by.
#[derive(Clone, Debug)]
pub enum ScopeName {
    /// A name, appended to that of the current scope.
    Name(String),
    /// A default name, made unique within the current scope.
    Default(String),
    /// A scope that was opened before, wherever it is entered.
    Scope(VariableScope),
}

impl From<&str> for ScopeName {
    fn from(name: &str) -> ScopeName {
        ScopeName::Name(name.to_string())
    }
}

impl From<&String> for ScopeName {
    fn from(name: &String) -> ScopeName {
        ScopeName::Name(name.clone())
    }
}

impl From<&VariableScope> for ScopeName {
    fn from(scope: &VariableScope) -> ScopeName {
        ScopeName::Scope(scope.clone())
    }
}

/// What a variable scope changes; what isn't given is inherited.
#[derive(Clone)]
pub struct ScopeOptions {
    /// Whether variables are made or found; [`Reuse::No`] inherits.
    pub reuse: Reuse,
    /// The initializer of new variables.
    pub initializer: Option<Initializer>,
    /// The regularizer of new variables.
    pub regularizer: Option<Regularizer>,
    /// The device on which new variables are cached.
    pub caching_device: Option<String>,
    /// The partitioner of new variables.
    pub partitioner: Option<Partitioner>,
    /// A function around `get_variable`.
    pub custom_getter: Option<CustomGetter>,
    /// The dtype of new variables.
    pub dtype: Option<DType>,
    /// Whether new variables are passed by handle.
    pub use_resource: Option<bool>,
    /// The projection of new variables. Not inherited by inner scopes.
    pub constraint: Option<Constraint>,
    /// Whether a name scope is opened as well; without, the current one is entered again.
    pub auxiliary_name_scope: bool,
}

impl Default for ScopeOptions {
    fn default() -> ScopeOptions {
        ScopeOptions {
            reuse: Reuse::No,
            initializer: None,
            regularizer: None,
            caching_device: None,
            partitioner: None,
            custom_getter: None,
            dtype: None,
            use_resource: None,
            constraint: None,
            auxiliary_name_scope: true,
        }
    }
}

/// Closes a variable scope, and the name scope that was opened with it, when dropped.
pub struct VariableScopeGuard {
    graph: Graph,
    scope: VariableScope,
    previous: VariableScope,
    /// The counts to go back to, after a scope that was entered again.
    saved_counts: Option<HashMap<String, usize>>,
    _name_scope: Option<NameScope>,
}

impl VariableScopeGuard {
    /// The scope, to be changed or kept.
    pub fn scope(&self) -> &VariableScope {
        &self.scope
    }
}

impl Drop for VariableScopeGuard {
    fn drop(&mut self) {
        let (previous, saved) = (self.previous.clone(), self.saved_counts.take());
        let inner = format!("{}/", self.scope.name());
        self.graph.with_extension(|store: &mut Store| {
            match saved {
                Some(counts) => store.counts = counts,
                None => store.counts.iter_mut().filter(|(name, _)| name.starts_with(&inner)).for_each(|(_, n)| *n = 0),
            }
            store.current = previous;
        });
    }
}

impl Graph {
    /// The current variable scope (`tf.get_variable_scope`).
    pub fn get_variable_scope(&self) -> VariableScope {
        current(self)
    }

    /// Opens a variable scope and a name scope, until the guard is dropped (`tf.variable_scope`).
    ///
    /// ```
    /// # use metagraph::Graph;
    /// let g = Graph::new();
    /// let scope = g.variable_scope("layer")?;
    /// let w = g.get_variable("w", [2, 3])?;
    /// assert_eq!(w.name(), "layer/w:0");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn variable_scope(&self, name: impl Into<ScopeName>) -> Result<VariableScopeGuard> {
        self.variable_scope_with(name, ScopeOptions::default())
    }

    /// [`Graph::variable_scope`] with options.
    ///
    /// # Errors
    /// As [`Graph::variable_scope`]; `InvalidArgument` where variables are to be found but the name is a default.
    pub fn variable_scope_with(&self, name: impl Into<ScopeName>, options: ScopeOptions) -> Result<VariableScopeGuard> {
        let g = self.plain();
        let name = name.into();
        let again = |g: &Graph| match g.current_name_scope().as_str() {
            "" => g.name_scope(""),
            scope => g.name_scope(&format!("{scope}/")),
        };
        let own = match &name {
            ScopeName::Name(name) | ScopeName::Default(name) => name.clone(),
            ScopeName::Scope(scope) => scope.name().rsplit('/').next().unwrap_or_default().to_string(),
        };
        if matches!(name, ScopeName::Default(_)) && options.reuse != Reuse::No {
            bail!(InvalidArgument, "reuse cannot be used without the name of a scope");
        }
        let name_scope = match (options.auxiliary_name_scope, own.is_empty()) {
            (false, _) => Some(again(&g)?),
            (true, true) => None,
            (true, false) => Some(g.name_scope(&own)?),
        };
        let opened = name_scope.as_ref().map(|s| s.name().to_string());
        open(&g, name, options, opened, name_scope)
    }
}

fn open(
    g: &Graph,
    name: ScopeName,
    options: ScopeOptions,
    opened: Option<String>,
    name_scope: Option<NameScope>,
) -> Result<VariableScopeGuard> {
    let (scope, previous, saved_counts) = g.with_extension(|store: &mut Store| {
        let previous = store.current.clone();
        let (mut defaults, saved) = match name {
            ScopeName::Scope(scope) => {
                let mut defaults = scope.defaults();
                *store.counts.entry(defaults.name.clone()).or_insert(0) += 1;
                if options.reuse != Reuse::No {
                    defaults.reuse = options.reuse;
                }
                (defaults, Some(store.counts.clone()))
            }
            ScopeName::Name(name) => (prolonged(store, &name, &options, opened), None),
            ScopeName::Default(name) => {
                let name = unique(store, &name);
                (prolonged(store, &name, &options, opened), None)
            }
        };
        if saved.is_none() {
            *store.counts.entry(defaults.name.clone()).or_insert(0) += 1;
        }
        defaults.constraint = options.constraint;
        defaults.initializer = options.initializer.or(defaults.initializer);
        defaults.regularizer = options.regularizer.or(defaults.regularizer);
        defaults.caching_device = options.caching_device.or(defaults.caching_device);
        defaults.partitioner = options.partitioner.or(defaults.partitioner);
        defaults.dtype = options.dtype.unwrap_or(defaults.dtype);
        defaults.use_resource = options.use_resource.or(defaults.use_resource);
        defaults.custom_getter = match (options.custom_getter, defaults.custom_getter) {
            (Some(new), Some(old)) => Some(new.around(old)),
            (new, old) => new.or(old),
        };
        let scope = VariableScope::of(defaults);
        store.current = scope.clone();
        (scope, previous, saved)
    });
    Ok(VariableScopeGuard { graph: g.clone(), scope, previous, saved_counts, _name_scope: name_scope })
}

fn prolonged(store: &Store, name: &str, options: &ScopeOptions, opened: Option<String>) -> Defaults {
    let mut defaults = store.current.defaults();
    defaults.name = full_name(&defaults.name, name);
    defaults.name_scope = opened.unwrap_or_else(|| name.to_string());
    if options.reuse != Reuse::No {
        defaults.reuse = options.reuse;
    }
    defaults
}

/// A name with a number behind it, if there was a scope of that name within the current one.
fn unique(store: &Store, prefix: &str) -> String {
    let full = full_name(&store.current.name(), prefix);
    let used = |name: &str| store.counts.get(name).is_some_and(|&n| n > 0);
    if !used(&full) {
        return prefix.to_string();
    }
    let mut number = 1;
    while used(&format!("{full}_{number}")) {
        number += 1;
    }
    format!("{prefix}_{number}")
}

pub(super) fn full_name(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_string() } else { format!("{scope}/{name}") }
}
