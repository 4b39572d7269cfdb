//! A layered layout of items within boxes: each box is laid out by itself, from the innermost on, and then is an item of
//! the box around it. Edges that cross a box's border do so at ports, which are items of its first and last layer.

use super::scene::{Kind, Scene};
use std::collections::{BTreeMap, HashMap};

/// Space between layers and between neighbours, and around what is in a box.
const BETWEEN_LAYERS: f64 = 44.0;
const BETWEEN_ITEMS: f64 = 18.0;
const MARGIN: f64 = 14.0;
const TITLE: f64 = 22.0;
const SWEEPS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// Where everything is.
pub(super) struct Layout {
    /// The rectangles of the items that are seen and of the open boxes around them.
    pub rects: HashMap<usize, Rect>,
    /// For each edge the points that its line goes through.
    pub lines: Vec<Vec<(f64, f64)>>,
    pub width: f64,
    pub height: f64,
}

/// What stands in a box: an item, or the port of edges from or to an item outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Place {
    Item(usize),
    In(usize),
    Out(usize),
}

/// A box that is laid out: where its places are, from its corner, and how its edges run.
#[derive(Default)]
struct Plan {
    rects: HashMap<Place, Rect>,
    lines: HashMap<(Place, Place), Vec<(f64, f64)>>,
    width: f64,
    height: f64,
}

/// The width that a text takes.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().count() as f64 * size * 0.58
}

/// The size of an item that isn't open.
pub(super) fn item_size(scene: &Scene, item: usize) -> (f64, f64) {
    let item = &scene.items[item];
    let width = text_width(&item.label, 12.0).max(text_width(&item.detail, 10.0)) + 18.0;
    (width.clamp(40.0, 260.0), if item.detail.is_empty() { 24.0 } else { 36.0 })
}

/// The boxes around an item, from the outermost in, and the item itself.
fn chain(scene: &Scene, item: usize) -> Vec<usize> {
    let mut chain = vec![item];
    let mut at = item;
    while let Some(parent) = scene.items[at].parent {
        chain.push(parent);
        at = parent;
    }
    chain.reverse();
    chain
}

/// The steps of an edge: in which box it goes from which place to which.
type Steps = Vec<(Option<usize>, Place, Place)>;

fn steps(scene: &Scene, from: usize, to: usize) -> Steps {
    let (a, b) = (chain(scene, from), chain(scene, to));
    let shared = a.iter().zip(&b).take_while(|(x, y)| x == y).count().min(a.len() - 1).min(b.len() - 1);
    let within = if shared == 0 { None } else { Some(a[shared - 1]) };
    let (outer_from, outer_to) = (a[shared], b[shared]);
    let mut steps = Vec::new();
    for level in (shared + 1..a.len()).rev() {
        steps.push((Some(a[level - 1]), Place::Item(a[level]), Place::Out(outer_to)));
    }
    steps.push((within, Place::Item(outer_from), Place::Item(outer_to)));
    for level in shared + 1..b.len() {
        steps.push((Some(b[level - 1]), Place::In(outer_from), Place::Item(b[level])));
    }
    steps
}

