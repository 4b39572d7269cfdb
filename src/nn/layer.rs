//! The layer that every cell is: its variable scope, its variables, and the name scope of its nodes.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::tensor::{DType, Shape};
use crate::train::{GetVariable, Initializer, Reuse, ScopeName, ScopeOptions, Variable, VariableScope};
use std::sync::{Mutex, MutexGuard};

/// What all layers are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct LayerOptions {
    /// The name of the variable scope; the class's own, made unique, if not given.
    pub name: Option<String>,
    /// Whether variables of the scope are used again.
    pub reuse: Reuse,
    /// Whether the variables are left out of training.
    pub frozen: bool,
    /// The dtype of the variables; that of the first input if not given.
    pub dtype: Option<DType>,
}

/// A layer: it makes its variables at its first call, in a variable scope that it keeps.
#[derive(Debug)]
pub(crate) struct Layer {
    class: &'static str,
    pub options: LayerOptions,
    state: Mutex<LayerState>,
}

#[derive(Debug, Default)]
struct LayerState {
    scope: Option<VariableScope>,
    built: bool,
    dtype: Option<DType>,
    variables: Vec<Variable>,
}

impl Layer {
    /// A layer whose scope is called by its class, in snake case, if it has no name.
    pub fn new(class: &'static str) -> Layer {
        Layer { class, options: LayerOptions::default(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, LayerState> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The variables made so far.
    pub fn variables(&self) -> Vec<Variable> {
        self.lock().variables.clone()
    }

    /// The dtype of the variables.
    fn dtype(&self) -> DType {
        self.options.dtype.or(self.lock().dtype).unwrap_or(DType::Float)
    }

    /// The layer's variable scope, opened at the first call.
    fn scope(&self, g: &Graph) -> Result<VariableScope> {
        if let Some(scope) = &self.lock().scope {
            return Ok(scope.clone());
        }
        let name = self.options.name.clone().unwrap_or_else(|| self.class.to_string());
        let name = if self.options.reuse == Reuse::No { ScopeName::Default(name) } else { ScopeName::Name(name) };
        let scope = g.variable_scope(name)?.scope().clone();
        self.lock().scope = Some(scope.clone());
        Ok(scope)
    }

    /// Opens the layer's scope under exactly its name, where several layers of one name share it.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn open(&self, g: &Graph) -> Result<()> {
        let name = self.options.name.clone().unwrap_or_else(|| self.class.to_string());
        let scope = g.plain().variable_scope(ScopeName::Name(name))?.scope().clone();
        self.lock().scope = Some(scope);
        Ok(())
    }

    /// Runs `build`, the first time, and `body` within the layer's scopes.
    ///
    /// # Errors
    /// What they return.
    pub fn call<R>(
        &self,
        g: &Graph,
        inputs: Output,
        build: impl FnOnce(&Graph, &Shape) -> Result<()>,
        body: impl FnOnce(&Graph) -> Result<R>,
    ) -> Result<R> {
        let g = &g.plain();
        let scope = self.scope(g)?;
        let built = self.lock().built;
        let reuse = if built { Reuse::Yes } else { self.options.reuse };
        let options = ScopeOptions { reuse, auxiliary_name_scope: false, ..ScopeOptions::default() };
        let _variables = g.variable_scope_with(&scope, options)?;
        let _names = g.name_scope(&scope.original_name_scope())?;
        if !built {
            self.lock().dtype = Some(g.dtype(inputs)?);
            build(g, &g.shape(inputs)?)?;
            self.lock().built = true;
        }
        body(g)
    }

    /// A variable of the layer, made by `build`.
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    pub fn add_weight(&self, g: &Graph, name: &str, dims: &[usize], initializer: Option<Initializer>) -> Result<Variable> {
        self.add_weight_with(g, name, dims, GetVariable { initializer, ..GetVariable::default() })
    }

    /// [`Layer::add_weight`] with options; shape, dtype and scope are the layer's.
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    pub fn add_weight_with(&self, g: &Graph, name: &str, dims: &[usize], own: GetVariable) -> Result<Variable> {
        let scope = self.scope(g)?;
        let dtype = self.dtype();
        let reuse = if self.lock().built { Reuse::Yes } else { self.options.reuse };
        let options = ScopeOptions { reuse, auxiliary_name_scope: false, ..ScopeOptions::default() };
        let entered = g.variable_scope_with(&scope, options)?;
        let _names = g.name_scope(&scope.original_name_scope())?;
        let initializer = own.initializer.or(entered.scope().initializer());
        let default =
            || if dtype.is_integer() || dtype == DType::Bool { Initializer::zeros() } else { Initializer::glorot_uniform() };
        let variable = g.get_variable_with(
            name,
            GetVariable {
                shape: Some(Shape::known(dims)),
                dtype: Some(dtype),
                initializer: Some(initializer.unwrap_or_else(default)),
                trainable: Some(own.trainable != Some(false) && !self.options.frozen),
                use_resource: entered.scope().use_resource(),
                ..own
            },
        )?;
        self.lock().variables.push(variable.clone());
        Ok(variable)
    }

    /// The dtype of the variables, once the layer was called.
    pub fn variable_dtype(&self) -> DType {
        self.dtype()
    }

    /// Zeros as the initializer of a bias, in the layer's dtype where it was given one.
    pub fn zeros(&self) -> Initializer {
        Initializer::zeros().dtype(self.dtype())
    }

    /// Checks that the inputs are matrices of floats or complex numbers, and returns the size of a row.
    ///
    /// # Errors
    /// `InvalidArgument` where they aren't, or the size isn't static.
    pub fn input_depth(&self, shape: &Shape) -> Result<usize> {
        let shape = shape.with_rank(2)?;
        match shape.dim(1) {
            Some(depth) => Ok(depth),
            None => bail!(InvalidArgument, "Expected inputs.shape[-1] to be known, received shape: {shape}"),
        }
    }
}

/// A node whose last input is a variable, read within the node's scope where it is passed by handle.
pub(crate) fn with_variable(g: &Graph, op: &str, input: Output, variable: &Variable) -> Result<Output> {
    let (g, scope) = g.enter(op)?;
    let value = variable.value()?;
    g.op(op).name(scope.name()).input(input).input(value).output()
}

/// Refuses tensors that are neither floating-point nor complex.
///
/// # Errors
/// `InvalidArgument` for other dtypes.
pub(super) fn check_dtypes(g: &Graph, tensors: impl IntoIterator<Item = Output>) -> Result<()> {
    for tensor in tensors {
        let dtype = g.dtype(tensor)?;
        if !dtype.is_floating() && !dtype.is_complex() {
            bail!(InvalidArgument, "RNN cell only supports floating point inputs, but received dtype: {dtype}");
        }
    }
    Ok(())
}

/// The builder methods that all cells have.
macro_rules! layer_options {
    ($cell:ident) => {
        impl $cell {
            /// The name of the cell's variable scope.
            #[must_use]
            pub fn name(mut self, name: &str) -> $cell {
                self.layer.options.name = Some(name.to_string());
                self
            }

            /// Uses the variables of a scope that has them already.
            #[must_use]
            pub fn reuse(mut self, reuse: crate::train::Reuse) -> $cell {
                self.layer.options.reuse = reuse;
                self
            }

            /// Whether the variables are trained; they are if nothing is said.
            #[must_use]
            pub fn trainable(mut self, trainable: bool) -> $cell {
                self.layer.options.frozen = !trainable;
                self
            }

            /// The dtype of the variables; that of the first input if nothing is said.
            #[must_use]
            pub fn dtype(mut self, dtype: crate::tensor::DType) -> $cell {
                self.layer.options.dtype = Some(dtype);
                self
            }
        }
    };
}
pub(super) use layer_options;
