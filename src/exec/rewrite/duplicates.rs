//! Merges nodes that compute the same from the same.

use super::super::dataflow::{Action, Dataflow, Source};
use super::super::frames;
use crate::graph::attr::Attrs;
use crate::proto::AttrValue;
use foldhash::fast::RandomState;
use foldhash::{HashMap, HashMapExt};
use prost::Message;
use smallvec::SmallVec;
use std::hash::{BuildHasher, Hash, Hasher};

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
    let targeted = flow.targeted();
    let state = RandomState::default();
    let mut hashes: HashMap<usize, u64> = HashMap::new();
    for at in order {
        flow.nodes[at].inputs.iter_mut().for_each(|s| *s = resolve(&same, *s));
        let node = &flow.nodes[at];
        let reads_ref = node.inputs.iter().any(|s| matches!(s, Source::Node(n, o) if flow.nodes[*n].gives_ref(*o)));
        if !node.is_pure() || reads_ref || targeted[at] {
            continue;
        }
        if node.is_op(&["Const"]) && node.info.attrs.get("value").is_some_and(|v| v.encoded_len() > LARGEST_CONSTANT) {
            continue;
        }
        let attrs = match node.info.attrs.shared_key() {
            Some(key) => *hashes.entry(key).or_insert_with(|| hash_of(&state, &node.info.attrs)),
            None => hash_of(&state, &node.info.attrs),
        };
        let hash = state.hash_one((node.info.op, &node.inputs, &node.controls, attrs));
        let known = first.entry(hash).or_default();
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
    let same_attrs = || a.info.attrs.is_same(&b.info.attrs) || public(&a.info.attrs).eq(public(&b.info.attrs));
    same_op && a.inputs == b.inputs && a.controls == b.controls && same_attrs()
}

/// The attributes that say what is computed.
fn public(attrs: &Attrs) -> impl Iterator<Item = (&String, &AttrValue)> {
    attrs.iter().filter(|(name, _)| !name.starts_with('_'))
}

fn hash_of(state: &RandomState, attrs: &Attrs) -> u64 {
    let mut hasher = state.build_hasher();
    for (name, value) in public(attrs) {
        name.hash(&mut hasher);
        value.encode_to_vec().hash(&mut hasher);
    }
    hasher.finish()
}
