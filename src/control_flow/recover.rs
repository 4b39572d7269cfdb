//! Contexts of loops and conditionals in a graph that was not built here, read from its nodes.

use super::cond;
use super::context::{self, Kind, WhileData};
use super::regions::{Branch, Form, Nodes, RegionKind, Regions};
use crate::error::Result;
use crate::graph::{ContextId, Graph, Node, Operation, Output, attr};
use std::collections::HashMap;

/// How many nodes of a graph have been looked at.
#[derive(Default)]
struct LookedAt(usize);

/// Gives contexts to the loops that have none, and to the conditionals in them and around them. Conditionals elsewhere need
/// none to be differentiated.
///
/// # Errors
/// As the nodes that are made: the Exits of loop variables that have none.
pub(crate) fn recover(graph: &Graph) -> Result<()> {
    let end = graph.len();
    let start = graph.with_extension(|seen: &mut LookedAt| std::mem::replace(&mut seen.0, end)).min(end);
    let bare = |n: &Node| n.context.is_none() && matches!(&*n.op_type, "Enter" | "RefEnter");
    if !graph.read().nodes.values().skip(start).any(bare) {
        return Ok(());
    }
    let nodes = Nodes::read(graph);
    let regions = Regions::find(&nodes);
    let current = graph.set_current_context(None);
    let made = make_contexts(graph, &nodes, &regions);
    graph.set_current_context(current);
    made
}

fn operation(nodes: &Nodes, index: usize) -> Operation {
    nodes.operations[index]
}

fn output(nodes: &Nodes, (index, port): (usize, u32)) -> Output {
    operation(nodes, index).output(port as usize)
}

fn make_contexts(graph: &Graph, nodes: &Nodes, regions: &Regions) -> Result<()> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); regions.all.len()];
    for (index, node) in nodes.all.iter().enumerate() {
        if !node.has_context {
            members[regions.home(nodes, index)].push(index);
        }
    }
    let mut contexts: HashMap<usize, ContextId> = HashMap::new();
    for region in regions.parents_first() {
        let parent = regions.all[region].parent;
        let outer = contexts.get(&parent).copied();
        if outer.is_none() && regions.is_needed(parent) {
            continue;
        }
        if !regions.is_needed(region) {
            continue;
        }
        graph.set_current_context(outer);
        let made = match &regions.all[region].kind {
            RegionKind::Root => None,
            RegionKind::Frame(name) => make_loop(graph, nodes, name, &members[region])?,
            RegionKind::Branch(branch) => Some(make_branch(graph, nodes, branch)?),
        };
        if let Some(id) = made {
            contexts.insert(region, id);
            for &index in &members[region] {
                graph.set_op_context(operation(nodes, index), Some(id))?;
            }
        }
    }
    for (index, node) in nodes.all.iter().enumerate() {
        if node.has_context {
            continue;
        }
        let op = operation(nodes, index);
        // What a node gives is known in its context and, where that is a branch, in those around.
        let mut region = match node.form {
            Form::Exit => regions.all[regions.home(nodes, index)].parent,
            _ => regions.home(nodes, index),
        };
        while let Some(&id) = contexts.get(&region) {
            context::with(graph, id, |c| c.values.extend((0..node.outputs).map(|o| op.output(o))));
            if !matches!(regions.all[region].kind, RegionKind::Branch(_)) {
                break;
            }
            region = regions.all[region].parent;
        }
        let Some(&own) = contexts.get(&regions.home(nodes, index)) else { continue };
        let brings = match (node.form, regions.side_of(nodes, index)) {
            (Form::Enter, _) if context::is_constant_enter(graph, op) => Some(op.output(0)),
            (Form::Switch, Some(side)) => Some(op.output(side)),
            _ => None,
        };
        if let Some(inside) = brings {
            let outside = output(nodes, node.inputs[0]);
            context::with(graph, own, |c| {
                c.values.insert(outside);
                c.external.entry(outside).or_insert(inside);
            });
        }
    }
    Ok(())
}

fn make_branch(graph: &Graph, nodes: &Nodes, branch: &Branch) -> Result<ContextId> {
    let (pred, pivot) = (output(nodes, branch.pred), output(nodes, branch.pivot));
    let id = context::new_context(graph, cond::COLLECTION.to_string(), Kind::Cond { pred, pivot, branch: branch.side });
    context::with(graph, id, |c| {
        c.values.extend([pred, pivot]);
        c.external.insert(pred, pred);
    });
    Ok(id)
}

/// The context of a loop; none where it hasn't the form that `while_loop` gives.
fn make_loop(graph: &Graph, nodes: &Nodes, name: &str, members: &[usize]) -> Result<Option<ContextId>> {
    let Some(&cond) = members.iter().find(|&&i| nodes.all[i].form == Form::LoopCond) else { return Ok(None) };
    let mut variables: Vec<(usize, usize)> = Vec::new();
    for &index in members {
        let node = &nodes.all[index];
        if node.form == Form::Merge
            && nodes.is_loop_merge(index)
            && let Some(enter) = node.inputs.iter().map(|i| i.0).find(|&i| nodes.all[i].form == Form::Enter)
        {
            variables.push((enter, index));
        }
    }
    variables.sort_unstable();
    let Some(&(first_enter, first_merge)) = variables.first() else { return Ok(None) };
    let parallel = graph.get_attr(operation(nodes, first_enter), "parallel_iterations");
    let parallel_iterations = parallel.and_then(|v| attr::int(&v)).unwrap_or(10);
    let mut data = WhileData::new(parallel_iterations, true, false);
    data.pivot = Some(operation(nodes, cond).output(0));
    data.pivot_for_pred = Some(operation(nodes, first_merge).output(0));
    let mut added = Vec::new();
    for &(enter, merge) in &variables {
        let switch = nodes.consumers(merge, 0).find(|&i| nodes.all[i].form == Form::Switch && nodes.is_loop_switch(i));
        let Some(switch) = switch else { continue };
        data.loop_enters.push(operation(nodes, enter).output(0));
        let inside = nodes.consumers(switch, 1).find(|&i| nodes.all[i].form == Form::Identity);
        let inside = inside.map_or(operation(nodes, switch).output(1), |i| operation(nodes, i).output(0));
        data.pivot_for_body.get_or_insert(inside);
        let exit = match nodes.consumers(switch, 0).find(|&i| nodes.all[i].form == Form::Exit) {
            Some(exit) => operation(nodes, exit).output(0),
            None => {
                let exit = add_exit(graph, operation(nodes, switch))?;
                added.push(exit);
                exit
            }
        };
        data.loop_exits.push(exit);
    }
    if data.loop_exits.is_empty() {
        return Ok(None);
    }
    let id = context::new_context(graph, name.to_string(), Kind::While(Box::new(data)));
    for exit in added {
        graph.set_op_context(exit.op, Some(id))?;
        context::exit_result(graph, id, &[exit]);
    }
    Ok(Some(id))
}

/// An Exit for a loop variable whose last value nobody asked for: its gradient begins there nevertheless.
fn add_exit(graph: &Graph, switch: Operation) -> Result<Output> {
    let name = graph.op_name(switch);
    let scope = name.rsplit_once('/').map_or(String::new(), |(scope, _)| format!("{scope}/"));
    let free = (0..).map(|i| format!("{scope}Exit_unused_{i}")).find(|n| graph.get_operation_by_name(n).is_err());
    let around = graph.set_current_context(None);
    let exit = graph.op("Exit").input(switch.output(0)).name(&format!("{}/", free.unwrap_or_default())).output();
    graph.set_current_context(around);
    exit
}
