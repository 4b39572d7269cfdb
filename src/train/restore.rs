//! What of a checkpoint fits a graph: the report, and restoring that alone.

use super::Saver;
use super::variable::is_variable;
use crate::bundle::{CheckpointReader, ShapeAndSlice};
use crate::error::Result;
use crate::graph::op::Variable;
use crate::graph::{Graph, Operation, attr, edit_distance};
use crate::session::Session;
use crate::tensor::{DType, Shape, Tensor};
use std::collections::{BTreeMap, BTreeSet};

/// What a checkpoint and a graph disagree on.
#[derive(Clone, Debug, Default)]
pub struct RestoreReport {
    /// The keys that were restored.
    pub restored: Vec<String>,
    /// The keys that the checkpoint lacks, each with the most similar keys that it has.
    pub missing: Vec<(String, Vec<String>)>,
    /// The keys that the checkpoint has and the graph does not.
    pub extra: Vec<String>,
    /// Keys with another dtype or shape: key, in the checkpoint, in the graph.
    pub mismatched: Vec<(String, String, String)>,
}

impl RestoreReport {
    /// True when every variable of the graph could be restored.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty()
    }
}

impl std::fmt::Display for RestoreReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} variables fit", self.restored.len())?;
        for (key, near) in &self.missing {
            write!(f, "; Key {key} not found in checkpoint")?;
            if !near.is_empty() {
                write!(f, " (it has {})", near.join(", "))?;
            }
        }
        for (key, stored, wanted) in &self.mismatched {
            write!(f, "; {key} is {stored} in the checkpoint, {wanted} in the graph")?;
        }
        if !self.extra.is_empty() {
            write!(f, "; {} keys of the checkpoint are not in the graph: {}", self.extra.len(), self.extra.join(", "))?;
        }
        Ok(())
    }
}

/// What a saver restores: a key, or a slice of one, and where it goes.
struct Target {
    key: String,
    /// The part of a tensor that the variable holds, where it isn't the whole.
    slice: Option<ShapeAndSlice>,
    dtype: DType,
    shape: Shape,
    variable: Operation,
}

impl Target {
    /// How the checkpoint's tensor differs from what is wanted, if it does.
    fn mismatch(&self, dtype: DType, shape: &Shape) -> Option<(String, String, String)> {
        let wanted = self.slice.as_ref().map_or(self.shape.clone(), |part| Shape::known(&part.dims));
        let fits = dtype == self.dtype && wanted.is_compatible_with(shape);
        (!fits).then(|| (self.key.clone(), format!("{dtype}{shape}"), format!("{}{wanted}", self.dtype)))
    }

    fn read(&self, reader: &CheckpointReader, key: &str) -> Result<Tensor> {
        match &self.slice {
            Some(part) => reader.read_slice(key, &part.slice),
            None => reader.read(key),
        }
    }
}

impl Saver {
    /// What would be restored, key by key: what the nodes of this saver name, against what the checkpoint has.
    ///
    /// # Errors
    /// As opening the checkpoint; `InvalidArgument` where the saver's nodes can't be read.
    pub fn check(&self, prefix: &str) -> Result<RestoreReport> {
        self.compare(&CheckpointReader::open(prefix)?, &|key| key.to_string(), |_, _, _| Ok(()))
    }

    /// Restores what fits and says what doesn't. `rename` gives the key in the checkpoint for a key of the graph. Of a
    /// partitioned variable, the parts that fit are restored.
    ///
    /// # Errors
    /// As opening and reading the checkpoint.
    pub fn restore_partial(&self, session: &Session, prefix: &str, rename: impl Fn(&str) -> String) -> Result<RestoreReport> {
        let g = &self.graph;
        self.compare(&CheckpointReader::open(prefix)?, &rename, |reader, target, from| {
            let (container, name) = resource_name(g, target.variable)?;
            let made = || Ok(Variable::new(&*name, target.dtype, target.shape.clone()));
            session.state().resource(&container, &name, made)?.set(Some(target.read(reader, from)?));
            Ok(())
        })
    }

    fn compare(
        &self,
        reader: &CheckpointReader,
        rename: &dyn Fn(&str) -> String,
        mut take: impl FnMut(&CheckpointReader, &Target, &str) -> Result<()>,
    ) -> Result<RestoreReport> {
        let stored = reader.variables()?;
        let (mut used, mut restored) = (BTreeSet::new(), BTreeSet::new());
        let (mut missing, mut mismatched) = (BTreeMap::new(), BTreeMap::new());
        for target in self.targets()? {
            let from = rename(&target.key);
            match stored.get(&from) {
                None => {
                    missing.entry(target.key).or_insert_with(|| nearest(&from, stored.keys().map(|k| k.as_str())));
                }
                Some((dtype, shape)) => match target.mismatch(*dtype, shape) {
                    Some(difference) => {
                        mismatched.insert(target.key, difference);
                    }
                    None => {
                        take(reader, &target, &from)?;
                        restored.insert(target.key);
                    }
                },
            }
            used.insert(from);
        }
        Ok(RestoreReport {
            restored: restored.into_iter().collect(),
            missing: missing.into_iter().collect(),
            extra: stored.keys().filter(|k| !used.contains(k.as_str())).map(|k| k.to_string()).collect(),
            mismatched: mismatched.into_values().collect(),
        })
    }

