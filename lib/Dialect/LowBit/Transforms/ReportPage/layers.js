// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The data of the page: layers, sorted into kinds.

const byId = id => document.getElementById(id);
const report = JSON.parse(byId('report-data').textContent);
const page = JSON.parse(byId('page-data').textContent);
const layers = report.layers;

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
      // One letter or two say little by themselves.
      const least = end.length < 3 ? kind.parts.slice(-2).join('.') : end;
      const own = kind.parts.slice(0, -1).filter(part => !same.every(other => other.parts.includes(part)));
      kind.label = same.length === 1 ? least : [...own, end].join('.');
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
  const few = named.length <= 8 ? named.map(member => [member.depth, member.kind.label]) : [];
  // Names first: they are what a reader cannot guess.
  return [...few, ...numbers.filter(([depth, text]) =>
              !few.some(([other, name]) => Math.abs(other - depth) * width / (depthRange[1] - depthRange[0] + 1) <
                                           (name.length + text.length) * 3.6 + 6))].sort((a, b) => a[0] - b[0]);
}
