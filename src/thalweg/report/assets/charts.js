'use strict';
// Charts on inline SVG: scales, ticks, lines with bands or points, and a cursor that reads values.

const NS = document.querySelector('svg').namespaceURI;
const finite = Number.isFinite;

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
  return v => from + (map(v) - a) * k;
}

function linearTicks([low, high], n) {
  const raw = (high - low) / n, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(m => m * power >= raw * 0.999);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-6); k * step <= high + step * 1e-6; k++) {
    ticks.push([k * step, (k * step).toFixed(decimals).replace(/^-/, '−')]);
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

// The y range: all that is drawn, save what is worse than the untrained model (`cap`); or, close
// up, the best `close` share of the lines in colour.
function yRange(lines, { higher, log, close, cap }) {
  const usable = v => finite(v) && (!log || v > 0);
  const inColour = lines.filter(line => line.on);
  let values = (close && inColour.length ? inColour : lines).flatMap(line => line.y).filter(usable);
  if (!values.length) return null;
  values.sort((a, b) => higher ? b - a : a - b);
  if (close) values = values.slice(0, Math.max(2, Math.ceil(values.length * close)));
  let low = Math.min(values[0], values.at(-1)), high = Math.max(values[0], values.at(-1));
  if (usable(cap) && higher && cap < high) low = Math.max(low, cap);
  if (usable(cap) && !higher && cap > low) high = Math.min(high, cap);
  if (log) {
    const margin = (high / low) ** 0.05 * (high === low ? 1.1 : 1);
    return [low / margin, high * margin];
  }
  const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
}

// A line's colour without its dashes, for marks.
const plain = line => line.look.replace(/ ?d\d/, '');

// One chart in a figure. `spec()` is asked what to draw on each draw; `shared` says which lines are
// in colour, hidden or in focus, and is told where the pointer is.
function Chart(figure, spec, shared) {
  const plot = figure.querySelector('.plot');
  const root = svg(plot, 'svg', { role: 'img', tabindex: 0 });
  const readout = html(plot, 'div', 'readout');
  readout.setAttribute('role', 'status');
  const clip = `clip-${figure.dataset.chart}`;
  let view = null, overlay = null, at = null;

  function draw() {
    const now = spec();
    const width = Math.max(260, plot.clientWidth);
    const height = Math.round(Math.min(360, Math.max(250, width * 0.42)));
    root.replaceChildren();
    root.setAttribute('viewBox', `0 0 ${width} ${height}`);
    root.setAttribute('aria-label', `${now.title}. Arrow keys read values.`);
    const lines = now.lines.filter(line => line.on || shared.rest() || line.i === shared.focused());
    const xs = lines.flatMap(line => line.x).filter(v => finite(v) && (!now.x.log || v > 0));
    const range = yRange(lines, now.y);
    view = null;
    if (!xs.length || !range) {
      svg(root, 'text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' },
        lines.length || !now.lines.length ? 'No values.' : 'Nothing chosen: pick optimizers above.');
      return;
    }
    const box = { left: 58, right: width - 12, top: 10, bottom: height - 42 };
    let xRange = xs.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    if (xRange[0] === xRange[1]) xRange = now.x.log ? [xRange[0] / 2, xRange[0] * 2] : [xRange[0] - 1, xRange[0] + 1];
    const inset = now.points ? 12 : 0, strip = now.points ? 20 : 0;
    const sx = makeScale(now.x.log, xRange, box.left + inset, box.right - inset);
    const sy = makeScale(now.y.log, range, box.bottom - strip, box.top);
    const floor = box.bottom - 9;
    view = {
      now, lines, box, width, floor,
      px: (line, j) => sx(line.x[j]),
      py: (line, j) => finite(line.y[j]) && (!now.y.log || line.y[j] > 0) ? clamp(sy(line.y[j])) : now.points ? floor : NaN,
      clampY: v => clamp(!now.y.log || v > 0 ? sy(v) : box.bottom),
    };
    function clamp(y) { return Math.min(box.bottom + 2000, Math.max(box.top - 2000, y)); }
    drawAxes(now, box, sx, sy, xRange, range, strip, width, height);
    const defs = svg(root, 'defs');
    svg(svg(defs, 'clipPath', { id: clip }), 'rect', { x: box.left, y: box.top - 4, width: box.right - box.left, height: box.bottom - strip - box.top + 4 });
    const marks = svg(root, 'g', { 'clip-path': `url(#${clip})` });
    if (finite(now.target)) {
      svg(marks, 'path', { class: 'target', d: `M${box.left} ${sy(now.target)}H${box.right}` });
      svg(marks, 'text', { class: 'target-label', x: box.right - 4, y: sy(now.target) - 5, 'text-anchor': 'end' }, `target ${short(now.target)}`);
    }
    const order = line => line.i === shared.focused() ? 2 : line.on ? 1 : 0;
    const sorted = [...lines].sort((a, b) => order(a) - order(b) || b.i - a.i);
    // More bands than colours would only be fog: then the line in focus alone keeps its band.
    const least = lines.filter(line => line.on).length > 6 ? 2 : 1;
    if (!now.points) sorted.filter(line => order(line) >= least).forEach(line => drawBand(marks, line));
    sorted.forEach(line => drawLine(marks, line));
    if (now.points) sorted.filter(order).forEach(drawDiverged);
    overlay = svg(root, 'g');
    drawCursor();
  }

  function drawAxes(now, box, sx, sy, xRange, range, strip, width, height) {
    const yTicks = now.y.log ? logTicks(range, 6) : linearTicks(range, 5);
    for (const [value, label] of yTicks) {
      svg(root, 'path', { class: 'grid', d: `M${box.left} ${sy(value)}H${box.right}` });
      svg(root, 'text', { x: box.left - 7, y: sy(value) + 4, 'text-anchor': 'end' }, label);
    }
    const room = Math.max(3, Math.floor(width / 75));
    const xTicks = now.x.names ? now.x.names.map((name, k) => [k, name]) : now.x.log ? logTicks(xRange, 1.6 * room) : linearTicks(xRange, room);
    for (const [value, label] of xTicks) {
      if (now.x.whole && !Number.isInteger(Number(value.toFixed(6)))) continue;
      svg(root, 'path', { class: 'axis', d: `M${sx(value)} ${box.bottom}v4` });
      svg(root, 'text', { x: sx(value), y: box.bottom + 17, 'text-anchor': 'middle' }, label);
    }
    svg(root, 'path', { class: 'axis', d: `M${box.left} ${box.bottom}H${box.right}` });
    if (strip) {
      svg(root, 'path', { class: 'grid', d: `M${box.left} ${box.bottom - strip + 2}H${box.right}` });
      svg(root, 'text', { x: box.left - 7, y: box.bottom - 5, 'text-anchor': 'end' }, 'diverged');
    }
    svg(root, 'text', { class: 'label', x: (box.left + box.right) / 2, y: height - 6, 'text-anchor': 'middle' }, now.x.label);
    svg(root, 'text', { class: 'label', transform: `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle' }, now.y.label);
  }

  function drawBand(parent, line) {
    if (!line.low || !line.high) return;
    const known = line.x.map((_, j) => j).filter(j => finite(line.low[j]) && finite(line.high[j]));
    if (known.length < 2) return;
    const edge = (values, js) => js.map(j => `${view.px(line, j).toFixed(1)} ${view.clampY(values[j]).toFixed(1)}`);
    const d = `M${edge(line.high, known).join('L')}L${edge(line.low, known.reverse()).join('L')}Z`;
    svg(parent, 'path', { class: `band ${line.look}`, d });
  }

  function drawLine(parent, line) {
    let d = '', pen = 'M';
    line.x.forEach((_, j) => {
      const y = finite(line.y[j]) ? view.py(line, j) : NaN;
      if (finite(y)) { d += `${pen}${view.px(line, j).toFixed(1)} ${y.toFixed(1)}`; pen = 'L'; } else pen = 'M';
    });
    const look = line.look + (line.i === shared.focused() ? ' focus' : '');
    if (d && !line.loose) svg(parent, 'path', { class: `line ${look}`, d });
    if (view.now.points && (line.on || line.i === shared.focused())) drawPoints(parent, line);
  }

  function drawPoints(parent, line) {
    const colour = plain(line);
    line.x.forEach((_, j) => {
      if (!finite(line.y[j])) return;
      const x = view.px(line, j), y = view.py(line, j);
      if (finite(line.low[j]) && finite(line.high[j])) {
        svg(parent, 'path', { class: `whisker ${colour}`, d: `M${x} ${view.clampY(line.low[j])}V${view.clampY(line.high[j])}` });
      }
      svg(parent, 'circle', { class: `dot ${colour}${line.diverged[j] > 0 ? ' hollow' : ''}`, cx: x, cy: y, r: 3.2 });
      if (j === line.best) svg(parent, 'circle', { class: `ring ${colour}`, cx: x, cy: y, r: 6.5 });
    });
  }

  function drawDiverged(line) {
    line.x.forEach((_, j) => {
      if (finite(line.y[j]) || !finite(line.x[j])) return;
      const d = `M${view.px(line, j) - 3} ${view.floor - 3}l6 6m0-6l-6 6`;
      svg(root, 'path', { class: `cross ${plain(line)}`, d });
    });
  }

  function drawCursor() {
    overlay?.replaceChildren();
    readout.replaceChildren();
    const line = view && at && view.lines.find(l => l.i === at.i);
    if (!line || at.j >= line.x.length) return;
    const x = view.px(line, at.j), y = view.py(line, at.j);
    if (!view.now.points) svg(overlay, 'path', { class: 'cursor', d: `M${x} ${view.box.top}V${view.box.bottom}` });
    if (finite(y) && y >= view.box.top - 4 && y <= view.box.bottom) {
      svg(overlay, 'circle', { class: `ring ${plain(line)}`, cx: x, cy: y, r: 5 });
    }
    for (const { text, look, name, focus } of view.now.read(line, at.j, view.lines)) {
      const row = html(readout, 'p', focus ? 'focus' : '');
      if (look) html(row, 'i', `swatch ${look}`);
      if (name !== undefined) html(row, 'span', '', name);
      html(row, name === undefined ? 'span' : 'em', '', text);
    }
    const leftHalf = x < view.width / 2;
    readout.style.left = leftHalf ? `${x + 14}px` : 'auto';
    readout.style.right = leftHalf ? 'auto' : `${view.width - x + 14}px`;
    const upperHalf = y < (view.box.top + view.box.bottom) / 2;
    readout.style.top = upperHalf ? 'auto' : '6px';
    readout.style.bottom = upperHalf ? '50px' : 'auto';
  }

  function nearest(px, py) {
    let found = null;
    for (const line of view.lines) {
      let own = null;
      line.x.forEach((_, j) => {
        const dx = view.px(line, j) - px, dy = view.py(line, j) - py;
        if (!finite(dx) || !finite(dy)) return;
        const along = view.now.points ? Math.hypot(dx, dy) : Math.abs(dx);
        if (!own || along < own.along) own = { i: line.i, j, along, away: view.now.points ? along : Math.abs(dy) };
      });
      // A grey line is read only when the pointer is on it: the coloured ones are the subject.
      if (own && (line.on || own.away < 8) && (!found || own.away < found.away)) found = own;
    }
    return found;
  }

  function point(event) {
    if (!view) return;
    const frame = root.getBoundingClientRect(), k = view.width / frame.width;
    at = nearest((event.clientX - frame.left) * k, (event.clientY - frame.top) * k);
    shared.focus(at && at.away < 24 ? at.i : null);
    drawCursor();
  }

  function leave() {
    at = null;
    shared.focus(null);
    drawCursor();
  }

  function key(event) {
    const inColour = view ? view.lines.filter(l => l.on) : [];
    if (event.key === 'Escape') return leave();
    if (!inColour.length || !/^(Arrow|Home|End)/.test(event.key)) return undefined;
    event.preventDefault();
    let n = Math.max(0, inColour.findIndex(l => l.i === at?.i));
    if (event.key === 'ArrowUp') n = Math.max(0, n - 1);
    if (event.key === 'ArrowDown') n = Math.min(inColour.length - 1, n + 1);
    const last = inColour[n].x.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    at = { i: inColour[n].i, j: Math.min(last, Math.max(0, (at?.j ?? 0) + (at ? steps[event.key] ?? 0 : 0))) };
    shared.focus(at.i);
    return drawCursor();
  }

  plot.addEventListener('pointermove', point);
  plot.addEventListener('pointerdown', point);
  plot.addEventListener('pointerleave', leave);
  root.addEventListener('keydown', key);
  root.addEventListener('blur', leave);
  let drawnAt = 0;
  new ResizeObserver(() => {
    if (Math.abs(plot.clientWidth - drawnAt) > 1) { drawnAt = plot.clientWidth; draw(); }
  }).observe(plot);
  return draw;
}
