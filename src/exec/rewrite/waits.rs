//! Moves waiting for nodes without effects to what those nodes themselves wait for.

use super::super::dataflow::{Dataflow, Source};
use super::super::frames;
use super::MOST_WAITS;
use smallvec::SmallVec;

/// Pure ops that are there for their errors, by the beginning of their names.
const CHECKS: &[&str] = &["CheckNumerics", "EnsureShape", "Assert", "Placeholder"];

/// Lets nobody wait for a pure node that reads no variable, or for a NoOp: who did waits for the node's inputs and for what
/// it waited for. Such a node is dead where one of these is, and when it runs makes no difference; so then it can be
/// rewritten or dropped like any other.
pub(super) fn relax_waits(flow: &mut Dataflow) {
    let waited = flow.waited();
    if !waited.iter().any(|&w| w) {
        return;
    }
    let Ok(order) = frames::topological(flow) else { return };
    // What to wait for instead of each node; none where the node itself is to be waited for.
    let mut instead: Vec<Option<SmallVec<[usize; 4]>>> = vec![None; flow.nodes.len()];
    for at in order {
        let mut controls: SmallVec<[usize; 2]> = SmallVec::new();
        for &control in &flow.nodes[at].controls {
            for &to in instead[control].as_deref().unwrap_or(&[control]) {
                if !controls.contains(&to) {
                    controls.push(to);
                }
            }
        }
        let inputs = flow.nodes[at].inputs.clone();
        // A Merge lives by one of its inputs; all others are dead where an input is.
        if flow.nodes[at].control().is_none() {
            controls.retain(|&mut c| !inputs.iter().any(|s| matches!(s, Source::Node(n, _) if *n == c)));
        }
        flow.nodes[at].controls = controls;
        let node = &flow.nodes[at];
        let reads = node.inputs.iter().any(|s| matches!(s, Source::Node(n, o) if flow.nodes[*n].gives_ref(*o)));
        // Each output of a Switch lives by itself, so that waiting for the Switch would be something else.
        let branches = node.inputs.iter().any(|s| matches!(s, Source::Node(n, _) if flow.nodes[*n].info.op.contains("Switch")));
        let checks = CHECKS.iter().any(|c| node.info.op.starts_with(c));
        if !(node.is_pure() || node.is_op(&["NoOp"])) || reads || branches || checks {
            continue;
        }
        let mut all: SmallVec<[usize; 4]> = SmallVec::new();
        for source in node.sources() {
            for &to in instead[source].as_deref().unwrap_or(&[source]) {
                if !all.contains(&to) && all.len() <= MOST_WAITS {
                    all.push(to);
                }
            }
        }
        if all.len() <= MOST_WAITS {
            instead[at] = Some(all);
        }
    }
}
