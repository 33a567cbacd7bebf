// The controls: surface, optimizers, the settings of the active one, the run.

function drawControls(now) {
  const {state} = now;
  element('surface').value = state.text ? '' : state.surface;
  element('about').textContent = state.text ? '' : titleOf(now.surface);
  if (document.activeElement !== element('text')) element('text').value = state.text;
  for (const box of element('rules').querySelectorAll('input')) box.checked = state.rules.includes(box.value);
  drawHyper(now);
  drawRuns(now);
  drawResults(now);
}

function chooseSurface() {
  const names = thalweg.surfaces().map(({name}) => name);
  element('surface').replaceChildren(new Option('f(x, y)', ''), ...names.map((name) => new Option(name, name)));
  element('surface').options[0].disabled = true;
}

const isOwn = ({name}) => OWN.rules.includes(name);
const GROUPS = [
  ['', (rule) => !isOwn(rule) && rule.convention === 'torch'],
  ['others', ({convention}) => !['torch', 'mistake'].includes(convention)],
  ['mistakes', ({convention}) => convention === 'mistake'],
];

function chooseRules() {
  const open = new Set([...element('rules').querySelectorAll('details[open]')].map((one) => one.id));
  const groups = GROUPS.map(([key, belongs]) => {
    const boxes = [...RULE.values()].filter(belongs).map(chip);
    const chips = made('div', {className: key ? 'chips broad' : 'chips'}, ...boxes);
    return key ? made('details', {id: key, open: open.has(key)}, made('summary', {textContent: say(key)}), chips) : chips;
  });
  const own = [...RULE.values()].filter(isOwn).map(chip);
  if (own.length) groups.unshift(made('div', {className: 'chips broad own'}, made('p', {className: 'note', textContent: say('own')}), ...own));
  element('rules').replaceChildren(...groups);
}

function chip({name, title}) {
  const box = made('input', {type: 'checkbox', value: name});
  box.onchange = () => toggle(name, box.checked);
  return made('label', {title}, box, made('span', {}, ...breakable(name.replace(/^mistake:/, ''))));
}

// A name that may break behind its underscores.
const breakable = (name) => name.split(/(?<=_)/).flatMap((part, k) => (k ? [made('wbr'), part] : [part]));

function toggle(name, on) {
  const {rules} = thalweg.state();
  const taken = on ? [...rules, name] : rules.filter((one) => one !== name);
  if (!taken.length) {
    for (const box of element('rules').querySelectorAll('input')) box.checked = rules.includes(box.value);
    return;
  }
  change({rules: taken, active: on ? name : taken.includes(activeOf(thalweg.state())) ? activeOf(thalweg.state()) : taken[0], story: ''});
}

// A slider runs from 0 to 1000 on the scale of its hyperparameter.
const FINE = 1000;
const SCALES = {
  log: [Math.log, Math.exp],
  'near-one': [(v) => -Math.log(1 - v), (u) => 1 - Math.exp(-u)],
  linear: [(v) => v, (u) => u],
};

function sliderOf({scale, low, high}) {
  const [there, back] = SCALES[scale];
  const [from, to] = [there(low), there(high)];
  return {
    place: (value) => Math.max(0, Math.min(FINE, FINE * (there(value) - from) / (to - from))) || 0,
    value: (place) => Number(back(from + place / FINE * (to - from)).toPrecision(3)),
  };
}

// One setting: a label, a slider, and the number itself for those who know it.
function setting(id, label, {place, value}, take, number = {}) {
  const slider = made('input', {type: 'range', id: `${id}-slider`, min: 0, max: FINE, step: 1});
  const box = made('input', {type: 'number', id, step: 'any', ...number});
  slider.oninput = () => take(value(Number(slider.value)));
  box.onchange = () => (box.value === '' || !Number.isFinite(Number(box.value)) ? refresh() : take(Number(box.value)));
  const title = made('label', {htmlFor: id}, ...label);
  slider.setAttribute('aria-label', title.textContent);
  const show = (current) => {
    if (document.activeElement !== box) box.value = String(current);
    if (document.activeElement !== slider) slider.value = place(current);
    slider.setAttribute('aria-valuetext', figure(current));
  };
  return {node: made('div', {className: 'slider'}, title, slider, box), show};
}

let sliders = null; // of the active rule: {key, shows}
const TRANSLATED = ['lr', 'weight_decay'];

