// Charts on inline SVG: lines with bands or points, names at their ends, a cursor that reads values,
// and zooming by dragging.

const LABEL = 12; // px between the names at the ends of lines

// A line's colour without its dashes, for marks.
const plain = line => line.look.replace(/ ?d\d/, '');

// One chart in a figure. `spec()` is asked what to draw on each draw; `shared` says which lines are
// in colour, hidden or in focus, and is told where the pointer is.
function Chart(figure, spec, shared) {
  const plot = figure.querySelector('.plot'), name = figure.dataset.chart;
  const root = svg(plot, 'svg', { role: 'img', tabindex: 0 });
  const readout = html(plot, 'div', 'readout');
  readout.setAttribute('role', 'status');
  const reset = html(figure.querySelector('figcaption'), 'button', 'reset', 'Reset zoom');
  reset.type = 'button';
  const clip = `clip-${name}`;
  let view = null, overlay = null, at = null, brush = null;

  function draw() {
    const now = spec();
    const lines = now.lines.filter(line => line.on || shared.rest() || line.i === shared.focused());
    const inColour = lines.filter(line => line.on);
    const width = Math.max(260, plot.clientWidth);
    const named = now.labels && width >= 420 && inColour.length <= 40 ? inColour : [];
    const height = Math.round(Math.max(Math.min(360, Math.max(250, width * 0.42)), named.length * LABEL * 0.92 + 60));
    root.replaceChildren();
    root.setAttribute('viewBox', `0 0 ${width} ${height}`);
    root.setAttribute('aria-label', `${now.title}. Arrow keys read values, plus and minus zoom, zero shows all.`);
    const xs = extent(lines.flatMap(line => line.x).filter(v => finite(v) && (!now.x.log || v > 0)));
    const zoom = View.zoom(name), xRange = xs && xAxis(now, xs, zoom.x);
    const range = xRange && yAxis(now, lines, xRange, zoom.y);
    reset.hidden = !zoom.x && !zoom.y;
    view = null;
    if (!range) {
      overlay = null;
      readout.replaceChildren();
      svg(root, 'text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' },
        lines.length || !now.lines.length ? 'No values.' : 'Nothing chosen: pick optimizers above.');
      return;
    }
    const letters = Math.max(0, ...named.map(line => cut(line.name).length));
    const box = { left: 58, right: width - (named.length ? Math.min(0.34 * width, 6.2 * letters + 44) : 12), top: 10, bottom: height - 42 };
    const inset = now.points ? 12 : 0, strip = now.points ? 20 : 0;
    const sx = makeScale(now.x.log, xRange, box.left + inset, box.right - inset);
    const sy = makeScale(now.y.log, range, box.bottom - strip, box.top);
    const floor = box.bottom - 9;
    const clamp = y => Math.min(box.bottom + 2000, Math.max(box.top - 2000, y));
    view = {
      now, lines, box, width, floor, sx, sy, strip,
      px: (line, j) => sx(line.x[j]),
      py: (line, j) => finite(line.y[j]) && (!now.y.log || line.y[j] > 0) ? clamp(sy(line.y[j])) : now.points ? floor : NaN,
      clampY: v => clamp(!now.y.log || v > 0 ? sy(v) : box.bottom),
    };
    drawAxes(now, box, sx, sy, xRange, range, strip, width, height);
    const defs = svg(root, 'defs');
    svg(svg(defs, 'clipPath', { id: clip }), 'rect', { x: box.left, y: box.top - 4, width: box.right - box.left, height: box.bottom - strip - box.top + 4 });
    const marks = svg(root, 'g', { 'clip-path': `url(#${clip})` });
    if (finite(now.target) && now.target >= range[0] && now.target <= range[1]) {
      svg(marks, 'path', { class: 'target', d: `M${box.left} ${sy(now.target)}H${box.right}` });
      svg(marks, 'text', { class: 'target-label', x: box.left + 6, y: sy(now.target) - 5 }, `target ${short(now.target)}`);
    }
    const order = line => line.i === shared.focused() ? 2 : line.on ? 1 : 0;
    const sorted = [...lines].sort((a, b) => order(a) - order(b) || b.i - a.i);
    // More bands than colours would only be fog: then the line in focus alone keeps its band.
    const least = inColour.length > 6 ? 2 : 1;
    if (!now.points) sorted.filter(line => order(line) >= least).forEach(line => drawBand(marks, line));
    sorted.filter(line => line.raw && order(line)).forEach(line => drawLine(marks, { ...line, y: line.raw }, ' raw'));
    sorted.forEach(line => drawLine(marks, line));
    const outside = svg(root, 'g');
    sorted.filter(order).forEach(line => drawOutside(outside, line));
    if (now.points) sorted.filter(order).forEach(drawDiverged);
    drawNames(named);
    overlay = svg(root, 'g');
    drawCursor();
  }

  // All values of x; zoomed, what of them was chosen; close up the second half.
  function xAxis(now, [low, high], wanted) {
    if (low === high) return now.x.log ? [low / 2, low * 2] : [low - 1, low + 1];
    if (wanted) {
      const ends = [Math.max(low, wanted[0]), Math.min(high, wanted[1])];
      if (ends[0] < ends[1]) return ends;
    }
    return now.close && !now.points ? [(low + high) / 2, high] : [low, high];
  }

  function yAxis(now, lines, [from, to], wanted) {
    const inside = line => [...line.x.keys()].filter(j => line.x[j] >= from && line.x[j] <= to);
    const inColour = lines.filter(line => line.on);
    const better = inColour.filter(line => line.i < drawing.ranges.better);
    const held = now.close && inColour.length ? (better.length ? better : inColour) : lines;
    const bands = inColour.length <= 6 && !now.points ? ['y', 'low', 'high'] : ['y'];
    let values = held.flatMap(line => (line.on ? bands : ['y']).flatMap(part => inside(line).map(j => line[part][j] ?? NaN)));
    if (now.close && now.points) {
      values = values.filter(finite).sort((a, b) => now.y.higher ? b - a : a - b);
      values = values.slice(0, Math.max(2, Math.ceil(values.length / 2)));
    }
    const all = yRange(values, now.y);
    if (!all || !wanted) return all;
    // An axis is never zoomed to what holds nothing: values that an address asks for are clamped.
    const least = now.y.log ? Math.max(all[0], wanted[0]) : wanted[0];
    const ends = [Math.max(all[0], least), Math.min(all[1], wanted[1])];
    return ends[0] < ends[1] ? ends : all;
  }

  function drawAxes(now, box, sx, sy, xRange, range, strip, width, height) {
    const yTicks = now.y.log ? logTicks(range, 6) : linearTicks(range, 5);
    for (const [value, label] of yTicks) {
      svg(root, 'path', { class: 'grid', d: `M${box.left} ${sy(value)}H${box.right}` });
      svg(root, 'text', { x: box.left - 7, y: sy(value) + 4, 'text-anchor': 'end' }, label);
    }
    const room = Math.max(3, Math.floor((box.right - box.left) / 75));
    const xTicks = now.x.names ? now.x.names.map((word, k) => [k, word]) : now.x.log ? logTicks(xRange, 1.6 * room) : linearTicks(xRange, room);
    for (const [value, label] of xTicks) {
      if (now.x.whole && !Number.isInteger(Number(value.toFixed(6)))) continue;
      if (value < xRange[0] - 1e-9 || value > xRange[1] * (1 + 1e-9) + 1e-9) continue;
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
    if (!line.low || !line.high || line.raw) return;
    const known = line.x.map((_, j) => j).filter(j => finite(line.low[j]) && finite(line.high[j]));
    if (known.length < 2) return;
    const edge = (values, js) => js.map(j => `${view.px(line, j).toFixed(1)} ${view.clampY(values[j]).toFixed(1)}`);
    const d = `M${edge(line.high, known).join('L')}L${edge(line.low, known.reverse()).join('L')}Z`;
    svg(parent, 'path', { class: `band ${line.look}`, d });
  }

  function drawLine(parent, line, kind = '') {
    let d = '', pen = 'M';
    line.x.forEach((_, j) => {
      const y = finite(line.y[j]) ? view.py(line, j) : NaN;
      if (finite(y)) { d += `${pen}${view.px(line, j).toFixed(1)} ${y.toFixed(1)}`; pen = 'L'; } else pen = 'M';
    });
    const look = line.look + (line.i === shared.focused() ? ' focus' : '');
    if (d && !line.loose) svg(parent, 'path', { class: `${kind ? 'raw' : 'line'} ${look}`, d });
    if (!kind && view.now.points && (line.on || line.i === shared.focused())) drawPoints(parent, line);
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

  // A triangle at the edge where a line leaves the chart.
  function drawOutside(parent, line) {
    const { box, strip } = view, bottom = box.bottom - strip;
    let inside = true;
    line.x.forEach((_, j) => {
      const x = view.px(line, j), y = finite(line.y[j]) ? view.py(line, j) : NaN;
      if (!finite(y) || x < box.left - 1 || x > box.right + 1) return;
      const out = y < box.top - 1 ? -1 : y > bottom + 1 ? 1 : 0;
      if (out && (inside || view.now.points)) {
        svg(parent, 'path', { class: `outside ${plain(line)}`, d: `M${(x - 4).toFixed(1)} ${out > 0 ? bottom - 6 : box.top + 6}h8l-4 ${6 * out}z` });
      }
      inside = !out;
    });
  }

  function drawDiverged(line) {
    line.x.forEach((_, j) => {
      const x = view.px(line, j);
      if (finite(line.y[j]) || !finite(x) || x < view.box.left || x > view.box.right) return;
      svg(root, 'path', { class: `cross ${plain(line)}`, d: `M${x - 3} ${view.floor - 3}l6 6m0-6l-6 6` });
    });
  }

  const cut = text => text.length > 22 ? `${text.slice(0, 21)}…` : text;

  // The names of the lines in colour at their ends, joined to them by a stroke of the line.
  function drawNames(named) {
    const { box, sx, lines } = view;
    const tails = named.filter(line => lines.includes(line)).flatMap(line => {
      const j = line.x.findLastIndex((x, k) => finite(view.py(line, k)) && sx(x) <= box.right + 0.5);
      return j < 0 ? [] : [{ line, x: sx(line.x[j]), y: view.py(line, j) }];
    });
    const wanted = tails.map(tail => Math.min(box.bottom, Math.max(box.top, tail.y)));
    spread(wanted, LABEL, box.top, box.bottom).forEach((y, k) => {
      const { line, x, y: end } = tails[k];
      const out = end < box.top - 1 ? ' ↑' : end > box.bottom + 1 ? ' ↓' : '';
      const focus = line.i === shared.focused() ? ' focus' : '';
      svg(root, 'path', { class: `leader ${line.look}${focus}`, d: `M${Math.max(x, box.right - 2).toFixed(1)} ${wanted[k].toFixed(1)}L${box.right + 8} ${y.toFixed(1)}H${box.right + 26}` });
      const label = svg(root, 'text', { class: `end ${plain(line)}${focus}`, x: box.right + 30, y: y + 3.5 }, cut(line.name) + out);
      svg(label, 'title', {}, line.name);
    });
  }

  function drawCursor() {
    overlay?.replaceChildren();
    readout.replaceChildren();
    if (brush?.box) return void svg(overlay, 'rect', { class: 'zoom', ...brush.box });
    const line = view && at && view.lines.find(l => l.i === at.i);
    if (!line || at.j >= line.x.length) return;
    const x = view.px(line, at.j), y = view.py(line, at.j);
    if (x < view.box.left - 1 || x > view.box.right + 1) return;
    if (!view.now.points) svg(overlay, 'path', { class: 'cursor', d: `M${x} ${view.box.top}V${view.box.bottom}` });
    if (finite(y) && y >= view.box.top - 4 && y <= view.box.bottom) {
      svg(overlay, 'circle', { class: `ring ${plain(line)}`, cx: x, cy: y, r: 5 });
    }
    for (const { text, look, name: label, focus } of view.now.read(line, at.j, view.lines)) {
      const row = html(readout, 'p', focus ? 'focus' : '');
      if (look) sample(row, look);
      if (label !== undefined) html(row, 'span', '', label);
      html(row, label === undefined ? 'span' : 'em', '', text);
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

  function read({ x, y }) {
    at = nearest(x, y);
    shared.focus(at && at.away < 24 ? at.i : null);
    drawCursor();
  }

  function leave() {
    at = null;
    shared.focus(null);
    drawCursor();
  }

  function zoomTo(zoom) {
    View.setZoom(name, zoom);
    draw();
  }

  // Narrower or wider by a factor, about the value that is read or the middle.
  function zoomBy(factor) {
    const { box, sx } = view, inset = view.now.points ? 12 : 0;
    const line = at && view.lines.find(l => l.i === at.i);
    const middle = line && at.j < line.x.length ? view.px(line, at.j) : (box.left + box.right) / 2;
    const ends = [box.left + inset, box.right - inset].map(p => sx.invert(middle + (p - middle) * factor));
    if (ends[0] < ends[1]) zoomTo({ ...View.zoom(name), x: ends });
  }

  function key(event) {
    const inColour = view ? view.lines.filter(l => l.on) : [];
    if (event.key === 'Escape') return leave();
    if (event.key === '0') return zoomTo({});
    if (view && (event.key === '+' || event.key === '=')) return zoomBy(0.6);
    if (view && event.key === '-') return zoomBy(1 / 0.6);
    if (!inColour.length || !/^(Arrow|Home|End)/.test(event.key)) return undefined;
    event.preventDefault();
    let n = Math.max(0, inColour.findIndex(l => l.i === at?.i));
    if (event.key === 'ArrowUp') n = Math.max(0, n - 1);
    if (event.key === 'ArrowDown') n = Math.min(inColour.length - 1, n + 1);
    const line = inColour[n];
    const shown = [...line.x.keys()].filter(j => view.px(line, j) >= view.box.left - 1 && view.px(line, j) <= view.box.right + 1);
    if (!shown.length) return undefined;
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    const j = (at?.j ?? shown[0]) + (at ? steps[event.key] ?? 0 : 0);
    at = { i: line.i, j: Math.min(shown.at(-1), Math.max(shown[0], j)) };
    shared.focus(at.i);
    return drawCursor();
  }

  Brush(root, {
    place(event) {
      const frame = root.getBoundingClientRect(), k = (view?.width ?? 1) / frame.width;
      return { x: (event.clientX - frame.left) * k, y: (event.clientY - frame.top) * k };
    },
    ready: () => view !== null && !view.now.x.names,
    read: place => { if (view) read(place); },
    leave,
    show(from, to, tall) {
      const { box, strip } = view, bottom = box.bottom - strip;
      const within = (v, low, high) => Math.min(high, Math.max(low, v));
      const x = [from.x, to.x].map(v => within(v, box.left, box.right)).sort((a, b) => a - b);
      const y = tall ? [from.y, to.y].map(v => within(v, box.top, bottom)).sort((a, b) => a - b) : [box.top, bottom];
      brush = { x, y, tall, box: { x: x[0], y: y[0], width: x[1] - x[0], height: y[1] - y[0] } };
      drawCursor();
    },
    choose() {
      const { x, y, tall } = brush;
      brush = null;
      if (x[1] - x[0] < 8) return drawCursor();
      return zoomTo({ x: x.map(view.sx.invert), ...tall && y[1] - y[0] > 8 ? { y: [...y].reverse().map(view.sy.invert) } : {} });
    },
    cancel() { brush = null; drawCursor(); },
  });
  root.addEventListener('dblclick', () => zoomTo({}));
  reset.addEventListener('click', () => { zoomTo({}); root.focus(); });
  root.addEventListener('keydown', key);
  root.addEventListener('blur', leave);
  let drawnAt = 0;
  new ResizeObserver(() => {
    if (Math.abs(plot.clientWidth - drawnAt) > 1) { drawnAt = plot.clientWidth; draw(); }
  }).observe(plot);
  return draw;
}
