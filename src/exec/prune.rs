//! Finds the nodes that fetches and targets need.

use super::dataflow::{Action, Dataflow, FlowNode, Source};
use crate::compute::pages;
use crate::error::{Error, Result, bail};
use crate::graph::op::{Kernel, NodeInfo};
use crate::graph::{Graph, Inner, KnownInterfaces, Node, Operation, Output};
use crate::proto::NameAttrList;
use crate::tensor::DType;
use foldhash::{HashMap, HashMapExt};
use std::sync::Arc;

const UNSEEN: u32 = u32::MAX;
/// Paths to ops without kernels are listed for at most this many of them.
const LISTED: usize = 20;

pub(super) fn prune(graph: &Graph, feeds: &[Output], fetches: &[Output], targets: &[Operation]) -> Result<Dataflow> {
    let inner = graph.read();
    let mut feed_at: HashMap<Output, usize> = HashMap::with_capacity(feeds.len());
    for (index, &feed) in feeds.iter().enumerate() {
        inner.node(feed.op)?;
        if feed_at.insert(feed, index).is_some() {
            bail!(InvalidArgument, "tensor {}:{} is fed twice", inner.node(feed.op)?.name, feed.index);
        }
    }
    let (needed, reached_from) = reach(&inner, &feed_at, fetches, targets)?;
    check_kernels(&inner, &needed, &reached_from)?;

    let mut place = vec![UNSEEN; inner.nodes.len()];
    for (at, &index) in needed.iter().enumerate() {
        place[index] = at as u32;
    }
    let source = |output: &Output| match feed_at.get(output) {
        Some(&feed) => Source::Feed(feed),
        None => Source::Node(place[output.op.index as usize] as usize, output.index as usize),
    };
    let mut nodes = pages::vec_with_capacity(needed.len());
    let mut known = KnownInterfaces::default();
    for &index in &needed {
        let node = &inner.nodes[index];
        let place_of = |e: Error| e.within(format!("node {} ({})", node.name, node.op_type));
        let (info, action) = match node.record {
            Some(record) => (inner.node_info_of(node, &mut known).map_err(place_of)?, Action::Op(record)),
            None => call_of(&inner, node).map_err(place_of)?,
        };
        let inputs = node.inputs.iter().map(source).collect();
        check_inputs(&inner, node, &info).map_err(place_of)?;
        // A node all of whose needed outputs are fed does not run, so nothing waits for it.
        let controls =
            node.controls.iter().map(|c| place[c.index as usize]).filter(|&p| p != UNSEEN).map(|p| p as usize).collect();
        nodes.push(FlowNode { info, action, inputs, controls, position: index });
    }
    let fetches = fetches.iter().map(source).collect();
    let targets = targets.iter().map(|t| place[t.index as usize] as usize).collect();
    Ok(Dataflow { nodes, fetches, num_feeds: feeds.len(), targets })
}

/// The positions of the needed nodes in order, and for each position the one that it was reached from.
fn reach(
    inner: &Inner,
    feed_at: &HashMap<Output, usize>,
    fetches: &[Output],
    targets: &[Operation],
) -> Result<(Vec<usize>, Vec<u32>)> {
    let mut from = vec![UNSEEN; inner.nodes.len()];
    let mut stack = Vec::new();
    let mut seen = vec![false; inner.nodes.len()];
    let visit = |index: usize, by: u32, stack: &mut Vec<usize>, seen: &mut Vec<bool>, from: &mut Vec<u32>| {
        if !std::mem::replace(&mut seen[index], true) {
            from[index] = by;
            stack.push(index);
        }
    };
    for &fetch in fetches {
        let node = inner.node(fetch.op)?;
        if !node.types.is_empty() {
            inner.output_type(fetch)?;
        }
        if !feed_at.contains_key(&fetch) {
            visit(fetch.op.index as usize, UNSEEN, &mut stack, &mut seen, &mut from);
        }
    }
    for &target in targets {
        inner.node(target)?;
        visit(target.index as usize, UNSEEN, &mut stack, &mut seen, &mut from);
    }
    let any_feed = !feed_at.is_empty();
    while let Some(index) = stack.pop() {
        let node = &inner.nodes[index];
        for input in &node.inputs {
            if !(any_feed && feed_at.contains_key(input)) {
                visit(input.op.index as usize, index as u32, &mut stack, &mut seen, &mut from);
            }
        }
        for control in &node.controls {
            let at = control.index as usize;
            // A placeholder that is fed stands for its value, also where it is only waited for.
            let fed = any_feed && feed_at.contains_key(&control.output(0)) && inner.nodes[at].types.len() == 1;
            if !fed {
                visit(at, index as u32, &mut stack, &mut seen, &mut from);
            }
        }
    }
    Ok(((0..seen.len()).filter(|&i| seen[i]).collect(), from))
}

