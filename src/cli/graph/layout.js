'use strict';
// The layered layout of the still picture, for a page: each open box by itself, from the innermost on.
const GAP = 18, ROW = 44, MARGIN = 14, TITLE = 22, SWEEPS = 8;
const textWidth = (t, size) => t.length * size * 0.58;

function itemSize(it) {
  const w = Math.max(textWidth(it.l, 12), textWidth(it.d, 10)) + 18;
  return [Math.min(260, Math.max(40, w)), it.d ? 36 : 24];
}

// edges: [{from, to, back, weight}] between visible items; returns {rects, lines, width, height}.
function layoutAll(items, roots, children, edges) {
  const chain = i => { const c = [i]; while (items[i].p != null) { i = items[i].p; c.push(i); } return c.reverse(); };
  const local = new Map();
  const routes = edges.map(e => {
    const [from, to] = e.back ? [e.to, e.from] : [e.from, e.to];
    const a = chain(from), b = chain(to);
    let s = 0;
    while (s < a.length - 1 && s < b.length - 1 && a[s] === b[s]) s++;
    const route = [];
    for (let k = a.length - 1; k > s; k--) route.push([a[k - 1], 'i' + a[k], 'o' + b[s]]);
    route.push([s ? a[s - 1] : null, 'i' + a[s], 'i' + b[s]]);
    for (let k = s + 1; k < b.length; k++) route.push([b[k - 1], 'n' + a[s], 'i' + b[k]]);
    for (const [box, f, t] of route) {
      if (!local.has(box)) local.set(box, new Map());
      const m = local.get(box), key = f + ' ' + t;
      m.set(key, (m.get(key) || 0) + e.weight);
    }
    return route;
  });
  const plans = new Map();
  const planBox = i => {
    if (!items[i].open) return;
    children[i].forEach(planBox);
    const p = plan(children[i], local.get(i), true);
    const title = textWidth(items[i].l, 12) + textWidth(items[i].d, 10) + 40;
    if (title > p.width) {
      const shift = (title - p.width) / 2;
      p.rects.forEach(r => { r.x += shift; });
      p.lines.forEach(l => l.forEach(q => { q[0] += shift; }));
      p.width = title;
    }
    plans.set(i, p);
  };

  function plan(kids, edgeMap, boxed) {
    const places = kids.map(k => 'i' + k), index = new Map();
    const pairs = [];
    if (edgeMap) for (const key of edgeMap.keys()) for (const p of key.split(' ')) if (p[0] !== 'i' && !places.includes(p)) places.push(p);
    places.forEach((p, i) => index.set(p, i));
    if (edgeMap) for (const [key, w] of edgeMap) {
      const [f, t] = key.split(' ').map(p => index.get(p));
      if (f != null && t != null && f !== t) pairs.push([f, t, w]);
    }
    const n = places.length;
    const inner = p => p[0] === 'i' ? plans.get(+p.slice(1)) : null;
    const size = p => { const q = inner(p); return p[0] !== 'i' ? [8, 0] : q ? [q.width, q.height] : itemSize(items[+p.slice(1)]); };
    const directed = withoutCycles(n, pairs);
    const layer = layersOf(places, directed);
    const cells = [], above = [], below = [], rows = [];
    const add = (place, w, h, l) => { cells.push({ place, w, h, l, x: 0 }); above.push([]); below.push([]);
      while (rows.length <= l) rows.push([]); rows[l].push(cells.length - 1); return cells.length - 1; };
    const join = (f, t, w) => { below[f].push([t, w]); above[t].push([f, w]); };
    places.forEach((p, i) => add(p, ...size(p), layer[i]));
    const bends = directed.map(([f, t, w]) => {
      let at = f; const c = [];
      for (let l = layer[f] + 1; l < layer[t]; l++) { const b = add(null, 4, 0, l); join(at, b, w * 2); c.push(b); at = b; }
      join(at, t, w);
      return c;
    });
    arrange(cells, above, below, rows);
    settleAll(cells, above, below, rows);
    pack(cells, below);
    let left = Infinity;
    cells.forEach(c => { left = Math.min(left, c.x - c.w / 2); });
    if (!isFinite(left)) left = 0;
    cells.forEach(c => { c.x += MARGIN - left; });
    let right = 0;
    cells.forEach(c => { right = Math.max(right, c.x + c.w / 2); });
    let y = boxed ? TITLE : MARGIN;
    const tops = rows.map(r => { const h = Math.max(0, ...r.map(c => cells[c].h)); const top = [y, h]; y += h + (h ? ROW : ROW / 2); return top; });
    const height = y - ROW + MARGIN + 8, width = right + MARGIN;
    const rects = new Map(), lines = new Map();
    places.forEach((p, i) => {
      const c = cells[i], [top, h] = tops[c.l];
      const yy = boxed && p[0] === 'n' ? 0 : boxed && p[0] === 'o' ? height : top + (h - c.h) / 2;
      rects.set(p, { x: c.x - c.w / 2, y: yy, w: c.w, h: c.h });
    });
    directed.forEach(([f, t, , turned], k) => {
      const port = (cell, other, kind) => {
        const q = inner(places[cell]);
        const r = q && q.rects.get(kind + places[other].slice(1));
        return r ? rects.get(places[cell]).x + r.x + r.w / 2 : null;
      };
      const a = rects.get(places[f]), b = rects.get(places[t]);
      const pts = [[port(f, t, turned ? 'n' : 'o') ?? a.x + a.w / 2, a.y + a.h]];
      for (const c of bends[k]) { const [top, h] = tops[cells[c].l]; pts.push([cells[c].x, top], [cells[c].x, top + h]); }
      pts.push([port(t, f, turned ? 'o' : 'n') ?? b.x + b.w / 2, b.y]);
      if (turned) pts.reverse();
      lines.set(turned ? places[t] + ' ' + places[f] : places[f] + ' ' + places[t], pts);
    });
    return { rects, lines, width, height };
  }

  roots.forEach(planBox);
  const top = plan(roots, local.get(null), false);
  plans.set(null, top);
  const corners = new Map([[null, [0, 0]]]), rects = new Map(), stack = [null];
  while (stack.length) {
    const box = stack.pop(), [x, y] = corners.get(box);
    for (const [p, r] of plans.get(box).rects) if (p[0] === 'i') {
      const i = +p.slice(1), at = { x: r.x + x, y: r.y + y, w: r.w, h: r.h };
      rects.set(i, at);
      if (plans.has(i)) { corners.set(i, [at.x, at.y]); stack.push(i); }
    }
  }
  const lines = routes.map((route, k) => {
    const pts = [];
    for (const [box, f, t] of route) {
      const p = plans.get(box), c = corners.get(box), l = p && p.lines.get(f + ' ' + t);
      if (l && c) for (const q of l) {
        const at = [q[0] + c[0], q[1] + c[1]], last = pts[pts.length - 1];
        if (!last || Math.abs(last[0] - at[0]) > 0.5 || Math.abs(last[1] - at[1]) > 0.5) pts.push(at);
      }
    }
    return edges[k].back ? pts.reverse() : pts;
  });
  return { rects, lines, width: top.width, height: top.height };
}

