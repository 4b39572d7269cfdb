//! Comparing graphs and values with those that TensorFlow wrote.
#![allow(dead_code)] // Each test uses a part of it.

use metagraph::proto::attr_value::Value;
use metagraph::proto::{AttrValue, GraphDef, MetaGraphDef, NodeDef};
use metagraph::train::Saver;
use metagraph::{DType, Graph, Tensor};
use prost::Message;
use std::collections::{BTreeSet, HashMap};

/// The file of that name in `tests/fixtures`.
pub fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Compares nodes, their order and the collections with the meta graph in `tests/fixtures/<path>.pb`.
pub fn compare_meta_graph(path: &str, graph: &Graph, saver: Option<&Saver>) {
    let theirs = MetaGraphDef::decode(fixture(&format!("{path}.pb")).as_slice()).unwrap();
    let options = metagraph::train::ExportOptions { saver, ..Default::default() };
    let ours = metagraph::train::export_meta_graph(graph, None, &options).unwrap();
    compare_graphs(path, &ours.graph_def.unwrap(), &theirs.graph_def.unwrap(), Strictness::Meaning);
    let names: BTreeSet<&String> = ours.collection_def.keys().chain(theirs.collection_def.keys()).collect();
    for name in names {
        let (own, other) = (ours.collection_def.get(name), theirs.collection_def.get(name));
        assert_eq!(own, other, "{path}: the collection {name}");
    }
    assert_eq!(ours.saver_def, theirs.saver_def, "{path}: the saver");
}

/// What counts as a difference between two nodes.
#[derive(Clone, Copy, PartialEq)]
pub enum Strictness {
    /// All that is written.
    Letter,
    /// Neither the order of control inputs nor the inferred shapes.
    Meaning,
}

/// Compares nodes and their order.
pub fn compare_graphs(path: &str, ours: &GraphDef, theirs: &GraphDef, strictness: Strictness) {
    let by_name = |def: &GraphDef| -> HashMap<String, NodeDef> { def.node.iter().map(|n| (n.name.clone(), n.clone())).collect() };
    let (own, other) = (by_name(ours), by_name(theirs));
    let mut differences = Vec::new();
    for node in &theirs.node {
        match own.get(&node.name) {
            None => differences.push(format!("{} = {} is missing", node.name, node.op)),
            Some(ours) => differences.extend(difference(ours, node, strictness)),
        }
    }
    let surplus = ours.node.iter().filter(|n| !other.contains_key(&n.name));
    differences.extend(surplus.map(|n| format!("{} = {} is not in TensorFlow's graph", n.name, n.op)));
    assert!(differences.is_empty(), "{path}: {} differences\n{}", differences.len(), differences.join("\n"));
    let order = |def: &GraphDef| -> Vec<String> { def.node.iter().map(|n| n.name.clone()).collect() };
    assert_eq!(order(ours), order(theirs), "{path}: the order of the nodes");
}

/// The inputs in order, the control inputs sorted.
fn inputs(node: &NodeDef) -> Vec<String> {
    let (mut controls, mut data): (Vec<String>, Vec<String>) = node.input.iter().cloned().partition(|i| i.starts_with('^'));
    controls.sort();
    data.extend(controls);
    data
}

fn difference(ours: &NodeDef, theirs: &NodeDef, strictness: Strictness) -> Option<String> {
    let inputs = |n: &NodeDef| if strictness == Strictness::Letter { n.input.clone() } else { inputs(n) };
    if ours.op != theirs.op || inputs(ours) != inputs(theirs) || ours.device != theirs.device {
        let text = |n: &NodeDef| format!("{}({}) on {:?}", n.op, n.input.join(", "), n.device);
        return Some(format!("{}: {} for {}", ours.name, text(ours), text(theirs)));
    }
    let counts = |attr: &&String| strictness == Strictness::Letter || *attr != "_output_shapes";
    let names: BTreeSet<&String> = ours.attr.keys().chain(theirs.attr.keys()).filter(counts).collect();
    let differ = names.into_iter().filter(|a| !same(ours.attr.get(a), theirs.attr.get(a)));
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

/// Asserts that numbers agree within a tolerance, relative for those above one; NaN agrees with NaN.
pub fn assert_close(got: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    assert_eq!((got.dtype(), got.dims()), (expected.dtype(), expected.dims()), "{what}");
    let numbers = |t: &Tensor| -> Vec<f64> {
        match t.dtype() {
            DType::Float => t.as_slice::<f32>().unwrap().iter().map(|&v| v.into()).collect(),
            DType::Double => t.as_slice::<f64>().unwrap().to_vec(),
            _ => t.to_i64s().unwrap().into_iter().map(|v| v as f64).collect(),
        }
    };
    for (a, b) in numbers(got).into_iter().zip(numbers(expected)) {
        let near = (a - b).abs() <= tolerance * b.abs().max(1.0) || (a.is_nan() && b.is_nan()) || a == b;
        assert!(near, "{what}: {got} for {expected}");
    }
}
