// Up to which learning rate a rule's own step is stable where the surface is a quadratic.
//
// The step is linearised at the minimum: parameters and those slots that change their sign with
// the gradient (momentum) move, the others (second moments) stay what they are. It is stable while
// no eigenvalue of that linear map is larger than 1 in size.

const TINY = 1e-20; // far below every eps; a linear map does not mind
const GROWTH = 1e-9;
const SQUARINGS = 34;

// The slots that answer to -g with the opposite of what they answer to g.
function oddSlots(rule, h, state, t) {
  const base = state.slice();
  base[0] = base[1] = 0;
  for (const {first, from, to, scalar} of slotPlaces(rule)) {
    if (!scalar && first === 0) base.fill(0, from, to);
  }
  const answer = (sign) => {
    const next = base.slice();
    rule.step(next, sign, 0.7 * sign, t, h);
    return next;
  };
  const [up, down] = [answer(1), answer(-1)];
  return slotPlaces(rule).filter(({scalar, from}) => !scalar && up[from] === -down[from]);
}

// Change the slots that do not move so that they are after a step what they are now.
function hold(rule, h, state, t, odd) {
  const next = state.slice();
  for (const {from, to} of odd) next.fill(0, from, to);
  rule.step(next, 0, 0, t, h);
  for (const slot of slotPlaces(rule)) {
    if (slot.scalar || odd.some((one) => one.name === slot.name)) continue;
    for (let k = slot.from; k < slot.to; k++) if (next[k] > 0) state[k] *= state[k] / next[k];
  }
}

// The linearised step of a rule near the state: `matrix(lr)` is the map of the moving parts as a flat
// array, row by row; `linear(lr)` says whether the step is linear there.
function linearised(rule, h, state, t, odd, hessian) {
  const moving = [0, 1, ...odd.flatMap(({from}) => [from, from + 1])];
  const size = moving.length;
  const [xx, xy, yy] = hessian;
  const rate = ratePlace(rule);
  const given = rate < 0 ? 1 : h[rate];
  const settings = h.slice();
  const base = state.slice();
  const next = state.slice();
  for (const place of moving) base[place] = 0;
  const scaled = slotPlaces(rule).filter(({first}) => first === 'lr' && given > 0);

  // What a step makes of a change of the moving parts.
  function answer(lr, change) {
    if (rate >= 0) settings[rate] = lr;
    next.set(base);
    for (const {from, to} of scaled) for (let k = from; k < to; k++) next[k] *= lr / given;
    for (let k = 0; k < size; k++) next[moving[k]] = change[k];
    rule.step(next, xx * next[0] + xy * next[1], xy * next[0] + yy * next[1], t, settings);
    return moving.map((place) => next[place]);
  }

  const units = moving.map((_, k) => moving.map((__, i) => (i === k ? TINY : 0)));

  function linear(lr) {
    const columns = units.map((unit) => answer(lr, unit));
    const close = (a, b) => Math.abs(a - b) <= 1e-6 * (Math.abs(a) + Math.abs(b)) + 1e-9 * TINY;
    const twice = units.every((unit, k) =>
      answer(lr, unit.map((v) => 2 * v)).every((v, i) => close(v, 2 * columns[k][i])));
    const added = answer(lr, moving.map(() => TINY)).every((v, i) =>
      close(v, columns.reduce((sum, column) => sum + column[i], 0)));
    return twice && added && answer(lr, moving.map(() => 0)).every((v) => v === 0);
  }

  function matrix(lr) {
    const rows = new Float64Array(size * size);
    units.forEach((unit, k) => answer(lr, unit).forEach((v, i) => { rows[size * i + k] = v / TINY; }));
    return rows;
  }

  return {linear, matrix, size};
}