function withoutCycles(n, pairs) {
  const next = Array.from({ length: n }, () => []);
  pairs.forEach((p, e) => next[p[0]].push(e));
  const state = new Uint8Array(n), turned = new Set();
  for (let s = 0; s < n; s++) {
    const stack = [[s, 0]];
    while (stack.length) {
      const [at, k] = stack.pop();
      if (k === 0) { if (state[at]) continue; state[at] = 1; }
      if (k >= next[at].length) { state[at] = 2; continue; }
      const e = next[at][k], to = pairs[e][1];
      stack.push([at, k + 1]);
      if (state[to] === 0) stack.push([to, 0]); else if (state[to] === 1) turned.add(e);
    }
  }
  const sums = new Map();
  pairs.forEach(([f, t, w], e) => {
    const back = turned.has(e), key = (back ? t + ' ' + f + ' b' : f + ' ' + t), known = sums.get(key);
    if (known) known[2] += w; else sums.set(key, back ? [t, f, w, true] : [f, t, w, false]);
  });
  return [...sums.values()];
}

function layersOf(places, edges) {
  const n = places.length, layer = new Array(n).fill(0), pending = new Array(n).fill(0), next = Array.from({ length: n }, () => []);
  const hasSource = new Set();
  for (const [f, t] of edges) { next[f].push(t); pending[t]++; hasSource.add(t); }
  const isIn = i => places[i][0] === 'n', isOut = i => places[i][0] === 'o';
  const first = places.some(p => p[0] === 'n') ? 1 : 0;
  const ready = [], order = [];
  for (let i = 0; i < n; i++) if (!pending[i]) { ready.push(i); layer[i] = isIn(i) ? 0 : first; }
  while (ready.length) {
    const at = ready.pop();
    order.push(at);
    for (const t of next[at]) { layer[t] = Math.max(layer[t], layer[at] + 1, first); if (!--pending[t]) ready.push(t); }
  }
  for (const at of order.reverse())
    if (next[at].length && !hasSource.has(at) && !isIn(at)) layer[at] = Math.max(first, Math.min(...next[at].map(t => layer[t])) - 1);
  let last = 0;
  for (let i = 0; i < n; i++) if (!isOut(i)) last = Math.max(last, layer[i]);
  for (let i = 0; i < n; i++) if (isOut(i)) layer[i] = last + 1;
  return layer;
}

