//! What an op is: one record with its interface, shape function, kernel, gradient decision and examples.

mod infer;
mod kernel;
mod signature;

pub use infer::{HandleData, InferCtx, InferSource, ShapeFn};
pub use kernel::{
    Caller, Control, Kernel, KernelCtx, KernelFn, NodeInfo, PrepareCtx, PrepareFn, Prepared, SessionState, StepState, Value,
    Variable,
};
pub use signature::{ArgSpec, ArgType, AttrSpec, Signature};

use super::Graph;
use super::node::{Operation, Output};
use crate::error::Result;
use crate::graph::gradient::{Gradient, Grads};

/// One op. There are no defaults: an op without a shape function or a gradient decision does not compile.
pub struct Op {
    /// The op's type, as a NodeDef names it.
    pub name: &'static str,
    /// Inputs in TensorFlow's notation: `"x: T"`, `"values: N * T"`, `"args: Tin"`, `"ref: Ref(T)"`.
    pub ins: &'static [&'static str],
    /// Outputs in the same notation.
    pub outs: &'static [&'static str],
    /// Attributes in TensorFlow's notation: `"T: {float, double}"`, `"N: int >= 1"`, `"axis: int = 0"`.
    pub attrs: &'static [&'static str],
    /// Infers the shapes of the outputs.
    pub shape: ShapeFn,
    /// Computes the outputs.
    pub kernel: Kernel,
    /// How the op is differentiated.
    pub grad: Grad,
    /// Examples that are run as tests: `"axis=1; f32[[1 2]], i32 0 => f32[1 2]"` (attributes, inputs, outputs).
    /// Every op with a pure kernel has one.
    pub rows: &'static [&'static str],
}

/// Emits the nodes that compute the gradients of an op's inputs from those of its outputs: one entry an input.
pub type GradFn = fn(&Graph, Operation, &Grads) -> Result<Vec<Option<Gradient>>>;

/// The gradient decision of an op.
#[derive(Clone, Copy)]
pub enum Grad {
    /// Differentiable by this function.
    Fn(GradFn),
    /// Gradients stop here, and TensorFlow says so too (`ops.NotDifferentiable`).
    None(&'static str),
    /// No gradient is registered in TensorFlow: to differentiate through the op is an error.
    Missing,
    /// A control-flow primitive, interpreted by the gradient builder itself.
    Control,
}

/// How a graph finds the record of an op type.
pub type Lookup = fn(&str) -> Option<&'static Op>;

/// How a graph builds gradients of `ys` by `xs` from those of `ys`, where a function of the library is differentiated: one
/// tensor for each of `xs`.
pub type Differentiate = fn(&Graph, ys: &[Output], xs: &[Output], grad_ys: &[Output]) -> Result<Vec<Output>>;

impl Op {
    /// The interface in parsed form. Parsed at first use and kept.
    pub fn signature(&'static self) -> &'static Signature {
        signature::of(self)
    }

    /// True when the op reads or changes state, so that it may be neither folded nor merged with its like.
    pub fn is_stateful(&self) -> bool {
        !matches!(self.kernel, Kernel::Pure(_) | Kernel::PurePrepared(_) | Kernel::Control(_))
    }
}
