//! Asking a graph about its nodes.

use super::names::edit_distance;
use super::node::{Operation, Output};
use super::{Graph, Node};
use crate::error::{Error, Result, bail};
use crate::proto::{AttrValue, NodeDef};
use crate::tensor::{DType, Shape};
use std::collections::HashMap;

impl Graph {
    /// The number of nodes.
    pub fn len(&self) -> usize {
        self.read().nodes.len()
    }

    /// True when there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All operations, in order of creation.
    pub fn get_operations(&self) -> Vec<Operation> {
        let inner = self.read();
        (0..inner.nodes.len()).map(|i| inner.operation(i)).collect()
    }

    /// The operations whose name contains this text, in order of creation.
    pub fn find_operations(&self, substring: &str) -> Vec<Operation> {
        let inner = self.read();
        let matches = inner.nodes.keys().enumerate().filter(|(_, name)| name.contains(substring));
        matches.map(|(i, _)| inner.operation(i)).collect()
    }

    /// The operation of that name.
    ///
    /// # Errors
    /// `InvalidArgument` for the name of a tensor (`x:0`), `NotFound` where there is no such operation; the message
    /// then gives the nearest names.
    pub fn get_operation_by_name(&self, name: &str) -> Result<Operation> {
        if name.contains(':') {
            bail!(InvalidArgument, "The name '{name}' appears to refer to a Tensor, not an Operation.");
        }
        let inner = self.read();
        match inner.nodes.get_index_of(name) {
            Some(index) => Ok(inner.operation(index)),
            None => bail!(NotFound, "The name '{name}' refers to an Operation not in the graph.{}", nearest(&inner.nodes, name)),
        }
    }

    /// The tensor of that name, `op:index`.
    ///
    /// # Errors
    /// `InvalidArgument` for a name of another form, `NotFound` where there is no such operation or output.
    pub fn get_tensor_by_name(&self, name: &str) -> Result<Output> {
        let Some((op_name, index)) = name.rsplit_once(':') else {
            if self.read().nodes.contains_key(name) {
                bail!(
                    InvalidArgument,
                    "The name '{name}' refers to an Operation, not a Tensor. Tensor names must be of the form \"<op_name>:<output_index>\". Did you mean '{name}:0'?"
                );
            }
            bail!(
                InvalidArgument,
                "The name '{name}' looks like an (invalid) Operation name, not a Tensor. Tensor names must be of the form \"<op_name>:<output_index>\"."
            );
        };
        let Ok(index) = index.parse::<u32>() else {
            bail!(
                InvalidArgument,
                "The name '{name}' looks a like a Tensor name, but is not a valid one. Tensor names must be of the form \"<op_name>:<output_index>\"."
            );
        };
        let inner = self.read();
        let Some((position, _, node)) = inner.nodes.get_full(op_name) else {
            bail!(
                NotFound,
                "The name '{name}' refers to a Tensor which does not exist. The operation, '{op_name}', does not exist in the graph.{}",
                nearest(&inner.nodes, op_name)
            );
        };
        let known = node.record.is_some() || !node.types.is_empty();
        if known && index as usize >= node.types.len() {
            bail!(
                NotFound,
                "The name '{name}' refers to a Tensor which does not exist. The operation, '{op_name}', exists but only has {} outputs.",
                node.types.len()
            );
        }
        Ok(Output { op: inner.operation(position), index })
    }

    /// An operation's name; empty for one of another graph.
    pub fn op_name(&self, op: Operation) -> String {
        self.read().node(op).map(|n| n.name.to_string()).unwrap_or_default()
    }

    /// An operation's type; empty for one of another graph.
    pub fn op_type(&self, op: Operation) -> String {
        self.read().node(op).map(|n| n.op_type.to_string()).unwrap_or_default()
    }

    /// A tensor's name, `op:index`.
    pub fn tensor_name(&self, output: Output) -> String {
        format!("{}:{}", self.op_name(output.op), output.index)
    }

    /// An operation's device.
    pub fn op_device(&self, op: Operation) -> String {
        self.read().node(op).map(|n| n.device.to_string()).unwrap_or_default()
    }

    /// An operation's inputs, in order.
    pub fn inputs(&self, op: Operation) -> Vec<Output> {
        self.read().node(op).map(|n| n.inputs.to_vec()).unwrap_or_default()
    }

    /// One input of an operation.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such input.
    pub fn input(&self, op: Operation, index: usize) -> Result<Output> {
        let inner = self.read();
        let node = inner.node(op)?;
        let missing = || Error::invalid_argument(format!("node '{}' has no input {index}", node.name));
        node.inputs.get(index).copied().ok_or_else(missing)
    }

    /// The operations that an operation waits for without taking a value.
    pub fn control_inputs(&self, op: Operation) -> Vec<Operation> {
        self.read().node(op).map(|n| n.controls.to_vec()).unwrap_or_default()
    }

