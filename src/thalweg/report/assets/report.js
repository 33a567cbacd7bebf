// The page: which optimizers are in colour, the three charts, and the small conveniences.

const data = JSON.parse(document.getElementById('data').textContent);
const runs = JSON.parse(document.getElementById('runs').textContent);
const entries = data.optimizers;
const metric = data.setting.metric?.name ?? 'metric';
const higher = data.setting.metric?.higher_is_better !== false;
// The metrics that decided nothing; their curves are chosen as also-0, also-1, …
const also = data.setting.also ?? [];
const alsoOf = key => also[/^also-(\d+)$/.exec(key)?.[1]];
const curveOf = (e, key) => alsoOf(key) ? e.curve?.also?.[alsoOf(key).name] : e.curve?.[key];
const upward = key => key === 'validation_metric' ? higher : alsoOf(key)?.higher_is_better === true;
const TOP = 6; // optimizers that are in colour at first
const picked = name => document.querySelector(`input[name="${name}"]:checked`).value;
const closeUp = chart => picked(`${chart}-range`) === 'close';
const smoothing = id => Number($(id).value);
const nulls = values => (values ?? []).map(v => v ?? NaN);

entries.forEach(e => e.sensitivity?.forEach(p => Object.keys(p.configuration ?? {}).forEach(key => searched.add(key))));

const state = { on: new Set(entries.slice(0, TOP).keys()), focus: null };
// The same as in the figures in files: `thalweg.plotting` gives every name its look.
const ownLook = i => drawing.looks[i];
const colourOf = i => ownLook(i).split(' ')[0];
const look = i => state.on.has(i) || state.focus === i ? ownLook(i) : 'muted';

const charts = [];
let asked = false;
// Once per event, however much it changes; browsers send pointer moves once per frame.
function redraw() {
  if (asked) return;
  asked = true;
  queueMicrotask(() => { asked = false; charts.forEach(draw => draw()); });
}

const shared = {
  rest: () => $('rest').checked,
  focused: () => state.focus,
  focus(i) {
    if (i === state.focus) return;
    state.focus = i;
    for (const node of document.querySelectorAll('#results tbody tr, #chips button')) {
      node.classList.toggle('focus', Number(node.dataset.i) === i);
    }
    redraw();
  },
};

function line(i, x, values, extra = {}) {
  const { mean, low, high } = values;
  return { i, name: entries[i].name, on: state.on.has(i), look: look(i), x: nulls(x), y: nulls(mean), low: nulls(low), high: nulls(high), ...extra };
}

// A line that is smoothed keeps its values, drawn faintly behind it; its band would not fit it.
function smooth(l, weight) {
  return weight ? { ...l, raw: l.y, y: smoothed(l.y, weight), low: [], high: [] } : l;
}

function band(value, low, high) {
  return show(value) + (finite(low) && finite(high) ? ` [${show(low)}, ${show(high)}]` : '');
}

// The read-out of a chart with one x for all: the lines in colour at that x, the best first.
function readAll(xLabel, better) {
  return (focused, j, lines) => {
    const x = focused.x[j];
    const rows = lines.filter(l => l.on || l === focused).map(l => {
      const at = l.x.reduce((best, v, k) => Math.abs(v - x) < Math.abs(l.x[best] - x) ? k : best, 0);
      return { l, value: l.y[at], text: band(l.y[at], l.low[at], l.high[at]) };
    });
    const last = v => finite(v) ? v : better ? -Infinity : Infinity;
    rows.sort((a, b) => (better ? -1 : 1) * (last(a.value) - last(b.value)) || 0);
    const shown = rows.filter((row, n) => n < 8 || row.l === focused);
    return [{ text: `${xLabel} ${short(x)}` },
      ...shown.map(({ l, text }) => ({ name: l.name, text, look: ownLook(l.i), focus: l === focused }))];
  };
}

// What an untrained model scores: the end of an axis that others are worse than.
const untrained = key => drawing.untrained[key] ?? NaN;

// What training is counted in; a document that has steps alone offers no choice.
const UNITS = {
  steps: 'training step', epochs: 'epochs', samples: 'training samples seen',
  seconds: 'seconds, estimated from ms/step',
};
const counted = entries.some(e => e.per_step);
const unit = () => counted ? picked('unit') : 'steps';
const perStep = (e, name) => name === 'steps' ? 1 : e.per_step?.[name] ?? NaN;

