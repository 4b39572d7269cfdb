//! A picture.

use super::escape;
use super::layout::{Rect, layout, text_width};
use super::scene::{Item, Kind, Role, Scene};
use std::fmt::Write;

/// The smallest size of the drawing.
const NARROWEST: f64 = 320.0;
const HEADER: f64 = 34.0;

const STYLE: &str = "text{font-family:Helvetica,Arial,sans-serif;fill:#222}.l{font-size:12px}.d{font-size:10px;fill:#666}\
.e{fill:none;stroke:#9e9e9e;stroke-width:1}.m{stroke:#1565c0;stroke-width:2.2}.c{stroke-dasharray:4 3;stroke:#bdbdbd}\
.b{stroke:#e65100}.s{font-size:9px;fill:#555;paint-order:stroke;stroke:#fff;stroke-width:3px}.t{font-size:14px;font-weight:bold}";

fn colors(item: &Item) -> (&'static str, &'static str) {
    match (item.kind, item.role) {
        _ if item.service => ("#f3f3f3", "#c8c8c8"),
        (Kind::Loop, _) => ("#fff3e0", "#fb8c00"),
        (Kind::Variable, _) => ("#f3e5f5", "#8e24aa"),
        (Kind::Scope, _) => ("#eceff1", "#78909c"),
        (_, Role::Input) => ("#c8e6c9", "#2e7d32"),
        (_, Role::Output) => ("#bbdefb", "#1565c0"),
        (_, Role::Constant) => ("#fafafa", "#bdbdbd"),
        _ if item.main => ("#ffffff", "#1565c0"),
        _ => ("#ffffff", "#9e9e9e"),
    }
}

/// The drawing with its title.
pub(super) fn draw(scene: &Scene, title: &str) -> String {
    let layout = layout(scene);
    let width = layout.width.max(text_width(title, 14.0) + 30.0).max(NARROWEST);
    let height = layout.height + HEADER + 8.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
         <style>{STYLE}</style>\n<defs>"
    );
    for (id, color) in [("a", "#9e9e9e"), ("am", "#1565c0"), ("ac", "#bdbdbd"), ("ab", "#e65100")] {
        let _ = write!(
            out,
            "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\" \
             markerUnits=\"userSpaceOnUse\"><path d=\"M0 0L8 4L0 8z\" fill=\"{color}\"/></marker>"
        );
    }
    let _ = write!(
        out,
        "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n<text class=\"t\" x=\"14\" y=\"22\">{}</text>\n\
         <g transform=\"translate({:.1} {HEADER})\">\n",
        escape(title),
        ((width - layout.width) / 2.0).max(0.0)
    );
    // Boxes from the outside in, then edges, then what stands in the boxes.
    let mut boxes: Vec<(&usize, &Rect)> = layout.rects.iter().filter(|(i, _)| scene.items[**i].open).collect();
    boxes.sort_by_key(|(i, _)| (depth(scene, **i), **i));
    for (&index, rect) in boxes {
        open_box(&scene.items[index], rect, &mut out);
    }
    // Main edges are drawn last, above the others.
    let mut order: Vec<usize> = (0..scene.edges.len()).collect();
    order.sort_by_key(|&e| (scene.edges[e].main, !scene.edges[e].control));
    for edge in order {
        line(scene, edge, &layout.lines[edge], &mut out);
    }
    let mut items: Vec<(&usize, &Rect)> = layout.rects.iter().filter(|(i, _)| !scene.items[**i].open).collect();
    items.sort_by_key(|i| *i.0);
    for (&index, rect) in items {
        closed(&scene.items[index], rect, &mut out);
    }
    out + "</g>\n</svg>\n"
}

fn depth(scene: &Scene, item: usize) -> usize {
    scene.items[item].parent.map_or(0, |p| 1 + depth(scene, p))
}

fn open_box(item: &Item, rect: &Rect, out: &mut String) {
    let (fill, stroke) = colors(item);
    let Rect { x, y, width, height } = rect;
    let dash = if item.kind == Kind::Loop { " stroke-width=\"1.5\"" } else { "" };
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"8\" fill=\"{fill}\" \
         fill-opacity=\"0.6\" stroke=\"{stroke}\"{dash}/><text class=\"l\" x=\"{:.1}\" y=\"{:.1}\">{} <tspan class=\"d\">{}</tspan>\
         </text></g>",
        escape(&item.name),
        x + 8.0,
        y + 15.0,
        escape(&item.label),
        escape(&item.detail)
    );
}

/// The text, cut to a width.
fn fit(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_string();
    }
    let most = (width / (size * 0.58)) as usize;
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

fn closed(item: &Item, rect: &Rect, out: &mut String) {
    let (fill, stroke) = colors(item);
    let Rect { x, y, width, height } = rect;
    let radius = if item.kind == Kind::Node { height / 2.0 } else { 5.0 };
    let _ = write!(out, "<g><title>{}\n{}</title>", escape(&item.name), escape(&item.detail));
    if matches!(item.kind, Kind::Scope | Kind::Loop) {
        // A folded box shows an edge of the sheet below.
        let _ = write!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"5\" fill=\"{fill}\" stroke=\"{stroke}\"/>",
            x + 3.0,
            y + 3.0
        );
    }
    let heavy = if item.main { 1.8 } else { 1.0 };
    let _ = write!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"{radius:.1}\" fill=\"{fill}\" \
         stroke=\"{stroke}\" stroke-width=\"{heavy}\"/>"
    );
    let middle = x + width / 2.0;
    let label_y = if item.detail.is_empty() { y + height / 2.0 + 4.0 } else { y + 15.0 };
    let _ = write!(
        out,
        "<text class=\"l\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{label_y:.1}\">{}</text>",
        escape(&fit(&item.label, 12.0, width - 8.0))
    );
    if !item.detail.is_empty() {
        let _ = write!(
            out,
            "<text class=\"d\" text-anchor=\"middle\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
            y + 28.0,
            escape(&fit(&item.detail, 10.0, width - 8.0))
        );
    }
    *out += "</g>\n";
}

fn line(scene: &Scene, index: usize, points: &[(f64, f64)], out: &mut String) {
    let edge = &scene.edges[index];
    let [first, _, ..] = points else { return };
    let (class, marker) = match () {
        () if edge.back => ("e b", "ab"),
        () if edge.control => ("e c", "ac"),
        () if edge.main => ("e m", "am"),
        () => ("e", "a"),
    };
    let mut path = format!("M{:.1} {:.1}", first.0, first.1);
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        if (x0 - x1).abs() < 0.5 {
            let _ = write!(path, "L{x1:.1} {y1:.1}");
        } else {
            let half = (y1 - y0) / 2.0;
            let _ = write!(path, "C{x0:.1} {:.1} {x1:.1} {:.1} {x1:.1} {y1:.1}", y0 + half, y1 - half);
        }
    }
    let title = format!("{} -> {}", scene.items[edge.from].name, scene.items[edge.to].name);
    let _ = write!(
        out,
        "<g><title>{} {}</title><path class=\"{class}\" marker-end=\"url(#{marker})\" d=\"{path}\"/>",
        escape(&title),
        escape(&edge.label)
    );
    if !edge.label.is_empty() && !edge.back {
        let middle = points.len() / 2;
        let (a, b) = (points[middle - 1], points[middle]);
        let at = ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0 + 3.0);
        let _ = write!(
            out,
            "<text class=\"s\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            at.0,
            at.1,
            escape(&edge.label)
        );
    }
    *out += "</g>\n";
}
