//! Making one node: attributes from inputs, checks, names, scopes, shapes.

use super::attr::{self, Attrs, IntoAttr};
use super::node::{Node, Operation, Output, OutputType};
use super::op::{ArgSpec, ArgType, AttrSpec, Signature};
use super::{Graph, Inner, names};
use crate::error::{Error, Result, bail};
use crate::proto::{AttrValue, attr_value::Value};
use crate::tensor::DType;
use std::sync::Arc;

enum Input {
    One(Output),
    List(Vec<Output>),
}

/// Builds one node of any op: give its inputs in order, attributes, and finish.
///
/// ```
/// # use metagraph::Graph;
/// let g = Graph::new();
/// let a = g.constant([[1f32, 2.0]])?;
/// let product = g.op("MatMul").input(a).input(a).attr("transpose_b", true).name("product").output()?;
/// assert_eq!(g.tensor_name(product), "product:0");
/// # Ok::<(), metagraph::Error>(())
/// ```
pub struct OpBuilder {
    graph: Graph,
    op_type: String,
    name: Option<String>,
    inputs: Vec<Input>,
    controls: Vec<Operation>,
    attrs: Attrs,
    device: Option<String>,
}

impl Graph {
    /// Starts a node of the given op type. The name is the one of [`Graph::named`], or the op's type.
    pub fn op(&self, op_type: &str) -> OpBuilder {
        OpBuilder {
            graph: self.plain(),
            op_type: op_type.to_string(),
            name: self.pending_name.as_deref().map(str::to_string),
            inputs: Vec::new(),
            controls: Vec::new(),
            attrs: Attrs::new(),
            device: None,
        }
    }
}

impl OpBuilder {
    /// The node's name, made unique within the current scope; one that ends in a slash is taken as it is.
    #[must_use]
    pub fn name(mut self, name: &str) -> OpBuilder {
        self.name = Some(name.to_string());
        self
    }

    /// The name, unless [`Graph::named`] gave one.
    #[must_use]
    pub fn default_name(mut self, name: &str) -> OpBuilder {
        self.name.get_or_insert_with(|| name.to_string());
        self
    }

    /// The next input.
    #[must_use]
    pub fn input(mut self, input: Output) -> OpBuilder {
        self.inputs.push(Input::One(input));
        self
    }

    /// The next input, where the op takes a list.
    #[must_use]
    pub fn input_list(mut self, inputs: &[Output]) -> OpBuilder {
        self.inputs.push(Input::List(inputs.to_vec()));
        self
    }

    /// A node that must run before this one.
    #[must_use]
    pub fn control(mut self, op: Operation) -> OpBuilder {
        self.controls.push(op);
        self
    }

    /// An attribute.
    #[must_use]
    pub fn attr(mut self, name: &str, value: impl IntoAttr) -> OpBuilder {
        self.attrs.insert(name.to_string(), value.into_attr());
        self
    }

    /// The device, in place of the current scope's.
    #[must_use]
    pub fn device(mut self, device: &str) -> OpBuilder {
        self.device = Some(device.to_string());
        self
    }

    /// Makes the node and returns its only output.
    ///
    /// # Errors
    /// As [`OpBuilder::finish`]; `InvalidArgument` if the op hasn't exactly one output.
    pub fn output(self) -> Result<Output> {
        let graph = self.graph.clone();
        let op = self.finish()?;
        match graph.num_outputs(op) {
            1 => Ok(op.output(0)),
            n => bail!(InvalidArgument, "operation '{}' has {n} outputs, one was expected", graph.op_name(op)),
        }
    }

    /// Makes the node and returns its outputs.
    ///
    /// # Errors
    /// As [`OpBuilder::finish`].
    pub fn outputs(self) -> Result<Vec<Output>> {
        let graph = self.graph.clone();
        let op = self.finish()?;
        Ok(graph.outputs(op))
    }

    /// Makes the node.
    ///
    /// # Errors
    /// `NotFound` for an op type that isn't known, `InvalidArgument` for inputs, attributes or shapes that don't fit
    /// or a bad name. Nothing is added to the graph then.
    pub fn finish(self) -> Result<Operation> {
        let graph = self.graph.clone();
        let place = format!("node {{{{node {}}}}} = {}", self.name.as_deref().unwrap_or(&self.op_type), self.op_type);
        let op = self.create().map_err(|e| e.within(place))?;
        let hook = graph.read().hook;
        if let Some(hook) = hook {
            hook(&graph, op)?;
        }
        Ok(op)
    }

