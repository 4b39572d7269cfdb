//! Drops nodes that only pass their input on.

use super::super::dataflow::{Dataflow, Source};
use super::super::frames;
use super::MOST_WAITS;
use crate::graph::op::Control;

/// Ops whose first output is their first input, unchanged, when a graph runs.
pub(in super::super) const PASSING: &[&str] =
    &["Identity", "StopGradient", "PreventGradient", "Snapshot", "PlaceholderWithDefault", "GuaranteeConst"];

/// Drops passing nodes that nobody waits for. One that reads a variable stays: it says when.
pub(super) fn drop_identities(flow: &mut Dataflow) {
    pass_waits_on(flow);
    let (waited, targeted) = (flow.waited(), flow.targeted());
    let mut instead: Vec<Option<Source>> = vec![None; flow.nodes.len()];
    for (at, node) in flow.nodes.iter().enumerate() {
        let passes = node.is_op(PASSING) && node.controls.is_empty() && !waited[at] && !targeted[at];
        if passes && let Some(&source) = node.inputs.first() {
            let refers = matches!(source, Source::Node(from, output) if flow.nodes[from].gives_ref(output));
            instead[at] = (!refers).then_some(source);
        }
    }
    let follow = |mut source: Source| {
        while let Source::Node(node, 0) = source {
            match instead[node] {
                Some(next) => source = next,
                None => break,
            }
        }
        source
    };
    flow.replace_sources(follow);
}

/// Lets the users of passing nodes wait for what these wait for, in their place. Where a user is a control-flow
/// primitive, or the node is fetched, it goes on to wait.
fn pass_waits_on(flow: &mut Dataflow) {
    if !flow.nodes.iter().any(|node| !node.controls.is_empty() && node.is_op(PASSING)) {
        return;
    }
    let Ok(order) = frames::topological(flow) else { return };
    let (consumers, fetched, waited, targeted) = (flow.consumers(), flow.fetched(), flow.waited(), flow.targeted());
    for at in order {
        let node = &flow.nodes[at];
        let kept = fetched[at] || waited[at] || targeted[at];
        let reads = matches!(node.inputs.first(), Some(&Source::Node(from, output)) if flow.nodes[from].gives_ref(output));
        if !node.is_op(PASSING) || node.controls.is_empty() || kept || reads {
            continue;
        }
        let controls = node.controls.clone();
        let fits = |user: usize| {
            let node = &flow.nodes[user];
            let waits = node.controls.len() + controls.iter().filter(|c| !node.controls.contains(c)).count();
            matches!(node.control(), None | Some(Control::NextIteration)) && waits <= MOST_WAITS && !controls.contains(&user)
        };
        if !consumers[at].iter().all(|&(user, _)| fits(user)) {
            continue;
        }
        for &(user, _) in &consumers[at] {
            for &control in &controls {
                if !flow.nodes[user].controls.contains(&control) {
                    flow.nodes[user].controls.push(control);
                }
            }
        }
        flow.nodes[at].controls.clear();
    }
}
