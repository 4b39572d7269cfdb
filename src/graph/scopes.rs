//! What holds for all nodes made within a scope: control dependencies, devices, colocation, attributes.

use super::node::{ContextId, Node, Operation, Output};
use super::{Graph, Inner};
use crate::error::Result;
use crate::graph::attr::{self, IntoAttr};
use crate::proto::AttrValue;
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The attribute of nodes that others were told to wait for.
const MANUAL_CONTROL: &str = "_has_manual_control_dependencies";

#[derive(Default)]
pub(super) struct Scopes {
    controls: Vec<Controller>,
    devices: Vec<Option<Arc<str>>>,
    colocations: Vec<Operation>,
    attrs: Vec<(String, Option<AttrValue>)>,
    context: Option<ContextId>,
    /// What is set aside while a cleared scope is open.
    saved_controls: Vec<(Vec<Controller>, Option<ContextId>)>,
    saved_colocations: Vec<(Vec<Operation>, Vec<Option<Arc<str>>>)>,
}

#[derive(Default)]
struct Controller {
    inputs: Vec<Operation>,
    seen: HashSet<Operation>,
}

impl Scopes {
    /// Notes a new node as made within every open control scope.
    pub fn saw(&mut self, op: Operation) {
        for controller in &mut self.controls {
            controller.seen.insert(op);
        }
    }

    /// The control-flow context of new nodes.
    pub fn context(&self) -> Option<ContextId> {
        self.context
    }

    /// Sets the control-flow context of new nodes; returns the one before.
    pub fn set_context(&mut self, context: Option<ContextId>) -> Option<ContextId> {
        std::mem::replace(&mut self.context, context)
    }
}

enum Kind {
    Controls,
    ClearedControls,
    Device,
    Colocation,
    Attr,
}

/// Closes a scope when dropped.
pub struct ScopeGuard {
    graph: Graph,
    kind: Kind,
}

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        let mut inner = self.graph.write();
        let scopes = &mut inner.scopes;
        match self.kind {
            Kind::Controls => drop(scopes.controls.pop()),
            Kind::ClearedControls => (scopes.controls, scopes.context) = scopes.saved_controls.pop().unwrap_or_default(),
            Kind::Device => drop(scopes.devices.pop()),
            Kind::Colocation => (scopes.colocations, scopes.devices) = scopes.saved_colocations.pop().unwrap_or_default(),
            Kind::Attr => drop(scopes.attrs.pop()),
        }
    }
}

impl Graph {
    fn guard(&self, kind: Kind) -> ScopeGuard {
        ScopeGuard { graph: self.plain(), kind }
    }

    /// Nodes made until the guard is dropped run after these (`tf.control_dependencies`).
    ///
    /// # Errors
    /// `InvalidArgument` for nodes of another graph.
    pub fn control_dependencies(&self, ops: &[Operation]) -> Result<ScopeGuard> {
        let mut inner = self.write();
        let mut inputs = Vec::new();
        for &op in ops {
            let open = inner.scopes.controls.iter().any(|c| c.inputs.contains(&op));
            let node = inner.node_mut(op)?;
            if !open && !inputs.contains(&op) {
                node.attrs.insert(MANUAL_CONTROL.to_string(), true.into_attr());
                inputs.push(op);
            }
        }
        inner.scopes.controls.push(Controller { inputs, seen: HashSet::new() });
        drop(inner);
        Ok(self.guard(Kind::Controls))
    }

    /// Nodes made until the guard is dropped have no control dependencies from open scopes, and stand in no loop or
    /// conditional (`tf.control_dependencies(None)`).
    pub fn cleared_control_dependencies(&self) -> ScopeGuard {
        let scopes = &mut self.write().scopes;
        let saved = (std::mem::take(&mut scopes.controls), scopes.context.take());
        scopes.saved_controls.push(saved);
        self.guard(Kind::ClearedControls)
    }

    /// Nodes made until the guard is dropped are placed on this device (a name such as `/device:CPU:0`), merged with those
    /// of outer scopes; an empty name shields from them. The device is stored and exported, and otherwise ignored.
    pub fn device(&self, device: &str) -> ScopeGuard {
        let mut inner = self.write();
        let device = if device.is_empty() { None } else { Some(inner.intern(device)) };
        inner.scopes.devices.push(device);
        drop(inner);
        self.guard(Kind::Device)
    }

    /// The device that these two names say together; the first one wins where both speak.
    pub(crate) fn merged_device(&self, device: &str, outer: &str) -> String {
        super::device::merge(device, outer)
    }

