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

// The matrix of the linearised step as rows; null where the step is not linear.
function linearised(rule, h, state, t, odd, hessian) {
  const moving = [0, 1, ...odd.flatMap(({from}) => [from, from + 1])];
  const base = state.slice();
  for (const place of moving) base[place] = 0;
  const [xx, xy, yy] = hessian;
  const answer = (change) => {
    const next = base.slice();
    moving.forEach((place, k) => { next[place] = change[k]; });
    const gx = xx * next[0] + xy * next[1];
    const gy = xy * next[0] + yy * next[1];
    rule.step(next, gx, gy, t, h);
    return moving.map((place) => next[place]);
  };
  const unit = (k, size) => moving.map((_, i) => (i === k ? size : 0));
  const columns = moving.map((_, k) => answer(unit(k, TINY)));
  const close = (a, b) => Math.abs(a - b) <= 1e-6 * (Math.abs(a) + Math.abs(b)) + 1e-9 * TINY;
  const twice = moving.every((_, k) => answer(unit(k, 2 * TINY)).every((v, i) => close(v, 2 * columns[k][i])));
  const all = answer(moving.map(() => TINY));
  const added = all.every((v, i) => close(v, columns.reduce((sum, column) => sum + column[i], 0)));
  const still = answer(moving.map(() => 0)).every((v) => v === 0);
  if (!twice || !added || !still) return null;
  return moving.map((_, i) => columns.map((column) => column[i] / TINY));
}

// The largest size of an eigenvalue: the matrix is squared until only that one is left.
function radius(matrix) {
  let power = matrix;
  let logarithm = 0;
  for (let k = 0; k < SQUARINGS; k++) {
    const size = Math.max(...power.flat().map(Math.abs));
    if (size === 0) return 0;
    if (!Number.isFinite(size)) return Infinity;
    logarithm += Math.log(size) / 2 ** k;
    const scaled = power.map((row) => row.map((v) => v / size));
    power = scaled.map((row) => scaled.map((_, j) => row.reduce((sum, v, i) => sum + v * scaled[i][j], 0)));
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
  const at = (lr) => {
    const settings = h.slice();
    const now = state.slice();
    if (rate >= 0) settings[rate] = lr;
    for (const {first, from, to} of slotPlaces(rule)) {
      if (first === 'lr' && given) for (let k = from; k < to; k++) now[k] *= lr / given;
    }
    const matrix = linearised(rule, settings, now, t, odd, hessian);
    return matrix && radius(matrix);
  };
  const now = movesAlike(rule, h, state, t) ? at(given) : null;
  if (now === null || rate < 0) return {limit: null, radius: now};
  return {limit: bisected((lr) => at(lr) <= 1 + GROWTH), radius: now};
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
    high += 0.25;
    if (high > 12) return Infinity;
  }
  for (let k = 0; k < 36; k++) {
    const middle = (low + high) / 2;
    if (stable(10 ** middle)) low = middle;
    else high = middle;
  }
  return 10 ** low;
}
