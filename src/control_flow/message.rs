//! Contexts as messages: what the collections `while_context` and `cond_context` hold.

use super::context::{self, Context, Kind, WhileData, with};
use super::map_order::written_order;
use super::{cond, while_loop};
use crate::error::{Error, Result, bail};
use crate::graph::{CollectionItem, CollectionObject, ContextId, Graph, Output};
use crate::proto::control_flow_context_def::Ctxt;
use crate::proto::{CondContextDef, WhileContextDef};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;

/// A context in a collection.
pub(super) struct ContextObject(pub ContextId);

impl CollectionObject for ContextObject {
    fn to_bytes(&self, graph: &Graph) -> Result<Bytes> {
        Ok(encoded(graph, self.0, 0)?.1.into())
    }
}

/// A copy of a context that can be read while the graph is.
struct Snapshot {
    name: String,
    nested: Vec<ContextId>,
    values: Vec<Output>,
    external: Vec<(Output, Output)>,
    kind: SnapshotKind,
}

enum SnapshotKind {
    Cond { pred: Output, pivot: Output, branch: usize },
    While(Box<WhileData>),
}

fn snapshot(context: &mut Context) -> Snapshot {
    Snapshot {
        name: context.name.clone(),
        nested: context.nested.clone(),
        values: context.values.iter().copied().collect(),
        external: context.external.iter().map(|(k, v)| (*k, *v)).collect(),
        kind: match &context.kind {
            Kind::Cond { pred, pivot, branch } => SnapshotKind::Cond { pred: *pred, pivot: *pivot, branch: *branch },
            Kind::While(data) => SnapshotKind::While(data.clone()),
        },
    }
}

/// Appends a field of bytes: its number, the length, the bytes.
fn append(to: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, to);
    prost::encoding::encode_varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

/// A `ValuesDef` whose map is in the order in which TensorFlow's Python writes it.
fn encoded_values(graph: &Graph, context: &Snapshot, depth: usize) -> Vec<u8> {
    let mut values: Vec<String> = context.values.iter().map(|&v| graph.tensor_name(v)).collect();
    values.sort_unstable();
    let mut bytes = Vec::new();
    for value in &values {
        append(&mut bytes, 1, value.as_bytes());
    }
    let outside: Vec<String> = context.external.iter().map(|(k, _)| graph.tensor_name(*k)).collect();
    for position in written_order(&outside, depth) {
        let mut entry = Vec::new();
        append(&mut entry, 1, outside[position].as_bytes());
        append(&mut entry, 2, graph.tensor_name(context.external[position].1).as_bytes());
        append(&mut bytes, 2, &entry);
    }
    bytes
}

/// The context as a message, with its field in a `ControlFlowContextDef`; `depth` counts the contexts around it.
fn encoded(graph: &Graph, id: ContextId, depth: usize) -> Result<(u32, Vec<u8>)> {
    let context = with(graph, id, snapshot);
    let name = |output: Output| graph.tensor_name(output);
    let names = |outputs: &[Output]| outputs.iter().map(|&o| graph.tensor_name(o)).collect::<Vec<_>>();
    let values = encoded_values(graph, &context, depth);
    let mut nested = Vec::with_capacity(context.nested.len());
    for &inner in &context.nested {
        let (field, bytes) = encoded(graph, inner, depth + 1)?;
        let mut message = Vec::new();
        append(&mut message, field, &bytes);
        nested.push(message);
    }
    let missing = |what: &str| Error::invalid_argument(format!("the loop {} has no {what}", context.name));
    let mut bytes;
    let (field, number) = match context.kind {
        SnapshotKind::Cond { pred, pivot, branch } => {
            let head = CondContextDef {
                context_name: context.name.clone(),
                pred_name: name(pred),
                pivot_name: name(pivot),
                branch: branch as i32,
                ..CondContextDef::default()
            };
            bytes = head.encode_to_vec();
            append(&mut bytes, 5, &values);
            (1, 6)
        }
        SnapshotKind::While(data) => {
            let head = WhileContextDef {
                context_name: context.name.clone(),
                parallel_iterations: data.parallel_iterations as i32,
                back_prop: data.back_prop,
                swap_memory: data.swap_memory,
                pivot_name: name(data.pivot.ok_or_else(|| missing("pivot"))?),
                pivot_for_pred_name: name(data.pivot_for_pred.ok_or_else(|| missing("pivot for its condition"))?),
                pivot_for_body_name: name(data.pivot_for_body.ok_or_else(|| missing("pivot for its body"))?),
                loop_exit_names: names(&data.loop_exits),
                ..WhileContextDef::default()
            };
            bytes = head.encode_to_vec();
            append(&mut bytes, 9, &values);
            let tail = WhileContextDef {
                loop_enter_names: names(&data.loop_enters),
                maximum_iterations_name: data.maximum_iterations.map(name).unwrap_or_default(),
                ..WhileContextDef::default()
            };
            bytes.extend(tail.encode_to_vec());
            (2, 12)
        }
    };
    nested.iter().for_each(|n| append(&mut bytes, number, n));
    Ok((field, bytes))
}