    /// Nodes made until the guard is dropped carry `_class` = `loc:@op` (`tf.colocate_with`). Open device scopes do not
    /// hold there.
    ///
    /// # Errors
    /// `InvalidArgument` for a node of another graph.
    pub fn colocate_with(&self, op: Operation) -> Result<ScopeGuard> {
        self.colocate(Some(op), false)
    }

    /// The same, without what was colocated before (`ignore_existing=True`); with no op, nothing is colocated.
    ///
    /// # Errors
    /// `InvalidArgument` for a node of another graph.
    pub fn colocate_only_with(&self, op: Option<Operation>) -> Result<ScopeGuard> {
        self.colocate(op, true)
    }

    fn colocate(&self, op: Option<Operation>, only: bool) -> Result<ScopeGuard> {
        let mut inner = self.write();
        if let Some(op) = op {
            inner.node(op)?;
        }
        let scopes = &mut inner.scopes;
        let saved = (scopes.colocations.clone(), std::mem::take(&mut scopes.devices));
        scopes.saved_colocations.push(saved);
        if only {
            scopes.colocations.clear();
        }
        scopes.colocations.extend(op);
        drop(inner);
        Ok(self.guard(Kind::Colocation))
    }

    /// Nodes made until the guard is dropped get this attribute, unless they have it; `None` shields from outer scopes.
    pub fn attr_scope(&self, name: &str, value: Option<AttrValue>) -> ScopeGuard {
        self.write().scopes.attrs.push((name.to_string(), value));
        self.guard(Kind::Attr)
    }

    /// The control inputs that a node with these inputs would get from open scopes now.
    pub(crate) fn control_dependencies_for(&self, inputs: &[Output]) -> Result<Vec<Operation>> {
        Ok(self.read().controls_for(inputs, &[])?.into_vec())
    }

    /// Counts a node as made within every open control scope.
    pub(crate) fn note_made_in_scopes(&self, op: Operation) {
        self.write().scopes.saw(op);
    }
}

impl Inner {
    /// The control inputs of a node with these inputs: those of each open scope in which none of the inputs was made,
    /// since such an input runs after them already.
    pub(super) fn controls_for(&self, inputs: &[Output], extra: &[Operation]) -> Result<SmallVec<[Operation; 1]>> {
        let mut controls: SmallVec<[Operation; 1]> = SmallVec::new();
        for &op in extra {
            self.node(op)?;
            if !controls.contains(&op) {
                controls.push(op);
            }
        }
        for controller in &self.scopes.controls {
            if inputs.iter().any(|i| controller.seen.contains(&i.op)) {
                continue;
            }
            for &op in &controller.inputs {
                if !controls.contains(&op) && !inputs.iter().any(|i| i.op == op) {
                    controls.push(op);
                }
            }
        }
        Ok(controls)
    }

    /// What the open device scopes say together; an inner scope without a device shields from outer ones.
    pub(super) fn device(&mut self) -> Arc<str> {
        let mut device = String::new();
        for scope in self.scopes.devices.iter().rev() {
            let Some(outer) = scope else { break };
            device = super::device::merge(&device, outer);
        }
        self.intern(&device)
    }

    /// The colocation groups of a node: its `_class` entries, or itself.
    pub(super) fn colocation_groups(&self, op: Operation) -> Result<Vec<Bytes>> {
        let node = self.node(op)?;
        let class = node.attrs.get("_class").and_then(|v| attr::list(v).ok());
        let groups: Vec<Bytes> =
            class.map(|l| l.s.iter().filter(|s| s.starts_with(b"loc:@")).cloned().collect()).unwrap_or_default();
        Ok(if groups.is_empty() { vec![Bytes::from(format!("loc:@{}", node.name))] } else { groups })
    }

    /// Applies open attribute and colocation scopes to a new node, which is also colocated with the nodes whose
    /// references it takes.
    pub(super) fn apply_scopes(&self, node: &mut Node, refs: &[Operation]) {
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in self.scopes.attrs.iter().rev() {
            if names.contains(&name.as_str()) {
                continue;
            }
            names.push(name);
            if let (Some(value), false) = (value, node.attrs.contains_key(name)) {
                node.attrs.insert(name.clone(), value.clone());
            }
        }
        let colocations: Vec<Operation> = self.scopes.colocations.iter().chain(refs).copied().collect();
        if !colocations.is_empty() {
            let mut groups = BTreeSet::new();
            for &op in &colocations {
                groups.extend(self.colocation_groups(op).unwrap_or_default());
            }
            node.attrs.insert("_class".to_string(), groups.into_iter().collect::<Vec<Bytes>>().into_attr());
            let device = colocations.iter().rev().filter_map(|&op| self.node(op).ok()).map(|n| &n.device);
            if let Some(device) = device.into_iter().find(|d| !d.is_empty()) {
                node.device = device.clone();
            }
        }
    }
}
