//! Finds loops of the usual form, which need neither Merge, Switch nor dead values: their variables stay in their
//! slots, a condition part says whether the body part runs.

use super::dataflow::{Consumers, Dataflow, Source};
use super::frames::{self, Frames, ROOT};
use crate::graph::op::Control;
use foldhash::HashSet;
use smallvec::SmallVec;

/// A loop variable: `Merge(Enter, NextIteration)`, then a Switch on the loop's condition.
pub(super) struct LoopVar {
    pub enter: usize,
    pub merge: usize,
    pub next: usize,
    pub switch: Option<usize>,
    pub exits: SmallVec<[usize; 1]>,
}

/// A loop of the usual form.
pub(super) struct UsualLoop {
    pub vars: Vec<LoopVar>,
    /// The LoopCond node.
    pub condition: usize,
}

/// For each frame, its loop if it is one of the usual form.
pub(super) fn find(flow: &Dataflow, frames: &Frames, consumers: &Consumers) -> Vec<Option<UsualLoop>> {
    let count = frames.parent.len();
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
    for node in 0..flow.nodes.len() {
        members[frames.of[node]].push(node);
    }
    if count == 1 {
        return vec![None];
    }
    let mut place = vec![0; flow.nodes.len()];
    frames::topological(flow).unwrap_or_default().into_iter().enumerate().for_each(|(at, node)| place[node] = at);
    (0..count)
        .map(|frame| {
            let usual = if frame == ROOT { None } else { usual(flow, &members[frame], consumers) };
            usual.filter(|u| live_where_waited(flow, u, &mut members[frame], &place))
        })
        .collect()
}

/// Whether all nodes that a NextIteration waits for are live whenever the body runs: none depends on a Switch or a Merge
/// other than the loop's own, or on a loop within.
fn live_where_waited(flow: &Dataflow, usual: &UsualLoop, members: &mut [usize], place: &[usize]) -> bool {
    let waited: HashSet<usize> = usual.vars.iter().flat_map(|v| flow.nodes[v.next].controls.iter().copied()).collect();
    if waited.is_empty() {
        return true;
    }
    let own: HashSet<usize> = usual.vars.iter().flat_map(|v| [v.enter, v.merge].into_iter().chain(v.switch)).collect();
    members.sort_by_key(|&n| place[n]);
    let mut sure: HashSet<usize> = own.clone();
    for &node in members.iter() {
        let flow_node = &flow.nodes[node];
        let is_sure = match flow_node.control() {
            Some(Control::Enter | Control::ControlTrigger) => true,
            Some(Control::Merge | Control::Exit) => false,
            _ if flow_node.is_op(&["Switch", "RefSwitch"]) => false,
            _ => {
                let data = flow_node.inputs.iter().all(|s| matches!(s, Source::Node(n, _) if sure.contains(n)));
                data && flow_node.controls.iter().all(|c| sure.contains(c))
            }
        };
        if is_sure {
            sure.insert(node);
        }
    }
    waited.iter().all(|n| sure.contains(n))
}

fn usual(flow: &Dataflow, members: &[usize], consumers: &Consumers) -> Option<UsualLoop> {
    let control = |n: usize| flow.nodes[n].control();
    let mut conditions = members.iter().copied().filter(|&n| control(n) == Some(Control::LoopCond));
    let condition = conditions.next()?;
    if conditions.next().is_some() || !flow.nodes[condition].controls.is_empty() {
        return None;
    }
    let mut vars = Vec::new();
    for &merge in members.iter().filter(|&&n| control(n) == Some(Control::Merge)) {
        let node = &flow.nodes[merge];
        let is_loop = node.inputs.iter().any(|s| matches!(s, Source::Node(n, _) if frames::is_back_edge(flow, *n, merge)));
        if !is_loop {
            continue;
        }
        let [Source::Node(enter, 0), Source::Node(next, 0)] = node.inputs[..] else { return None };
        let enters = control(enter) == Some(Control::Enter) && !flow.nodes[enter].info.boolean("is_constant").unwrap_or(true);
        let goes_on = control(next) == Some(Control::NextIteration);
        if !enters || !goes_on || !node.controls.is_empty() || consumers[enter].len() != 1 || consumers[next].len() != 1 {
            return None;
        }
        if node.gives_ref(0) {
            return None;
        }
        let mut var = LoopVar { enter, merge, next, switch: None, exits: SmallVec::new() };
        for &(user, _) in &consumers[merge] {
            let uses_index = flow.nodes[user].inputs.contains(&Source::Node(merge, 1));
            if uses_index {
                return None;
            }
            if is_loop_switch(flow, user, condition) {
                if var.switch.is_some() || flow.nodes[user].inputs[0] != Source::Node(merge, 0) {
                    return None;
                }
                var.switch = Some(user);
            }
        }
        if let Some(switch) = var.switch {
            if !flow.nodes[switch].controls.is_empty() {
                return None;
            }
            for &(user, input) in &consumers[switch] {
                if flow.nodes[user].inputs[input] == Source::Node(switch, 0) {
                    if control(user) != Some(Control::Exit) || !flow.nodes[user].controls.is_empty() {
                        return None;
                    }
                    var.exits.push(user);
                }
            }
        }
        vars.push(var);
    }
    for &node in members {
        let known = match control(node) {
            // Every Enter is a constant, or a variable's.
            Some(Control::Enter) => {
                flow.nodes[node].info.boolean("is_constant").unwrap_or(false) || vars.iter().any(|v| v.enter == node)
            }
            Some(Control::Exit) => vars.iter().any(|v| v.exits.contains(&node)),
            Some(Control::NextIteration) => vars.iter().any(|v| v.next == node),
            _ => !is_loop_switch(flow, node, condition) || vars.iter().any(|v| v.switch == Some(node)),
        };
        if !known {
            return None;
        }
    }
    Some(UsualLoop { vars, condition })
}

fn is_loop_switch(flow: &Dataflow, node: usize, condition: usize) -> bool {
    flow.nodes[node].is_op(&["Switch", "RefSwitch"]) && flow.nodes[node].inputs.get(1) == Some(&Source::Node(condition, 0))
}

impl UsualLoop {
    /// The variable's Switches.
    pub fn switches(&self) -> HashSet<usize> {
        self.vars.iter().filter_map(|v| v.switch).collect()
    }

    /// The nodes that have no step of their own.
    pub fn absorbed(&self) -> HashSet<usize> {
        let of_var = |v: &LoopVar| {
            let mut nodes: SmallVec<[usize; 4]> = SmallVec::from_slice(&[v.merge, v.next]);
            nodes.extend(v.switch);
            nodes.extend(v.exits.iter().copied());
            nodes
        };
        self.vars.iter().flat_map(of_var).chain([self.condition]).collect()
    }
}
