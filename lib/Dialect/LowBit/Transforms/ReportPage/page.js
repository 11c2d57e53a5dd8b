// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The page: sorts layers into kinds, fills the charts, makes the table sort.

const byId = id => document.getElementById(id);
const report = JSON.parse(byId('report-data').textContent);
const page = JSON.parse(byId('page-data').textContent);
const layers = report.layers;

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

const isShared = layer => layer.shares_weight_of !== null;
/** Bytes that the layer adds to the file. */
const bytes = layer => isShared(layer) ? 0 : layer.n * layer.k * layer.bits_per_weight / 8;
const ratio = layer => layer.rtn_relative_error > 0 ? layer.relative_error / layer.rtn_relative_error : 0;
const level = error => page.levels.find(entry => entry.up_to === null || error <= entry.up_to);
const median = values => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)];
const plural = (count, word) => `${count} ${word}${count === 1 ? '' : 's'}`;
const megabytes = count => count < 1e3 ? `${Math.round(count)} B` : count < 1e6 ? `${short(count / 1e3)} kB` : `${short(count / 1e6)} MB`;

/** The name cut at its numbers: those that stand alone, else any. */
function splitName(name) {
  const alone = name.split(/(?<=^|[._\/:\-\[\]])(\d+)(?=$|[._\/:\-\[\]])/);
  return alone.length > 1 ? alone : name.split(/(\d+)/);
}

/**
 * Sorts the layers into kinds: those whose names differ in their numbers alone.
 * Depth is the first number that is not the same in the whole kind. A layer
 * without one stands before or behind the others, as it does in the model.
 */
function findKinds() {
  const kinds = new Map();
  layers.forEach((layer, index) => {
    const parts = splitName(layer.name);
    const pattern = parts.filter((_, i) => i % 2 === 0).join('*');
    if (!kinds.has(pattern)) kinds.set(pattern, {pattern, members: []});
    kinds.get(pattern).members.push({index, layer, numbers: parts.filter((_, i) => i % 2).map(Number)});
  });
  const list = [...kinds.values()];
  for (const {members} of list) {
    const position = members[0].numbers.findIndex((first, i) => members.some(member => member.numbers[i] !== first));
    for (const member of members) member.depth = member.numbers[Math.max(position, 0)];
  }
  const numbered = list.flatMap(kind => kind.members).filter(member => member.depth !== undefined);
  const depths = numbered.map(member => member.depth);
  const first = depths.length ? depths.reduce((a, b) => Math.min(a, b)) : 0;
  const last = depths.length ? depths.reduce((a, b) => Math.max(a, b)) : -1;
  const middle = depths.length ? median(numbered.map(member => member.index)) : -1;
  const unnumbered = list.flatMap(kind => kind.members).filter(member => member.depth === undefined);
  const before = unnumbered.filter(member => member.index < middle);
  before.forEach((member, i) => { member.depth = first - before.length + i; });
  unnumbered.filter(member => member.index >= middle).forEach((member, i) => { member.depth = last + 1 + i; });
  for (const member of unnumbered) member.tick = member.layer.name;
  labelKinds(list);
  list.forEach((kind, number) => Object.assign(kind, {number, hidden: false}));
  return list;
}

/** A short name for each kind: the end of its pattern that no other has. */
function labelKinds(kinds) {
  const byEnd = new Map();
  for (const kind of kinds) {
    kind.parts = kind.pattern.split(/[.\/]/).filter(part => part && part !== '*');
    const end = kind.parts.at(-1) || kind.pattern;
    byEnd.set(end, [...(byEnd.get(end) || []), kind]);
  }
  for (const [end, same] of byEnd)
    for (const kind of same) {
      const own = kind.parts.slice(0, -1).filter(part => !same.every(other => other.parts.includes(part)));
      kind.label = same.length === 1 ? end : [...own, end].join('.');
    }
  for (const kind of kinds)
    if (kinds.some(other => other !== kind && other.label === kind.label)) kind.label = kind.pattern;
}

const kinds = findKinds();
const allMembers = kinds.flatMap(kind => kind.members.map(member => Object.assign(member, {kind})))
                       .sort((a, b) => a.index - b.index);
const depthRange = [allMembers.reduce((low, member) => Math.min(low, member.depth), Infinity),
                    allMembers.reduce((high, member) => Math.max(high, member.depth), -Infinity)];

