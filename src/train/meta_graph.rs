//! MetaGraphs: a graph with its collections and its saver, in one file.

use super::{Saver, SaverOptions};
use crate::error::{Error, Result, bail};
use crate::graph::op::{ArgSpec, ArgType};
use crate::graph::{CollectionItem, Graph, ImportOptions};
use crate::proto::collection_def::{AnyList, BytesList, FloatList, Int64List, Kind, NodeList};
use crate::proto::meta_graph_def::MetaInfoDef;
use crate::proto::op_def::{ArgDef, AttrDef};
use crate::proto::{CollectionDef, GraphDef, MetaGraphDef, OpDef, OpList, SaverDef};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeSet;
use std::path::Path;

/// The TensorFlow whose graphs ours are like.
const TENSORFLOW_VERSION: &str = "2.15.1";

/// What is exported beside the graph.
#[derive(Clone, Copy, Default)]
pub struct ExportOptions<'a> {
    /// The saver whose nodes are named.
    pub saver: Option<&'a Saver>,
    /// The saver's names, where there is no saver.
    pub saver_def: Option<&'a SaverDef>,
    /// Leave the devices out.
    pub clear_devices: bool,
    /// Leave the attributes out that have their op's default, so that older programs can read the graph.
    pub strip_default_attrs: bool,
    /// Tags of a SavedModel.
    pub tags: &'a [&'a str],
}

/// The graph as a MetaGraphDef, written to a file where one is given. The file appears whole or not at all.
///
/// # Errors
/// `InvalidArgument` for a collection that can't be written; what writing returns.
pub fn export_meta_graph(graph: &Graph, file: Option<&Path>, options: &ExportOptions) -> Result<MetaGraphDef> {
    let mut def = graph.as_graph_def();
    add_shapes(graph, &mut def)?;
    if options.clear_devices {
        def.node.iter_mut().for_each(|n| n.device.clear());
    }
    if options.strip_default_attrs {
        strip_default_attrs(graph, &mut def);
    }
    let saver_def = options.saver.map(|s| s.as_saver_def()).filter(|d| !d.restore_op_name.is_empty());
    let meta = MetaGraphDef {
        meta_info_def: Some(MetaInfoDef {
            stripped_op_list: Some(stripped_op_list(&def)),
            tags: options.tags.iter().map(|t| t.to_string()).collect(),
            tensorflow_version: TENSORFLOW_VERSION.to_string(),
            stripped_default_attrs: options.strip_default_attrs,
            ..Default::default()
        }),
        saver_def: saver_def.or(options.saver_def).cloned(),
        collection_def: collections(graph)?,
        graph_def: Some(def),
        ..Default::default()
    };
    if let Some(file) = file {
        let place = |e: Error| e.within(file.display().to_string());
        let partial =
            file.with_file_name(format!(".{}.partial", file.file_name().map(|f| f.to_string_lossy()).unwrap_or_default()));
        std::fs::write(&partial, meta.encode_to_vec()).map_err(|e| place(e.into()))?;
        std::fs::rename(&partial, file).map_err(|e| place(e.into()))?;
    }
    Ok(meta)
}

/// Gives each node the static shapes of its outputs, as `as_graph_def(add_shapes=True)` does.
fn add_shapes(graph: &Graph, def: &mut GraphDef) -> Result<()> {
    use crate::graph::attr::IntoAttr;
    for (op, node) in graph.get_operations().into_iter().zip(&mut def.node) {
        let outputs = graph.outputs(op);
        if outputs.is_empty() {
            continue;
        }
        // Shapes that contradict each other matter to nobody who doesn't run the node.
        let shapes: Vec<_> = outputs.iter().map(|&o| graph.shape(o).unwrap_or_default()).collect();
        node.attr.insert("_output_shapes".to_string(), shapes.as_slice().into_attr());
    }
    Ok(())
}

