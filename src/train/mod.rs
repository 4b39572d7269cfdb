//! Training: variables and their scopes, initializers, optimizers, savers.

mod collections;
mod create;
mod dependencies;
mod get_variable;
mod initializer;
mod partition;
mod scope;
mod variable;

pub use create::{InitialFn, InitialValue, VariableOptions};
pub use get_variable::{CustomGetter, GetVariable, Getter, Regularizer};
pub use initializer::{Distribution, FanMode, Initializer};
pub use partition::{PartitionInfo, Partitioner};
pub use scope::{Reuse, ScopeName, ScopeOptions, VariableScope, VariableScopeGuard};
pub use variable::{Assignment, Constraint, SaveSliceInfo, Variable};