    /// The number of an operation's outputs, as far as they are known.
    pub fn num_outputs(&self, op: Operation) -> usize {
        self.read().node(op).map(|n| n.types.len()).unwrap_or(0)
    }

    /// An operation's outputs.
    pub fn outputs(&self, op: Operation) -> Vec<Output> {
        (0..self.num_outputs(op)).map(|i| op.output(i)).collect()
    }

    /// The operations that take this tensor as an input, in order of creation.
    pub fn consumers(&self, output: Output) -> Vec<Operation> {
        let inner = self.read();
        let takes = |node: &Node| node.inputs.contains(&output);
        inner.nodes.values().enumerate().filter(|(_, n)| takes(n)).map(|(i, _)| inner.operation(i)).collect()
    }

    /// The consumers of every tensor that has any.
    pub(crate) fn all_consumers(&self) -> HashMap<Output, Vec<Operation>> {
        let inner = self.read();
        let mut consumers: HashMap<Output, Vec<Operation>> = HashMap::with_capacity(inner.nodes.len());
        for (index, node) in inner.nodes.values().enumerate() {
            let op = inner.operation(index);
            for input in &node.inputs {
                let list = consumers.entry(*input).or_default();
                if list.last() != Some(&op) {
                    list.push(op);
                }
            }
        }
        consumers
    }

    /// A tensor's dtype.
    ///
    /// # Errors
    /// `InvalidArgument` if there is no such output, `Unimplemented` if its op isn't known.
    pub fn dtype(&self, output: Output) -> Result<DType> {
        Ok(self.read().output_type(output)?.dtype)
    }

    /// True when the tensor is a reference to a variable.
    pub fn is_ref(&self, output: Output) -> bool {
        self.read().output_type(output).is_ok_and(|t| t.is_ref)
    }

    /// An attribute of an operation, or its default.
    ///
    /// # Errors
    /// `InvalidArgument` if there is none of that name.
    pub fn get_attr(&self, op: Operation, name: &str) -> Result<AttrValue> {
        let inner = self.read();
        let node = inner.node(op)?;
        let missing = || Error::invalid_argument(format!("Operation '{}' has no attr named '{name}'.", node.name));
        inner.attr(node, name).cloned().ok_or_else(missing)
    }

    /// True when the operation has the attribute, or its op a default for it.
    pub fn has_attr(&self, op: Operation, name: &str) -> bool {
        self.get_attr(op, name).is_ok()
    }

    /// The operation as a NodeDef.
    ///
    /// # Errors
    /// `InvalidArgument` for an operation of another graph.
    pub fn node_def(&self, op: Operation) -> Result<NodeDef> {
        let inner = self.read();
        Ok(inner.node_def(inner.node(op)?))
    }

    /// A tensor's static shape.
    ///
    /// # Errors
    /// `InvalidArgument` where shapes contradict each other at the node or before it (in an imported graph, whose
    /// shapes are inferred when asked for).
    pub fn shape(&self, output: Output) -> Result<Shape> {
        let inner = self.read();
        let node = inner.node(output.op)?;
        if let Some(shapes) = &node.shapes {
            return Ok(shapes.get(output.index as usize).cloned().unwrap_or_default());
        }
        drop(inner);
        let mut inner = self.write();
        inner.infer_to(output.op)?;
        let shapes = inner.node(output.op)?.shapes.as_ref();
        Ok(shapes.and_then(|s| s.get(output.index as usize)).cloned().unwrap_or_default())
    }

    /// Says more about a tensor's static shape than inference found.
    ///
    /// # Errors
    /// `InvalidArgument` where it contradicts what is known.
    pub fn set_shape(&self, output: Output, shape: impl Into<Shape>) -> Result<()> {
        let merged = self.shape(output)?.merge(&shape.into())?;
        let mut inner = self.write();
        if let Some(slot) = inner.node_mut(output.op)?.shapes.as_mut().and_then(|s| s.get_mut(output.index as usize)) {
            *slot = merged;
        }
        Ok(())
    }
}

/// A hint with the names that are most like one that isn't there.
fn nearest(nodes: &super::Nodes, name: &str) -> String {
    let last = |n: &str| n.rsplit('/').next().unwrap_or(n).to_lowercase();
    let wanted = last(name);
    let misspelt = |candidate: &str| {
        let most = 1 + name.len() / 8;
        candidate.len().abs_diff(name.len()) <= most && edit_distance(candidate.as_bytes(), name.as_bytes()) <= most
    };
    let mut near: Vec<&str> = Vec::new();
    for candidate in nodes.keys() {
        if near.len() < 3 && (last(candidate) == wanted || misspelt(candidate)) {
            near.push(candidate);
        }
    }
    if near.is_empty() { String::new() } else { format!(" Did you mean {}?", near.join(", ")) }
}