/// Makes the contexts that an entry of `while_context` or `cond_context` describes, over nodes that have been imported
/// within `import_scope` (empty for none), and returns what takes the entry's place in the collection.
///
/// # Errors
/// `DataLoss` for bytes that aren't such a message, `NotFound` where it names a node that isn't there.
pub(crate) fn import_context(graph: &Graph, collection: &str, bytes: &[u8], import_scope: &str) -> Result<CollectionItem> {
    let ctxt = match collection {
        while_loop::COLLECTION => WhileContextDef::decode(bytes).map(Ctxt::WhileCtxt),
        cond::COLLECTION => CondContextDef::decode(bytes).map(Ctxt::CondCtxt),
        other => bail!(InvalidArgument, "collection '{other}' holds no control-flow contexts"),
    };
    let ctxt = ctxt.map_err(|e| Error::data_loss(format!("an entry of collection '{collection}' can't be read: {e}")))?;
    let scope = import_scope.trim_end_matches('/');
    let prefix = if scope.is_empty() { String::new() } else { format!("{scope}/") };
    let id = from_message(graph, &ctxt, &prefix)?;
    Ok(CollectionItem::Object(Arc::new(ContextObject(id))))
}

fn from_message(graph: &Graph, ctxt: &Ctxt, prefix: &str) -> Result<ContextId> {
    let tensor = |name: &str| graph.get_tensor_by_name(&format!("{prefix}{name}"));
    let tensors = |names: &[String]| names.iter().map(|n| tensor(n)).collect::<Result<Vec<_>>>();
    let (name, kind, values, nested) = match ctxt {
        Ctxt::CondCtxt(def) => {
            graph.unique_name("cond_text");
            let branch = usize::from(def.branch != 0);
            let kind = Kind::Cond { pred: tensor(&def.pred_name)?, pivot: tensor(&def.pivot_name)?, branch };
            (&def.context_name, kind, &def.values_def, &def.nested_contexts)
        }
        Ctxt::WhileCtxt(def) => {
            let mut data = WhileData::new(i64::from(def.parallel_iterations), def.back_prop, def.swap_memory);
            if !def.maximum_iterations_name.is_empty() {
                data.maximum_iterations = Some(tensor(&def.maximum_iterations_name)?);
            }
            data.pivot_for_pred = Some(tensor(&def.pivot_for_pred_name)?);
            data.pivot_for_body = Some(tensor(&def.pivot_for_body_name)?);
            data.pivot = Some(tensor(&def.pivot_name)?);
            data.loop_exits = tensors(&def.loop_exit_names)?;
            data.loop_enters = tensors(&def.loop_enter_names)?;
            (&def.context_name, Kind::While(Box::new(data)), &def.values_def, &def.nested_contexts)
        }
    };
    let name = format!("{prefix}{name}");
    let is_loop = matches!(kind, Kind::While(_));
    let id = context::new_context(graph, name.clone(), kind);
    if let Some(def) = values {
        let values = tensors(&def.values)?;
        for (outside, inside) in &def.external_values {
            let (outside, inside) = (tensor(outside)?, tensor(inside)?);
            with(graph, id, |c| c.external.insert(outside, inside));
        }
        for &value in &values {
            if !with(graph, id, |c| c.external.contains_key(&value)) {
                graph.set_op_context(value.op, Some(id))?;
            }
            if is_loop && !prefix.is_empty() && context::is_enter(graph, value.op) {
                graph.set_attr(value.op, "frame_name", &name)?;
            }
        }
        with(graph, id, |c| c.values.extend(values));
    }
    context::enter(graph, id);
    let made = nested.iter().filter_map(|n| n.ctxt.as_ref()).try_for_each(|n| from_message(graph, n, prefix).map(drop));
    context::exit(graph, id);
    made.map(|()| id)
}
