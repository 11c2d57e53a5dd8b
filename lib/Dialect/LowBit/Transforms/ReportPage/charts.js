// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Drawing: elements, scales, axes, marks. Knows nothing of layers.

'use strict';

const svgNamespace = 'http://www.w3.org/2000/svg';
const svgTags = new Set(['svg', 'g', 'path', 'line', 'rect', 'text']);

/** An element with attributes and children; text children are never markup. */
function make(tag, attributes = {}, ...children) {
  const element = svgTags.has(tag) ? document.createElementNS(svgNamespace, tag)
                                   : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Three digits at most, as people write them. */
function short(value) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6) return value.toExponential(1);
  return size >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(size < 1 ? 2 : 3)));
}

/** Maps [from, to] to [begin, end]. */
function linear(from, to, begin, end) {
  const factor = (end - begin) / (to - from || 1);
  return value => begin + (value - from) * factor;
}

/** Round numbers in [from, to], about `count` of them. */
function ticks(from, to, count) {
  const raw = (to - from) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw);
  const values = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; ++i)
    values.push(Number((i * step).toPrecision(12)));
  return values;
}

/** The outline of the mark that stands for kind number `index`, around (x, y). */
function mark(index, x, y, r = 3.5) {
  const polygon = (sides, turn) => {
    const points = [];
    for (let i = 0; i < sides; ++i) {
      const angle = turn + i * 2 * Math.PI / sides;
      points.push(`${(x + 1.25 * r * Math.cos(angle)).toFixed(1)} ${(y + 1.25 * r * Math.sin(angle)).toFixed(1)}`);
    }
    return `M${points.join('L')}Z`;
  };
  switch (Math.floor(index / 8 + index) % 5) {
    case 0: return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
    case 1: return polygon(4, Math.PI / 4);
    case 2: return polygon(3, -Math.PI / 2);
    case 3: return polygon(4, 0);
    default: return polygon(3, Math.PI / 2);
  }
}
const kindColour = index => `var(--kind${index % 8})`;

/** An empty plot of the width of `host`, with margins for axes. */
function plot(host, height, label) {
  const width = Math.max(260, host.clientWidth);
  const box = {left: 54, right: width - 8, top: 16, bottom: height - 34, width, height};
  const svg = make('svg', {viewBox: `0 0 ${width} ${height}`, height, role: 'img', 'aria-label': label});
  return {svg, box};
}

/** A line per value of [value, text] on the y axis, thin ones for `minor`. */
function drawRows({svg, box}, scale, labelled, minor = []) {
  for (const value of minor)
    svg.append(make('line', {class: 'minor', x1: box.left, x2: box.right, y1: scale(value), y2: scale(value)}));
  for (const [value, text] of labelled)
    svg.append(
        make('line', {class: 'axis', x1: box.left, x2: box.right, y1: scale(value), y2: scale(value)}),
        make('text', {x: box.left - 6, y: scale(value) + 4, 'text-anchor': 'end'}, text));
}

/** Texts under the x axis at [value, text], leaving out those that would touch. */
function drawColumns({svg, box}, scale, labelled, title) {
  let free = 0;
  for (const [value, text] of labelled) {
    const x = scale(value), half = text.length * 3.6;
    if (x - half < free) continue;
    free = x + half + 6;
    svg.append(make('text', {
      x: Math.min(x, box.width - half), y: box.bottom + 16, 'text-anchor': 'middle'}, text));
  }
  svg.append(make('text', {x: (box.left + box.right) / 2, y: box.bottom + 31, 'text-anchor': 'middle'}, title));
}

/** Powers of ten in [low, high], and what lies between them. */
function logRows(low, high) {
  const labelled = [], minor = [];
  for (let power = Math.floor(Math.log10(low)); 10 ** power <= high * 1.0001; ++power)
    for (let i = 1; i < 10; ++i) {
      const value = i * 10 ** power;
      if (value < low * .9999 || value > high * 1.0001) continue;
      if (i === 1) labelled.push([value, power >= -3 && power <= 3 ? String(Number(value.toPrecision(1))) : `1e${power}`]);
      else minor.push(value);
    }
  return [labelled, minor];
}

/** Draws again when the width of `host` changes; `draw` fills it. */
function redrawn(host, draw) {
  let width = 0;
  const redraw = () => {
    width = host.clientWidth;
    draw();
  };
  if (window.ResizeObserver)
    new ResizeObserver(() => host.clientWidth !== width && redraw()).observe(host);
  redraw();
  return redraw;
}
