'use strict';
const NS = 'http://www.w3.org/2000/svg';
const data = JSON.parse(document.getElementById('data').textContent);
const items = data.items, children = items.map(() => []), roots = [], consumers = items.map(() => []);
items.forEach((it, i) => {
  it.open = !!it.o;
  (it.p == null ? roots : children[it.p]).push(i);
  if (it.x) {
    for (const q of it.x.i) consumers[q[0]].push([i, q[1]]);
    for (const c of it.x.c || []) consumers[c].push([i, -1]);
  }
});
for (const list of [roots, ...children]) list.sort((a, b) => items[a].v - items[b].v || a - b);
const $ = id => document.getElementById(id);
const world = $('world'), svg = $('view');
let picked = null, frame = { x: 0, y: 0, k: 1 }, shown = null;

function el(tag, attrs, parent, text) {
  const e = document.createElementNS(NS, tag);
  for (const k in attrs) e.setAttribute(k, attrs[k]);
  if (text != null) e.textContent = text;
  if (parent) parent.appendChild(e);
  return e;
}

for (const [id, color] of [['a', '#9e9e9e'], ['am', '#1565c0'], ['ac', '#bdbdbd'], ['ab', '#e65100']]) {
  const m = el('marker', { id, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: 'auto',
    markerUnits: 'userSpaceOnUse' }, svg.querySelector('defs'));
  el('path', { d: 'M0 0L8 4L0 8z', fill: color }, m);
}

function colors(it) {
  if (it.v) return ['#f3f3f3', '#c8c8c8'];
  if (it.k === 'loop') return ['#fff3e0', '#fb8c00'];
  if (it.k === 'variable') return ['#f3e5f5', '#8e24aa'];
  if (it.k === 'scope') return ['#eceff1', '#78909c'];
  if (it.r === 'input') return ['#c8e6c9', '#2e7d32'];
  if (it.r === 'output') return ['#bbdefb', '#1565c0'];
  if (it.r === 'constant') return ['#fafafa', '#bdbdbd'];
  return ['#ffffff', it.m ? '#1565c0' : '#9e9e9e'];
}

// The item that is seen for one: itself, or the outermost closed box around it.
function seen(i) {
  let s = i;
  for (let p = items[i].p; p != null; p = items[p].p) if (!items[p].open) s = p;
  return s;
}

function visibleEdges() {
  const sums = new Map();
  const add = (from, to, control, back, shape, main) => {
    from = seen(from);
    to = seen(to);
    // What serves the model stands beside it; lines to all of it would hide the model.
    if (from === to || items[from].v !== items[to].v) return;
    const key = from + ' ' + to + (control ? ' c' : ' d') + (back ? 'b' : '');
    let s = sums.get(key);
    if (!s) sums.set(key, s = { from, to, control, back, shapes: new Set(), count: 0, main: false });
    s.count++;
    s.main = s.main || main;
    if (!control) s.shapes.add(shape);
  };
  items.forEach((it, i) => {
    if (!it.x) return;
    for (const [from, , shape, back] of it.x.i) add(from, i, false, !!back, shape, !!(it.m && items[from].m));
    for (const c of it.x.c || []) add(c, i, true, false, '', false);
  });
  return [...sums.values()].map(s => {
    s.weight = s.control ? 0.3 : s.main ? 3 : 1;
    const only = s.shapes.size === 1 ? [...s.shapes][0] : null;
    s.label = s.control || only === '' ? '' : s.count === 1 ? only : only ? s.count + ' x ' + only : s.count + ' tensors';
    return s;
  });
}

const fit = (t, size, w) => textWidth(t, size) <= w ? t : t.slice(0, Math.max(1, Math.floor(w / (size * 0.58)) - 1)) + '…';

