// Several races side by side: the learning curves of each, and who is drawn in all of them.

const data = JSON.parse(document.getElementById('data').textContent);
const state = { off: new Set(), focus: null };
const charts = [];
const redraw = () => charts.forEach(draw => draw());
const nulls = values => values.map(v => v ?? NaN);

const shared = {
  rest: () => false,
  focused: () => state.focus,
  focus(i) { if (i !== state.focus) { state.focus = i; redraw(); } },
};

function curves(race) {
  return {
    title: `Learning curves of ${race.name}: validation ${race.metric}`,
    labels: true,
    x: { label: 'training step' },
    y: { label: `validation ${race.metric}`, higher: race.higher, cap: race.untrained ?? NaN },
    lines: race.lines.flatMap(line => {
      const i = data.names.indexOf(line.name);
      if (state.off.has(i)) return [];
      return [{ i, name: line.name, on: true, look: drawing.looks[i], x: line.steps, y: nulls(line.mean), low: nulls(line.low), high: nulls(line.high) }];
    }),
    read: (focused, j, lines) => [
      { text: `step ${short(focused.x[j])}` },
      ...lines.map(l => ({ l, y: l.y[l.x.indexOf(focused.x[j])] ?? NaN })).filter(({ y }) => finite(y))
        .sort((a, b) => (race.higher ? b.y - a.y : a.y - b.y)).slice(0, 10)
        .map(({ l, y }) => ({ name: l.name, text: show(y), look: l.look, focus: l === focused })),
    ],
  };
}

if (data.names.length) {
  $('charts').hidden = false;
  data.names.forEach((name, i) => {
    const chip = html($('chips'), 'button', drawing.looks[i].split(' ')[0]);
    chip.type = 'button';
    chip.setAttribute('aria-pressed', true);
    sample(chip, drawing.looks[i]);
    html(chip, 'span', '', name);
    chip.addEventListener('click', () => {
      if (!state.off.delete(i)) state.off.add(i);
      chip.setAttribute('aria-pressed', !state.off.has(i));
      redraw();
    });
  });
  document.querySelectorAll('figure[data-chart]').forEach((figure, k) => charts.push(Chart(figure, () => curves(data.races[k]), shared)));
  View.start(redraw);
  redraw();
}
conveniences();
