//! Drops nodes that only pass their input on.

use super::super::dataflow::{Dataflow, Source};

/// Ops whose first output is their first input, unchanged, when a graph runs.
const PASSING: &[&str] = &["Identity", "StopGradient", "PreventGradient", "Snapshot", "PlaceholderWithDefault", "GuaranteeConst"];

/// Drops passing nodes that nobody waits for and that wait for nobody. One that reads a variable stays: it says when.
pub(super) fn drop_identities(flow: &mut Dataflow) {
    let waited = flow.waited();
    let mut instead: Vec<Option<Source>> = vec![None; flow.nodes.len()];
    for (at, node) in flow.nodes.iter().enumerate() {
        let passes = node.is_op(PASSING) && node.controls.is_empty() && !waited[at] && !flow.targets.contains(&at);
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
