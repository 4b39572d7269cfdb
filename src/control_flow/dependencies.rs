//! Nodes that wait for others: `group`, `tuple`, `with_dependencies`.

use super::primitive;
use crate::error::{Result, bail};
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use std::collections::{BTreeMap, BTreeSet};

impl Graph {
    /// The same tensor, once these have run (`control_flow_ops.with_dependencies`).
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn with_dependencies(&self, dependencies: &[Operation], output: Output) -> Result<Output> {
        let (g, scope) = self.enter("control_dependency")?;
        let _beside = g.colocate_with(output.op)?;
        let _after = g.control_dependencies(dependencies)?;
        primitive::identity_ref(&g.named(scope.name()), output)
    }

    /// An operation that does nothing once all of these have run (`tf.group`).
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn group(&self, inputs: &[Operation]) -> Result<Operation> {
        let (g, scope) = self.enter("group_deps")?;
        let mut by_device: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
        for &input in inputs {
            by_device.entry(g.op_device(input)).or_default().push(input);
        }
        let wait = |name: &str, device: &str, inputs: &[Operation]| {
            let _after = g.control_dependencies(inputs)?;
            let _on = g.device(device);
            g.op("NoOp").name(name).finish()
        };
        if by_device.len() <= 1 {
            let device = by_device.keys().next().cloned().unwrap_or_default();
            return wait(scope.name(), &device, inputs);
        }
        let mut parts = Vec::with_capacity(by_device.len());
        for (device, inputs) in &by_device {
            parts.push(wait("NoOp", device, inputs)?);
        }
        wait(scope.name(), "", &parts)
    }

    /// The same tensors, once all of them have been computed and the operations have run (`tf.tuple`).
    ///
    /// # Errors
    /// `InvalidArgument` if there are neither tensors nor operations.
    pub fn tuple(&self, tensors: &[Output], operations: &[Operation]) -> Result<Vec<Output>> {
        let dense: Vec<Option<Gradient>> = tensors.iter().map(|&t| Some(t.into())).collect();
        let gated = self.tuple_gradients(&dense, operations)?;
        Ok(gated.into_iter().zip(tensors).map(|(g, &t)| if let Some(Gradient::Dense(o)) = g { o } else { t }).collect())
    }

    /// The same for gradients, of which some may be rows or missing.
    ///
    /// # Errors
    /// As [`Graph::tuple`].
    pub fn tuple_gradients(&self, gradients: &[Option<Gradient>], operations: &[Operation]) -> Result<Vec<Option<Gradient>>> {
        let (g, _scope) = self.enter("tuple")?;
        let op_of = |gradient: &Gradient| match gradient {
            Gradient::Dense(output) => output.op,
            Gradient::Sparse(slices) => slices.values.op,
        };
        let mut gating: BTreeSet<Operation> = gradients.iter().flatten().map(op_of).collect();
        gating.extend(operations);
        if gating.is_empty() {
            bail!(InvalidArgument, "'tensors' must have at least one Tensor.");
        }
        let gate = g.group(&gating.into_iter().collect::<Vec<_>>())?;
        let mut gated = Vec::with_capacity(gradients.len());
        for gradient in gradients {
            gated.push(match gradient {
                None => None,
                Some(Gradient::Dense(output)) => Some(g.with_dependencies(&[gate], *output)?.into()),
                Some(Gradient::Sparse(slices)) => {
                    let values = g.with_dependencies(&[gate], slices.values)?;
                    Some(Gradient::Sparse(IndexedSlices { values, ..*slices }))
                }
            });
        }
        Ok(gated)
    }
}
