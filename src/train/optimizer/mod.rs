//! Optimizers (`tf.train.Optimizer` and its kin): the nodes that compute gradients and change variables by them.

mod adadelta;
mod adagrad;
mod adagrad_da;
mod adam;
mod apply;
mod base;
mod ftrl;
mod gradient_descent;
mod momentum;
mod proximal;
mod rms_prop;

pub use adadelta::AdadeltaOptimizer;
pub use adagrad::AdagradOptimizer;
pub use adagrad_da::AdagradDAOptimizer;
pub use adam::AdamOptimizer;
pub use base::{Hyperparameter, OptimizerBase};
pub use ftrl::FtrlOptimizer;
pub use gradient_descent::GradientDescentOptimizer;
pub use momentum::MomentumOptimizer;
pub use proximal::{ProximalAdagradOptimizer, ProximalGradientDescentOptimizer};
pub use rms_prop::RMSPropOptimizer;

use super::variable::Variable;
use crate::error::{Result, bail};
use crate::grad::{AggregationMethod, GradientOptions};
use crate::graph::{CollectionItem, Gradient, Graph, IndexedSlices, Operation, Output, keys};
use crate::tensor::DType;

/// How far the computation of gradients and their application may overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// Fully (`GATE_NONE`).
    None,
    /// All gradients of one node's inputs are computed before any is used (`GATE_OP`).
    #[default]
    Op,
    /// All gradients are computed before any is used (`GATE_GRAPH`).
    Graph,
}

/// What [`Optimizer::minimize_with`] can be told.
#[derive(Clone, Debug, Default)]
pub struct MinimizeOptions {
    /// A variable that is incremented after the update.
    pub global_step: Option<Variable>,
    /// The variables to change; the trainable ones of the graph unless given.
    pub var_list: Option<Vec<Variable>>,
    /// How far computation and application of gradients may overlap.
    pub gate_gradients: Gate,
    /// How gradients that meet are added up.
    pub aggregation_method: AggregationMethod,
    /// Whether gradients are colocated with the nodes that they are of.
    pub colocate_gradients_with_ops: bool,
    /// The gradient of the loss, ones unless given.
    pub grad_loss: Option<Output>,
}

/// A gradient, if there is one, and its variable.
pub type GradientAndVariable = (Option<Gradient>, Variable);

/// Changes variables so that a loss becomes smaller.
///
/// An optimizer of one's own has an [`OptimizerBase`] and says which slots it needs, which tensors all updates share, and
/// how one gradient is applied. The rest, with TensorFlow's nodes and names, is the same for all.
///
/// ```
/// use metagraph::train::{GradientDescentOptimizer, Optimizer};
/// # use metagraph::{Graph, Session, Tensor};
/// let g = Graph::new();
/// let x = g.named("x").variable(3f32)?;
/// let loss = g.square(x.value()?)?;
/// let training = GradientDescentOptimizer::new(0.25).minimize(&g.named("training"), loss)?;
/// let session = Session::new(&g);
/// session.run_targets(&[g.global_variables_initializer()?], &[])?;
/// session.run_targets(&[training], &[])?;
/// assert_eq!(x.eval(&session)?, Tensor::scalar(1.5f32));
/// # Ok::<(), metagraph::Error>(())
/// ```
pub trait Optimizer {
    /// Name, locking and slots.
    fn base(&self) -> &OptimizerBase;

    /// Makes the slots that these variables need.
    ///
    /// # Errors
    /// As [`Graph::get_variable_with`].
    fn create_slots(&self, g: &Graph, variables: &[Variable]) -> Result<()> {
        let _ = (g, variables);
        Ok(())
    }

    /// Makes the tensors that all updates share, such as the learning rate. [`Optimizer::apply_dense`] and the others are
    /// given them.
    ///
    /// # Errors
    /// `InvalidArgument` for hyperparameters that can't be tensors.
    fn prepare(&self, g: &Graph) -> Result<Vec<Output>>;

    /// Applies a dense gradient to a variable.
    ///
    /// # Errors
    /// `InvalidArgument` where gradient and variable don't fit.
    fn apply_dense(&self, g: &Graph, prepared: &[Output], gradient: Output, variable: &Variable) -> Result<Operation>;

