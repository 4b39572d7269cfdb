//! Import and export of GraphDef messages, with nothing lost.

use super::node::{Extra, Node, Operation, Output, OutputType};
use super::op::{Op, Signature};
use super::{Graph, Inner};
use crate::compute::pages;
use crate::error::{Error, Result, bail};
use crate::proto::{FunctionDef, FunctionDefLibrary, GraphDef, NodeDef, OpDef};
use foldhash::HashMap;
use indexmap::map::Entry;
use smallvec::SmallVec;
use std::sync::Arc;

/// A function of the graph's library.
pub(crate) struct FunctionRecord {
    pub def: FunctionDef,
    pub signature: Signature,
}

/// How a GraphDef is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Put before every name, with a slash between (`import_scope`); none keeps the names.
    pub prefix: Option<String>,
    /// Tensors of the GraphDef (`name:index`, or `^name` for control inputs) that are replaced by tensors of the graph.
    pub input_map: Vec<(String, Output)>,
    /// Leave the devices out.
    pub clear_devices: bool,
}

impl Graph {
    /// Adds the nodes and functions of a GraphDef (`tf.import_graph_def`), and returns the new operations in order.
    /// Ops that aren't known are kept as they are. Shapes are inferred when asked for.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is taken, doubled or invalid, an input that isn't there, or a function whose
    /// signature can't be read. The graph is left as it was.
    pub fn import_graph_def(&self, def: GraphDef, options: &ImportOptions) -> Result<Vec<Operation>> {
        let mut guard = self.write();
        let inner = &mut *guard;
        let prefix = match options.prefix.as_deref().unwrap_or("") {
            "" => String::new(),
            p => format!("{}/", p.trim_end_matches('/')),
        };
        if let Some(library) = def.library {
            inner.import_library(library)?;
        }
        if inner.nodes.is_empty()
            && let Some(versions) = def.versions
        {
            inner.versions = versions;
        }
        let start = inner.nodes.len();
        inner.nodes.reserve(def.node.len());
        // The bytes of an entry: its hash, name and node.
        let entry = size_of::<usize>() + size_of::<(Arc<str>, Node)>();
        pages::advise(inner.nodes.as_slice(), inner.nodes.capacity() * entry);
        let imported = inner.import_nodes(def.node, &prefix, options);
        if imported.is_err() {
            inner.nodes.truncate(start);
        }
        imported?;
        inner.version += 1;
        Ok((start..inner.nodes.len()).map(|i| inner.operation(i)).collect())
    }

    /// The whole graph as a GraphDef.
    pub fn as_graph_def(&self) -> GraphDef {
        let inner = self.read();
        GraphDef {
            node: inner.nodes.values().map(|n| inner.node_def(n)).collect(),
            versions: Some(inner.versions.clone()),
            library: Some(inner.library()),
            ..GraphDef::default()
        }
    }

    /// Adds a function to the graph's library.
    ///
    /// # Errors
    /// `InvalidArgument` for a signature that can't be read, or another function of that name.
    pub fn add_function(&self, def: FunctionDef) -> Result<()> {
        self.write().import_library(FunctionDefLibrary { function: vec![def], ..Default::default() })
    }

    /// The function of that name.
    pub fn function_def(&self, name: &str) -> Option<FunctionDef> {
        self.read().functions.get(name).map(|f| f.def.clone())
    }

    /// True for the name of a function in the graph's library.
    pub(crate) fn is_function(&self, name: &str) -> bool {
        self.read().functions.contains_key(name)
    }

    /// The names of the functions in the graph's library.
    pub fn function_names(&self) -> Vec<String> {
        self.read().functions.keys().cloned().collect()
    }
}

impl Inner {
    fn import_library(&mut self, library: FunctionDefLibrary) -> Result<()> {
        for def in library.function {
            let Some(op_def) = &def.signature else { bail!(InvalidArgument, "a function of the library has no signature") };
            let name = op_def.name.clone();
            if let Some(known) = self.functions.get(&name) {
                if known.def != def {
                    bail!(
                        InvalidArgument,
                        "Cannot add function '{name}' because a different function with the same name already exists."
                    );
                }
                continue;
            }
            let signature = signature_of(op_def).map_err(|e| e.within(format!("function {name}")))?;
            self.functions.insert(name, Arc::new(FunctionRecord { def, signature }));
        }
        for gradient in library.gradient {
            if !self.gradients.contains(&gradient) {
                self.gradients.push(gradient);
            }
        }
        self.registered_gradients.extend(library.registered_gradients);
        Ok(())
    }