const depthTitle = allMembers.every(member => member.tick) ? 'order in the model' : 'depth: the number in the name';
/** [depth, text] for the x axis. */
function depthTicks(width) {
  const named = allMembers.filter(member => member.tick);
  const taken = new Set(named.map(member => member.depth));
  const numbers = ticks(depthRange[0], depthRange[1], Math.max(3, width / 70))
                      .filter(value => Number.isInteger(value) && !taken.has(value))
                      .map(value => [value, String(value)]);
  const few = named.length <= 4 && numbers.length ? named.map(member => [member.depth, member.kind.label]) : [];
  // Names first: they are what a reader cannot guess.
  return [...few, ...numbers.filter(([depth, text]) =>
              !few.some(([other, name]) => Math.abs(other - depth) * width / (depthRange[1] - depthRange[0] + 1) <
                                           (name.length + text.length) * 3.6 + 6))].sort((a, b) => a[0] - b[0]);
}

//===----------------------------------------------------------------------===//
// Charts over depth
//===----------------------------------------------------------------------===//

function swatch(kind) {
  return make('svg', {viewBox: '0 0 14 14', 'aria-hidden': 'true'},
              make('path', {d: mark(kind.number, 7, 7, 4.5), fill: kindColour(kind.number)}));
}

const redraws = [];
/** One button for each kind, to hide and show it in all charts. */
function legend() {
  const box = make('div', {class: 'legend'});
  for (const kind of kinds) {
    const button = make('button', {type: 'button', 'aria-pressed': 'true', title: kind.pattern}, swatch(kind), kind.label);
    button.addEventListener('click', () => {
      kind.hidden = !kind.hidden;
      redraws.forEach(redraw => redraw());
    });
    redraws.push(() => button.setAttribute('aria-pressed', String(!kind.hidden)));
    box.append(button);
  }
  return box;
}

const showWeights = {select: null};
/** What is known of one layer, in a sentence. */
function describe(member) {
  const {layer, index} = member;
  const line = make('span', {}, make('strong', {class: 'name'}, layer.name), make('br'));
  const {name} = level(layer.relative_error);
  line.append(`${layer.error_measure === 'weights' ? 'error of the weights' : 'error'} ${short(layer.relative_error)} `,
              make('span', {class: `level ${name.replace(' ', '-')}`}, name));
  if (layer.rtn_relative_error > 0 && layer.rtn_relative_error !== layer.relative_error)
    line.append(` · rounding to nearest ${short(layer.rtn_relative_error)}, ratio ${ratio(layer).toFixed(2)}`);
  if (layer.output_drift !== undefined && layer.output_drift !== null)
    line.append(` · drift ${short(layer.output_drift)}`);
  line.append(` · ${layer.n}×${layer.k}, ${short(layer.bits_per_weight)} bits`);
  if (layer.fallback) line.append(` · ${layer.fallback}`);
  if (page.histograms[index])
    line.append(' · ', make('a', {href: '#weights', onclick: () => showWeights.select(index)}, 'its weights'));
  return line;
}

/**
 * `value` of each layer against depth on a log scale, one line for each kind;
 * `companion` fainter beside it.
 */
