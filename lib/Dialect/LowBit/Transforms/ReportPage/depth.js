// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Error and drift against depth.

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
