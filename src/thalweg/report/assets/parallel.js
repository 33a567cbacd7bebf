// Configurations as parallel coordinates; a part of an axis chooses those that pass there.

function Parallel(host, status) {
  const axes = [...tunedKeys().map(axisOf), { key: '', label: `validation ${metric}`, score: true }];
  const rows = entries.flatMap((e, i) => (e.sensitivity ?? []).map((p, j) => ({
    i, name: e.name, score: p.validation?.mean ?? NaN, place: p.preference ?? Infinity, stopped: p.stopped_at, c: configurationsOf(e)[j],
  })));
  const value = (axis, row) => axis.score ? row.score : axis.of(row.c);
  const start = untrained('validation_metric');
  for (const axis of axes) {
    let known = rows.map(row => value(axis, row)).filter(v => finite(v) && (!axis.log || v > 0));
    // What is worse than no training at all would flatten the rest.
    if (axis.score && finite(start)) known = known.filter(v => higher ? v >= start : v <= start);
    if (!known.length) known = [0, 1];
    axis.range = extent(known);
    if (axis.names) axis.range = [0, Math.max(1, axis.names.length - 1)];
    if (axis.range[0] === axis.range[1]) axis.range[1] = axis.range[0] * 1.1 || 1;
    axis.brush = null;
  }
  const root = svg(host, 'svg', { role: 'group', 'aria-label': 'Parallel coordinates of the configurations' });

  function draw() {
    const narrow = host.clientWidth < 560;
    const width = Math.max(260, host.clientWidth), height = narrow ? Math.max(240, 78 * axes.length) : 320;
    // On a narrow page the axes lie under each other, so that their names can be read.
    const [from, to] = narrow ? [24, width - 24] : [height - 34, 34];
    const across = k => narrow ? 34 + k * (height - 68) / Math.max(1, axes.length - 1) : 60 + k * (width - 120) / Math.max(1, axes.length - 1);
    axes.forEach((axis, k) => {
      const scale = makeScale(axis.log, axis.range, from, to);
      const [low, high] = [Math.min(from, to), Math.max(from, to)];
      axis.at = v => finite(v) && (!axis.log || v > 0) ? Math.min(high + 8, Math.max(low - 8, scale(v))) : NaN;
      axis.across = across(k);
      axis.ends = [from, to];
    });
    root.replaceChildren();
    root.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const inside = row => axes.every(axis => {
      const p = axis.at(value(axis, row));
      return !axis.brush || (p >= Math.min(...axis.brush) && p <= Math.max(...axis.brush));
    });
    const chosen = rows.filter(row => state.on.has(row.i) && inside(row));
    const drawn = row => {
      let d = '', pen = 'M';
      for (const axis of axes) {
        const p = axis.at(value(axis, row));
        if (!finite(p)) continue; // a hyperparameter that this optimizer does not have
        d += `${pen}${narrow ? `${p.toFixed(1)} ${axis.across}` : `${axis.across} ${p.toFixed(1)}`}`;
        pen = 'L';
      }
      return d;
    };
    const lines = svg(root, 'g', { class: 'threads' });
    if (shared.rest()) rows.filter(row => !chosen.includes(row)).forEach(row => svg(lines, 'path', { class: 'thread muted', d: drawn(row) }));
    for (const row of chosen) {
      const node = svg(lines, 'path', { class: `thread ${ownLook(row.i)}${state.focus === row.i ? ' focus' : ''}`, d: drawn(row) });
      svg(node, 'title', {}, `${row.name}: ${Object.entries(row.c).map(([k, v]) => `${k} ${isNumber(v) ? short(v) : v}`).join(', ')}; ${metric} ${show(row.score)}`);
    }
    axes.forEach(axis => drawAxis(axis, narrow));
    // The race's own order of preference; by score alone in documents that have none.
    const better = (a, b) => (a.place === b.place ? (higher ? -1 : 1) * (a.score - b.score) : a.place - b.place);
    const best = chosen.filter(row => finite(row.score)).sort(better)[0];
    status.textContent = `${chosen.length} of ${rows.length} configurations` + (best ? `; the best of them: ${best.name}, ${Object.entries(best.c).map(([k, v]) => `${k} ${isNumber(v) ? short(v) : v}`).join(', ')}, ${metric} ${show(best.score)}` : '');
  }

  function drawAxis(axis, narrow) {
    const [from, to] = axis.ends, low = Math.min(from, to), span = Math.abs(to - from);
    const line = narrow ? `M${low} ${axis.across}h${span}` : `M${axis.across} ${low}v${span}`;
    svg(root, 'path', { class: 'axis', d: line });
    const ticks = axis.names ? axis.names.map((name, k) => [k, name])
      : axis.log ? logTicks(axis.range, 5) : linearTicks(axis.range, 5);
    for (const [v, label] of ticks) {
      const p = axis.at(v);
      svg(root, 'text', narrow ? { x: p, y: axis.across + 17, 'text-anchor': 'middle' } : { x: axis.across - 6, y: p + 4, 'text-anchor': 'end' }, label);
    }
    svg(root, 'text', narrow ? { class: 'label', x: low, y: axis.across - 9 } : { class: 'label', x: axis.across, y: axes.length > 6 && axes.indexOf(axis) % 2 ? 24 : 11, 'text-anchor': 'middle' }, axis.label);
    if (axis.brush) svg(root, 'rect', box(axis, narrow, Math.min(...axis.brush), Math.abs(axis.brush[1] - axis.brush[0]), 8, 'brush'));
    const grip = svg(root, 'rect', {
      ...box(axis, narrow, low - 6, span + 12, 13, 'grip'), tabindex: 0, role: 'slider', 'aria-label': `Choose by ${axis.label}; arrow keys move, Escape clears`,
      'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': axis.brush ? Math.round(100 * (mid(axis.brush) - from) / (to - from)) : 50,
      'aria-valuetext': axis.brush ? 'a part is chosen' : 'all',
    });
    const place = event => {
      const frame = root.getBoundingClientRect(), k = root.viewBox.baseVal.width / frame.width;
      return Math.min(low + span + 6, Math.max(low - 6, (narrow ? event.clientX - frame.left : event.clientY - frame.top) * k));
    };
    grip.addEventListener('pointerdown', event => {
      event.preventDefault();
      const first = place(event);
      const move = e => { axis.brush = [first, place(e)]; later(); };
      const up = () => {
        removeEventListener('pointermove', move);
        if (axis.brush && Math.abs(axis.brush[1] - axis.brush[0]) < 4) { axis.brush = null; draw(); }
      };
      axis.brush = null;
      addEventListener('pointermove', move);
      addEventListener('pointerup', up, { once: true });
      addEventListener('pointercancel', up, { once: true });
      later();
    });
    grip.addEventListener('keydown', event => {
      const way = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
      if (event.key === 'Escape') axis.brush = null;
      else if (way) {
        const unit = (to - from) / 10, at = axis.brush ? Math.round((mid(axis.brush) - from) / unit - 0.5) + way : way > 0 ? 0 : 9;
        const kept = Math.min(9, Math.max(0, at));
        axis.brush = [from + kept * unit, from + (kept + 1) * unit];
      } else return;
      event.preventDefault();
      const n = axes.indexOf(axis);
      draw();
      root.querySelectorAll('.grip')[n].focus();
    });
  }

  const mid = ([a, b]) => (a + b) / 2;
  const box = (axis, narrow, at, length, half, name) => narrow
    ? { class: name, x: at, width: length, y: axis.across - half, height: 2 * half }
    : { class: name, y: at, height: length, x: axis.across - half, width: 2 * half };
  let asked = false;
  function later() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  }
  let drawnAt = 0;
  new ResizeObserver(() => {
    if (Math.abs(host.clientWidth - drawnAt) > 1) { drawnAt = host.clientWidth; draw(); }
  }).observe(host);
  return draw;
}
