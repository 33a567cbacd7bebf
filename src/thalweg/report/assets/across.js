// Several races together: the performance profile, who is drawn, and the download.

const data = JSON.parse(document.getElementById('data').textContent);
const entries = data.optimizers;
const look = i => drawing.looks[i];
const state = { off: new Set(), focus: null };
let draw = () => {};

const shared = {
  rest: () => false,
  focused: () => state.focus,
  focus(i) { if (i !== state.focus) { state.focus = i; draw(); } },
};

// A stair: at every ratio of this optimizer the share of problems rises by one of them.
function stair(e, last) {
  const ratios = e.ratios.map(r => r ?? Infinity), x = [1], y = [ratios.filter(r => r <= 1).length / ratios.length];
  for (const r of new Set(ratios.filter(r => r > 1 && finite(r)))) {
    x.push(r, r);
    y.push(y.at(-1), ratios.filter(v => v <= r).length / ratios.length);
  }
  return { x: [...x, last], y: [...y, y.at(-1)] };
}

function profile() {
  const [, most] = extent(entries.flatMap(e => e.ratios).filter(finite)) ?? [1, 1.2];
  const last = 1.1 * Math.max(1.2, most);
  return {
    title: 'Performance profile: share of problems solved within τ times the least cost',
    labels: true,
    x: { label: 'τ, times the least cost', log: true },
    y: { label: 'share of problems', higher: true },
    lines: entries.flatMap((e, i) => e.ratios.length && !state.off.has(i)
      ? [{ i, name: e.name, on: true, look: look(i), low: [], high: [], ...stair(e, last) }] : []),
    read: (focused, j, lines) => [
      { text: `τ = ${short(focused.x[j])}` },
      ...lines.map(l => ({ l, y: l.y[l.x.findLastIndex(v => v <= focused.x[j])] }))
        .sort((a, b) => b.y - a.y).slice(0, 10)
        .map(({ l, y }) => ({ name: l.name, text: `${Math.round(100 * y)} %`, look: look(l.i), focus: l === focused })),
    ],
  };
}

if (entries.some(e => e.ratios.length)) {
  $('charts').hidden = false;
  entries.forEach((e, i) => {
    const chip = html($('chips'), 'button', look(i).split(' ')[0]);
    chip.type = 'button';
    chip.setAttribute('aria-pressed', true);
    sample(chip, look(i));
    html(chip, 'span', '', e.name);
    chip.addEventListener('click', () => {
      if (!state.off.delete(i)) state.off.add(i);
      chip.setAttribute('aria-pressed', !state.off.has(i));
      draw();
    });
  });
  draw = Chart(document.querySelector('figure'), profile, shared);
  View.start(draw);
  draw();
}
$('download').addEventListener('click', () => save(JSON.stringify(data, null, 1), 'application/json', 'races.json'));
conveniences();