/// Refuses a step that needs ops which can't be run, and says which and by which way each is needed.
fn check_kernels(inner: &Inner, needed: &[usize], from: &[u32]) -> Result<()> {
    let mut problems: Vec<String> = Vec::new();
    let mut count = 0;
    for &index in needed {
        let node = &inner.nodes[index];
        let why = match node.record {
            None if inner.functions.contains_key(&*node.op_type) => continue,
            None => format!("Op type not registered '{}'", node.op_type),
            Some(record) => match record.kernel {
                Kernel::Missing(why) => format!("op {} can't be run: {why}", node.op_type),
                _ => continue,
            },
        };
        count += 1;
        if problems.len() < LISTED {
            let mut path = vec![node.name.to_string()];
            let mut at = from[index];
            while at != UNSEEN {
                path.push(inner.nodes[at as usize].name.to_string());
                at = from[at as usize];
            }
            if path.len() > 8 {
                let tail = path.split_off(path.len() - 2);
                path.truncate(5);
                path.push("...".to_string());
                path.extend(tail);
            }
            problems.push(format!("{why}, needed by way of {}", path.join(" -> ")));
        }
    }
    match count {
        0 => Ok(()),
        n => {
            let more = if n > problems.len() { format!("; and {} more", n - problems.len()) } else { String::new() };
            bail!(NotFound, "{}{more}", problems.join("; "))
        }
    }
}

fn call_of(inner: &Inner, node: &Node) -> Result<(Arc<NodeInfo>, Action)> {
    let Some(function) = inner.functions.get(&*node.op_type) else {
        bail!(NotFound, "Op type not registered '{}'", node.op_type);
    };
    let info = NodeInfo {
        name: node.name.clone(),
        op: "PartitionedCall",
        attrs: node.attrs.clone(),
        input_types: function.signature.input_types(&node.attrs)?.iter().map(|t| t.0).collect(),
        output_types: node.types.iter().map(|t| t.dtype).collect(),
    };
    let call = NameAttrList { name: node.op_type.to_string(), attr: node.attrs.clone().into() };
    Ok((Arc::new(info), Action::Call(call)))
}

fn check_inputs(inner: &Inner, node: &Node, info: &NodeInfo) -> Result<()> {
    if info.input_types.len() != node.inputs.len() {
        bail!(InvalidArgument, "NodeDef has {} inputs, its op takes {}", node.inputs.len(), info.input_types.len());
    }
    for (index, (input, &expected)) in node.inputs.iter().zip(&info.input_types).enumerate() {
        if let Ok(found) = inner.output_type(*input)
            && found.dtype != expected
            && !matches!(expected, DType::Variant | DType::Resource)
        {
            let name = &inner.node(input.op)?.name;
            bail!(
                InvalidArgument,
                "Input {index} of node {} was passed {} from {name}:{} incompatible with expected {expected}.",
                node.name,
                found.dtype,
                input.index
            );
        }
    }
    Ok(())
}
