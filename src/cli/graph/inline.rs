//! Calls of functions as boxes: a model of TensorFlow 2 is a few calls, and what a person wants to see is within them.

use crate::cli::saving;
use crate::graph::attr::IntoAttr;
use crate::proto::{AttrValue, FunctionDef, GraphDef, NodeDef, attr_value};
use std::collections::HashMap;

/// Graphs are drawn with so many nodes of functions at most.
const MOST: usize = 20_000;
/// Functions call functions as deep as this.
const DEEPEST: usize = 20;

/// The graph with the bodies of the functions that it calls in the place of the calls; a call's node stays, as what hands
/// the results on. Calls that save or restore stay as they are.
pub(super) fn inlined(def: &GraphDef) -> GraphDef {
    let functions = def.library.iter().flat_map(|l| &l.function);
    let functions: HashMap<&str, &FunctionDef> =
        functions.filter_map(|f| Some((f.signature.as_ref()?.name.as_str(), f))).collect();
    let mut nodes = def.node.clone();
    for _ in 0..DEEPEST {
        let mut next = Vec::with_capacity(nodes.len());
        let mut changed = false;
        for node in &nodes {
            let body = called(node, &functions).filter(|f| next.len() + f.node_def.len() < MOST && next.len() < MOST);
            match body.and_then(|f| expanded(node, f, &functions)) {
                Some(made) => {
                    changed = true;
                    next.extend(made);
                }
                None => next.push(node.clone()),
            }
        }
        nodes = next;
        if !changed {
            break;
        }
    }
    GraphDef { node: nodes, ..def.clone() }
}

fn called<'a>(node: &NodeDef, functions: &HashMap<&str, &'a FunctionDef>) -> Option<&'a FunctionDef> {
    if !matches!(node.op.as_str(), "PartitionedCall" | "StatefulPartitionedCall") {
        return None;
    }
    let Some(attr_value::Value::Func(f)) = &node.attr.get("f")?.value else { return None };
    let function = functions.get(f.name.as_str())?;
    (f.attr.is_empty() && !saving::saves(function)).then_some(function)
}

/// The nodes of a call's function, under the call's name, and the call itself as what hands the results on.
fn expanded(call: &NodeDef, function: &FunctionDef, functions: &HashMap<&str, &FunctionDef>) -> Option<Vec<NodeDef>> {
    let signature = function.signature.as_ref()?;
    let by_name: HashMap<&str, &NodeDef> = function.node_def.iter().map(|n| (n.name.as_str(), n)).collect();
    let (controls, inputs): (Vec<&String>, Vec<&String>) = call.input.iter().partition(|i| i.starts_with('^'));
    if inputs.len() != signature.input_arg.len() {
        return None;
    }
    let arguments: HashMap<&str, &String> = signature.input_arg.iter().map(|a| a.name.as_str()).zip(inputs).collect();
    let reference = |text: &str| -> Option<String> {
        if let Some(control) = text.strip_prefix('^') {
            return match arguments.get(control) {
                Some(input) => Some(format!("^{}", input.split(':').next().unwrap_or(input))),
                None => by_name.contains_key(control).then(|| format!("^{}/{control}", call.name)),
            };
        }
        if let Some(input) = arguments.get(text) {
            return Some(input.to_string());
        }
        let mut parts = text.split(':');
        let (name, output, index) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        Some(format!("{}/{name}:{}", call.name, position(by_name.get(name)?, output, index, functions)?))
    };
    let mut nodes = Vec::with_capacity(function.node_def.len() + 1);
    for node in &function.node_def {
        if node.attr.values().any(|a| matches!(a.value, Some(attr_value::Value::Placeholder(_)))) {
            return None;
        }
        let input = node.input.iter().map(|i| reference(i)).collect::<Option<_>>()?;
        nodes.push(NodeDef { name: format!("{}/{}", call.name, node.name), input, ..node.clone() });
    }
    let results = signature.output_arg.iter().map(|o| reference(function.ret.get(&o.name)?)).collect::<Option<Vec<_>>>()?;
    let mut out = NodeDef { name: call.name.clone(), op: "IdentityN".into(), device: call.device.clone(), ..Default::default() };
    if results.is_empty() {
        out.op = "NoOp".into();
        out.input.extend(function.control_ret.values().filter_map(|c| reference(&format!("^{c}"))));
    } else {
        out.attr.insert("T".into(), call.attr.get("Tout")?.clone());
        out.input = results;
    }
    out.input.extend(controls.into_iter().cloned());
    if let Some(shapes) = call.attr.get("_output_shapes") {
        out.attr.insert("_output_shapes".into(), shapes.clone());
    }
    if let Some(AttrValue { value: Some(attr_value::Value::Func(f)) }) = call.attr.get("f") {
        out.attr.insert("_function".into(), f.name.as_str().into_attr());
    }
    nodes.push(out);
    Some(nodes)
}