/// Lays out all that is seen.
pub(super) fn layout(scene: &Scene) -> Layout {
    let routes: Vec<Steps> =
        scene.edges.iter().map(|e| if e.back { steps(scene, e.to, e.from) } else { steps(scene, e.from, e.to) }).collect();
    let mut local: HashMap<Option<usize>, BTreeMap<(Place, Place), f64>> = HashMap::new();
    for (edge, route) in scene.edges.iter().zip(&routes) {
        let weight = if edge.control {
            0.3
        } else if edge.main {
            3.0
        } else {
            1.0
        };
        for &(within, from, to) in route {
            *local.entry(within).or_default().entry((from, to)).or_insert(0.0) += weight;
        }
    }
    let mut plans: HashMap<Option<usize>, Plan> = HashMap::new();
    for root in scene.roots.clone() {
        plan_boxes(scene, root, &local, &mut plans);
    }
    let plan = plan(scene, &scene.roots, local.get(&None), &plans, false);
    let (width, height) = (plan.width, plan.height);
    plans.insert(None, plan);

    let mut corners: HashMap<Option<usize>, (f64, f64)> = HashMap::from([(None, (0.0, 0.0))]);
    let mut rects = HashMap::new();
    let mut stack: Vec<Option<usize>> = vec![None];
    while let Some(within) = stack.pop() {
        let (x, y) = corners[&within];
        let Some(plan) = plans.get(&within) else { continue };
        for (place, rect) in &plan.rects {
            if let Place::Item(item) = place {
                let rect = Rect { x: rect.x + x, y: rect.y + y, ..*rect };
                rects.insert(*item, rect);
                if plans.contains_key(&Some(*item)) {
                    corners.insert(Some(*item), (rect.x, rect.y));
                    stack.push(Some(*item));
                }
            }
        }
    }
    let line = |(edge, route): (&super::scene::Edge, &Steps)| {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for (within, from, to) in route {
            let (Some(plan), Some(&(x, y))) = (plans.get(within), corners.get(within)) else { continue };
            if let Some(line) = plan.lines.get(&(*from, *to)) {
                points.extend(line.iter().map(|p| (p.0 + x, p.1 + y)));
            }
        }
        points.dedup_by(|a, b| (a.0 - b.0).abs() < 0.5 && (a.1 - b.1).abs() < 0.5);
        if edge.back {
            points.reverse();
        }
        points
    };
    let lines = scene.edges.iter().zip(&routes).map(line).collect();
    Layout { rects, lines, width, height }
}

fn plan_boxes(
    scene: &Scene,
    item: usize,
    local: &HashMap<Option<usize>, BTreeMap<(Place, Place), f64>>,
    plans: &mut HashMap<Option<usize>, Plan>,
) {
    if !scene.items[item].open || scene.items[item].kind == Kind::Node {
        return;
    }
    for &child in &scene.items[item].children {
        plan_boxes(scene, child, local, plans);
    }
    let mut made = plan(scene, &scene.items[item].children, local.get(&Some(item)), plans, true);
    let title = text_width(&scene.items[item].label, 12.0) + text_width(&scene.items[item].detail, 10.0) + 40.0;
    if title > made.width {
        let shift = (title - made.width) / 2.0;
        made.rects.values_mut().for_each(|r| r.x += shift);
        made.lines.values_mut().flatten().for_each(|p| p.0 += shift);
        made.width = title;
    }
    plans.insert(Some(item), made);
}

/// A place or a bend of a long edge, as the layering sees it.
struct Cell {
    place: Option<Place>,
    width: f64,
    height: f64,
    layer: usize,
    x: f64,
}

struct Layers {
    cells: Vec<Cell>,
    /// Neighbours above and below, with weights.
    above: Vec<Vec<(usize, f64)>>,
    below: Vec<Vec<(usize, f64)>>,
    rows: Vec<Vec<usize>>,
}