    pub(crate) fn library(&self) -> FunctionDefLibrary {
        FunctionDefLibrary {
            function: self.functions.values().map(|f| f.def.clone()).collect(),
            gradient: self.gradients.clone(),
            registered_gradients: self.registered_gradients.clone(),
        }
    }

    fn import_nodes(&mut self, defs: Vec<NodeDef>, prefix: &str, options: &ImportOptions) -> Result<()> {
        // The nodes that have inputs which come later, or which aren't there.
        let mut pending = Vec::new();
        let mut known = KnownTypes::default();
        let no_device = self.intern("");
        for mut def in defs {
            if def.name.is_empty() || def.op.is_empty() {
                bail!(InvalidArgument, "Node name or op is empty: '{}' of op '{}'", def.name, def.op);
            }
            let name: Arc<str> =
                if prefix.is_empty() { Arc::from(def.name.as_str()) } else { Arc::from(format!("{prefix}{}", def.name)) };
            let record = (self.lookup)(&def.op);
            if !prefix.is_empty() {
                prefix_colocation(&mut def.attr, prefix);
            }
            let types = self.types_of(record, &def, &mut known);
            let (inputs, controls) = match self.resolve_all(&def.input, prefix, options) {
                Ok(resolved) => resolved,
                Err(_) => {
                    pending.push((self.nodes.len(), std::mem::take(&mut def.input)));
                    (SmallVec::new(), SmallVec::new())
                }
            };
            let extra = if def.experimental_debug_info.is_some() || def.experimental_type.is_some() {
                Some(Box::new(Extra { debug_info: def.experimental_debug_info, full_type: def.experimental_type }))
            } else {
                None
            };
            let node = Node {
                name: name.clone(),
                op_type: self.intern(&def.op),
                record,
                inputs,
                controls,
                attrs: def.attr,
                device: if options.clear_devices || def.device.is_empty() { no_device.clone() } else { self.intern(&def.device) },
                context: None,
                unfetchable: false,
                unfeedable: false,
                types,
                shapes: None,
                handles: Vec::new(),
                extra,
            };
            match self.nodes.entry(name) {
                Entry::Occupied(entry) => bail!(InvalidArgument, "Node name '{}' already exists in the Graph", entry.key()),
                Entry::Vacant(entry) => drop(entry.insert(node)),
            }
        }
        for (index, texts) in pending {
            let resolved = self.resolve_all(&texts, prefix, options);
            let (inputs, controls) = resolved.map_err(|e| e.within(format!("node {{{{node {}}}}}", self.nodes[index].name)))?;
            let node = &mut self.nodes[index];
            node.inputs = inputs;
            node.controls = controls;
        }
        Ok(())
    }

    fn types_of(&self, record: Option<&'static Op>, def: &NodeDef, known: &mut KnownTypes) -> SmallVec<[OutputType; 1]> {
        let key = record.and_then(|record| Some((std::ptr::from_ref(record) as usize, def.attr.shared_key()?)));
        if let Some(types) = key.and_then(|key| known.get(&key)) {
            return types.clone();
        }
        let signature = match record {
            Some(record) => Some(record.signature()),
            None => self.functions.get(&def.op).map(|f| &f.signature),
        };
        let types = signature.and_then(|s| s.output_types(&def.attr).ok()).unwrap_or_default();
        let types: SmallVec<[OutputType; 1]> = types.into_iter().map(|(dtype, is_ref)| OutputType { dtype, is_ref }).collect();
        if let Some(key) = key {
            known.insert(key, types.clone());
        }
        types
    }

    /// The inputs that these texts name, and the control inputs.
    fn resolve_all(&self, texts: &[String], prefix: &str, options: &ImportOptions) -> Result<Inputs> {
        let (mut data, mut controls) = (SmallVec::new(), SmallVec::new());
        for text in texts {
            match self.resolve(text, prefix, options)? {
                Input::Data(output) => data.push(output),
                Input::Control(op) => controls.push(op),
            }
        }
        Ok((data, controls))
    }