/// Removes the attributes that have their op's default, in the graph and in its functions.
fn strip_default_attrs(graph: &Graph, def: &mut GraphDef) {
    let in_functions = def.library.iter_mut().flat_map(|l| &mut l.function).flat_map(|f| &mut f.node_def);
    for node in def.node.iter_mut().chain(in_functions) {
        if let Some(op) = crate::ops::lookup(&node.op).filter(|_| !graph.is_function(&node.op)) {
            let is_default = |name: &str, value: &_| op.signature().attr(name).is_some_and(|a| a.default.as_ref() == Some(value));
            node.attr.retain(|name, value| !is_default(name, value));
        }
    }
}

/// The interfaces of the ops that a graph uses, by name.
fn stripped_op_list(def: &GraphDef) -> OpList {
    let in_functions = def.library.iter().flat_map(|l| &l.function).flat_map(|f| &f.node_def);
    let used: BTreeSet<&str> = def.node.iter().chain(in_functions).map(|n| n.op.as_str()).collect();
    let arg = |a: &ArgSpec| {
        let mut out = ArgDef {
            name: a.name.clone(),
            is_ref: a.is_ref,
            number_attr: a.number.clone().unwrap_or_default(),
            ..Default::default()
        };
        match &a.dtype {
            ArgType::Fixed(dtype) => out.r#type = dtype.number(),
            ArgType::Attr(name) => out.type_attr = name.clone(),
            ArgType::List(name) => out.type_list_attr = name.clone(),
        }
        out
    };
    let op = |name: &&str| {
        let record = crate::ops::lookup(name)?;
        let signature = record.signature();
        let attr = signature.attrs.iter().map(|a| AttrDef {
            name: a.name.clone(),
            r#type: a.kind.clone(),
            default_value: a.default.clone(),
            has_minimum: a.minimum.is_some(),
            minimum: a.minimum.unwrap_or(0),
            ..Default::default()
        });
        Some(OpDef {
            name: name.to_string(),
            input_arg: signature.inputs.iter().map(arg).collect(),
            output_arg: signature.outputs.iter().map(arg).collect(),
            attr: attr.collect(),
            is_stateful: record.is_stateful(),
            ..Default::default()
        })
    };
    OpList { op: used.iter().filter_map(op).collect() }
}

fn collections(graph: &Graph) -> Result<std::collections::BTreeMap<String, CollectionDef>> {
    let mut all = std::collections::BTreeMap::new();
    for name in graph.collection_names() {
        let items = graph.get_collection(&name);
        let Some(first) = items.first() else { continue };
        let kind = match first {
            CollectionItem::Tensor(_) | CollectionItem::Operation(_) | CollectionItem::Node(_) => Kind::NodeList(NodeList {
                value: items
                    .iter()
                    .filter_map(|i| match i {
                        CollectionItem::Tensor(t) => Some(graph.tensor_name(*t)),
                        CollectionItem::Operation(o) => Some(graph.op_name(*o)),
                        CollectionItem::Node(n) => Some(n.clone()),
                        _ => None,
                    })
                    .collect(),
            }),
            CollectionItem::Int(_) => Kind::Int64List(Int64List {
                value: items.iter().filter_map(|i| if let CollectionItem::Int(v) = i { Some(*v) } else { None }).collect(),
            }),
            CollectionItem::Float(_) => Kind::FloatList(FloatList {
                value: items.iter().filter_map(|i| if let CollectionItem::Float(v) = i { Some(*v) } else { None }).collect(),
            }),
            CollectionItem::Any(_) => Kind::AnyList(AnyList {
                value: items.iter().filter_map(|i| if let CollectionItem::Any(v) = i { Some(v.clone()) } else { None }).collect(),
            }),
            CollectionItem::Bytes(_) | CollectionItem::Object(_) => {
                let mut value: Vec<Bytes> = Vec::new();
                for item in &items {
                    match item {
                        CollectionItem::Bytes(b) => value.push(b.clone()),
                        CollectionItem::Object(o) => {
                            value.push(o.to_bytes(graph).map_err(|e| e.within(format!("collection {name}")))?);
                        }
                        _ => {}
                    }
                }
                Kind::BytesList(BytesList { value })
            }
        };
        all.insert(name, CollectionDef { kind: Some(kind) });
    }
    Ok(all)
}