    /// Applies a gradient of some rows, none of which stands there twice.
    ///
    /// # Errors
    /// As [`Optimizer::apply_dense`].
    fn apply_sparse(&self, g: &Graph, prepared: &[Output], gradient: IndexedSlices, variable: &Variable) -> Result<Operation>;

    /// Applies a gradient of some rows. Rows that stand there more than once are added up first, unless the optimizer says
    /// otherwise.
    ///
    /// # Errors
    /// As [`Optimizer::apply_dense`].
    fn apply_sparse_duplicate_indices(
        &self,
        g: &Graph,
        prepared: &[Output],
        gradient: IndexedSlices,
        variable: &Variable,
    ) -> Result<Operation> {
        let (indices, positions) = g.unique(gradient.indices)?;
        let count = g.index(g.shape_tensor(indices)?, &[0.into()])?;
        let values = g.unsorted_segment_sum(gradient.values, positions, count)?;
        self.apply_sparse(g, prepared, IndexedSlices { values, indices, dense_shape: gradient.dense_shape }, variable)
    }

    /// The operation that stands for all updates. The graph's handle carries its name.
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    fn finish(&self, g: &Graph, prepared: &[Output], updates: &[Operation]) -> Result<Operation> {
        let _ = prepared;
        g.group(updates)
    }

    /// An operation that changes the trainable variables so that the loss becomes smaller. Its name is that of
    /// [`Graph::named`], or the optimizer's.
    ///
    /// # Errors
    /// As [`Optimizer::minimize_with`].
    fn minimize(&self, g: &Graph, loss: Output) -> Result<Operation> {
        self.minimize_with(g, loss, &MinimizeOptions::default())
    }

    /// [`Optimizer::minimize`] with options.
    ///
    /// # Errors
    /// `InvalidArgument` if there are no variables, no gradient reaches one, or one isn't of floats; what
    /// [`Graph::gradients`] gives.
    fn minimize_with(&self, g: &Graph, loss: Output, options: &MinimizeOptions) -> Result<Operation> {
        let gradients = self.compute_gradients(g, loss, options)?;
        if gradients.iter().all(|(gradient, _)| gradient.is_none()) {
            let names: Vec<&str> = gradients.iter().map(|(_, v)| v.name()).collect();
            bail!(
                InvalidArgument,
                "No gradients provided for any variable, check your graph for ops that do not support gradients, between \
                 variables {names:?} and loss {}.",
                g.tensor_name(loss)
            );
        }
        self.apply_gradients(g, &gradients, options.global_step.as_ref())
    }

    /// The gradients of the loss by the variables: the first part of [`Optimizer::minimize_with`].
    ///
    /// # Errors
    /// As [`Optimizer::minimize_with`].
    fn compute_gradients(&self, g: &Graph, loss: Output, options: &MinimizeOptions) -> Result<Vec<GradientAndVariable>> {
        let g = &g.plain();
        check_dtype(g.dtype(loss)?, || g.tensor_name(loss))?;
        if let Some(given) = options.grad_loss {
            check_dtype(g.dtype(given)?, || g.tensor_name(given))?;
        }
        let variables = match &options.var_list {
            Some(given) => given.iter().flat_map(Variable::parts).collect(),
            None => g.trainable_variables(),
        };
        if variables.is_empty() {
            bail!(InvalidArgument, "No variables to optimize.");
        }
        let xs = variables.iter().map(Variable::handle).collect::<Result<Vec<_>>>()?;
        let mut gradients = g.gradients(
            &[loss],
            &xs,
            &GradientOptions {
                grad_ys: options.grad_loss.map(|l| Some(l.into())).into_iter().collect(),
                gate_gradients: options.gate_gradients == Gate::Op,
                aggregation_method: options.aggregation_method,
                colocate_gradients_with_ops: options.colocate_gradients_with_ops,
                ..GradientOptions::default()
            },
        )?;
        if options.gate_gradients == Gate::Graph {
            gradients = g.tuple_gradients(&gradients, &[])?;
        }
        let pairs: Vec<GradientAndVariable> = gradients.into_iter().zip(variables).collect();
        for (_, variable) in pairs.iter().filter(|(gradient, _)| gradient.is_some()) {
            check_dtype(variable.dtype(), || variable.name().to_string())?;
        }
        Ok(pairs)
    }

