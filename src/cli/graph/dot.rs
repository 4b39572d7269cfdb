//! For Graphviz: open boxes are clusters.

use super::scene::{Kind, Role, Scene};

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The drawing in Graphviz's language. All boxes are open, since Graphviz can't fold.
pub(super) fn draw(scene: &Scene, title: &str) -> String {
    let mut out = format!("digraph {} {{\n", quote(title));
    out += "  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=Helvetica, fontsize=11];\n";
    out += "  edge [fontname=Helvetica, fontsize=9, color=gray50];\n  graph [fontname=Helvetica, fontsize=11];\n";
    for &root in &scene.roots {
        item(scene, root, 1, &mut out);
    }
    for edge in &scene.edges {
        let mut style = Vec::new();
        if !edge.label.is_empty() {
            style.push(format!("label={}", quote(&edge.label)));
        }
        if edge.control {
            style.push("style=dashed".to_string());
        }
        if edge.main {
            style.push("color=\"#1565c0\", penwidth=2".to_string());
        }
        if edge.back {
            style.push("constraint=false".to_string());
        }
        let name = |item: usize| quote(&key(scene, item));
        out += &format!("  {} -> {} [{}];\n", name(edge.from), name(edge.to), style.join(", "));
    }
    out + "}\n"
}

/// The name of an item in the file; a box may have the name of a node.
fn key(scene: &Scene, item: usize) -> String {
    let item = &scene.items[item];
    if item.kind == Kind::Node { item.name.clone() } else { format!("{}/", item.name) }
}

fn item(scene: &Scene, index: usize, depth: usize, out: &mut String) {
    let item_ = &scene.items[index];
    let indent = "  ".repeat(depth);
    if item_.open {
        let color = if item_.kind == Kind::Loop { "#fff3e0" } else { "#f5f5f5" };
        *out += &format!("{indent}subgraph {} {{\n", quote(&format!("cluster_{}", item_.name)));
        *out += &format!("{indent}  label={}; style=\"rounded,filled\"; fillcolor=\"{color}\";\n", quote(&item_.label));
        for &child in &item_.children {
            item(scene, child, depth + 1, out);
        }
        *out += &format!("{indent}}}\n");
        return;
    }
    let fill = match (item_.kind, item_.role) {
        (Kind::Loop, _) => "#ffe0b2",
        (Kind::Variable, _) => "#e1bee7",
        (Kind::Scope, _) => "#e0e0e0",
        (_, Role::Input) => "#c8e6c9",
        (_, Role::Output) => "#bbdefb",
        (_, Role::Constant) => "#fafafa",
        _ => "white",
    };
    let label = if item_.detail.is_empty() { item_.label.clone() } else { format!("{}\n{}", item_.label, item_.detail) };
    let label = quote(&label).replace('\n', "\\n");
    let folded = if matches!(item_.kind, Kind::Scope | Kind::Loop) { ", peripheries=2" } else { "" };
    *out += &format!("{indent}{} [label={label}, fillcolor=\"{fill}\"{folded}];\n", quote(&key(scene, index)));
}