/// How a MetaGraph is imported.
#[derive(Clone, Debug, Default)]
pub struct ImportMetaOptions {
    /// Leave the devices out.
    pub clear_devices: bool,
    /// Put before every name.
    pub import_scope: Option<String>,
}

/// Reads a `.meta` file, in binary or text form of the message.
///
/// # Errors
/// `NotFound` where there is no such file, `DataLoss` where it can't be read.
pub fn read_meta_graph(path: impl AsRef<Path>) -> Result<MetaGraphDef> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::from(e).within(path.display().to_string()))?;
    crate::proto::text::decode_either(bytes.into()).map_err(|e| e.within(path.display().to_string()))
}

/// Adds the graph of a `.meta` file and its collections, and returns its saver (`tf.train.import_meta_graph`). A
/// MetaGraph without a saver gives one over the variables that it names.
///
/// # Errors
/// As [`read_meta_graph`] and [`Graph::import_graph_def`].
pub fn import_meta_graph(graph: &Graph, path: impl AsRef<Path>) -> Result<Saver> {
    let meta = read_meta_graph(path.as_ref())?;
    import_meta_graph_def(graph, meta, &ImportMetaOptions::default()).map_err(|e| e.within(path.as_ref().display().to_string()))
}

/// The same, from the message and with options.
///
/// # Errors
/// As [`Graph::import_graph_def`].
pub fn import_meta_graph_def(graph: &Graph, meta: MetaGraphDef, options: &ImportMetaOptions) -> Result<Saver> {
    let Some(def) = meta.graph_def else { bail!(InvalidArgument, "the MetaGraphDef has no graph") };
    let scope = options.import_scope.as_deref().map(|s| s.trim_end_matches('/')).filter(|s| !s.is_empty());
    let import = ImportOptions { prefix: scope.map(str::to_string), clear_devices: options.clear_devices, ..Default::default() };
    graph.import_graph_def(def, &import)?;
    let scoped = |name: &str| match scope {
        Some(scope) if !name.is_empty() => format!("{scope}/{name}"),
        _ => name.to_string(),
    };
    for (name, collection) in meta.collection_def {
        let items: Vec<CollectionItem> = match collection.kind {
            None => continue,
            Some(Kind::NodeList(list)) => list.value.iter().map(|n| node_item(graph, scoped(n))).collect(),
            Some(Kind::BytesList(list)) => {
                list.value.into_iter().map(|b| super::collections::from_bytes(graph, &name, b, scope)).collect()
            }
            Some(Kind::Int64List(list)) => list.value.into_iter().map(CollectionItem::Int).collect(),
            Some(Kind::FloatList(list)) => list.value.into_iter().map(CollectionItem::Float).collect(),
            Some(Kind::AnyList(list)) => list.value.into_iter().map(CollectionItem::Any).collect(),
        };
        items.into_iter().for_each(|item| graph.add_to_collection(&name, item));
    }
    match meta.saver_def {
        Some(mut def) => {
            def.filename_tensor_name = scoped(&def.filename_tensor_name);
            def.save_tensor_name = scoped(&def.save_tensor_name);
            def.restore_op_name = scoped(&def.restore_op_name);
            Ok(Saver::from_def(graph, def))
        }
        None => {
            let within = scope.map(|s| format!("{s}/"));
            let variables = graph.variables_in(crate::graph::keys::GLOBAL_VARIABLES, within.as_deref());
            let var_list = variables.into_iter().map(|v| (v.op_name().to_string(), v)).collect();
            Saver::with_options(graph, &SaverOptions { var_list: Some(var_list), allow_empty: true, ..Default::default() })
        }
    }
}

fn node_item(graph: &Graph, name: String) -> CollectionItem {
    if let Ok(tensor) = graph.get_tensor_by_name(&name) {
        return CollectionItem::Tensor(tensor);
    }
    match graph.get_operation_by_name(&name) {
        Ok(op) => CollectionItem::Operation(op),
        Err(_) => CollectionItem::Node(name),
    }
}