function drawHyper({state, active}) {
  const known = [...RULE.get(active).hyper];
  for (const name of state.transforms) {
    for (const one of thalweg.transforms().find((each) => each.name === name).hyper) {
      if (one.scale && !known.some((each) => each.name === one.name)) known.push(one);
    }
  }
  const key = [active, state.lang, state.transforms].join();
  element('whose').textContent = active;
  if (sliders?.key !== key) {
    const built = known.map((one) => [one, setting(`hyper-${one.name}`, nameOf(one), sliderOf(one), (value) => {
      const {hyper} = thalweg.state();
      change({hyper: {...hyper, [active]: {...hyper[active], [one.name]: value}}});
    })]);
    element('hyper').replaceChildren(...built.map(([, {node}]) => node));
    sliders = {key, built};
  }
  for (const [one, {show}] of sliders.built) show(state.hyper[active]?.[one.name] ?? one.default);
}

const nameOf = ({name, symbol}) => [`${TRANSLATED.includes(name) ? say(name) : name} `, made('i', {textContent: symbol === name ? '' : symbol})];

let runs = null;
function drawRuns({state, surface}) {
  const key = [state.lang, surface.samples].join();
  if (runs?.key !== key) {
    const whole = (low, high) => ({
      place: (value) => FINE * Math.log(Math.max(value, low) / low) / Math.log(high / low),
      value: (place) => Math.round(low * (high / low) ** (place / FINE)),
    });
    const widest = (surface.view[1] - surface.view[0] + surface.view[3] - surface.view[2]) / 2;
    const flat = (high) => ({place: (value) => Math.min(FINE, FINE * Math.sqrt(value / high)), value: (place) => Number((high * (place / FINE) ** 2).toPrecision(3))});
    const built = {
      steps: setting('steps', [say('steps')], whole(1, 2000), (steps) => change({steps}), {min: 1, max: 10000}),
      noise: setting('noise', [say('noise')], flat(widest), (noise) => change({noise}), {min: 0}),
      seed: setting('seed', [say('seed')], {place: (value) => 10 * value, value: (place) => Math.round(place / 10)}, (seed) => change({seed}), {min: 0}),
    };
    if (surface.samples) {
      const {samples} = surface;
      built.batch = setting('batch', [say('batch')], {place: (value) => FINE * value / samples, value: (place) => Math.round(place / FINE * samples)}, (batch) => change({batch}), {min: 0, max: samples});
    }
    const boxes = thalweg.transforms().map(({name, title}) => {
      const box = made('input', {type: 'checkbox', value: name});
      box.onchange = () => {
        const {transforms} = thalweg.state();
        change({transforms: box.checked ? [...transforms, name] : transforms.filter((one) => one !== name)});
      };
      return made('label', {title}, box, made('span', {}, ...breakable(name)));
    });
    const before = made('details', {open: thalweg.state().transforms.length > 0}, made('summary', {textContent: say('transforms')}), made('div', {className: 'chips broad'}, ...boxes));
    const schedule = made('select', {id: 'schedule'}, ...thalweg.schedules().map((kind) => new Option(say(kind === 'step' ? 'stepwise' : kind), kind)));
    schedule.onchange = () => change({schedule: schedule.value});
    element('runs').replaceChildren(...Object.values(built).map(({node}) => node), made('label', {}, say('schedule'), schedule), before);
    runs = {key, built, schedule};
  }
  for (const [name, {show}] of Object.entries(runs.built)) show(state[name]);
  runs.schedule.value = state.schedule;
  for (const box of element('runs').querySelectorAll('input[type=checkbox]')) box.checked = state.transforms.includes(box.value);
}

// The chosen optimizers at the present step; a click looks at one.
function drawResults({paths, state, active, surface, trouble}) {
  const heads = ['optimizer', 'rate', 'value', ...(surface.minima.length ? ['nearest'] : [])];
  const table = element('results');
  const focused = document.activeElement?.name === 'active';
  const head = made('tr', {}, ...heads.map((key) => made('th', {scope: 'col', textContent: say(key)})), made('th', {}, made('span', {className: 'hidden', textContent: say('ended')})));
  const rows = paths.map(({name, path}) => {
    const {x, y, loss} = at(path, state.step);
    const rate = state.hyper[name]?.lr ?? RULE.get(name).hyper.find((one) => one.name === 'lr')?.default;
    const choice = made('input', {type: 'radio', name: 'active', value: name, checked: name === active});
    choice.onchange = () => change({active: name});
    const ended = path.diverged_at !== null && state.step >= path.diverged_at ? `${say('ended')} ${path.diverged_at}` : '';
    const cells = [figure(rate, 3), figure(loss, 3), ...(surface.minima.length ? [figure(distance(surface, x, y), 3)] : []), ended];
    return made('tr', {}, made('td', {}, made('label', {}, choice, swatch(name), name)), ...cells.map((textContent) => made('td', {textContent, title: textContent && textContent === ended ? say('outside') : ''})));
  });
  table.replaceChildren(made('thead', {}, head), made('tbody', {}, ...rows));
  if (focused) table.querySelector('input:checked')?.focus();
  if (trouble) message(trouble);
}
