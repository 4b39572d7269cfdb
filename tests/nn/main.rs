//! Graphs of recurrent networks, layers and losses, node for node as TensorFlow builds them.

mod layouts;
mod recurrent;

use flate2::read::GzDecoder;
use metagraph::proto::attr_value::Value;
use metagraph::proto::{AttrValue, GraphDef, NodeDef};
use metagraph::{Graph, Result, Tensor};
use prost::Message;
use std::collections::HashMap;
use std::io::Read;

/// Compares what `build` makes with `tests/fixtures/nn/<name>.pb` or `.pb.gz`, which TensorFlow wrote.
fn check(name: &str, build: impl FnOnce(&Graph) -> Result<()>) {
    let path = format!("{}/tests/fixtures/nn/{name}.pb", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&path).unwrap_or_else(|_| {
        let mut bytes = Vec::new();
        GzDecoder::new(std::fs::File::open(format!("{path}.gz")).unwrap()).read_to_end(&mut bytes).unwrap();
        bytes
    });
    let theirs = GraphDef::decode(bytes.as_slice()).unwrap();
    let graph = Graph::new();
    build(&graph).unwrap();
    let ours = graph.as_graph_def();
    let by_name = |def: &GraphDef| -> HashMap<String, NodeDef> { def.node.iter().map(|n| (n.name.clone(), n.clone())).collect() };
    let (own, other) = (by_name(&ours), by_name(&theirs));
    let mut differences = Vec::new();
    for node in &theirs.node {
        match own.get(&node.name) {
            None => differences.push(format!("{} = {} is missing", node.name, node.op)),
            Some(ours) => differences.extend(difference(ours, node)),
        }
    }
    let surplus = ours.node.iter().filter(|n| !other.contains_key(&n.name));
    differences.extend(surplus.map(|n| format!("{} = {} is not in TensorFlow's graph", n.name, n.op)));
    assert!(differences.is_empty(), "{name}: {} differences\n{}", differences.len(), differences.join("\n"));
    let order = |def: &GraphDef| -> Vec<String> { def.node.iter().map(|n| n.name.clone()).collect() };
    assert_eq!(order(&ours), order(&theirs), "{name}: the order of the nodes");
}

fn difference(ours: &NodeDef, theirs: &NodeDef) -> Option<String> {
    if ours.op != theirs.op || ours.input != theirs.input || ours.device != theirs.device {
        let text = |n: &NodeDef| format!("{}({}) on {:?}", n.op, n.input.join(", "), n.device);
        return Some(format!("{}: {} for {}", ours.name, text(ours), text(theirs)));
    }
    let names: std::collections::BTreeSet<&String> = ours.attr.keys().chain(theirs.attr.keys()).collect();
    let differ = names.into_iter().filter(|a| !same(ours.attr.get(*a), theirs.attr.get(*a)));
    let parts: Vec<String> = differ.map(|a| format!("{a} is {:?} for {:?}", ours.attr.get(a), theirs.attr.get(a))).collect();
    if parts.is_empty() { None } else { Some(format!("{}: {}", ours.name, parts.join(", "))) }
}

/// True for equal attributes. Tensors are compared by value, since a message may hold one in several ways.
fn same(a: Option<&AttrValue>, b: Option<&AttrValue>) -> bool {
    let tensor = |attr: Option<&AttrValue>| match attr.and_then(|a| a.value.as_ref()) {
        Some(Value::Tensor(message)) => Tensor::from_message(message).ok(),
        _ => None,
    };
    a == b || matches!((tensor(a), tensor(b)), (Some(a), Some(b)) if a == b)
}
