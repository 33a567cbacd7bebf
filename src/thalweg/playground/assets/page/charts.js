// Loss and distance against the step.

const MARGIN = {left: 46, right: 10, top: 8, bottom: 22};

function drawCharts(now) {
  const {surface, paths} = now;
  const floor = surface.lowest;
  const log = floor !== null;
  drawChart('loss', now, log, () => paths.map(({name, path}) => ({
    name,
    values: log ? path.losses.map((value) => value - floor) : path.losses,
  })));
  const known = surface.minima.length > 0;
  element('far').hidden = !known;
  if (!known) return;
  drawChart('distance', now, true, () => paths.map(({name, path}) => ({
    name,
    values: Float64Array.from({length: path.steps + 1}, (_, k) => distance(surface, path.points[2 * k], path.points[2 * k + 1])),
  })));
}

// The ends of the axis of values: without what is not finite, at most 14 decades, and no farther up
// than a few times the first values, so that one path that diverges does not flatten the others.
function spanOf(lines, log) {
  let low = Infinity;
  let high = -Infinity;
  const first = Math.max(...lines.map(({values}) => values[0]));
  const cap = log ? Math.max(first, 1e-12) * 1e3 : Infinity;
  for (const {values} of lines) {
    for (const value of values) {
      if (!Number.isFinite(value) || value > cap || (log && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (low > high) return log ? [1e-3, 1] : [0, 1];
  if (log) return [Math.max(low, high * 1e-14) * 0.8, high * 1.25];
  const margin = 0.05 * (high - low) || 1;
  return [low - margin, high + margin];
}

// A chart with a line at the present step. All else of it stays while the paths play.
const charts = {};
function drawChart(id, now, log, values) {
  const on = pen(element(id));
  if (!on) return;
  const {context, width, height} = on;
  const key = [now.key, now.active, now.state.lang].join();
  context.clearRect(0, 0, width, height);
  charts[id] = keep(charts[id], key, on, (inside) => drawLines(inside, width, height, values(), log, now));
  const x = MARGIN.left + now.state.step * (width - MARGIN.left - MARGIN.right) / now.state.steps;
  context.strokeStyle = colour('accent');
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, MARGIN.top);
  context.lineTo(x, height - MARGIN.bottom);
  context.stroke();
}

function drawLines(context, width, height, lines, log, {state, active}) {
  const [low, high] = spanOf(lines, log);
  const scale = log ? Math.log10 : (value) => value;
  const up = (height - MARGIN.top - MARGIN.bottom) / (scale(high) - scale(low));
  const along = (width - MARGIN.left - MARGIN.right) / state.steps;
  const px = (k) => MARGIN.left + k * along;
  const py = (value) => height - MARGIN.bottom - (scale(Math.max(value, log ? low : -Infinity)) - scale(low)) * up;
  axes(context, {low, high, log, width, height, px, py, steps: state.steps});
  context.beginPath();
  context.rect(MARGIN.left, MARGIN.top - 2, width - MARGIN.left - MARGIN.right + 4, height - MARGIN.top - MARGIN.bottom + 4);
  context.clip();
  for (const {name, values} of [...lines].sort((a, b) => (a.name === active) - (b.name === active))) {
    const {ink, dash} = look(name);
    context.lineWidth = name === active ? 2.6 : 1.8;
    context.strokeStyle = ink;
    context.setLineDash(dash.map((one) => context.lineWidth * one));
    context.beginPath();
    for (let k = 0; k < values.length; k++) if (!Number.isNaN(values[k])) context.lineTo(px(k), Math.max(-1e4, py(Math.min(values[k], 1e300))));
    context.stroke();
  }
}

function axes(context, {low, high, log, width, height, px, py, steps}) {
  context.strokeStyle = colour('line');
  context.fillStyle = colour('soft');
  context.lineWidth = 1;
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const value of log ? decades(low, high) : round(low, high, 5)) {
    const y = Math.round(py(value)) + 0.5;
    context.beginPath();
    context.moveTo(MARGIN.left, y);
    context.lineTo(width - MARGIN.right, y);
    context.stroke();
    context.fillText(figure(value, 3), MARGIN.left - 5, y);
  }
  context.textBaseline = 'top';
  for (const step of round(0, steps, 5).filter(Number.isInteger)) {
    context.textAlign = step === steps ? 'right' : 'center';
    context.fillText(step, px(step), height - MARGIN.bottom + 6);
  }
  context.textAlign = 'left';
  context.textBaseline = 'alphabetic';
}

function decades(low, high) {
  const [from, to] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  if (to - from < 1) return round(low, high, 4).filter((value) => value > 0);
  const every = Math.ceil((to - from) / 5);
  return Array.from({length: to - from + 1}, (_, k) => from + k).filter((k) => (to - k) % every === 0).map((k) => 10 ** k);
}

// About so many round numbers between two ends.
function round(low, high, count) {
  const raw = (high - low) / count;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((one) => one * unit >= raw);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

// What the charts show, in words, for those who do not see them.
function describeCharts({paths, state, surface}) {
  const words = (of) => paths.map(({name, path}) => {
    const {x, y, loss} = at(path, state.step);
    return `${name} ${figure(of === 'loss' ? loss : distance(surface, x, y))}`;
  }).join(', ');
  for (const key of ['loss', 'distance']) {
    element(key).setAttribute('aria-label', `${say(key)}, ${say('step')} ${state.step}: ${words(key)}`);
  }
}