// As the table is first written: whole from 100 on, else three digits; thin spaces in thousands.
function amount(value) {
  if (!finite(value)) return '–';
  return value < 100 ? short(value) : Math.round(value).toLocaleString('en').replaceAll(',', '\u202f');
}

function showTimes() {
  const name = unit();
  $('unit').textContent = name;
  for (const row of document.querySelectorAll('#results tbody tr')) {
    const e = entries[Number(row.dataset.i)], cell = row.querySelector('.target');
    const value = e.to_target ? e.to_target[name] : name === 'steps' ? e.steps_to_target : null;
    cell.textContent = amount(value ?? NaN);
    if (finite(value)) cell.dataset.v = value; else delete cell.dataset.v;
  }
}

function curves() {
  const key = picked('curve'), better = upward(key), weight = smoothing('smoothing');
  $('scale').disabled = !drawing.log.includes(key);
  const label = { train_loss: 'training loss', validation_loss: 'validation loss' }[key] ?? `validation ${alsoOf(key)?.name ?? metric}`;
  return {
    title: `Learning curves: ${label} against ${UNITS[unit()]}`,
    x: { label: UNITS[unit()] },
    close: closeUp('curves'),
    labels: true,
    y: { label, higher: better, log: drawing.log.includes(key) && picked('scale') === 'log', cap: untrained(key) },
    target: key === 'validation_loss' ? data.setting.target_loss : undefined,
    lines: entries.flatMap((e, i) => curveOf(e, key) ? [smooth(line(i, e.curve.steps.map(s => s * perStep(e, unit())), curveOf(e, key)), weight)] : []),
    read: readAll({ steps: 'step', epochs: 'epoch', samples: 'samples', seconds: 'second' }[unit()], better),
  };
}

function sensitivity() {
  const axis = axisOf($('sensitivity-x').value || 'lr');
  const loose = axis.key !== 'lr' || tunedKeys().length > 1;
  return {
    title: `Sensitivity: validation ${metric} against ${axis.label}`,
    points: true,
    x: { label: axis.label, log: axis.log, names: axis.names },
    close: closeUp('sensitivity'),
    y: { label: `validation ${metric}`, higher, cap: untrained('validation_metric') },
    lines: entries.flatMap((e, i) => {
      const all = configurationsOf(e);
      const at = all.map(axis.of);
      const kept = [...all.keys()].filter(j => finite(at[j]) && (!axis.log || at[j] > 0)).sort((a, b) => at[a] - at[b]);
      if (!kept.length) return [];
      const points = kept.map(j => e.sensitivity[j]);
      const part = key => points.map(p => p.validation?.[key]);
      const values = { mean: part('mean'), low: part('low'), high: part('high') };
      const chosen = JSON.stringify(filled(settingsOf(e)));
      const best = kept.findIndex(j => JSON.stringify(all[j]) === chosen);
      return [line(i, kept.map(j => at[j]), values, { best, loose, all: kept.map(j => all[j]), diverged: points.map(p => p.diverged ?? 0) })];
    }),
    read: (l, j) => [
      { name: l.name, text: j === l.best ? 'best' : '', look: ownLook(l.i), focus: true },
      ...Object.entries(l.all[j]).map(([name, v]) => ({ name: name === 'lr' ? 'learning rate' : name, text: isNumber(v) ? short(v) : String(v) })),
      { name: metric, text: band(l.y[j], l.low[j], l.high[j]) },
      { name: 'diverged', text: `${Math.round(100 * l.diverged[j])} %` },
    ],
  };
}

function expected() {
  return {
    title: `Expected best validation ${metric} of k configurations`,
    x: { label: 'configurations tried, k', whole: true },
    close: closeUp('expected'),
    labels: true,
    y: { label: `validation ${metric}`, higher, cap: untrained('validation_metric') },
    lines: entries.flatMap((e, i) => e.expected_best?.length
      ? [line(i, e.expected_best.map((_, k) => k + 1), { mean: e.expected_best })] : []),
    read: readAll('k =', higher),
  };
}

function choose(indices) {
  state.on = new Set(indices);
  for (const chip of $('chips').children) {
    const i = Number(chip.dataset.i), on = state.on.has(i);
    chip.setAttribute('aria-pressed', on);
    chip.querySelector('path').setAttribute('class', on ? ownLook(i) : 'muted');
    chip.classList.remove(colourOf(i));
    if (on) chip.classList.add(colourOf(i));
  }
  for (const row of document.querySelectorAll('#results tbody tr')) {
    const i = Number(row.dataset.i);
    row.querySelector('.sample path').setAttribute('class', state.on.has(i) ? ownLook(i) : `${ownLook(i)} muted`);
  }
  redraw();
}