function draw() {
  const edges = visibleEdges();
  const lay = layoutAll(items, roots, children, edges);
  shown = { edges, lay, groups: new Map(), lines: [] };
  world.textContent = '';
  const depth = i => items[i].p == null ? 0 : 1 + depth(items[i].p);
  const open = [...lay.rects.keys()].filter(i => items[i].open).sort((a, b) => depth(a) - depth(b));
  for (const i of open) box(i, lay.rects.get(i));
  const order = edges.map((_, k) => k).sort((a, b) => (edges[a].main - edges[b].main) || (edges[b].control - edges[a].control));
  for (const k of order) line(edges[k], lay.lines[k], k);
  for (const [i, r] of lay.rects) if (!items[i].open) closed(i, r);
  mark();
}

function group(i) {
  const g = el('g', { class: 'item', 'data-i': i }, world);
  g.onclick = e => { e.stopPropagation(); pick(i); };
  g.ondblclick = e => { e.stopPropagation(); toggle(i); };
  g.onmouseenter = () => near(i);
  g.onmouseleave = () => near(null);
  shown.groups.set(i, g);
  return g;
}

function sign(i, g, x, y) {
  const s = el('g', { class: 'item' }, g);
  el('rect', { x, y, width: 14, height: 14, rx: 3, fill: '#fff', stroke: '#888' }, s);
  el('path', { d: `M${x + 3} ${y + 7}h8` + (items[i].open ? '' : `M${x + 7} ${y + 3}v8`), stroke: '#444', 'stroke-width': 1.4 }, s);
  s.onclick = e => { e.stopPropagation(); toggle(i); };
}

function box(i, r) {
  const it = items[i], [fill, stroke] = colors(it), g = group(i);
  g.onmouseenter = null;
  el('rect', { x: r.x, y: r.y, width: r.w, height: r.h, rx: 8, fill, 'fill-opacity': 0.6, stroke, 'stroke-width': it.k === 'loop' ? 1.5 : 1 }, g);
  const t = el('text', { class: 'l', x: r.x + 8, y: r.y + 15 }, g, it.l + ' ');
  el('tspan', { class: 'd' }, t, it.d);
  sign(i, g, r.x + r.w - 19, r.y + 5);
}

function closed(i, r) {
  const it = items[i], [fill, stroke] = colors(it), g = group(i), folds = children[i].length > 0;
  if (folds) el('rect', { x: r.x + 3, y: r.y + 3, width: r.w, height: r.h, rx: 5, fill, stroke }, g);
  el('rect', { x: r.x, y: r.y, width: r.w, height: r.h, rx: folds ? 5 : r.h / 2, fill, stroke, 'stroke-width': it.m ? 1.8 : 1 }, g);
  const mid = r.x + r.w / 2;
  el('text', { class: 'l', 'text-anchor': 'middle', x: mid, y: it.d ? r.y + 15 : r.y + r.h / 2 + 4 }, g, fit(it.l, 12, r.w - 8));
  if (it.d) el('text', { class: 'd', 'text-anchor': 'middle', x: mid, y: r.y + 28 }, g, fit(it.d, 10, r.w - 8));
  if (folds) sign(i, g, r.x + r.w - 10, r.y - 5);
}

function line(e, pts, k) {
  if (pts.length < 2) return;
  let d = `M${pts[0][0]} ${pts[0][1]}`;
  for (let j = 1; j < pts.length; j++) {
    const [x0, y0] = pts[j - 1], [x1, y1] = pts[j], h = (y1 - y0) / 2;
    d += Math.abs(x0 - x1) < 0.5 ? `L${x1} ${y1}` : `C${x0} ${y0 + h} ${x1} ${y1 - h} ${x1} ${y1}`;
  }
  const [cls, marker] = e.back ? ['e b', 'ab'] : e.control ? ['e c', 'ac'] : e.main ? ['e m', 'am'] : ['e', 'a'];
  const g = el('g', {}, world);
  el('path', { class: cls, d, 'marker-end': `url(#${marker})` }, g);
  if (e.label && !e.back) {
    const j = pts.length >> 1, a = pts[j - 1], b = pts[j];
    el('text', { class: 's', 'text-anchor': 'middle', x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2 + 3 }, g, e.label);
  }
  shown.lines[k] = g;
}

