'use strict';
// Numbers as text, scales, ticks, the range of an axis, and places for labels.

const NS = document.querySelector('svg').namespaceURI;
const finite = Number.isFinite;
const drawing = JSON.parse(document.getElementById('drawing').textContent);
const $ = id => document.getElementById(id);

function svg(parent, tag, attributes, text) {
  const node = document.createElementNS(NS, tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

function html(parent, tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// A short stroke of a line, as in a legend.
function sample(parent, look) {
  const node = svg(parent, 'svg', { class: 'sample', viewBox: '0 0 22 8', width: 22, height: 8, 'aria-hidden': 'true' });
  return svg(node, 'path', { d: 'M0 4H22', class: look });
}

// Four significant digits that keep their zeros, so that a list of values lines up.
function show(value) {
  if (!finite(value)) return '–';
  const size = Math.abs(value);
  const text = size && (size < 1e-3 || size >= 1e6) ? value.toExponential(2) : value.toPrecision(4);
  return text.replace(/^-/, '−');
}

// As short as three digits allow: learning rates, step numbers.
function short(value) {
  const size = Math.abs(value);
  return size && size < 1e-3 ? value.toExponential(2).replace(/\.?0+e/, 'e')
    : String(size < 1000 ? Number(value.toPrecision(3)) : Math.round(value));
}

function makeScale(log, [low, high], from, to) {
  const map = log ? Math.log10 : v => v;
  const a = map(low), k = (to - from) / (map(high) - a || 1);
  const scale = v => from + (map(v) - a) * k;
  scale.invert = p => log ? 10 ** (a + (p - from) / k) : a + (p - from) / k;
  return scale;
}

function linearTicks([low, high], n) {
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(m => m * power >= raw * 0.999);
  const decimals = Math.min(12, Math.max(0, -Math.floor(Math.log10(step) + 1e-9)));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-6); k * step <= high + step * 1e-6 && ticks.length < 50; k++) {
    ticks.push([k * step, Math.abs(step) >= 1e7 ? (k * step).toExponential(1) : (k * step).toFixed(decimals).replace(/^-/, '−')]);
  }
  return ticks;
}

function logTicks([low, high], n) {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return linearTicks([low, high], n);
  const stride = Math.ceil(decades / n), ticks = [];
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const powers = first < -3 || last > 4;
  for (let e = first; e <= last; e++) {
    for (const m of decades < 2.5 ? [1, 2, 5] : [1]) {
      const value = m * 10 ** e;
      if (value < low * 0.999 || value > high * 1.001 || (e - first) % stride) continue;
      ticks.push([value, powers && m === 1 ? `10${superscript(e)}` : short(value)]);
    }
  }
  return ticks;
}

function superscript(n) {
  return String(n).replace(/./g, c => c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[c]);
}

// The least and the greatest of some numbers; of millions, too many for the arguments of a call.
function extent(values) {
  let low = Infinity, high = -Infinity;
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  return low <= high ? [low, high] : null;
}

// The y range of some values: all of them, save those much worse than an untrained model (`cap`);
// as `ranges.shown` for the figures in files.
function yRange(values, { higher, log, cap }) {
  const usable = v => finite(v) && (!log || v > 0);
  const map = log ? Math.log : v => v;
  const known = values.filter(usable), ends = extent(known);
  if (!ends) return null;
  let [low, high] = ends.map(map);
  // Where most of it is worse than no training at all, that is what there is to see.
  const worse = usable(cap) ? known.filter(v => higher ? v < cap : v > cap).length : 0;
  if (usable(cap) && 2 * worse <= known.length) {
    const bound = map(cap), { beyond } = drawing.ranges;
    if (higher && bound < high) low = Math.max(low, bound - beyond * (high - bound));
    if (!higher && bound > low) high = Math.min(high, bound + beyond * (bound - low));
  }
  const margin = drawing.ranges.margin * (high - low) || (log ? 0.1 : 0.05 * Math.abs(high) || 1);
  return [low - margin, high + margin].map(log ? Math.exp : v => v);
}

// Places for labels near where they are wanted and `gap` apart; as `ranges.spread`.
function spread(wanted, gap, low, high) {
  const n = wanted.length, places = new Array(n);
  if (n > 1) gap = Math.min(gap, (high - low) / (n - 1));
  const within = (v, size) => Math.min(Math.max(v, low), high - gap * (size - 1));
  const blocks = [];
  for (const k of [...wanted.keys()].sort((a, b) => wanted[a] - wanted[b])) {
    let block = { members: [k], start: within(wanted[k], 1) };
    while (blocks.length && blocks.at(-1).start + gap * blocks.at(-1).members.length > block.start) {
      const members = [...blocks.pop().members, ...block.members];
      const mean = members.reduce((sum, m, j) => sum + wanted[m] - gap * j, 0) / members.length;
      block = { members, start: within(mean, members.length) };
    }
    blocks.push(block);
  }
  for (const { members, start } of blocks) members.forEach((m, j) => { places[m] = start + gap * j; });
  return places;
}

// A curve smoothed by an exponential mean whose start is not drawn towards zero.
function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0, total = 0;
  return values.map(v => {
    if (!finite(v)) return v;
    sum = weight * sum + (1 - weight) * v;
    total = weight * total + (1 - weight);
    return sum / total;
  });
}