function depthChart(host, {value, companion, limits, label, hint}) {
  const readout = make('p', {class: 'readout dim', 'aria-live': 'polite'}, hint);
  const area = make('div');
  host.append(legend(), area, readout);
  const points = allMembers.filter(member => value(member.layer) > 0);
  if (!points.length) {
    host.replaceChildren(make('p', {class: 'dim'}, 'Nothing to draw: every value is 0.'));
    return;
  }
  let chosen = null;
  const draw = () => {
    const shown = points.filter(member => !member.kind.hidden);
    const values = (shown.length ? shown : points).flatMap(({layer}) => [value(layer), companion?.(layer)].filter(v => v > 0));
    let low = values.reduce((a, b) => Math.min(a, b)) / 1.3, high = values.reduce((a, b) => Math.max(a, b)) * 1.3;
    // A factor of ten at least, so that some line has a number.
    const more = Math.sqrt(Math.max(1, 10 / (high / low)));
    low /= more;
    high *= more;
    const {svg, box} = plot(area, Math.min(420, Math.max(280, area.clientWidth * .45)), label);
    svg.setAttribute('tabindex', '0');
    const x = linear(depthRange[0] - .5, depthRange[1] + .5, box.left, box.right);
    const logY = linear(Math.log10(low), Math.log10(high), box.bottom, box.top);
    const y = v => logY(Math.log10(v));
    const [labelled, minor] = logRows(low, high);
    drawRows({svg, box}, y, labelled, minor);
    drawColumns({svg, box}, x, depthTicks(box.right - box.left), depthTitle);
    for (const limit of limits) {
      if (limit.up_to === null || limit.up_to < low || limit.up_to > high) continue;
      const colour = `var(--${limit.next.replace(' ', '-')})`;
      svg.append(make('line', {class: 'limit', stroke: colour, x1: box.left, x2: box.right, y1: y(limit.up_to), y2: y(limit.up_to)}),
                 make('text', {x: box.right - 2, y: y(limit.up_to) - 4, 'text-anchor': 'end', style: `fill:${colour}`}, `${limit.next} ↑`));
    }
    for (const kind of kinds.filter(kind => !kind.hidden)) {
      const colour = kindColour(kind.number);
      if (companion) drawLine(svg, kind, companion, x, y, {class: 'companion', stroke: colour});
      drawLine(svg, kind, value, x, y, {stroke: colour, 'stroke-width': 1.6});
    }
    for (const {layer, depth, kind} of shown)
      svg.append(make('path', {d: mark(kind.number, x(depth), y(value(layer))), fill: kindColour(kind.number)}));
    const ring = make('path', {class: 'ring', d: ''});
    svg.append(ring);
    const choose = member => {
      chosen = member;
      readout.replaceChildren(describe(member));
      readout.classList.remove('dim');
      ring.setAttribute('d', mark(0, x(member.depth), y(value(member.layer)), 7));
    };
    if (chosen && !chosen.kind.hidden) choose(chosen);
    const nearest = event => {
      const at = svg.getBoundingClientRect(), zoom = box.width / at.width;
      const px = (event.clientX - at.left) * zoom, py = (event.clientY - at.top) * zoom;
      const distance = ({depth, layer}) => Math.hypot(x(depth) - px, y(value(layer)) - py);
      if (shown.length) choose(shown.reduce((a, b) => distance(b) < distance(a) ? b : a));
    };
    svg.addEventListener('pointermove', nearest);
    svg.addEventListener('pointerdown', nearest);
    svg.addEventListener('keydown', event => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step || !shown.length) return;
      event.preventDefault();
      choose(shown[Math.min(shown.length - 1, Math.max(0, shown.indexOf(chosen) + step))]);
    });
    area.replaceChildren(svg);
  };
  redraws.push(redrawn(area, draw));
}

/** A line through a kind: at each depth the geometric mean of its layers. */
function drawLine(svg, kind, value, x, y, attributes) {
  const atDepth = new Map();
  for (const {depth, layer} of kind.members)
    if (value(layer) > 0) atDepth.set(depth, [...(atDepth.get(depth) || []), Math.log(value(layer))]);
  const points = [...atDepth].sort((a, b) => a[0] - b[0]).map(([depth, logs]) =>
      `${x(depth).toFixed(1)} ${y(Math.exp(logs.reduce((a, b) => a + b) / logs.length)).toFixed(1)}`);
  if (points.length > 1) svg.append(make('path', {d: `M${points.join('L')}`, fill: 'none', ...attributes}));
}

function drawDepthCharts() {
  const limits = page.levels.slice(0, -1).map((entry, i) => ({...entry, next: page.levels[i + 1].name}))
                     .filter(limit => limit.next !== 'normal');
  const hint = 'Point at a mark, or tap it, to see its layer. A button hides a kind.';
  const hasRtn = layers.some(layer => layer.rtn_relative_error !== layer.relative_error);
  depthChart(byId('depth-chart'), {
    value: layer => layer.relative_error, limits, hint: hasRtn ? `${hint} Faint lines: rounding to nearest.` : hint, label: 'Relative error of each layer against depth',
    companion: hasRtn ? layer => layer.rtn_relative_error : undefined});
  if (layers.some(layer => layer.output_drift > 0))
    depthChart(byId('drift-chart'), {
      value: layer => layer.output_drift, limits: [], hint, label: 'Drift of each layer\'s output against depth'});
}

//===----------------------------------------------------------------------===//
// Bits and size
//===----------------------------------------------------------------------===//

