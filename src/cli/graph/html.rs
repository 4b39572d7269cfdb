//! One page for browsers, with everything in it: boxes fold, nodes are found by name, attributes are shown.

use super::escape;
use super::scene::{Kind, Role, Scene};
use crate::cli::view::View;
use crate::graph::{Graph, Output, attr};
use crate::proto::{AttrValue, text};
use serde_json::{Value, json};

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const LAYOUT: &str = include_str!("layout.js");
/// Longer texts of attributes are cut.
const LONGEST: usize = 300;

/// The page.
pub(super) fn draw(scene: &Scene, graph: &Graph, view: &View, title: &str) -> String {
    let data = json!({ "title": title, "items": items(scene, graph, view) });
    // No tag can end the script from within it.
    let data = data.to_string().replace('<', "\\u003c");
    PAGE.replace("{{title}}", &escape(title))
        .replace("{{layout}}", LAYOUT)
        .replace("{{script}}", SCRIPT)
        .replace("{{data}}", &data)
}

fn items(scene: &Scene, graph: &Graph, view: &View) -> Vec<Value> {
    let item = |item: &super::scene::Item| {
        let kind = match item.kind {
            Kind::Scope => "scope",
            Kind::Loop => "loop",
            Kind::Variable => "variable",
            Kind::Node => "node",
        };
        let role = match item.role {
            Role::Input => "input",
            Role::Output => "output",
            Role::Constant => "constant",
            Role::Other => "",
        };
        let mut value = json!({
            "k": kind, "n": item.name, "l": item.label, "d": item.detail, "p": item.parent, "s": item.size, "r": role,
            "v": u8::from(item.service), "m": u8::from(item.main), "o": u8::from(item.open),
        });
        if let Some(node) = item.node {
            value["x"] = node_json(scene, graph, view, node);
        }
        value
    };
    scene.items.iter().map(item).collect()
}

/// What a page shows of a node. Inputs are items with an output's number; constants that aren't drawn are given by value.
fn node_json(scene: &Scene, graph: &Graph, view: &View, index: usize) -> Value {
    let node = &view.nodes[index];
    let op = graph.read().operation(index);
    let shape = |o: Output| crate::cli::describe::fact(graph, o).kind();
    let (mut inputs, mut hidden) = (Vec::new(), Vec::new());
    for &(source, output) in &node.inputs {
        let of = Output { op: graph.read().operation(source), index: output };
        match scene.of_node.get(&source) {
            Some(item) => {
                let back = u8::from(view.is_back_edge(source, index));
                inputs.push(json!([item, output, super::scene::shape_text(graph, of), back]));
            }
            None => hidden.push(format!("{}:{output} {}", view.nodes[source].name, constant(graph, of))),
        }
    }
    let controls: Vec<usize> = node.controls.iter().filter_map(|c| scene.of_node.get(c).copied()).collect();
    let mut attrs = serde_json::Map::new();
    if let Ok(def) = graph.node_def(op) {
        for (name, value) in def.attr.iter().filter(|(n, _)| *n != "_output_shapes") {
            attrs.insert(name.clone(), json!(attr_text(value)));
        }
    }
    let outputs: Vec<String> = graph.outputs(op).into_iter().map(shape).collect();
    let mut value = json!({ "op": &*node.op, "i": inputs, "a": attrs, "out": outputs });
    for (key, list) in [("c", json!(controls)), ("h", json!(hidden))] {
        if list.as_array().is_some_and(|l| !l.is_empty()) {
            value[key] = list;
        }
    }
    if let Some(why) = node.unsupported {
        value["u"] = json!(why);
    }
    let device = graph.op_device(op);
    if !device.is_empty() {
        value["dev"] = json!(device);
    }
    value
}

fn constant(graph: &Graph, output: Output) -> String {
    let value = graph.get_attr(output.op, "value").ok().and_then(|v| attr::tensor(&v).ok());
    value.map(|t| cut(&format!("{t:?}"))).unwrap_or_default()
}

fn cut(text: &str) -> String {
    if text.chars().count() > LONGEST { text.chars().take(LONGEST).chain(['…']).collect() } else { text.to_string() }
}

fn attr_text(value: &AttrValue) -> String {
    if let Ok(tensor) = attr::tensor(value) {
        return cut(&format!("{tensor:?}"));
    }
    if let Ok(dtype) = attr::dtype(value) {
        return dtype.to_string();
    }
    if let Ok(text) = attr::string(value) {
        return cut(&format!("{text:?}"));
    }
    if let Ok(shape) = attr::shape(value) {
        return shape.to_string();
    }
    let text = text::print(value);
    let words: Vec<&str> = text.split_whitespace().collect();
    let joined = words.join(" ");
    cut(joined.split_once(": ").filter(|(key, rest)| key.len() == 1 && !rest.contains(": ")).map_or(&joined, |s| s.1))
}