/// The number of an output that a function names by argument and index.
fn position(node: &NodeDef, output: &str, index: usize, functions: &HashMap<&str, &FunctionDef>) -> Option<usize> {
    if let Some(signature) = functions.get(node.op.as_str()).and_then(|f| f.signature.as_ref()) {
        return signature.output_arg.iter().position(|o| o.name == output).map(|at| at + index);
    }
    let Some(record) = crate::ops::lookup(&node.op) else { return Some(index) };
    let signature = record.signature();
    let mut before = 0;
    for argument in &signature.outputs {
        if argument.name == output {
            return Some(before + index);
        }
        before += signature.arg_types(argument, &node.attr).ok()?.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::proto::{SavedModel, text};
    use prost::Message;

    #[test]
    fn bodies_stand_where_their_calls_were() {
        let library = "library { function {
            signature { name: 'twice' input_arg { name: 'a' type: DT_FLOAT } input_arg { name: 'b' type: DT_FLOAT }
                output_arg { name: 'sum' type: DT_FLOAT } output_arg { name: 'same' type: DT_FLOAT } }
            node_def { name: 'parts' op: 'Unpack' input: 'a' attr { key: 'num' value { i: 2 } } attr { key: 'T' value { type: DT_FLOAT } } }
            node_def { name: 'add' op: 'AddV2' input: 'parts:output:1' input: 'b' input: '^parts' attr { key: 'T' value { type: DT_FLOAT } } }
            ret { key: 'sum' value: 'add:z:0' } ret { key: 'same' value: 'b' } } }";
        let nodes = "node { name: 'x' op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } } }
            node { name: 'c' op: 'PartitionedCall' input: 'x' input: 'x:0'
                attr { key: 'f' value { func { name: 'twice' } } }
                attr { key: 'Tin' value { list { type: [DT_FLOAT, DT_FLOAT] } } }
                attr { key: 'Tout' value { list { type: [DT_FLOAT, DT_FLOAT] } } } }
            node { name: 'y' op: 'Neg' input: 'c:1' attr { key: 'T' value { type: DT_FLOAT } } }";
        let def: GraphDef = text::parse(&format!("{nodes} {library}")).unwrap();
        let made = inlined(&def);
        let line = |n: &NodeDef| format!("{} {} {}", n.name, n.op, n.input.join(" "));
        let lines: Vec<String> = made.node.iter().map(line).collect();
        assert_eq!(
            lines,
            ["x Placeholder ", "c/parts Unpack x", "c/add AddV2 c/parts:1 x:0 ^c/parts", "c IdentityN c/add:0 x:0", "y Neg c:1"]
        );
        Graph::new().import_graph_def(made, &Default::default()).unwrap();
    }

    #[test]
    fn a_saved_model_of_functions_is_imported_inlined() {
        let bytes = include_bytes!("../../../tests/fixtures/saved_model/v2/saved_model.pb");
        let model = SavedModel::decode(&bytes[..]).unwrap();
        let def = model.meta_graphs[0].graph_def.clone().unwrap();
        let made = inlined(&def);
        assert!(made.node.iter().any(|n| n.op == "MatMul"), "{made:?}");
        assert!(made.node.iter().any(|n| n.op == "StatefulPartitionedCall"), "what saves and restores stays");
        Graph::new().import_graph_def(made, &Default::default()).unwrap();
    }
}