    fn create(mut self) -> Result<Operation> {
        let graph = self.graph.clone();
        let mut guard = graph.write();
        let inner = &mut *guard;
        let record = (inner.lookup)(&self.op_type);
        let function = inner.functions.get(&self.op_type).cloned();
        let signature = match (&record, &function) {
            (Some(record), _) => record.signature(),
            (None, Some(function)) => &function.signature,
            (None, None) => bail!(NotFound, "Op type not registered '{}'", self.op_type),
        };
        let inputs = self.resolve_inputs(inner, signature)?;
        let attrs = complete_attrs(std::mem::take(&mut self.attrs), signature, &self.op_type)?;
        let types = signature.output_types(&attrs)?;
        let controls = inner.controls_for(&inputs, &self.controls)?;

        let base = self.name.as_deref().unwrap_or(&self.op_type);
        if !base.ends_with('/') {
            let valid =
                if inner.name_stack.is_empty() { names::is_valid_op_name(base) } else { names::is_valid_scope_name(base) };
            if !valid || base.is_empty() {
                bail!(InvalidArgument, "'{base}' is not a valid node name");
            }
        }
        let device = match &self.device {
            Some(device) => Arc::from(device.as_str()),
            None => inner.device(),
        };
        let mut node = Node {
            name: Arc::from(""),
            op_type: inner.intern(&self.op_type),
            record,
            inputs: inputs.into(),
            controls,
            attrs,
            device,
            context: inner.scopes.context(),
            unfetchable: false,
            unfeedable: false,
            types: types.iter().map(|&(dtype, is_ref)| OutputType { dtype, is_ref }).collect(),
            shapes: None,
            handles: Vec::new(),
            extra: None,
        };
        let refs = ref_inputs(&node.inputs, signature);
        inner.apply_scopes(&mut node, &refs);
        inner.infer(&mut node)?;
        let name = match base.strip_suffix('/') {
            Some(exact) => exact.to_string(),
            None => inner.unique_name(base),
        };
        if inner.nodes.contains_key(name.as_str()) {
            bail!(InvalidArgument, "Duplicate node name in graph: '{name}'");
        }
        node.name = Arc::from(name);
        inner.note_name(&node.name);
        inner.add(node)
    }

    fn resolve_inputs(&mut self, inner: &Inner, signature: &Signature) -> Result<Vec<Output>> {
        if self.inputs.len() != signature.inputs.len() {
            bail!(InvalidArgument, "Op {} takes {} inputs, got {}", self.op_type, signature.inputs.len(), self.inputs.len());
        }
        let mut all = Vec::new();
        for (arg, input) in signature.inputs.iter().zip(&self.inputs) {
            let one;
            let outputs: &[Output] = match input {
                Input::One(output) => {
                    one = [*output];
                    &one
                }
                Input::List(outputs) => outputs,
            };
            let is_list = arg.number.is_some() || matches!(arg.dtype, ArgType::List(_));
            if !is_list && outputs.len() != 1 {
                bail!(InvalidArgument, "Input '{}' of '{}' Op takes one tensor, got {}", arg.name, self.op_type, outputs.len());
            }
            let mut dtypes = Vec::with_capacity(outputs.len());
            for &output in outputs {
                let ty = inner.output_type(output)?;
                if arg.is_ref && !ty.is_ref {
                    bail!(
                        InvalidArgument,
                        "'{}' Op requires that input '{}' be a mutable tensor (e.g.: a tf.Variable)",
                        self.op_type,
                        arg.name
                    );
                }
                dtypes.push(ty.dtype);
            }
            infer_attrs(&mut self.attrs, arg, &dtypes, &self.op_type)?;
            all.extend_from_slice(outputs);
        }
        Ok(all)
    }
}

/// The nodes of the inputs that are passed by reference, which a node stands beside; of a list, the first (as
/// TensorFlow's Python does it).
fn ref_inputs(inputs: &[Output], signature: &Signature) -> Vec<Operation> {
    inputs.iter().zip(&signature.inputs).filter(|(_, arg)| arg.is_ref).map(|(input, _)| input.op).collect()
}

