//! Training: variables and their scopes, initializers, optimizers, savers.

mod collections;
mod create;
mod decay;
mod dependencies;
mod files;
mod get_variable;
mod global_step;
mod initializer;
mod meta_graph;
mod moving_average;
mod optimizer;
mod partition;
mod restore;
mod saver;
mod scope;
mod slot;
mod variable;

pub use create::{InitialFn, InitialValue, VariableOptions};
pub use decay::{LinearCosineOptions, PolynomialOptions, RestartOptions};
pub use files::SaveOptions;
pub use get_variable::{CustomGetter, GetVariable, Getter, Regularizer};
pub use initializer::{Distribution, FanMode, Initializer};
pub use meta_graph::{
    ExportOptions, ImportMetaOptions, export_meta_graph, import_meta_graph, import_meta_graph_def, read_meta_graph,
};
pub use moving_average::{Averaged, ExponentialMovingAverage};
pub use optimizer::{
    AdadeltaOptimizer, AdagradDAOptimizer, AdagradOptimizer, AdamOptimizer, FtrlOptimizer, Gate, GradientAndVariable,
    GradientDescentOptimizer, Hyperparameter, MinimizeOptions, MomentumOptimizer, Optimizer, OptimizerBase,
    ProximalAdagradOptimizer, ProximalGradientDescentOptimizer, RMSPropOptimizer,
};
pub use partition::{PartitionInfo, Partitioner};
pub use restore::{RestoreReport, uninitialized_variables};
pub use saver::{Saver, SaverOptions};
pub use scope::{Reuse, ScopeName, ScopeOptions, VariableScope, VariableScopeGuard};
pub use variable::{Assignment, Constraint, SaveSliceInfo, Variable};