    /// An operation that applies gradients to variables: the second part of [`Optimizer::minimize_with`].
    ///
    /// # Errors
    /// `InvalidArgument` if no variable has a gradient, or gradient and variable don't fit; `Unimplemented` for a sparse
    /// gradient of a variable with a constraint.
    fn apply_gradients(&self, g: &Graph, gradients: &[GradientAndVariable], global_step: Option<&Variable>) -> Result<Operation> {
        if gradients.is_empty() {
            bail!(InvalidArgument, "No variables provided.");
        }
        let present: Vec<(Gradient, &Variable)> = gradients.iter().filter_map(|(g, v)| g.map(|g| (g, v))).collect();
        if present.is_empty() {
            let names: Vec<&str> = gradients.iter().map(|(_, v)| v.name()).collect();
            bail!(InvalidArgument, "No gradients provided for any variable: {names:?}.");
        }
        {
            let g = &g.plain();
            let _outside = g.cleared_control_dependencies();
            let variables: Vec<Variable> = present.iter().map(|(_, v)| (*v).clone()).collect();
            self.create_slots(g, &variables)?;
        }
        let (g, scope) = g.enter(self.base().name())?;
        let prepared = self.prepare(&g)?;
        let mut updates = Vec::with_capacity(present.len());
        for (gradient, variable) in present {
            let _scope = g.name_scope(&format!("update_{}", variable.op_name()))?;
            let _beside = g.colocate_with(variable.op()?)?;
            updates.push(update(self, &g, &prepared, gradient, variable)?);
        }
        let finished = match global_step {
            None => self.finish(&g.named(scope.name()), &prepared, &updates)?,
            Some(step) => {
                let update = self.finish(&g.named("update"), &prepared, &updates)?;
                let _after = g.control_dependencies(&[update])?;
                let _beside = g.colocate_with(step.op()?)?;
                if step.is_resource() {
                    let one = g.convert_to_tensor(1i32, Some(step.dtype()), "Const")?;
                    g.op("AssignAddVariableOp").name(scope.name()).input(step.handle()?).input(one).finish()?
                } else {
                    g.named(scope.name()).assign_add(step.handle()?, 1i32)?.op
                }
            }
        };
        let held = g.get_collection(keys::TRAIN_OP);
        if !held.iter().any(|item| matches!(item, CollectionItem::Operation(op) if *op == finished)) {
            g.add_to_collection(keys::TRAIN_OP, CollectionItem::Operation(finished));
        }
        Ok(finished)
    }

    /// The slot of that name that was made for a variable.
    fn get_slot(&self, variable: &Variable, name: &str) -> Option<Variable> {
        self.base().slot(variable, name).ok()
    }

    /// The names of the slots that were made, sorted.
    fn get_slot_names(&self) -> Vec<String> {
        self.base().slot_names()
    }

    /// All variables that the optimizer made in this graph, sorted by name.
    fn variables(&self, g: &Graph) -> Vec<Variable> {
        self.base().variables(g)
    }
}

fn check_dtype(dtype: DType, name: impl Fn() -> String) -> Result<()> {
    if !matches!(dtype, DType::Half | DType::Bfloat16 | DType::Float | DType::Double) {
        bail!(InvalidArgument, "Invalid type {dtype} for {}, expected: float16, bfloat16, float32 or float64.", name());
    }
    Ok(())
}

fn update<O: Optimizer + ?Sized>(
    optimizer: &O,
    g: &Graph,
    prepared: &[Output],
    gradient: Gradient,
    variable: &Variable,
) -> Result<Operation> {
    match (gradient, variable.constraint()) {
        (Gradient::Dense(gradient), None) => optimizer.apply_dense(g, prepared, gradient, variable),
        (Gradient::Dense(gradient), Some(constraint)) => {
            let update = optimizer.apply_dense(g, prepared, gradient, variable)?;
            let _after = g.control_dependencies(&[update])?;
            let projected = constraint(g, variable.value()?)?;
            Ok(variable.assign(projected)?.op())
        }
        (Gradient::Sparse(_), Some(_)) => bail!(Unimplemented, "Cannot use a constraint function on a sparse variable."),
        (Gradient::Sparse(slices), None) => optimizer.apply_sparse_duplicate_indices(g, prepared, slices, variable),
    }
}