    fn resolve(&self, text: &str, prefix: &str, options: &ImportOptions) -> Result<Input> {
        if let Some(name) = text.strip_prefix('^') {
            if let Some((_, output)) = options.input_map.iter().find(|(from, _)| from == text) {
                return Ok(Input::Control(output.op));
            }
            return Ok(Input::Control(self.operation(self.position(name, prefix)?)));
        }
        let (name, index) = split_tensor_name(text)?;
        if let Some((_, output)) =
            options.input_map.iter().find(|(from, _)| split_tensor_name(from).is_ok_and(|f| f == (name, index)))
        {
            return Ok(Input::Data(*output));
        }
        let position = self.position(name, prefix)?;
        let node = &self.nodes[position];
        if !node.types.is_empty() && index as usize >= node.types.len() {
            bail!(
                InvalidArgument,
                "input '{text}' names an output that node '{}' of op {} doesn't have",
                node.name,
                node.op_type
            );
        }
        Ok(Input::Data(Output { op: self.operation(position), index }))
    }

    fn position(&self, name: &str, prefix: &str) -> Result<usize> {
        let found = if prefix.is_empty() {
            self.nodes.get_index_of(name)
        } else {
            self.nodes.get_index_of(format!("{prefix}{name}").as_str())
        };
        found.ok_or_else(|| Error::invalid_argument(format!("input '{name}' refers to a node that isn't in the graph")))
    }

    /// The node as a message. Control inputs are sorted by name, as TensorFlow writes them.
    pub(crate) fn node_def(&self, node: &Node) -> NodeDef {
        let data = node.inputs.iter().map(|i| {
            let name = &self.nodes[i.op.index as usize].name;
            if i.index == 0 { name.to_string() } else { format!("{name}:{}", i.index) }
        });
        let mut controls: Vec<String> = node.controls.iter().map(|c| format!("^{}", self.nodes[c.index as usize].name)).collect();
        controls.sort_unstable();
        NodeDef {
            name: node.name.to_string(),
            op: node.op_type.to_string(),
            input: data.chain(controls).collect(),
            device: node.device.to_string(),
            attr: node.attrs.clone(),
            experimental_debug_info: node.extra.as_ref().and_then(|e| e.debug_info.clone()),
            experimental_type: node.extra.as_ref().and_then(|e| e.full_type.clone()),
        }
    }
}

type Inputs = (SmallVec<[Output; 2]>, SmallVec<[Operation; 1]>);

/// The types of outputs, by op and shared attributes; these stay where they are as long as the nodes hold them.
type KnownTypes = HashMap<(usize, usize), SmallVec<[OutputType; 1]>>;

enum Input {
    Data(Output),
    Control(Operation),
}

/// Splits `name:index`; a name alone is output 0.
pub(crate) fn split_tensor_name(text: &str) -> Result<(&str, u32)> {
    match text.rsplit_once(':') {
        None => Ok((text, 0)),
        Some((name, index)) => match index.parse() {
            Ok(index) => Ok((name, index)),
            Err(_) => bail!(InvalidArgument, "'{text}' is no valid tensor name"),
        },
    }
}

fn prefix_colocation(attrs: &mut super::attr::Attrs, prefix: &str) {
    use crate::proto::attr_value::Value;
    if let Some(Value::List(list)) = attrs.get_mut("_class").and_then(|v| v.value.as_mut()) {
        for class in &mut list.s {
            if let Some(name) = class.strip_prefix(b"loc:@") {
                *class = [b"loc:@", prefix.as_bytes(), name].concat().into();
            }
        }
    }
}

/// The signature of an OpDef message.
pub(crate) fn signature_of(def: &OpDef) -> Result<Signature> {
    use super::op::{ArgSpec, ArgType, AttrSpec};
    use crate::tensor::DType;
    let arg = |a: &crate::proto::op_def::ArgDef| -> Result<ArgSpec> {
        let dtype = if !a.type_list_attr.is_empty() {
            ArgType::List(a.type_list_attr.clone())
        } else if !a.type_attr.is_empty() {
            ArgType::Attr(a.type_attr.clone())
        } else {
            ArgType::Fixed(DType::try_from_number(a.r#type)?)
        };
        let number = if a.number_attr.is_empty() { None } else { Some(a.number_attr.clone()) };
        Ok(ArgSpec { name: a.name.clone(), is_ref: a.is_ref, dtype, number })
    };
    let attr = |a: &crate::proto::op_def::AttrDef| AttrSpec {
        name: a.name.clone(),
        kind: a.r#type.clone(),
        allowed_types: Vec::new(),
        allowed_strings: Vec::new(),
        minimum: if a.has_minimum { Some(a.minimum) } else { None },
        default: a.default_value.clone(),
    };
    Ok(Signature {
        inputs: def.input_arg.iter().map(arg).collect::<Result<_>>()?,
        outputs: def.output_arg.iter().map(arg).collect::<Result<_>>()?,
        attrs: def.attr.iter().map(attr).collect(),
    })
}