function drawKinds() {
  const total = layers.reduce((sum, layer) => sum + bytes(layer), 0);
  const row = kind => {
    const own = kind.members.map(member => member.layer);
    const weights = own.reduce((sum, layer) => sum + layer.n * layer.k, 0);
    const size = own.reduce((sum, layer) => sum + bytes(layer), 0);
    const bits = own.map(layer => layer.bits_per_weight);
    const [least, most] = [Math.min(...bits), Math.max(...bits)].map(value => value.toFixed(2));
    const errors = own.map(layer => layer.relative_error);
    const worst = Math.max(...errors), {name} = level(worst);
    const label = make('th', {scope: 'row'}, kind.label);
    label.prepend(swatch(kind), ' ');
    label.firstChild.setAttribute('width', 12);
    const share = total ? size / total : 0;
    return make('tr', {}, label, make('td', {class: 'wide'}, own.length),
                make('td', {class: 'wide'}, `${short(weights / 1e6)} M`),
                make('td', {}, least === most ? least : `${least}–${most}`),
                make('td', {}, megabytes(size)),
                make('td', {class: 'wide text'},
                     make('span', {class: 'bar', style: `width:${(share * 7).toFixed(2)}rem`}),
                     ` ${(share * 100).toFixed(share < .1 ? 1 : 0)} %`),
                make('td', {class: 'wide'}, short(median(errors))),
                make('td', {}, make('span', {class: `level ${name.replace(' ', '-')}`}, short(worst))));
  };
  const head = ['kind', 'layers', 'weights', 'bits', 'size', 'share', 'median error', 'largest error'];
  const wide = new Set([1, 2, 5, 6]);
  byId('kinds').append(make('table', {},
      make('thead', {}, make('tr', {}, ...head.map((text, i) =>
          make('th', {scope: 'col', class: [wide.has(i) ? 'wide' : '', i === 5 ? 'text' : ''].join(' ')}, text)))),
      make('tbody', {}, ...kinds.map(row))));
}

/** Bytes at each depth, stacked by kind. */
function drawSizes() {
  const host = byId('size-chart');
  const stacks = new Map();
  for (const member of allMembers)
    stacks.set(member.depth, [...(stacks.get(member.depth) || []), member]);
  const readout = make('p', {class: 'readout dim', 'aria-live': 'polite'}, 'Point at a column, or tap it, to see what is in it.');
  const area = make('div');
  host.append(make('h3', {}, 'Size at each depth'), area, readout);
  const tallest = [...stacks.values()].reduce(
      (high, members) => Math.max(high, members.reduce((sum, {layer}) => sum + bytes(layer), 0)), 0);
  const unit = tallest < 1e6 ? [1e3, 'kB'] : [1e6, 'MB'];
  redrawn(area, () => {
    const {svg, box} = plot(area, 220, 'Bytes of the quantized weights at each depth, stacked by kind');
    const x = linear(depthRange[0] - .5, depthRange[1] + .5, box.left, box.right);
    const y = linear(0, tallest / unit[0] * 1.02, box.bottom, box.top);
    drawRows({svg, box}, y, ticks(0, tallest / unit[0], 4).map(value => [value, value ? `${value} ${unit[1]}` : '0']));
    drawColumns({svg, box}, x, depthTicks(box.right - box.left), depthTitle);
    const width = Math.min(42, (x(1) - x(0)) * .8);
    for (const [depth, members] of stacks) {
      const column = make('g');
      let sum = 0;
      for (const {layer, kind} of members) {
        const top = y((sum + bytes(layer)) / unit[0]), height = y(sum / unit[0]) - top;
        column.append(make('rect', {x: x(depth) - width / 2, y: top, width, height: Math.max(0, height - (height > 3 ? 1 : 0)),
                                    fill: kindColour(kind.number)}));
        sum += bytes(layer);
      }
      // The whole height listens, however low the column.
      column.append(make('rect', {x: x(depth - .5), y: box.top, width: x(1) - x(0), height: box.bottom - box.top, fill: 'transparent'}));
      const show = () => {
        const weights = members.filter(({layer}) => !isShared(layer)).reduce((count, {layer}) => count + layer.n * layer.k, 0);
        readout.classList.remove('dim');
        readout.replaceChildren(
            make('strong', {}, members[0].tick || `depth ${depth}`),
            `: ${megabytes(sum)}, ${weights ? (8 * sum / weights).toFixed(2) : 0} bits per weight. `,
            members.length > 12 ? plural(members.length, 'layer')
                                : members.map(({layer, kind}) => `${kind.label} ${megabytes(bytes(layer))}`).join(' · '));
      };
      column.addEventListener('pointerenter', show);
      column.addEventListener('pointerdown', show);
      svg.append(column);
    }
    area.replaceChildren(svg);
  });
}