fn plan(
    scene: &Scene,
    children: &[usize],
    edges: Option<&BTreeMap<(Place, Place), f64>>,
    plans: &HashMap<Option<usize>, Plan>,
    boxed: bool,
) -> Plan {
    let none = BTreeMap::new();
    let edges = edges.unwrap_or(&none);
    let mut places: Vec<Place> = children.iter().map(|&c| Place::Item(c)).collect();
    for &(from, to) in edges.keys() {
        for place in [from, to] {
            if !matches!(place, Place::Item(_)) && !places.contains(&place) {
                places.push(place);
            }
        }
    }
    let index: HashMap<Place, usize> = places.iter().enumerate().map(|(i, p)| (*p, i)).collect();
    let pairs: Vec<(usize, usize, f64)> =
        edges.iter().filter_map(|((a, b), w)| Some((*index.get(a)?, *index.get(b)?, *w))).filter(|(a, b, _)| a != b).collect();
    let size = |place: &Place| match place {
        Place::Item(item) => match plans.get(&Some(*item)) {
            Some(plan) => (plan.width, plan.height),
            None => item_size(scene, *item),
        },
        _ => (8.0, 0.0),
    };
    let directed = without_cycles(places.len(), &pairs);
    let layer = layers(&places, &directed);
    let mut grid = Layers { cells: Vec::new(), above: Vec::new(), below: Vec::new(), rows: Vec::new() };
    for (place, &layer) in places.iter().zip(&layer) {
        let (width, height) = size(place);
        grid.add(Some(*place), width, height, layer);
    }
    // A long edge bends at each layer that it passes.
    let mut bends: HashMap<(usize, usize, bool), Vec<usize>> = HashMap::new();
    for &(from, to, weight, turned) in &directed {
        let mut at = from;
        let mut chain = Vec::new();
        for between in layer[from] + 1..layer[to] {
            let bend = grid.add(None, 4.0, 0.0, between);
            grid.join(at, bend, weight * 2.0);
            chain.push(bend);
            at = bend;
        }
        grid.join(at, to, weight);
        bends.insert((from, to, turned), chain);
    }
    grid.arrange();
    grid.place();
    grid.pack();
    let top = if boxed { TITLE } else { MARGIN };
    let (heights, width, height) = grid.extent(top);
    let mut plan = Plan { width, height, ..Default::default() };
    for (cell, place) in grid.cells.iter().zip(&places) {
        let (y, row) = heights[cell.layer];
        let y = match place {
            Place::In(_) if boxed => 0.0,
            Place::Out(_) if boxed => height,
            _ => y + (row - cell.height) / 2.0,
        };
        plan.rects.insert(*place, Rect { x: cell.x - cell.width / 2.0, y, width: cell.width, height: cell.height });
    }
    for &(from, to, _, turned) in &directed {
        // Where an edge meets an open box it does so at that box's port.
        let foot = |cell: usize, other: usize| {
            let rect = plan.rects[&places[cell]];
            let inner = |port: fn(usize) -> Place| match (places[cell], places[other]) {
                (Place::Item(item), Place::Item(o) | Place::In(o) | Place::Out(o)) => {
                    plans.get(&Some(item)).and_then(|p| p.rects.get(&port(o))).map(|r| rect.x + r.x + r.width / 2.0)
                }
                _ => None,
            };
            (rect, inner(Place::Out), inner(Place::In))
        };
        let (a, a_out, a_in) = foot(from, to);
        let (b, b_out, b_in) = foot(to, from);
        let start = (if turned { a_in } else { a_out }.unwrap_or(a.x + a.width / 2.0), a.y + a.height);
        let end = (if turned { b_out } else { b_in }.unwrap_or(b.x + b.width / 2.0), b.y);
        let mut points = vec![start];
        for &bend in &bends[&(from, to, turned)] {
            let (y, row) = heights[grid.cells[bend].layer];
            points.push((grid.cells[bend].x, y));
            points.push((grid.cells[bend].x, y + row));
        }
        points.push(end);
        let key = if turned { (places[to], places[from]) } else { (places[from], places[to]) };
        if turned {
            points.reverse();
        }
        plan.lines.insert(key, points);
    }
    plan
}

/// The edges, those that close a cycle turned around: from, to, weight, turned.
fn without_cycles(count: usize, pairs: &[(usize, usize, f64)]) -> Vec<(usize, usize, f64, bool)> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (edge, &(from, ..)) in pairs.iter().enumerate() {
        next[from].push(edge);
    }
    let (mut state, mut turned) = (vec![0u8; count], vec![false; pairs.len()]);
    for start in 0..count {
        let mut stack = vec![(start, 0usize)];
        while let Some((at, position)) = stack.pop() {
            if position == 0 {
                if state[at] != 0 {
                    continue;
                }
                state[at] = 1;
            }
            match next[at].get(position) {
                Some(&edge) => {
                    stack.push((at, position + 1));
                    let to = pairs[edge].1;
                    match state[to] {
                        0 => stack.push((to, 0)),
                        1 => turned[edge] = true,
                        _ => {}
                    }
                }
                None => state[at] = 2,
            }
        }
    }
    let mut sums: BTreeMap<(usize, usize, bool), f64> = BTreeMap::new();
    for (&(from, to, weight), &turned) in pairs.iter().zip(&turned) {
        let key = if turned { (to, from, true) } else { (from, to, false) };
        *sums.entry(key).or_insert(0.0) += weight;
    }
    sums.into_iter().map(|((from, to, turned), weight)| (from, to, weight, turned)).collect()
}