// Edges that don't touch the item fade.
function near(i) {
  shown.edges.forEach((e, k) => {
    const g = shown.lines[k];
    if (!g) return;
    const touches = i != null && (e.from === i || e.to === i);
    g.setAttribute('class', i == null ? '' : touches ? 'near' : 'far');
  });
}

function mark() {
  shown.groups.forEach((g, i) => g.setAttribute('class', 'item' + (picked != null && seen(picked) === i ? ' picked' : '')));
}

function place() { world.setAttribute('transform', `translate(${frame.x} ${frame.y}) scale(${frame.k})`); }

function fitView() {
  const w = svg.clientWidth, h = svg.clientHeight, { width, height } = shown.lay;
  frame.k = Math.min(1.2, (w - 30) / width, (h - 30) / height);
  // A tall graph is readable from its top.
  frame.k = Math.max(frame.k, Math.min(0.65, (w - 30) / width));
  frame.x = (w - width * frame.k) / 2;
  frame.y = Math.max(15, (h - height * frame.k) / 2);
  place();
}

function center(i) {
  const r = shown.lay.rects.get(seen(i));
  if (!r) return;
  frame.k = Math.max(frame.k, 0.7);
  frame.x = svg.clientWidth / 2 - (r.x + r.w / 2) * frame.k;
  frame.y = svg.clientHeight / 2 - (r.y + r.h / 2) * frame.k;
  place();
}

function toggle(i) {
  if (!children[i].length) return;
  const before = shown.lay.rects.get(i);
  items[i].open = !items[i].open;
  draw();
  const after = shown.lay.rects.get(i);
  if (before && after) {
    frame.x += (before.x - after.x) * frame.k;
    frame.y += (before.y - after.y) * frame.k;
    place();
  }
}

// Opens the boxes around an item and shows it.
function reveal(i) {
  for (let p = items[i].p; p != null; p = items[p].p) items[p].open = true;
  draw();
  pick(i);
  center(i);
}

function link(i, suffix) {
  const a = document.createElement('a');
  a.textContent = items[i].n + (suffix || '');
  a.onclick = () => reveal(i);
  return a;
}

function pick(i) {
  picked = i;
  mark();
  const it = items[i], side = $('side');
  side.textContent = '';
  const add = (tag, text, cls) => { const e = document.createElement(tag); e.textContent = text; if (cls) e.className = cls; side.appendChild(e); return e; };
  add('h2', it.n);
  const rows = pairs => {
    const t = document.createElement('table');
    for (const [k, v] of pairs) {
      const r = t.insertRow();
      r.insertCell().textContent = k;
      const c = r.insertCell();
      if (v instanceof Node) c.appendChild(v); else c.textContent = v;
    }
    side.appendChild(t);
  };
  if (!it.x) {
    add('div', it.d);
    add('h3', 'Contains');
    rows(children[i].slice(0, 200).map(c => [items[c].x ? items[c].x.op : items[c].k, link(c)]));
    return;
  }
  rows([['op', it.x.op], ...it.x.out.map((o, k) => ['output ' + k, o]), ...(it.x.dev ? [['device', it.x.dev]] : [])]);
  if (it.x.u) add('div', 'can\'t be run: ' + it.x.u, 'bad');
  if (it.x.i.length || it.x.h) add('h3', 'Inputs');
  rows(it.x.i.map(q => [q[2] || '', link(q[0], ':' + q[1])]).concat((it.x.h || []).map(h => ['const', h])));
  if (it.x.c) { add('h3', 'Waits for'); rows(it.x.c.map(c => ['', link(c)])); }
  if (consumers[i].length) add('h3', 'Goes to');
  rows(consumers[i].slice(0, 100).map(([c, o]) => [o < 0 ? 'control' : ':' + o, link(c)]));
  const attrs = Object.entries(it.x.a);
  if (attrs.length) add('h3', 'Attributes');
  rows(attrs);
}