// The largest size of an eigenvalue: the matrix is squared until only that one is left.
function radius(matrix, size) {
  let power = matrix;
  let next = new Float64Array(size * size);
  let logarithm = 0;
  for (let k = 0; k < SQUARINGS; k++) {
    let largest = 0;
    for (const v of power) largest = Math.max(largest, Math.abs(v));
    if (largest === 0) return 0;
    if (!Number.isFinite(largest)) return Infinity;
    logarithm += Math.log(largest) / 2 ** k;
    for (let i = 0; i < power.length; i++) power[i] /= largest;
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < size; j++) {
        let sum = 0;
        for (let m = 0; m < size; m++) sum += power[size * i + m] * power[size * m + j];
        next[size * i + j] = sum;
      }
    }
    [power, next] = [next, power];
  }
  return Math.exp(logarithm);
}

// Where the answer to the gradient depends on the parameter, its distance to the minimum counts.
function movesAlike(rule, h, state, t) {
  const answer = (x, y) => {
    const next = state.slice();
    next[0] = x;
    next[1] = y;
    const still = next.slice();
    rule.step(next, 1e-3, 2e-3, t, h);
    rule.step(still, 0, 0, t, h);
    return next[0] - still[0];
  };
  const [near, far] = [answer(0, 0), answer(1, 2)];
  return Math.abs(near - far) <= 1e-6 * Math.max(Math.abs(near), Math.abs(far)) + 1e-12;
}

// The learning rate below which a rule is stable: {limit, radius}, the latter at its present rate.
// `limit` is null where the rule has no linear step or no rate, Infinity where there is no bound.
function stability(options = {}) {
  const rule = ruleOf(options.rule);
  const {own: h} = settings(rule, [], options.hyper ?? {});
  const t = whole('t', options.t ?? 1000, 1, MOST_STEPS);
  const hessian = positive(options.hessian ?? [number('curvature', options.curvature), 0, options.curvature]);
  const state = stateFrom(rule, h, options.slots);
  const rate = ratePlace(rule);
  const given = rate < 0 ? 1 : h[rate];
  const odd = oddSlots(rule, h, state, t);
  hold(rule, h, state, t, odd);
  const {linear, matrix, size} = linearised(rule, h, state, t, odd, hessian);
  if (!movesAlike(rule, h, state, t) || !linear(given)) return {limit: null, radius: null};
  const at = (lr) => radius(matrix(lr), size);
  const limit = rate < 0 ? null : bisected((lr) => at(lr) <= 1 + GROWTH);
  return {limit, radius: at(given)};
}

// The curvatures that bend upwards: those that bend downwards are left in any case.
function positive(hessian) {
  if (!Array.isArray(hessian) || hessian.length !== 3 || !hessian.every(Number.isFinite)) {
    throw new UsageError(`hessian=${show(hessian)} must be three finite numbers [xx, xy, yy]`);
  }
  const {values, direction: [c, s]} = eigen(...hessian);
  const [a, b] = values.map((value) => Math.max(value, 0));
  return [a * c * c + b * s * s, (a - b) * c * s, a * s * s + b * c * c];
}

function stateFrom(rule, h, slots = {}) {
  const state = firstState(rule, [0, 0], h);
  for (const {name, from, to} of slotPlaces(rule)) {
    if (!Object.hasOwn(slots, name)) continue;
    const given = slots[name];
    const values = Array.isArray(given) || ArrayBuffer.isView(given) ? [...given] : [given];
    if (values.length !== to - from || !values.every(Number.isFinite)) {
      throw new UsageError(`slots.${name}=${show(given)} must be ${to - from} finite numbers`);
    }
    state.set(values, from);
  }
  return state;
}

// The end of the stable learning rates, from 1e-12 to 1e12, to nine digits.
function bisected(stable) {
  let low = -12;
  if (!stable(10 ** low)) return 0;
  let high = low;
  while (stable(10 ** high)) {
    low = high;
    high += 0.5;
    if (high > 12) return Infinity;
  }
  for (let k = 0; k < 32; k++) {
    const middle = (low + high) / 2;
    if (stable(10 ** middle)) low = middle;
    else high = middle;
  }
  return 10 ** low;
}
