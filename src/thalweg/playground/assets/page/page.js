// The map with the paths and the controls. Everything is computed by window.thalweg.

const {thalweg} = window;
const element = (id) => document.getElementById(id);
const map = element('map');
const ink = ['#000000', '#D55E00', '#0072B2', '#009E73', '#CC79A7', '#E69F00', '#56B4E9'];

function options(select, names) {
  for (const name of names) select.add(new Option(name, name));
}

function ground() {
  const {surface, text} = thalweg.state();
  return text ? {text} : surface;
}

// From the surface's coordinates to the canvas and back.
function frame(view) {
  const [left, right, bottom, top] = view;
  return {
    to: (x, y) => [(x - left) / (right - left) * map.width, (top - y) / (top - bottom) * map.height],
    from: (px, py) => [left + px / map.width * (right - left), top - py / map.height * (top - bottom)],
  };
}

function relief(surface, context) {
  const {from} = frame(surface.view);
  const cell = 8;
  const heights = [];
  for (let py = cell / 2; py < map.height; py += cell) {
    for (let px = cell / 2; px < map.width; px += cell) heights.push(surface.value(...from(px, py)));
  }
  const sorted = heights.filter(Number.isFinite).sort((a, b) => a - b);
  heights.forEach((height, k) => {
    const across = Math.ceil(map.width / cell);
    const rank = sorted.findIndex((one) => one >= height) / sorted.length;
    context.fillStyle = Number.isFinite(height) ? `hsl(200 40% ${95 - 60 * rank}%)` : '#a33';
    context.fillRect((k % across) * cell, Math.floor(k / across) * cell, cell, cell);
  });
}

function draw() {
  const state = thalweg.state();
  const context = map.getContext('2d');
  element('table').replaceChildren();
  element('message').textContent = '';
  try {
    const surface = thalweg.surface(ground());
    relief(surface, context);
    const {to} = frame(surface.view);
    state.rules.forEach((rule, k) => {
      const found = thalweg.path({
        ...state, rule, surface: ground(), start: state.start ?? undefined, hyper: state.hyper[rule] ?? {},
        batch: surface.samples ? Math.min(state.batch, surface.samples) : 0,
      });
      context.strokeStyle = ink[k % ink.length];
      context.lineWidth = 2;
      context.beginPath();
      for (let i = 0; i < found.losses.length; i++) context.lineTo(...to(found.points[2 * i], found.points[2 * i + 1]));
      context.stroke();
      const row = element('table').insertRow();
      const ended = found.diverged_at === null ? '' : `ended at step ${found.diverged_at}`;
      for (const word of [rule, found.losses.at(-1).toPrecision(5), ended]) row.insertCell().textContent = word;
    });
  } catch (error) {
    if (error.name !== 'UsageError' && error.name !== 'ParseError') throw error;
    element('message').textContent = error.message;
  }
}

function change(fields) {
  const notes = thalweg.set(fields);
  if (notes.length) element('message').textContent = notes.map((note) => note.message).join('; ');
}

options(element('surface'), thalweg.surfaces().map((one) => one.name));
options(element('rules'), thalweg.rules().map((one) => one.name));
thalweg.onchange(draw);
element('surface').onchange = (event) => change({surface: event.target.value, text: '', start: null});
element('text').oninput = (event) => change({text: event.target.value, start: null});
element('rules').onchange = (event) => change({rules: Array.from(event.target.selectedOptions, (one) => one.value)});
element('steps').oninput = (event) => change({steps: Number(event.target.value)});
element('noise').oninput = (event) => change({noise: Number(event.target.value)});
element('rate').oninput = (event) => {
  const lr = 10 ** Number(event.target.value);
  element('shown').textContent = lr.toPrecision(3);
  change({hyper: Object.fromEntries(thalweg.rules().map((rule) => [rule.name, {lr}]))});
};
map.onpointermove = map.onpointerdown = (event) => {
  if (!event.buttons) return;
  const {view} = thalweg.surface(ground());
  const scale = map.width / map.getBoundingClientRect().width;
  change({start: frame(view).from(event.offsetX * scale, event.offsetY * scale)});
};
element('race').onclick = async () => {
  const {steps} = thalweg.state();
  const result = await thalweg.race({surface: ground(), start: thalweg.state().start ?? undefined, steps}, {
    progress: (done, all) => { element('message').textContent = `${done} of ${all}`; },
  });
  const table = element('table');
  table.replaceChildren();
  for (const place of result.places) {
    const row = table.insertRow();
    for (const word of [place.rule, place.lr, place.steps ?? '–', place.loss.toPrecision(4)]) row.insertCell().textContent = word;
  }
};
if (location.hash) change(location.hash);
draw();
document.documentElement.dataset.ready = 'true';