function arrange(cells, above, below, rows) {
  const position = new Array(cells.length);
  const number = () => rows.forEach(r => r.forEach((c, i) => { position[c] = i; }));
  const crossings = () => {
    number();
    let total = 0;
    for (const row of rows) {
      // A Fenwick tree over the lower row counts the lines that end further right.
      let width = 0, lines = 0;
      for (const c of row) for (const b of below[c]) width = Math.max(width, position[b[0]] + 1);
      const tree = new Int32Array(width + 1);
      for (const c of row) {
        for (const b of below[c]) {
          let left = 0;
          for (let at = position[b[0]] + 1; at > 0; at &= at - 1) left += tree[at];
          total += lines - left;
        }
        for (const b of below[c]) {
          for (let at = position[b[0]] + 1; at <= width; at += at & -at) tree[at]++;
          lines++;
        }
      }
    }
    return total;
  };
  let best = rows.map(r => r.slice()), fewest = crossings();
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const down = sweep % 2 === 0;
    number();
    for (let step = 1; step < rows.length; step++) {
      const r = down ? step : rows.length - 1 - step;
      const mean = new Map(rows[r].map(c => {
        const near = down ? above[c] : below[c];
        const w = near.reduce((s, q) => s + q[1], 0);
        return [c, w ? near.reduce((s, q) => s + position[q[0]] * q[1], 0) / w : position[c]];
      }));
      rows[r].sort((x, y) => mean.get(x) - mean.get(y));
      rows[r].forEach((c, i) => { position[c] = i; });
    }
    const now = crossings();
    if (now < fewest) { fewest = now; best = rows.map(r => r.slice()); }
  }
  best.forEach((r, i) => { rows[i] = r; });
}

function settleAll(cells, above, below, rows) {
  for (const row of rows) { let x = 0; for (const c of row) { cells[c].x = x + cells[c].w / 2; x += cells[c].w + GAP; } }
  for (let pass = 0; pass < 2 * SWEEPS; pass++) {
    const down = pass % 2 === 0, both = pass + 4 >= 2 * SWEEPS;
    for (let step = 0; step < rows.length; step++) {
      const row = rows[down ? step : rows.length - 1 - step], offsets = [], blocks = [];
      let offset = 0;
      row.forEach((c, i) => {
        if (i) {
          const l = cells[row[i - 1]], r = cells[c];
          offset += l.w / 2 + r.w / 2 + (l.place || r.place ? GAP : 8);
        }
        offsets.push(offset);
        const near = both ? above[c].concat(below[c]) : down ? above[c] : below[c];
        const w = near.reduce((s, q) => s + q[1], 0);
        const wish = w ? near.reduce((s, q) => s + cells[q[0]].x * q[1], 0) / w : cells[c].x;
        blocks.push([wish - offset, Math.max(w, 0.05), 1]);
        while (blocks.length > 1 && blocks[blocks.length - 2][0] > blocks[blocks.length - 1][0]) {
          const b = blocks.pop(), a = blocks.pop();
          blocks.push([(a[0] * a[1] + b[0] * b[1]) / (a[1] + b[1]), a[1] + b[1], a[2] + b[2]]);
        }
      });
      let i = 0;
      for (const [x, , n] of blocks) for (let k = 0; k < n; k++, i++) cells[row[i]].x = x + offsets[i];
    }
  }
}

// Puts what hangs together side by side, in the order of the first cells.
function pack(cells, below) {
  const part = cells.map((_, i) => i);
  const root = i => { while (part[i] !== i) i = part[i] = part[part[i]]; return i; };
  below.forEach((list, i) => list.forEach(b => { part[root(b[0])] = root(i); }));
  const spans = new Map();
  cells.forEach((c, i) => {
    const r = root(i), span = spans.get(r), left = c.x - c.w / 2, right = c.x + c.w / 2;
    if (span) { span[0] = Math.min(span[0], left); span[1] = Math.max(span[1], right); } else spans.set(r, [left, right]);
  });
  let x = 0;
  for (const span of spans.values()) { span[2] = x - span[0]; x += span[1] - span[0] + 1.5 * GAP; }
  cells.forEach((c, i) => { c.x += spans.get(root(i))[2]; });
}
