//! Training: variables and their scopes, initializers, optimizers, savers.

mod collections;
mod create;
mod dependencies;
mod files;
mod get_variable;
mod global_step;
mod initializer;
mod meta_graph;
mod optimizer;
mod partition;
mod saver;
mod scope;
mod slot;
mod variable;

pub use create::{InitialFn, InitialValue, VariableOptions};
pub use files::{RestoreReport, SaveOptions};
pub use get_variable::{CustomGetter, GetVariable, Getter, Regularizer};
pub use initializer::{Distribution, FanMode, Initializer};
pub use meta_graph::{
    ExportOptions, ImportMetaOptions, export_meta_graph, import_meta_graph, import_meta_graph_def, read_meta_graph,
};
pub use optimizer::{
    AdamOptimizer, Gate, GradientAndVariable, GradientDescentOptimizer, Hyperparameter, MinimizeOptions, Optimizer, OptimizerBase,
};
pub use partition::{PartitionInfo, Partitioner};
pub use saver::{Saver, SaverOptions};
pub use scope::{Reuse, ScopeName, ScopeOptions, VariableScope, VariableScopeGuard};
pub use variable::{Assignment, Constraint, SaveSliceInfo, Variable};
