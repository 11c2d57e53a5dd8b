// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the weights take, by kind and by depth.

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

/** Depth -> its layers, and what each kind takes there: [kind, bytes]. */
function stackSizes() {
  const stacks = new Map();
  for (const member of allMembers) {
    if (!stacks.has(member.depth)) stacks.set(member.depth, {members: [], byKind: new Map(), total: 0});
    const stack = stacks.get(member.depth);
    stack.members.push(member);
    stack.byKind.set(member.kind, (stack.byKind.get(member.kind) || 0) + bytes(member.layer));
    stack.total += bytes(member.layer);
  }
  return stacks;
}

function describeStack(depth, {members, byKind, total}) {
  const stored = members.filter(({layer}) => !isShared(layer));
  const weights = stored.reduce((count, {layer}) => count + layer.n * layer.k, 0);
  return [make('strong', {}, members[0].tick || `depth ${depth}`),
          `: ${plural(members.length, 'layer')}, ${megabytes(total)}, ${weights ? short(8 * total / weights) : 0} bits per weight. `,
          [...byKind].map(([kind, size]) => `${kind.label} ${megabytes(size)}`).join(' · ')];
}

function drawSizes() {
  const host = byId('size-chart');
  const stacks = stackSizes();
  const readout = make('p', {class: 'readout dim', 'aria-live': 'polite'}, 'Point at a column, or tap it, to see what is in it.');
  const area = make('div');
  host.append(make('h3', {}, 'Size at each depth'), area, readout);
  const tallest = [...stacks.values()].reduce((high, {total}) => Math.max(high, total), 0);
  const unit = tallest < 1e6 ? [1e3, 'kB'] : [1e6, 'MB'];
  redrawn(area, () => {
    const {svg, box} = plot(area, 220, 'Bytes of the quantized weights at each depth, stacked by kind');
    const x = linear(depthRange[0] - .5, depthRange[1] + .5, box.left, box.right);
    const y = linear(0, tallest / unit[0] * 1.02, box.bottom, box.top);
    drawRows({svg, box}, y, ticks(0, tallest / unit[0], 4).map(value => [value, value ? `${value} ${unit[1]}` : '0']));
    drawColumns({svg, box}, x, depthTicks(box.right - box.left), depthTitle);
    const width = Math.min(42, (x(1) - x(0)) * .8);
    for (const [depth, stack] of stacks) {
      const column = make('g');
      let sum = 0;
      for (const [kind, size] of stack.byKind) {
        const bottom = y(sum / unit[0]), top = y((sum + size) / unit[0]);
        column.append(make('rect', {x: x(depth) - width / 2, y: top, width, height: bottom - top - (bottom - top > 3 ? 1 : 0),
                                    fill: kindColour(kind.number)}));
        sum += size;
      }
      // The whole height listens, however low the column.
      column.append(make('rect', {x: x(depth - .5), y: box.top, width: x(1) - x(0), height: box.bottom - box.top, fill: 'transparent'}));
      const show = () => {
        readout.classList.remove('dim');
        readout.replaceChildren(...describeStack(depth, stack));
      };
      column.addEventListener('pointerenter', show);
      column.addEventListener('pointerdown', show);
      svg.append(column);
    }
    area.replaceChildren(svg);
  });
}
