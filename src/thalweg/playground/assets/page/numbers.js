// The formula with the numbers of the next step, and what is so at the present point.

function drawNumbers(now) {
  const {state, active, surface} = now;
  const found = now.paths.find(({name}) => name === active);
  element('which').textContent = active;
  element('component').textContent = state.component === 'x' ? 'x → y' : 'y → x';
  element('component').setAttribute('aria-label', state.component === 'x' ? 'x, → y' : 'y, → x');
  if (!found) {
    element('lines').replaceChildren();
    element('facts').replaceChildren();
    return;
  }
  const next = Math.min(state.step + 1, found.path.steps);
  element('filled').textContent = `${say('numbersOf')} ${next} (${state.component})`;
  const told = thalweg.explain({...walkOf(state, active, surface), at: Math.max(1, next)});
  element('lines').replaceChildren(...(told ? told.lines.map((line) => formulaLine(line, state.component)) : [say('noStep')]));
  drawFacts(now, found.path);
}

// A line of the formula, and the same with numbers in the place of names.
function formulaLine({mathml, reads, gives}, component) {
  const written = parsed(mathml);
  const filled = parsed(mathml);
  const row = filled.firstElementChild;
  const [, ...right] = row.children;
  for (const part of right) {
    const names = part.matches('[data-name]') ? [part] : part.querySelectorAll('[data-name]');
    for (const node of names) fill(node, reads, component);
  }
  const result = Object.values(gives).map((value) => figure(pick(value, component))).join(', ');
  filled.setAttribute('class', 'with');
  return made('div', {className: 'line'}, written, filled, made('b', {textContent: `= ${result}`}));
}

const MATH = 'http://www.w3.org/1998/Math/MathML';
const pick = (value, component) => (Array.isArray(value) || ArrayBuffer.isView(value) ? value[component === 'x' ? 0 : 1] : value);

function parsed(mathml) {
  const holder = document.createElement('template');
  holder.innerHTML = mathml;
  for (const sign of holder.content.querySelectorAll('mo')) {
    if (!sign.parentElement.querySelector('mfrac, msqrt, mtable')) sign.setAttribute('stretchy', 'false');
  }
  return holder.content.firstElementChild;
}

function fill(node, reads, component) {
  const name = node.getAttribute('data-name');
  if (!Object.hasOwn(reads, name)) return;
  const value = pick(reads[name], component);
  const number = document.createElementNS(MATH, 'mn');
  number.textContent = value < 0 ? `(${figure(value)})` : figure(value);
  node.replaceWith(number);
}

function drawFacts({state, surface, active}, path) {
  const {k, x, y, loss} = at(path, state.step);
  const [gx, gy] = surface.gradient(x, y);
  const [large, small] = surface.eigenvalues(x, y).values;
  const facts = [
    [say('point'), `(${figure(x, 3)}, ${figure(y, 3)})`],
    [say('value'), figure(loss, 6)],
    [say('norm'), figure(Math.hypot(gx, gy))],
    [say('eigenvalues'), `${figure(large, 3)}, ${figure(small, 3)}`],
    [say('condition'), small > 0 ? figure(large / small, 3) : '–'],
  ];
  const rule = RULE.get(active);
  const rate = state.hyper[active]?.lr ?? rule.hyper.find(({name}) => name === 'lr')?.default ?? null;
  if (rate !== null) facts.push([say('present'), figure(rate)]);
  const limit = limitAt(state, active, path, k, surface.hessian(x, y));
  facts.push([say('limit'), limit === undefined ? '–' : limit === null ? say('notLinear') : limit === Infinity ? say('noLimit') : figure(limit)]);
  const unstable = typeof limit === 'number' && rate !== null && rate > limit;
  if (unstable) facts.at(-1)[1] += ` · ${say('tooLarge')}`;
  element('facts').replaceChildren(...facts.flatMap(([name, value], i) => [
    made('dt', {textContent: name}),
    made('dd', {textContent: value, className: unstable && i === facts.length - 1 ? 'bad' : ''}),
  ]));
}

// The limit with the rule's present state; undefined where the curvature is no number.
function limitAt(state, name, path, k, hessian) {
  if (!hessian.every(Number.isFinite)) return undefined;
  const rule = RULE.get(name);
  const slots = {};
  for (const {name: slot, scalar} of rule.slots) {
    const size = scalar ? 1 : 2;
    const values = path.slots[slot].slice(size * k, size * k + size);
    if (values.every(Number.isFinite)) slots[slot] = scalar ? values[0] : [...values];
  }
  const own = Object.fromEntries(Object.entries(state.hyper[name] ?? {}).filter(([key]) => rule.hyper.some((one) => one.name === key)));
  return thalweg.stability({rule: name, hyper: own, hessian, slots, t: k + 1}).limit;
}
