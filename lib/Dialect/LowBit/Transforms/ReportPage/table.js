// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makes the table of layers sort and filter.

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
