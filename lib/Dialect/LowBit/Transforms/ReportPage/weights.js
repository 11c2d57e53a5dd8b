// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The weights of a layer over their grid.

/**
 * The values of a grid in rising order, each once: {value, share, width}, where
 * `share` is how much is stored at it (undefined if the axis does not say) and
 * `width` the stretch of the axis that is nearest to it.
 */
function gridValues(axis) {
  const shares = new Map();
  axis.grid.forEach((value, code) => {
    const share = axis.stored?.[code];
    shares.set(value, share === undefined ? undefined : (shares.get(value) || 0) + share);
  });
  const values = [...shares].sort((a, b) => a[0] - b[0]).map(([value, share]) => ({value, share}));
  values.forEach((entry, i) => {
    const left = values[i - 1] || values[i], right = values[i + 1] || values[i];
    // The first and the last reach as far outwards as inwards.
    entry.width = (right.value - left.value) / (left === entry || right === entry ? 1 : 2);
  });
  return values;
}

/** The bars of a histogram, and over them its grid as lines. */
function histogram(host, axis, title, xText) {
  const area = make('div', {class: 'chart'});
  host.append(make('h3', {}, title), area);
  const grid = gridValues(axis);
  const from = Math.min(axis.from, grid[0].value), to = Math.max(axis.to, grid.at(-1).value);
  // Equal weights have bins without width.
  const step = (axis.to - axis.from || to - from || 1) / axis.bins.length;
  // Shares for each unit of x, so that bars and dots compare.
  const bars = axis.bins.map((share, i) => ({left: axis.from + i * step, density: share / step}));
  const dots = grid.filter(({share, width}) => share !== undefined && width > 0)
                   .map(({value, share, width}) => ({value, density: share / width}));
  const top = Math.max(...bars.map(bar => bar.density), ...dots.map(dot => dot.density));
  const isDense = grid.length > 64;
  redrawn(area, () => {
    const {svg, box} = plot(area, 240, title);
    box.left = 8;
    const x = linear(from, to, box.left, box.right);
    const y = linear(0, top * 1.05, box.bottom, box.top);
    const line = (value, y1, y2, attributes) => make('line', {x1: x(value), x2: x(value), y1, y2, ...attributes});
    const strong = {stroke: 'var(--high)', 'stroke-width': isDense ? 1 : 2};
    for (const {value} of grid)
      svg.append(line(value, isDense ? box.bottom - 8 : box.top, box.bottom, {class: 'axis'}));
    for (const {left, density} of bars)
      if (density > 0)
        svg.append(make('rect', {x: x(left) + .5, y: y(density), width: Math.max(.5, x(left + step) - x(left) - 1),
                                 height: box.bottom - y(density), fill: 'var(--bars)', 'fill-opacity': .85}));
    if (isDense && dots.length)
      svg.append(make('path', {d: `M${dots.map(({value, density}) => `${x(value).toFixed(1)} ${y(density).toFixed(1)}`).join('L')}`,
                               fill: 'none', ...strong}));
    else
      for (const {value, density} of dots)
        svg.append(line(value, box.bottom, y(density), strong),
                   make('path', {d: mark(0, x(value), y(density), 3), fill: 'var(--high)'}));
    if (!dots.length)
      for (const {value} of grid)
        svg.append(line(value, box.bottom - 10, box.bottom + 4, strong));
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
