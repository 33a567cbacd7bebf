// Pairs of optimizers, single runs, and the table of runs.

// With decimals that suit the interval's width.
function interval({ difference, low, high }) {
  if (!finite(low) || !finite(high)) return show(difference);
  const decimals = high > low ? Math.min(6, Math.max(0, 1 - Math.floor(Math.log10((high - low) / 2)))) : 4;
  const text = v => v.toFixed(decimals).replace(/^-/, '−');
  return `${text(difference)} [${text(low)}, ${text(high)}]`;
}

function buildPairs(select, table) {
  const pairs = data.pairs ?? [];
  entries.forEach((e, i) => option(select, i, e.name));
  const against = (a, b) => {
    const found = pairs.find(p => (p.a === a && p.b === b) || (p.a === b && p.b === a));
    if (!found || found.a === a) return found;
    return { ...found, difference: -found.difference, low: -found.high, high: -found.low, probability_better: 1 - found.probability_better };
  };
  const fill = () => {
    const own = entries[Number(select.value)];
    const body = table.tBodies[0];
    body.replaceChildren();
    entries.forEach((e, i) => {
      const found = e === own ? null : against(own.name, e.name);
      if (!found) return;
      const row = html(body, 'tr', found.p <= 0.05 ? 'sure' : '');
      const head = html(row, 'th', 'name');
      head.scope = 'row';
      sample(head, ownLook(i));
      head.append(e.name);
      html(row, 'td', 'num', interval(found));
      html(row, 'td', 'num', `${Math.round(100 * found.probability_better)} %`);
      html(row, 'td', 'num', show(found.p));
    });
  };
  select.addEventListener('change', fill);
  fill();
}

const seriesNames = () => ({
  gradient_norm: 'gradient norm', update_ratio: 'update-to-weight ratio', effective_lr: 'effective learning rate',
  train_loss: 'training loss', validation_loss: 'validation loss', validation_metric: `validation ${metric}`,
  ...Object.fromEntries(also.map((m, k) => [`also-${k}`, `validation ${m.name}`]).filter(([, name]) => name !== 'validation loss')),
});

function Diagnostics(figure) {
  const names = seriesNames();
  const method = $('run-method'), series = $('run-series'), which = $('run-which');
  const of = i => runs.list.filter(run => run.optimizer === entries[i].name);
  entries.forEach((e, i) => { if (of(i).length) option(method, i, e.name); });
  for (const key in names) {
    if (runs.list.some(run => run[key]?.some(finite))) option(series, key, names[key]);
  }
  const named = run => Object.entries(run.configuration).map(([k, v]) => `${k} ${isNumber(v) ? short(v) : v}`).join(', ');
  const choices = () => {
    which.replaceChildren();
    const own = of(Number(method.value));
    const finals = own.filter(run => run.stage === 'final');
    if (finals.length) option(which, 'final', `chosen configuration, ${finals.length} seeds`);
    const tuned = new Set(own.filter(run => run.stage !== 'final').map(named));
    if (tuned.size) option(which, 'tuning', `all ${tuned.size} configurations tried`);
    for (const name of tuned) option(which, name, name);
  };
  let focus = null;
  const own = { rest: () => true, focused: () => focus, focus(i) { if (i !== focus) { focus = i; draw(); } } };
  const spec = () => {
    const key = series.value;
    const chosen = of(Number(method.value)).filter(run => which.value === 'final' ? run.stage === 'final' : run.stage !== 'final' && (which.value === 'tuning' || named(run) === which.value));
    return {
      title: `${names[key]} against training step, ${chosen.length} runs of ${entries[Number(method.value)]?.name}`,
      x: { label: 'training step' },
      y: { label: names[key], higher: upward(key), log: picked('run-scale') === 'log' && !upward(key) },
      lines: chosen.map((run, i) => smooth({
        i, on: true, look: drawing.series[i % drawing.series.length],
        name: run.stage === 'final' ? `seed ${run.seed}` : `${named(run)}, seed ${run.seed}`,
        end: finite(run.diverged_at) ? `diverged at step ${run.diverged_at}` : finite(run.stopped_at) ? `stopped early at step ${run.stopped_at}` : '',
        x: runs.steps[run.steps], y: nulls(run[key]), low: [], high: [],
      }, smoothing('run-smoothing'))),
      read: (l, j) => [
        { text: `step ${short(l.x[j])}` }, { name: l.name, text: show(l.y[j]), look: l.look, focus: true },
        ...l.end ? [{ text: l.end }] : [],
      ],
    };
  };
  choices();
  const draw = Chart(figure, spec, own);
  method.addEventListener('change', choices);
  figure.addEventListener('change', forget);
  figure.addEventListener('change', () => draw());
  figure.addEventListener('input', () => draw());
  return draw;
}

function csv() {
  const cell = v => {
    const text = v === null || v === undefined ? '' : String(v);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return `${[runs.columns, ...runs.rows].map(row => row.map(cell).join(',')).join('\r\n')}\r\n`;
}
