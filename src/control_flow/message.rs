//! Contexts as messages: what the collections `while_context` and `cond_context` hold.

use super::context::{Context, Kind, WhileData, with};
use super::map_order::written_order;
use crate::error::{Error, Result};
use crate::graph::{CollectionObject, ContextId, Graph, Output};
use crate::proto::{CondContextDef, WhileContextDef};
use bytes::Bytes;
use prost::Message;

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
