//! Merges nodes that compute the same from the same.

use super::super::dataflow::{Action, Dataflow, Source};
use super::super::frames;
use prost::Message;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Larger constants are not compared, in bytes.
const LARGEST_CONSTANT: usize = 1 << 10;

/// Merges pure nodes of one op with equal attributes, inputs and control inputs into the first of them. References are
/// left alone, since their values change.
pub(super) fn merge_duplicates(flow: &mut Dataflow) {
    let Ok(order) = frames::topological(flow) else { return };
    let mut first: HashMap<u64, SmallVec<[usize; 1]>> = HashMap::new();
    let mut same: Vec<usize> = (0..flow.nodes.len()).collect();
    let resolve = |same: &[usize], source: Source| match source {
        Source::Node(node, output) => Source::Node(same[node], output),
        feed => feed,
    };
    for at in order {
        let inputs: Vec<Source> = flow.nodes[at].inputs.iter().map(|&s| resolve(&same, s)).collect();
        flow.nodes[at].inputs = inputs;
        let node = &flow.nodes[at];
        let reads_ref = node.inputs.iter().any(|s| matches!(s, Source::Node(n, o) if flow.nodes[*n].gives_ref(*o)));
        if !node.is_pure() || reads_ref || flow.targets.contains(&at) {
            continue;
        }
        if node.is_op(&["Const"]) && node.info.attrs.get("value").is_some_and(|v| v.encoded_len() > LARGEST_CONSTANT) {
            continue;
        }
        let mut hasher = DefaultHasher::new();
        node.info.op.hash(&mut hasher);
        node.inputs.hash(&mut hasher);
        node.controls.hash(&mut hasher);
        for (name, value) in node.info.attrs.iter().filter(|(n, _)| !n.starts_with('_')) {
            name.hash(&mut hasher);
            value.encode_to_vec().hash(&mut hasher);
        }
        let known = first.entry(hasher.finish()).or_default();
        match known.iter().find(|&&k| is_same(flow, k, at)) {
            Some(&k) => same[at] = k,
            None => known.push(at),
        }
    }
    for node in &mut flow.nodes {
        node.controls.iter_mut().for_each(|c| *c = same[*c]);
    }
    flow.replace_sources(|s| resolve(&same, s));
}

fn is_same(flow: &Dataflow, a: usize, b: usize) -> bool {
    let (a, b) = (&flow.nodes[a], &flow.nodes[b]);
    let same_op = matches!((&a.action, &b.action), (Action::Op(x), Action::Op(y)) if std::ptr::eq(*x, *y));
    let public = |n: &'_ super::super::dataflow::FlowNode| {
        n.info.attrs.iter().filter(|(k, _)| !k.starts_with('_')).map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>()
    };
    same_op && a.inputs == b.inputs && a.controls == b.controls && public(a) == public(b)
}
