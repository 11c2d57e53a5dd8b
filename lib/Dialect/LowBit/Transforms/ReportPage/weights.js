// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The weights of a layer over their grid.

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
