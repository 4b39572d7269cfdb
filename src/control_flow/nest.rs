//! Structures of tensors, as loop variables and results of branches.

use crate::error::{Result, bail};
use crate::graph::{Graph, IndexedSlices, Operation, Output};
use crate::ops::TensorArray;

/// One part of a structure.
#[derive(Clone, Debug)]
pub enum Leaf {
    /// A tensor.
    Tensor(Output),
    /// A TensorArray, which loops carry as its flow.
    Array(TensorArray),
    /// An operation, for branches that are run for their effect.
    Operation(Operation),
}

impl Leaf {
    /// The tensor that stands for the part in a loop.
    pub(super) fn tensor(&self) -> Option<Output> {
        match self {
            Leaf::Tensor(output) => Some(*output),
            Leaf::Array(array) => Some(array.flow()),
            Leaf::Operation(_) => None,
        }
    }

    /// The same kind of part with another tensor.
    pub(super) fn with_tensor(&self, g: &Graph, tensor: Output) -> Result<Leaf> {
        Ok(match self {
            Leaf::Array(array) => Leaf::Array(array.with_flow(g, tensor)?),
            _ => Leaf::Tensor(tensor),
        })
    }
}

/// A structure of tensors: a tensor, a TensorArray, or tuples, arrays and vectors of structures (TensorFlow's `nest`).
pub trait Nest: Clone {
    /// Appends the parts in order.
    fn flatten_into(&self, leaves: &mut Vec<Leaf>);

    /// The same structure of other parts.
    ///
    /// # Errors
    /// `InvalidArgument` if there are too few parts, or one is of another kind.
    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Self>;

    /// The parts in order.
    fn flatten(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        self.flatten_into(&mut leaves);
        leaves
    }
}

fn next(leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Leaf> {
    match leaves.next() {
        Some(leaf) => Ok(leaf),
        None => bail!(InvalidArgument, "The two structures don't have the same number of elements."),
    }
}

impl Nest for Output {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        leaves.push(Leaf::Tensor(*self));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Output> {
        match next(leaves)? {
            Leaf::Tensor(output) => Ok(output),
            other => bail!(InvalidArgument, "The two structures don't have the same nested structure: {other:?} for a tensor."),
        }
    }
}

impl Nest for Operation {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        leaves.push(Leaf::Operation(*self));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Operation> {
        match next(leaves)? {
            Leaf::Tensor(output) => Ok(output.op),
            Leaf::Operation(op) => Ok(op),
            other => {
                bail!(InvalidArgument, "The two structures don't have the same nested structure: {other:?} for an operation.")
            }
        }
    }
}

impl Nest for TensorArray {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        leaves.push(Leaf::Array(self.clone()));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<TensorArray> {
        match next(leaves)? {
            Leaf::Array(array) => Ok(array),
            other => {
                bail!(InvalidArgument, "The two structures don't have the same nested structure: {other:?} for a TensorArray.")
            }
        }
    }
}

impl Nest for IndexedSlices {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        leaves.extend([self.values, self.indices].into_iter().chain(self.dense_shape).map(Leaf::Tensor));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<IndexedSlices> {
        let values = self.values.rebuild(leaves)?;
        let indices = self.indices.rebuild(leaves)?;
        Ok(IndexedSlices { values, indices, dense_shape: self.dense_shape.map(|s| s.rebuild(leaves)).transpose()? })
    }
}

impl<T: Nest> Nest for Option<T> {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        self.iter().for_each(|item| item.flatten_into(leaves));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Option<T>> {
        self.as_ref().map(|item| item.rebuild(leaves)).transpose()
    }
}

impl<T: Nest> Nest for Vec<T> {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        self.iter().for_each(|item| item.flatten_into(leaves));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Vec<T>> {
        self.iter().map(|item| item.rebuild(leaves)).collect()
    }
}

impl<T: Nest, const N: usize> Nest for [T; N] {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        self.iter().for_each(|item| item.flatten_into(leaves));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<[T; N]> {
        let mut rebuilt = self.clone();
        for item in &mut rebuilt {
            *item = item.rebuild(leaves)?;
        }
        Ok(rebuilt)
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),*))*) => {
        $(impl<$($name: Nest),*> Nest for ($($name,)*) {
            fn flatten_into(&self, _leaves: &mut Vec<Leaf>) {
                $(self.$index.flatten_into(_leaves);)*
            }

            fn rebuild(&self, _leaves: &mut dyn Iterator<Item = Leaf>) -> Result<Self> {
                Ok(($(self.$index.rebuild(_leaves)?,)*))
            }
        })*
    };
}

tuples! {
    ()
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
}
