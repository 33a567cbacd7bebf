// Two settings of one optimizer: what a forest predicts over both, with the configurations as dots.

const LEVELS = [0.25, 0.5, 0.75];

function Contour(figure) {
  const of = $('contour-of'), across = $('contour-x'), up = $('contour-y');
  const host = figure.querySelector('.plot'), root = svg(host, 'svg', { role: 'img' });
  const found = drawing.importance.filter(each => each.shown.length > 1);
  figure.hidden = !found.length;
  const here = () => found.find(each => each.name === of.value) ?? found[0];
  found.forEach(each => option(of, each.name, each.name));

  function fill(select, index) {
    const { axes, shown } = here(), before = select.value;
    select.replaceChildren();
    shown.forEach(k => option(select, axes[k].key, axes[k].key === 'lr' ? 'learning rate' : axes[k].key));
    select.value = before;
    if (!select.value) select.selectedIndex = index;
  }

  function choices() {
    fill(across, 0);
    fill(up, 1);
    if (across.value === up.value) up.selectedIndex = across.selectedIndex ? 0 : 1;
  }

  // The values of a grid with the first index along x.
  function grid({ axes, pairs }, x, y) {
    const [a, b] = [axes.indexOf(x), axes.indexOf(y)];
    const straight = pairs[`${a},${b}`], turned = pairs[`${b},${a}`];
    return straight ?? turned[0].map((_, k) => turned.map(row => row[k]));
  }

  // Places along an axis from 0 to 1, with its ticks.
  function along(axis) {
    if (axis.kind === 'words') {
      const n = axis.names.length;
      return { at: v => (axis.names.indexOf(String(v)) + 0.5) / n, ticks: axis.names.map((name, k) => [(k + 0.5) / n, name]), label: axis.key };
    }
    const log = axis.kind !== 'linear', ends = [axis.low, axis.high];
    const scale = makeScale(log, ends, 0, 1), value = v => axis.kind === 'near one' ? 1 - v : v;
    const name = axis.key === 'lr' ? 'learning rate' : axis.key;
    return {
      at: v => scale(value(v)), label: axis.kind === 'near one' ? `1 − ${name}` : name,
      ticks: (log ? logTicks(ends, 5) : linearTicks(ends, 5)).map(([v, label]) => [scale(v), label]),
    };
  }

  function draw() {
    const each = here(), { axes } = each;
    const axisX = axes.find(a => a.key === across.value), axisY = axes.find(a => a.key === up.value);
    const width = Math.min(720, Math.max(260, host.clientWidth)), height = Math.round(Math.max(240, width * 0.5));
    root.replaceChildren();
    root.setAttribute('viewBox', `0 0 ${width} ${height}`);
    root.setAttribute('aria-label', `Predicted share of the configurations of ${each.name} that do worse, by ${axisX.key} and ${axisY.key}`);
    if (axisX === axisY) { svg(root, 'text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'Choose two settings.'); return; }
    const box = { left: 84, right: width - 12, top: 10, bottom: height - 42 };
    const px = u => box.left + u * (box.right - box.left), py = u => box.bottom - u * (box.bottom - box.top);
    const values = grid(each, axisX, axisY), n = values.length, m = values[0].length;
    values.forEach((column, i) => column.forEach((v, j) => svg(root, 'rect', {
      class: 'cell', x: px(i / n).toFixed(1), y: py((j + 1) / m).toFixed(1), 'fill-opacity': (0.05 + 0.6 * v).toFixed(3),
      width: ((box.right - box.left) / n).toFixed(1), height: ((box.bottom - box.top) / m).toFixed(1),
    })));
    if (axisX.kind !== 'words' && axisY.kind !== 'words') {
      for (const level of LEVELS) svg(root, 'path', { class: 'level', d: isoline(values, level, i => px((i + 0.5) / n), j => py((j + 0.5) / m)) });
    }
    const x = along(axisX), y = along(axisY);
    for (const [u, label] of x.ticks) svg(root, 'text', { x: px(u), y: box.bottom + 17, 'text-anchor': 'middle' }, label.length > 14 ? `${label.slice(0, 13)}…` : label);
    for (const [u, label] of y.ticks) svg(root, 'text', { x: box.left - 7, y: py(u) + 4, 'text-anchor': 'end' }, label.length > 10 ? `${label.slice(0, 9)}…` : label);
    svg(root, 'text', { class: 'label', x: (box.left + box.right) / 2, y: height - 6, 'text-anchor': 'middle' }, x.label);
    svg(root, 'text', { class: 'label', transform: `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle' }, y.label);
    dots(each, axisX.key, axisY.key, u => px(x.at(u)), u => py(y.at(u)));
  }

  // The configurations themselves; darker ones did better.
  function dots(each, keyX, keyY, px, py) {
    const e = entries.find(entry => entry.name === each.name), chosen = JSON.stringify(filled(settingsOf(e)));
    const places = e.sensitivity.map(p => p.preference ?? NaN), order = [...places].sort((a, b) => a - b);
    configurationsOf(e).forEach((c, j) => {
      const cx = px(c[keyX]), cy = py(c[keyY]);
      if (!finite(cx) || !finite(cy)) return;
      const share = 1 - order.indexOf(places[j]) / Math.max(1, order.length - 1);
      const node = svg(root, 'circle', { class: 'tried', cx, cy, r: 4, 'fill-opacity': finite(share) ? (0.08 + 0.92 * share).toFixed(2) : 0 });
      svg(node, 'title', {}, `${Object.entries(c).map(([k, v]) => `${k} ${isNumber(v) ? short(v) : v}`).join(', ')}; ${metric} ${show(e.sensitivity[j].validation?.mean ?? NaN)}`);
      if (JSON.stringify(c) === chosen) svg(root, 'circle', { class: 'picked', cx, cy, r: 8 });
    });
  }

  of.addEventListener('change', choices);
  figure.addEventListener('change', draw);
  choices();
  new ResizeObserver(draw).observe(host);
  return () => { if (found.length) { choices(); draw(); } };
}

// Where a grid of values crosses a level: a stroke per cell between the crossings of its edges.
function isoline(values, level, px, py) {
  let d = '';
  for (let i = 0; i + 1 < values.length; i++) {
    for (let j = 0; j + 1 < values[0].length; j++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const crossings = corners.flatMap(([a, b], k) => {
        const [c, e] = corners[(k + 1) % 4], v = values[a][b] - level, w = values[c][e] - level;
        if ((v < 0) === (w < 0)) return [];
        const t = v / (v - w);
        return [`${px(a + t * (c - a)).toFixed(1)} ${py(b + t * (e - b)).toFixed(1)}`];
      });
      for (let k = 0; k + 1 < crossings.length; k += 2) d += `M${crossings[k]}L${crossings[k + 1]}`;
    }
  }
  return d;
}