function legend() {
  $('side').innerHTML = '<h2>Click a node</h2><p>A click shows what it is; a double click, or the sign at its corner, folds and ' +
    'unfolds a box. Drag to move, turn the wheel to zoom.</p><div class="legend">' +
    [['#c8e6c9', 'input'], ['#bbdefb', 'likely output or state'], ['#fff3e0', 'loop'], ['#f3e5f5', 'variable'],
      ['#eceff1', 'name scope'], ['#f3f3f3', 'gradients, saving, initializing']]
      .map(([c, t]) => `<p><span style="background:${c}"></span>${t}</p>`).join('') +
    '<p><b style="color:#1565c0">blue</b> lines lead from inputs to outputs, <span style="border:0;width:auto">dashed ones are control ' +
    'inputs,</span> <b style="color:#e65100">orange</b> ones close loops.</p></div>';
}

const search = $('search'), hits = $('hits');
search.oninput = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  hits.textContent = '';
  const found = [];
  if (words.length) items.forEach((it, i) => {
    const t = (it.n + ' ' + (it.x ? it.x.op : it.k)).toLowerCase();
    if (words.every(w => t.includes(w))) found.push(i);
  });
  found.sort((a, b) => items[a].n.length - items[b].n.length);
  for (const i of found.slice(0, 60)) {
    const d = document.createElement('div');
    d.textContent = items[i].n + ' ';
    const s = document.createElement('small');
    s.textContent = items[i].x ? items[i].x.op : items[i].k;
    d.appendChild(s);
    d.onclick = () => { hits.style.display = 'none'; reveal(i); };
    hits.appendChild(d);
  }
  if (words.length && !found.length) hits.textContent = 'nothing found';
  hits.style.display = words.length ? 'block' : 'none';
};
search.onkeydown = e => {
  if (e.key === 'Enter' && hits.firstElementChild) hits.firstElementChild.click();
  if (e.key === 'Escape') { hits.style.display = 'none'; search.blur(); }
};
document.onkeydown = e => { if (e.key === '/' && document.activeElement !== search) { e.preventDefault(); search.focus(); } };
$('fit').onclick = fitView;
$('fold').onclick = () => { items.forEach(it => { it.open = false; }); draw(); fitView(); };
$('unfold').onclick = () => {
  const closed = items.map((_, i) => i).filter(i => children[i].length && !items[i].open && seen(i) === i && !items[i].v);
  closed.sort((a, b) => items[b].m - items[a].m || items[b].s - items[a].s);
  closed.slice(0, 5).forEach(i => { items[i].open = true; });
  draw();
  fitView();
};
let drag = null;
svg.onmousedown = e => { drag = [e.clientX, e.clientY]; };
window.onmousemove = e => {
  if (!drag) return;
  frame.x += e.clientX - drag[0];
  frame.y += e.clientY - drag[1];
  drag = [e.clientX, e.clientY];
  place();
};
window.onmouseup = () => { drag = null; };
svg.addEventListener('wheel', e => {
  e.preventDefault();
  const r = svg.getBoundingClientRect(), x = e.clientX - r.left, y = e.clientY - r.top;
  const f = Math.exp(-e.deltaY * 0.0015), k = Math.min(4, Math.max(0.03, frame.k * f));
  frame.x = x - (x - frame.x) * k / frame.k;
  frame.y = y - (y - frame.y) * k / frame.k;
  frame.k = k;
  place();
}, { passive: false });
legend();
draw();
fitView();
const wanted = decodeURIComponent(location.hash.slice(1));
const named = items.findIndex(it => it.x && it.n === wanted), at = named >= 0 || !wanted ? named : items.findIndex(it => it.n === wanted);
if (at >= 0) reveal(at);