/// The layer of each place: below all that lead to it, and as near to what follows as can be.
fn layers(places: &[Place], edges: &[(usize, usize, f64, bool)]) -> Vec<usize> {
    let count = places.len();
    let mut layer = vec![0usize; count];
    let mut pending = vec![0usize; count];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); count];
    for &(from, to, ..) in edges {
        followers[from].push(to);
        pending[to] += 1;
    }
    let first = usize::from(places.iter().any(|p| matches!(p, Place::In(_))));
    let mut ready: Vec<usize> = (0..count).filter(|&i| pending[i] == 0).collect();
    let mut order = Vec::new();
    for &i in &ready {
        layer[i] = if matches!(places[i], Place::In(_)) { 0 } else { first };
    }
    while let Some(at) = ready.pop() {
        order.push(at);
        for &next in &followers[at] {
            layer[next] = layer[next].max(layer[at] + 1).max(first);
            pending[next] -= 1;
            if pending[next] == 0 {
                ready.push(next);
            }
        }
    }
    for &at in order.iter().rev() {
        let sources = edges.iter().any(|e| e.1 == at);
        if let Some(nearest) = followers[at].iter().map(|&n| layer[n]).min()
            && !sources
            && !matches!(places[at], Place::In(_))
        {
            layer[at] = nearest.saturating_sub(1).max(first);
        }
    }
    let last = (0..count).filter(|&i| !matches!(places[i], Place::Out(_))).map(|i| layer[i]).max().unwrap_or(0);
    for i in 0..count {
        if matches!(places[i], Place::Out(_)) {
            layer[i] = last + 1;
        }
    }
    layer
}

impl Layers {
    fn add(&mut self, place: Option<Place>, width: f64, height: f64, layer: usize) -> usize {
        let index = self.cells.len();
        self.cells.push(Cell { place, width, height, layer, x: 0.0 });
        self.above.push(Vec::new());
        self.below.push(Vec::new());
        if self.rows.len() <= layer {
            self.rows.resize_with(layer + 1, Vec::new);
        }
        self.rows[layer].push(index);
        index
    }

    fn join(&mut self, from: usize, to: usize, weight: f64) {
        self.below[from].push((to, weight));
        self.above[to].push((from, weight));
    }