//===----------------------------------------------------------------------===//
// Weights and their grid
//===----------------------------------------------------------------------===//

/**
 * `axis.bins` as bars between `axis.from` and `axis.to`, `axis.grid` as lines
 * over them; `axis.stored`, where there is one, as the share of each value.
 */
function histogram(host, axis, title, xText, describeBin) {
  const area = make('div', {class: 'chart'});
  host.append(make('h3', {}, title), area);
  redrawn(area, () => {
    const {svg, box} = plot(area, 240, title);
    box.left = 8;
    const from = Math.min(axis.from, ...axis.grid), to = Math.max(axis.to, ...axis.grid);
    const x = linear(from, to, box.left, box.right);
    // Equal weights have bins without width.
    const step = (axis.to - axis.from || to - from || 1) / axis.bins.length;
    const gap = axis.grid.length > 1 ? (axis.grid.at(-1) - axis.grid[0]) / (axis.grid.length - 1) : step;
    // Both as shares for each unit of x, so that their heights compare.
    const between = axis.grid.map((_, i) => axis.grid.length < 2 ? gap
        : (axis.grid[Math.min(i + 1, axis.grid.length - 1)] - axis.grid[Math.max(i - 1, 0)]) /
          (i === 0 || i === axis.grid.length - 1 ? 1 : 2) || gap);
    const stored = (axis.stored || []).map((share, i) => share / between[i]);
    const top = Math.max(...axis.bins.map(share => share / step), ...stored);
    const y = linear(0, top * 1.05, box.bottom, box.top);
    const many = axis.grid.length > 64;
    for (const value of axis.grid)
      svg.append(make('line', {class: 'axis', x1: x(value), x2: x(value), y1: many ? box.bottom - 8 : box.top, y2: box.bottom}));
    axis.bins.forEach((share, i) => {
      if (share) svg.append(make('rect', {x: x(axis.from + i * step) + .5, y: y(share / step), fill: 'var(--bars)', 'fill-opacity': .85,
                                          width: Math.max(.5, x(step) - x(0) - 1), height: box.bottom - y(share / step)}));
    });
    stored.forEach((density, i) => {
      const at = x(axis.grid[i]);
      svg.append(make('line', {stroke: 'var(--high)', 'stroke-width': many ? 1 : 2, x1: at, x2: at, y1: box.bottom, y2: y(density)}));
      if (!many) svg.append(make('path', {d: mark(0, at, y(density), 3), fill: 'var(--high)'}));
    });
    if (!stored.length && !many)
      for (const value of axis.grid)
        svg.append(make('line', {stroke: 'var(--high)', 'stroke-width': 1.5, x1: x(value), x2: x(value), y1: box.bottom - 10, y2: box.bottom + 4}));
    svg.append(make('line', {class: 'axis', x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom}));
    drawColumns({svg, box}, x, ticks(from, to, (box.right - box.left) / 60).map(value => [value, short(value)]), xText);
    area.replaceChildren(svg);
  });
}

