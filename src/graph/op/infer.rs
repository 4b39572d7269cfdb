//! Shape inference of one node.

use crate::error::{Error, Result, bail};
use crate::graph::attr::{self, Attrs};
use crate::graph::op::Op;
use crate::proto::{AttrValue, NameAttrList};
use crate::tensor::{DType, Shape, Tensor};

/// Infers the shapes of a node's outputs from those of its inputs, its attributes and constant inputs.
/// Outputs that it doesn't set stay unknown.
///
/// # Errors
/// `InvalidArgument` where the node can't work with such inputs.
pub type ShapeFn = fn(&mut InferCtx) -> Result<()>;

/// What a handle to a resource refers to: the dtype and shape of the value behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct HandleData {
    /// The value's dtype.
    pub dtype: DType,
    /// The value's shape.
    pub shape: Shape,
}

/// What a shape function may ask about other nodes.
pub trait InferSource {
    /// The value of an input, if it can be computed from the graph's constants.
    fn constant(&self, input: usize) -> Option<Tensor>;
    /// The value of an integer vector input as a shape of which parts may be unknown.
    fn constant_shape(&self, input: usize) -> Shape;
    /// What the handle at an input refers to.
    fn handle(&self, input: usize) -> Option<HandleData>;
}

/// The node whose shapes are inferred.
pub struct InferCtx<'a> {
    pub(crate) op: &'static Op,
    pub(crate) producer: i32,
    pub(crate) attrs: &'a Attrs,
    pub(crate) inputs: Vec<Shape>,
    pub(crate) input_types: &'a [DType],
    pub(crate) output_types: &'a [DType],
    pub(crate) outputs: Vec<Shape>,
    pub(crate) handles: Vec<Option<HandleData>>,
    pub(crate) source: &'a dyn InferSource,
}

impl InferCtx<'_> {
    /// The version of TensorFlow's graphs as which the graph was written.
    pub fn graph_def_version(&self) -> i32 {
        self.producer
    }

    /// The number of inputs.
    pub fn num_inputs(&self) -> usize {
        self.inputs.len()
    }

    /// The number of outputs.
    pub fn num_outputs(&self) -> usize {
        self.outputs.len()
    }

    /// The shape of an input; unknown where there is no such input.
    pub fn input(&self, index: usize) -> Shape {
        self.inputs.get(index).cloned().unwrap_or_default()
    }

    /// The dtype of an input.
    pub fn input_type(&self, index: usize) -> Result<DType> {
        self.input_types.get(index).copied().ok_or_else(|| Error::invalid_argument(format!("there is no input {index}")))
    }

    /// The dtype of an output.
    pub fn output_type(&self, index: usize) -> Result<DType> {
        self.output_types.get(index).copied().ok_or_else(|| Error::invalid_argument(format!("there is no output {index}")))
    }

    /// Sets the shape of an output.
    pub fn set(&mut self, index: usize, shape: Shape) -> Result<()> {
        let Some(slot) = self.outputs.get_mut(index) else { bail!(InvalidArgument, "there is no output {index}") };
        *slot = shape;
        Ok(())
    }

    /// The shape that has been set for an output.
    pub fn output(&self, index: usize) -> Shape {
        self.outputs.get(index).cloned().unwrap_or_default()
    }

    /// Says what the handle at an output refers to.
    pub fn set_handle(&mut self, index: usize, data: HandleData) {
        if let Some(slot) = self.handles.get_mut(index) {
            *slot = Some(data);
        }
    }

    /// What the handle at an input refers to.
    pub fn handle(&self, index: usize) -> Option<HandleData> {
        self.source.handle(index)
    }

    /// The value of an input, if it can be computed from the graph's constants.
    pub fn constant(&self, index: usize) -> Option<Tensor> {
        if index < self.inputs.len() { self.source.constant(index) } else { None }
    }

    /// The value of an integer input as a shape, of which parts or all may be unknown (-1 counts as unknown).
    pub fn constant_shape(&self, index: usize) -> Shape {
        if index < self.inputs.len() { self.source.constant_shape(index) } else { Shape::unknown() }
    }

    /// An attribute, or its default.
    pub fn attr(&self, name: &str) -> Result<&AttrValue> {
        self.op
            .signature()
            .value(self.attrs, name)
            .ok_or_else(|| Error::invalid_argument(format!("NodeDef is missing attr '{name}'")))
    }

    /// True when the node or the op's interface gives the attribute.
    pub fn has_attr(&self, name: &str) -> bool {
        self.op.signature().value(self.attrs, name).is_some()
    }

    /// An integer attribute.
    pub fn int(&self, name: &str) -> Result<i64> {
        attr::int(self.attr(name)?)
    }

    /// A boolean attribute.
    pub fn boolean(&self, name: &str) -> Result<bool> {
        attr::boolean(self.attr(name)?)
    }

    /// A string attribute.
    pub fn string(&self, name: &str) -> Result<String> {
        Ok(attr::string(self.attr(name)?)?.to_string())
    }

    /// A dtype attribute.
    pub fn dtype(&self, name: &str) -> Result<DType> {
        attr::dtype(self.attr(name)?)
    }

    /// A list of integers.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>> {
        Ok(attr::list(self.attr(name)?)?.i.clone())
    }

    /// A shape attribute.
    pub fn shape_attr(&self, name: &str) -> Result<Shape> {
        attr::shape(self.attr(name)?)
    }

    /// A list of shapes.
    pub fn shapes(&self, name: &str) -> Result<Vec<Shape>> {
        attr::shapes(self.attr(name)?)
    }

    /// A list of dtypes.
    pub fn dtypes(&self, name: &str) -> Result<Vec<DType>> {
        attr::dtypes(self.attr(name)?)
    }

    /// A function attribute.
    pub fn func(&self, name: &str) -> Result<&NameAttrList> {
        attr::func(self.attr(name)?)
    }
}