/// Sets or checks the attributes that an argument's tensors determine.
fn infer_attrs(attrs: &mut Attrs, arg: &ArgSpec, dtypes: &[DType], op_type: &str) -> Result<()> {
    let mismatch = |got: DType, expected: DType, why: String| {
        Error::invalid_argument(format!(
            "Input '{}' of '{op_type}' Op has type {got} that does not match expected type of {expected}{why}.",
            arg.name
        ))
    };
    if let Some(number) = &arg.number {
        match attrs.get(number) {
            Some(value) if attr::int(value)? != dtypes.len() as i64 => {
                bail!(
                    InvalidArgument,
                    "List argument '{}' to '{op_type}' Op with length {} must match length {} of attr {number}.",
                    arg.name,
                    dtypes.len(),
                    attr::int(value)?
                );
            }
            Some(_) => {}
            None => {
                attrs.insert(number.clone(), dtypes.len().into_attr());
            }
        }
    }
    match &arg.dtype {
        ArgType::Fixed(expected) => {
            if let Some(&got) = dtypes.iter().find(|&d| d != expected) {
                return Err(mismatch(got, *expected, String::new()));
            }
        }
        ArgType::Attr(name) => {
            for &dtype in dtypes {
                match attrs.get(name) {
                    Some(value) => {
                        let expected = attr::dtype(value)?;
                        if dtype != expected {
                            return Err(mismatch(dtype, expected, format!(" (attr {name})")));
                        }
                    }
                    None => {
                        attrs.insert(name.clone(), dtype.into_attr());
                    }
                }
            }
        }
        ArgType::List(name) => match attrs.get(name) {
            Some(value) => {
                let expected = attr::dtypes(value)?;
                if expected.len() != dtypes.len() {
                    bail!(
                        InvalidArgument,
                        "Input '{}' of '{op_type}' Op takes {} tensors, got {}",
                        arg.name,
                        expected.len(),
                        dtypes.len()
                    );
                }
                for (&dtype, &expected) in dtypes.iter().zip(&expected) {
                    if dtype != expected {
                        return Err(mismatch(dtype, expected, format!(" (attr {name})")));
                    }
                }
            }
            None => {
                attrs.insert(name.clone(), dtypes.into_attr());
            }
        },
    }
    Ok(())
}

/// Adds defaults and checks every attribute against the interface.
fn complete_attrs(mut attrs: Attrs, signature: &Signature, op_type: &str) -> Result<Attrs> {
    for spec in &signature.attrs {
        if !attrs.contains_key(&spec.name) {
            match &spec.default {
                Some(default) => {
                    attrs.insert(spec.name.clone(), default.clone());
                }
                None => bail!(InvalidArgument, "NodeDef missing attr '{}' from Op<name={op_type}>", spec.name),
            }
        }
        check_attr(spec, &attrs[&spec.name], op_type)?;
    }
    for name in attrs.keys() {
        if !name.starts_with('_') && signature.attr(name).is_none() {
            bail!(InvalidArgument, "NodeDef mentions attr '{name}' not in Op<name={op_type}>");
        }
    }
    Ok(attrs)
}

fn check_attr(spec: &AttrSpec, value: &AttrValue, op_type: &str) -> Result<()> {
    let fits = match (&value.value, spec.kind.as_str()) {
        (Some(Value::I(v)), "int") => {
            if spec.minimum.is_some_and(|m| *v < m) {
                bail!(
                    InvalidArgument,
                    "Value for attr '{}' of {v} must be at least minimum {} for Op {op_type}",
                    spec.name,
                    spec.minimum.unwrap_or(0)
                );
            }
            true
        }
        (Some(Value::F(_)), "float") | (Some(Value::B(_)), "bool") => true,
        (Some(Value::Shape(_)), "shape") | (Some(Value::Tensor(_)), "tensor") | (Some(Value::Func(_)), "func") => true,
        (Some(Value::S(v)), "string") => {
            if !spec.allowed_strings.is_empty() && !spec.allowed_strings.iter().any(|a| a.as_bytes() == &v[..]) {
                bail!(
                    InvalidArgument,
                    "Value for attr '{}' of \"{}\" is not in the list of allowed values: {:?} for Op {op_type}",
                    spec.name,
                    String::from_utf8_lossy(v),
                    spec.allowed_strings
                );
            }
            true
        }
        (Some(Value::Type(_)), "type") => {
            check_type(spec, attr::dtype(value)?, op_type)?;
            true
        }
        (Some(Value::List(list)), kind) if kind.starts_with("list(") => {
            for &number in &list.r#type {
                check_type(spec, DType::try_from_number(number)?, op_type)?;
            }
            let len = [
                list.s.len(),
                list.i.len(),
                list.f.len(),
                list.b.len(),
                list.r#type.len(),
                list.shape.len(),
                list.tensor.len(),
                list.func.len(),
            ];
            let len = len.into_iter().max().unwrap_or(0) as i64;
            if spec.minimum.is_some_and(|m| len < m) {
                bail!(
                    InvalidArgument,
                    "Length for attr '{}' of {len} must be at least minimum {} for Op {op_type}",
                    spec.name,
                    spec.minimum.unwrap_or(0)
                );
            }
            true
        }
        _ => false,
    };
    if !fits {
        bail!(InvalidArgument, "attr '{}' of Op {op_type} must be of type {}, got {:?}", spec.name, spec.kind, value.value);
    }
    Ok(())
}

fn check_type(spec: &AttrSpec, dtype: DType, op_type: &str) -> Result<()> {
    if !spec.allowed_types.is_empty() && !spec.allowed_types.contains(&dtype) {
        bail!(
            InvalidArgument,
            "Value for attr '{}' of {dtype} is not in the list of allowed values: {:?} for Op {op_type}",
            spec.name,
            spec.allowed_types
        );
    }
    Ok(())
}