function drawWeights() {
  const host = byId('weights-chart');
  const present = allMembers.filter(({index}) => page.histograms[index]);
  if (!present.length) return;
  const list = make('select', {'aria-label': 'Layer'},
                    ...present.map(({layer, index}) => make('option', {value: index}, layer.name)));
  const step = by => {
    list.selectedIndex = (list.selectedIndex + by + present.length) % present.length;
    draw();
  };
  const area = make('div');
  const draw = () => {
    const layer = layers[list.value], entry = page.histograms[list.value];
    const pair = [make('div'), make('div')];
    area.replaceChildren(
        make('p', {class: 'dim'},
             `${layer.n}×${layer.k}, ${layer.scheme.replace(/^#lowbit\./, '')}. Weights from ${short(entry.min)} to ${short(entry.max)}, ` +
             `standard deviation ${short(entry.deviation)}; ` +
             `${short(entry.beyond * 100)} % lie more than half a step beyond the ends of their grid, in the outermost bars.`),
        make('div', {class: 'pair'}, ...pair));
    histogram(pair[0], entry.units, 'In steps of each group\'s own grid', 'value of a code with scale 1');
    histogram(pair[1], entry.absolute, 'In absolute value, with the grid of a typical group', 'weight');
  };
  list.addEventListener('change', draw);
  showWeights.select = index => {
    list.value = index;
    draw();
  };
  host.append(make('div', {class: 'controls one-row'},
                   make('button', {type: 'button', 'aria-label': 'Previous layer', onclick: () => step(-1)}, '←'), list,
                   make('button', {type: 'button', 'aria-label': 'Next layer', onclick: () => step(1)}, '→')),
              area);
  // The worst layer is what a reader asks for first.
  showWeights.select(present.reduce((a, b) => b.layer.relative_error > a.layer.relative_error ? b : a).index);
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

function enhanceTable() {
  const table = document.querySelector('#table table');
  const rows = [...table.tBodies[0].rows].map((element, index) => ({element, index}));
  const heads = [...table.tHead.rows[0].cells];
  const state = {key: '', descending: false, all: rows.length <= 60};
  const keyValue = {ratio, size: bytes, shape: layer => layer.n * layer.k};
  const sortKey = ({index}) => {
    const layer = layers[index];
    return keyValue[state.key] ? keyValue[state.key](layer) : layer[state.key] ?? '';
  };
  const compare = (a, b) => {
    if (!state.key) return a.index - b.index;
    const [left, right] = [sortKey(a), sortKey(b)];
    const order = typeof left === 'number' && typeof right === 'number' ? left - right : String(left).localeCompare(String(right), undefined, {numeric: true});
    return (state.descending ? -order : order) || a.index - b.index;
  };
  const search = make('input', {type: 'search', placeholder: 'part of a name', 'aria-label': 'Show layers whose name contains'});
  const which = make('select', {'aria-label': 'Show'}, make('option', {value: ''}, 'all layers'),
                     ...page.levels.map(({name}) => make('option', {value: name}, `${name} error`)),
                     make('option', {value: 'note'}, 'with a note'));
  const sorting = make('select', {'aria-label': 'Sort by'}, make('option', {value: ''}, 'order in the model'),
                       ...heads.map(head => make('option', {value: head.dataset.key}, head.textContent)));
  const direction = make('button', {type: 'button'});
  const count = make('span', {class: 'dim', 'aria-live': 'polite'});
  const matches = ({index}) => {
    const layer = layers[index];
    return layer.name.toLowerCase().includes(search.value.toLowerCase()) &&
        (!which.value || (which.value === 'note' ? layer.fallback || layer.dead_columns
                                                 : level(layer.relative_error).name === which.value));
  };
  const update = () => {
    const found = rows.filter(matches).sort(compare);
    const shown = state.all ? found : found.slice(0, 40);
    const visible = new Set(shown);
    for (const row of rows) row.element.hidden = !visible.has(row);
    table.tBodies[0].append(...shown.map(row => row.element));
    count.textContent = found.length === rows.length ? plural(rows.length, 'layer') : `${found.length} of ${plural(rows.length, 'layer')}`;
    byId('more').replaceChildren(...(shown.length < found.length ? [make('button', {type: 'button', onclick: () => {
      state.all = true;
      update();
    }}, `Show all ${found.length}`)] : []));
    direction.textContent = state.descending ? '↓' : '↑';
    direction.setAttribute('aria-label', state.descending ? 'largest first' : 'smallest first');
    direction.hidden = !state.key;
    sorting.value = state.key;
    for (const head of heads)
      if (head.dataset.key === state.key) head.setAttribute('aria-sort', state.descending ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
  };
  const sortBy = (key, descending) => {
    Object.assign(state, {key, descending});
    update();
  };
  const isText = key => typeof layers[0]?.[key] === 'string';
  for (const head of heads) {
    const {key} = head.dataset;
    head.replaceChildren(make('button', {type: 'button', onclick: () =>
        sortBy(key, state.key === key ? !state.descending : !isText(key))}, ...head.childNodes));
  }
  search.addEventListener('input', update);
  which.addEventListener('change', update);
  sorting.addEventListener('change', () => sortBy(sorting.value, !isText(sorting.value)));
  direction.addEventListener('click', () => sortBy(state.key, !state.descending));
  byId('controls').append(search, which, make('label', {}, make('span', {class: 'wide'}, 'sort by'), sorting), direction, count);
  update();
}

drawDepthCharts();
drawKinds();
drawSizes();
drawWeights();
enhanceTable();