function follow(node, i) {
  for (const type of ['pointerenter', 'focusin']) node.addEventListener(type, () => shared.focus(i));
  for (const type of ['pointerleave', 'focusout']) node.addEventListener(type, () => shared.focus(null));
}

function buildLegend() {
  const ties = [...entries.keys()].filter(i => entries[i].tied);
  const presets = [[`Top ${TOP}`, [...entries.keys()].slice(0, TOP)], ['Ties for first', ties], ['All', [...entries.keys()]], ['None', []]];
  for (const [name, indices] of presets) {
    html($('presets'), 'button', '', name).addEventListener('click', () => { choose(indices); View.keep(); });
  }
  entries.forEach((entry, i) => {
    const chip = html($('chips'), 'button');
    chip.dataset.i = i;
    sample(chip, '');
    html(chip, 'span', '', entry.name);
    chip.addEventListener('click', () => {
      const next = new Set(state.on);
      if (!next.delete(i)) next.add(i);
      choose(next);
      View.keep();
    });
    follow(chip, i);
  });
  for (const button of document.querySelectorAll('#legend button')) button.type = 'button';
  $('rest').addEventListener('change', redraw);
}

// A part of an address, which may be written in any way.
function decode(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function openMethod() {
  const target = /^#method-\d+$/.test(location.hash) && document.querySelector(location.hash);
  if (target) { target.open = true; target.scrollIntoView(); }
}

// A zoom is of what was drawn: another unit or hyperparameter has another axis.
function forget(event) {
  const chart = event.currentTarget.dataset.chart, { name, id, type } = event.target;
  if (type === 'range') return;
  const { x } = View.zoom(chart);
  View.setZoom(chart, ['unit', `${chart}-range`].includes(name) || id.startsWith('sensitivity') ? {} : { x });
}

if (entries.length) {
  $('charts').hidden = false;
  buildLegend();
  tunedKeys().forEach(key => option($('sensitivity-x'), key, axisOf(key).label));
  $('sensitivity-x').hidden = tunedKeys().length < 2;
  if (counted) {
    $('by').hidden = false;
    document.querySelector(`input[name="unit"][value="${$('unit').textContent}"]`).checked = true;
    $('by').addEventListener('change', showTimes);
  }
  const specs = { curves, sensitivity, expected };
  for (const figure of document.querySelectorAll('figure[data-chart]')) {
    if (!specs[figure.dataset.chart]) continue;
    charts.push(Chart(figure, specs[figure.dataset.chart], shared));
    figure.addEventListener('change', forget);
    figure.addEventListener('change', redraw);
    figure.addEventListener('input', redraw);
  }
  if (entries.some(e => e.sensitivity?.length)) {
    $('parallel').hidden = false;
    charts.push(Parallel($('parallel').querySelector('.plot'), $('parallel-status')));
  }
  sortable($('results'), follow);
  $('pairs').hidden = !data.pairs?.length;
  if (data.pairs?.length) buildPairs($('pairs-of'), $('pairs-table'));
  $('diagnostics').hidden = !runs.list.length;
  if (runs.list.length) charts.push(Diagnostics($('diagnostics')));
  const named = indices => [...indices].sort((a, b) => a - b).map(i => encodeURIComponent(entries[i].name)).join(',');
  View.state('on', () => named(state.on), text => {
    const names = new Set(text.split(',').map(decode));
    choose([...entries.keys()].filter(i => names.has(entries[i].name)));
  });
  choose(state.on);
  if (drawing.importance.length) charts.push(Contour($('contour')));
  View.start(() => { charts.forEach(draw => draw()); showTimes(); });
  if (counted) showTimes();
  charts.forEach(draw => draw());
}
const file = ending => `${data.task ?? 'race'}.${ending}`;
$('download').addEventListener('click', () => save(JSON.stringify({ ...data, run_table: runs }, null, 1), 'application/json', file('json')));
$('download-csv').hidden = !runs.rows.length;
$('download-csv').addEventListener('click', () => save(csv(), 'text/csv', file('csv')));
addEventListener('hashchange', openMethod);
openMethod();
conveniences();
