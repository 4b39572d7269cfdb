//! Handles to operations and their outputs, and the node behind them.

use super::attr::Attrs;
use super::op::{HandleData, Op};
use crate::proto::FullTypeDef;
use crate::proto::node_def::ExperimentalDebugInfo;
use crate::tensor::{DType, Shape};
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// A handle to a node of a graph. Cheap to copy; ask the graph about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Operation {
    pub(crate) graph: u32,
    pub(crate) index: u32,
}

impl Operation {
    /// The symbolic tensor `name:index`.
    pub fn output(self, index: usize) -> Output {
        Output { op: self, index: index as u32 }
    }

    /// The position in order of creation.
    pub fn id(self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index)
    }
}

/// A handle to an output of a node: the symbolic tensor `name:index`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Output {
    /// The node.
    pub op: Operation,
    /// Which of its outputs.
    pub index: u32,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}", self.op, self.index)
    }
}

/// The control-flow context of a node, a number that the builders of loops and conditionals give.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ContextId(pub u32);

/// The dtype of an output, and whether it is a reference to a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputType {
    /// The element type.
    pub dtype: DType,
    /// True for a reference.
    pub is_ref: bool,
}

/// A node. Its ordered inputs are the one truth of the graph's structure.
#[derive(Clone)]
pub(crate) struct Node {
    pub name: Arc<str>,
    pub op_type: Arc<str>,
    /// The op's record; none for an op that isn't known or for a call of a function by its name.
    pub record: Option<&'static Op>,
    pub inputs: SmallVec<[Output; 2]>,
    pub controls: SmallVec<[Operation; 1]>,
    pub attrs: Attrs,
    pub device: Arc<str>,
    /// The control-flow context in which the node was made.
    pub context: Option<ContextId>,
    /// The outputs exist on one branch or within a loop alone, so that a session can't fetch them.
    pub unfetchable: bool,
    /// The outputs can't be fed.
    pub unfeedable: bool,
    /// The types of the outputs, as far as they are known.
    pub types: SmallVec<[OutputType; 1]>,
    /// The inferred shapes, once asked for.
    pub shapes: Option<Vec<Shape>>,
    /// What output handles refer to, once shapes have been inferred.
    pub handles: Vec<Option<HandleData>>,
    /// What a NodeDef may hold beside; carried along.
    pub extra: Option<Box<Extra>>,
}

/// Fields of a NodeDef that are carried from import to export.
#[derive(Clone)]
pub(crate) struct Extra {
    pub debug_info: Option<ExperimentalDebugInfo>,
    pub full_type: Option<FullTypeDef>,
}