    /// Orders each row by the mean position of the neighbours, down and up again, and keeps the order of fewest crossings.
    fn arrange(&mut self) {
        let mut best = self.rows.clone();
        let mut fewest = self.crossings();
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            let count = self.rows.len();
            let mut position = self.positions();
            for step in 1..count {
                let row = if down { step } else { count - 1 - step };
                let mean = |cell: usize| {
                    let near = if down { &self.above[cell] } else { &self.below[cell] };
                    let weight: f64 = near.iter().map(|n| n.1).sum();
                    let sum: f64 = near.iter().map(|n| position[n.0] as f64 * n.1).sum();
                    if weight > 0.0 { sum / weight } else { position[cell] as f64 }
                };
                let mut sorted: Vec<(f64, usize)> = self.rows[row].iter().map(|&c| (mean(c), c)).collect();
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.rows[row] = sorted.into_iter().map(|s| s.1).collect();
                self.rows[row].iter().enumerate().for_each(|(at, &cell)| position[cell] = at);
            }
            let crossings = self.crossings();
            if crossings < fewest {
                (fewest, best) = (crossings, self.rows.clone());
            }
        }
        self.rows = best;
    }

    /// The place of each cell within its row.
    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![0; self.cells.len()];
        self.rows.iter().flat_map(|r| r.iter().enumerate()).for_each(|(at, &cell)| positions[cell] = at);
        positions
    }

    /// The pairs of lines between neighbouring rows that cross, counted with a Fenwick tree over the lower row.
    fn crossings(&self) -> usize {
        let positions = self.positions();
        let mut total = 0;
        for row in &self.rows {
            let width = row.iter().flat_map(|&c| &self.below[c]).map(|b| positions[b.0] + 1).max().unwrap_or(0);
            let (mut tree, mut lines) = (vec![0usize; width + 1], 0);
            for &cell in row {
                let ends = || self.below[cell].iter().map(|b| positions[b.0] + 1);
                for end in ends() {
                    let (mut at, mut not_beyond) = (end, 0);
                    while at > 0 {
                        not_beyond += tree[at];
                        at &= at - 1;
                    }
                    total += lines - not_beyond;
                }
                for end in ends() {
                    let mut at = end;
                    while at <= width {
                        tree[at] += 1;
                        at += at & at.wrapping_neg();
                    }
                    lines += 1;
                }
            }
        }
        total
    }

    /// Puts every cell as near to its neighbours as the order within its row allows.
    fn place(&mut self) {
        for row in &self.rows {
            let mut x = 0.0;
            for &cell in row {
                self.cells[cell].x = x + self.cells[cell].width / 2.0;
                x += self.cells[cell].width + BETWEEN_ITEMS;
            }
        }
        let count = self.rows.len();
        for pass in 0..2 * SWEEPS {
            let down = pass % 2 == 0;
            for step in 0..count {
                let row = if down { step } else { count - 1 - step };
                self.settle(row, down, pass + 4 >= 2 * SWEEPS);
            }
        }
    }

    /// Puts what hangs together side by side, in the order of the first cells.
    fn pack(&mut self) {
        let mut sets = petgraph::unionfind::UnionFind::<usize>::new(self.cells.len());
        for (cell, below) in self.below.iter().enumerate() {
            for b in below {
                sets.union(cell, b.0);
            }
        }
        let part = sets.into_labeling();
        let mut spans: Vec<(usize, f64, f64)> = Vec::new();
        for (cell, &part) in self.cells.iter().zip(&part) {
            let (left, right) = (cell.x - cell.width / 2.0, cell.x + cell.width / 2.0);
            match spans.iter_mut().find(|s| s.0 == part) {
                Some(span) => (span.1, span.2) = (span.1.min(left), span.2.max(right)),
                None => spans.push((part, left, right)),
            }
        }
        let mut shifts = HashMap::new();
        let mut x = 0.0;
        for (part, left, right) in spans {
            shifts.insert(part, x - left);
            x += right - left + 1.5 * BETWEEN_ITEMS;
        }
        self.cells.iter_mut().zip(&part).for_each(|(cell, part)| cell.x += shifts[part]);
    }

    /// Least squares within the order of a row: cells that want to overlap move together.
    fn settle(&mut self, row: usize, down: bool, both: bool) {
        let cells = self.rows[row].clone();
        let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
        let mut offsets = Vec::with_capacity(cells.len());
        let mut offset = 0.0;
        for (i, &cell) in cells.iter().enumerate() {
            if i > 0 {
                let (left, right) = (&self.cells[cells[i - 1]], &self.cells[cell]);
                let gap = if left.place.is_none() && right.place.is_none() { 8.0 } else { BETWEEN_ITEMS };
                offset += left.width / 2.0 + right.width / 2.0 + gap;
            }
            offsets.push(offset);
            let (up, low) = (&self.above[cell], &self.below[cell]);
            let near: Vec<&(usize, f64)> = match (both, down) {
                (true, _) => up.iter().chain(low).collect(),
                (_, true) => up.iter().collect(),
                (_, false) => low.iter().collect(),
            };
            let weight: f64 = near.iter().map(|n| n.1).sum();
            let wish = if weight > 0.0 {
                near.iter().map(|n| self.cells[n.0].x * n.1).sum::<f64>() / weight
            } else {
                self.cells[cell].x
            };
            blocks.push((wish - offset, weight.max(0.05), 1));
            while let [.., (a, wa, na), (b, wb, nb)] = blocks[..] {
                if a <= b {
                    break;
                }
                blocks.truncate(blocks.len() - 2);
                blocks.push(((a * wa + b * wb) / (wa + wb), wa + wb, na + nb));
            }
        }
        let mut index = 0;
        for (x, _, count) in blocks {
            for _ in 0..count {
                self.cells[cells[index]].x = x + offsets[index];
                index += 1;
            }
        }
    }

    /// Moves all to positive coordinates; the top and height of each row, and the size of the whole.
    fn extent(&mut self, top: f64) -> (Vec<(f64, f64)>, f64, f64) {
        let left = self.cells.iter().map(|c| c.x - c.width / 2.0).fold(f64::INFINITY, f64::min);
        let left = if left.is_finite() { left } else { 0.0 };
        self.cells.iter_mut().for_each(|c| c.x += MARGIN - left);
        let right = self.cells.iter().map(|c| c.x + c.width / 2.0).fold(0.0, f64::max);
        let mut y = top;
        let mut rows = Vec::new();
        for row in &self.rows {
            let height = row.iter().map(|&c| self.cells[c].height).fold(0.0, f64::max);
            rows.push((y, height));
            y += height + if height > 0.0 { BETWEEN_LAYERS } else { BETWEEN_LAYERS / 2.0 };
        }
        (rows, right + MARGIN, y - BETWEEN_LAYERS + MARGIN + 8.0)
    }
}