    /// What the saver's nodes restore.
    fn targets(&self) -> Result<Vec<Target>> {
        let g = &self.graph;
        if self.def.restore_op_name.is_empty() {
            return Ok(Vec::new());
        }
        let restore = g.get_operation_by_name(&self.def.restore_op_name)?;
        let mut targets = Vec::new();
        let mut stack = g.control_inputs(restore);
        while let Some(op) = stack.pop() {
            if g.op_type(op) == "NoOp" {
                stack.extend(g.control_inputs(op));
                continue;
            }
            let inputs = g.inputs(op);
            let (Some(&variable), Some(&value)) = (inputs.first(), inputs.get(1)) else { continue };
            let mut source = value;
            while matches!(&*g.op_type(source.op), "Identity" | "Reshape") {
                source = g.input(source.op, 0)?;
            }
            let texts = |input: usize| -> Result<Option<String>> {
                let constant = g.input(source.op, input)?.op;
                let texts = attr::tensor(&g.get_attr(constant, "value")?)?;
                Ok(texts.strings()?.get(source.index as usize).map(|s| String::from_utf8_lossy(s).into_owned()))
            };
            if !g.op_type(source.op).starts_with("Restore") {
                continue;
            }
            let Some(key) = texts(1)? else { continue };
            let spec = if g.inputs(source.op).len() > 2 { texts(2)?.unwrap_or_default() } else { String::new() };
            let shape = attr::shape(&g.get_attr(variable.op, "shape")?).unwrap_or_default();
            let dtype = g.dtype(value)?;
            let slice = if spec.is_empty() { None } else { Some(spec.parse()?) };
            targets.push(Target { key, slice, dtype, shape, variable: variable.op });
        }
        targets.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(targets)
    }
}

/// The container and the name by which a session holds a variable.
fn resource_name(g: &Graph, variable: Operation) -> Result<(String, String)> {
    let text = |name: &str| g.string_attr(variable, name).unwrap_or_default();
    let shared = text("shared_name");
    Ok((text("container"), if shared.is_empty() { g.op_name(variable) } else { shared }))
}

/// The names of the graph's variables that have no value in a session, in order of creation.
///
/// # Errors
/// `InvalidArgument` for a variable without a name.
pub fn uninitialized_variables(session: &Session) -> Result<Vec<String>> {
    let g = session.graph();
    let mut names = Vec::new();
    for op in g.get_operations() {
        if is_variable(&g.op_type(op)) {
            let (container, name) = resource_name(g, op)?;
            let found = session.state().find::<Variable>(&container, &name);
            if !found.is_some_and(|v| v.is_initialized()) {
                names.push(g.op_name(op));
            }
        }
    }
    Ok(names)
}

/// At most so many keys are compared letter by letter.
const MOST_COMPARED: usize = 5000;

/// Up to three keys that share the last part of the name, or else differ in few letters.
fn nearest<'a>(key: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let last = |k: &str| k.rsplit('/').next().unwrap_or(k).to_string();
    let wanted = last(key);
    let all: Vec<&str> = all.collect();
    let alike = |k: &&&str| last(k) == wanted || k.ends_with(key) || key.ends_with(**k);
    let mut near: Vec<(usize, &str)> =
        all.iter().filter(alike).take(MOST_COMPARED).map(|k| (edit_distance(key.as_bytes(), k.as_bytes()), *k)).collect();
    if near.is_empty() {
        let few = |&(letters, _): &(usize, &str)| letters <= key.len() / 3;
        near = all.iter().take(MOST_COMPARED).map(|k| (edit_distance(key.as_bytes(), k.as_bytes()), *k)).filter(few).collect();
    }
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, k)| k.to_string()).collect()
}

/// Cells of TensorFlow before 1.2 named their variables otherwise.
pub(super) fn hint(report: &RestoreReport) -> &'static str {
    let old = |k: &str| k.ends_with("/weights") || k.ends_with("/biases") || k.ends_with("/Matrix") || k.ends_with("/Bias");
    let new = |k: &str| k.ends_with("/kernel") || k.ends_with("/bias");
    if report.extra.iter().any(|k| old(k)) && report.missing.iter().any(|(k, _)| new(k)) {
        "; the checkpoint has the variable names of old RNN cells: restore with a rename from kernel to weights and from bias to biases"
    } else {
        ""
    }
}
