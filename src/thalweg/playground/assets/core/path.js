// Paths: a rule, its transforms and a schedule on a surface, step by step in float64.

const FAR = 20; // a path has diverged where it leaves a box this many times as large as the view
const MOST_STEPS = 100000;

function ruleOf(name) {
  if (!Object.hasOwn(RULES, name)) throw unknown('rule', name, Object.keys(RULES));
  return RULES[name];
}

// The hyperparameters of a rule with its transforms, each as {name, default, low, high, …}.
function hyperOf(rule, transforms = []) {
  const found = new Map(rule.hyper.map((one) => [one.name, one]));
  for (const name of transforms) {
    for (const one of transformOf(name).hyper) {
      // A default of NaN says that the transform reads a hyperparameter of the rule.
      if (!found.has(one.name) && Number.isNaN(one.default)) {
        throw new UsageError(`${name} reads ${one.name}, which ${rule.name} lacks`);
      }
      if (!found.has(one.name)) found.set(one.name, one);
    }
  }
  return found;
}

function transformOf(name) {
  if (!Object.hasOwn(TRANSFORMS, name)) throw unknown('transform', name, Object.keys(TRANSFORMS));
  return TRANSFORMS[name];
}

// Why a hyperparameter cannot be this value; empty if it can.
function troubleWith(one, value) {
  if (typeof value !== 'number' || Number.isNaN(value)) return 'it must be a number';
  if (!one.free && !(value >= 0 && value < Infinity)) return 'it must be finite and at least 0';
  return one.name.startsWith('beta') && value >= 1 ? 'it must be below 1' : '';
}

function settings(rule, transforms, given) {
  const known = hyperOf(rule, transforms);
  for (const [name, value] of Object.entries(given)) {
    if (!known.has(name)) throw unknown(`hyperparameter of ${rule.name}`, name, [...known.keys()]);
    const trouble = troubleWith(known.get(name), value);
    if (trouble) throw new UsageError(`${name}=${show(value)}: ${trouble}`);
  }
  const value = ({name}) => (Object.hasOwn(given, name) ? given[name] : known.get(name).default);
  return {
    own: Float64Array.from(rule.hyper, value),
    before: transforms.map((name) => Float64Array.from(transformOf(name).hyper, value)),
  };
}

// The state before the first step: the parameters, then the slots.
function firstState(rule, start, h) {
  const state = [...start];
  rule.slots.forEach((slot) => {
    const place = rule.hyper.findIndex((one) => one.name === slot.first);
    const first = place < 0 ? slot.first : h[place];
    state.push(...(slot.scalar ? [first] : [first, first]));
  });
  return Float64Array.from(state);
}

// The place of each slot in the state.
function slotPlaces(rule) {
  let place = 2;
  return rule.slots.map((slot) => {
    const from = place;
    place += slot.scalar ? 1 : 2;
    return {...slot, from, to: place};
  });
}

// Half the box around the view that a path may not leave, and its middle.
function box(surface, start) {
  const views = surface.bounded ? FAR : 1;
  return [0, 1].map((axis) => {
    let low = Math.min(surface.view[2 * axis], start[axis]);
    let high = Math.max(surface.view[2 * axis + 1], start[axis]);
    const margin = 0.05 * (high - low);
    low = low < surface.view[2 * axis] ? low - margin : low;
    high = high > surface.view[2 * axis + 1] ? high + margin : high;
    return {middle: (low + high) / 2, half: views / 2 * (high - low)};
  });
}

// Half to even, as Python rounds.
function rounded(value) {
  const whole = Math.round(value);
  return Math.abs(value % 1) === 0.5 && whole % 2 !== 0 ? whole - 1 : whole;
}

// The share of the learning rate at a step, counted from 1.
function scheduleOf(given, steps) {
  const {kind = 'constant', warmup = 0} = typeof given === 'string' ? {kind: given} : given ?? {};
  if (!Object.hasOwn(SCHEDULES, kind)) throw unknown('schedule', kind, Object.keys(SCHEDULES));
  number('warmup', warmup, 0, 1);
  if (warmup === 1) throw new UsageError('warmup=1 must be below 1');
  const warm = rounded(warmup * steps);
  const shape = SCHEDULES[kind];
  return (t) => (t <= warm ? t / (warm + 1) : shape(t - 1 - warm, steps - warm));
}

function pointOf(start, surface) {
  const point = start ?? surface.starts[0];
  if (!Array.isArray(point) || point.length !== 2 || !point.every(Number.isFinite)) {
    throw new UsageError(`start=${show(start)} must be two finite numbers [x, y]`);
  }
  return point;
}

const ratePlace = (rule) => rule.hyper.findIndex((one) => one.name === 'lr');

// All arguments of a path, checked, and what is computed once.
function prepared(options) {
  const surface = surfaceOf(options.surface);
  const rule = ruleOf(options.rule);
  const transforms = options.transforms ?? [];
  const start = pointOf(options.start, surface);
  const steps = whole('steps', options.steps ?? 100, 1, MOST_STEPS);
  const seed = whole('seed', options.seed ?? 0, 0, 2 ** 32 - 1);
  const noise = number('noise', options.noise ?? 0, 0);
  const {own, before} = settings(rule, transforms, options.hyper ?? {});
  const batch = options.batch ?? 0;
  if (batch && !surface.samples) throw new UsageError(`batch=${show(batch)}: ${surface.name} has no samples`);
  const size = batch ? whole('batch', batch, 1, surface.samples) : 0;
  const sampled = size > 0 && size < surface.samples;
  return {
    surface, rule, start, steps, noise, h: own, size,
    rate: ratePlace(rule),
    transforms: transforms.map((name, k) => {
      const transform = transformOf(name);
      return {step: transform.step, h: before[k], rate: ratePlace(transform)};
    }),
    noises: noise ? noiseOf(seed, 2 * steps) : null,
    drawn: sampled ? samplesOf(seed, surface.samples, size, steps) : null,
    schedule: options.schedule ? scheduleOf(options.schedule, steps) : null,
    average: averageOf(options.average),
  };
}

function averageOf(given) {
  if (!given) return null;
  const {kind, every = 5, weight = 0.5, decay = 0.9} = given;
  if (kind === 'lookahead') {
    whole('every', every, 1, MOST_STEPS);
    return {step: AVERAGES.average.step, h: [number('weight', weight, 0, 1)], every};
  }
  if (kind !== 'ema') throw unknown('average', kind, ['lookahead', 'ema']);
  number('decay', decay, 0, 1);
  if (decay === 1) throw new UsageError('decay=1 must be below 1');
  return {step: AVERAGES.corrected_average.step, h: [decay], every: 0};
}

// Walk a path, calling `each(t, state, gx, gy, out, slow)` after every step: the state, the gradient
// that the rule was given, value and slopes at the new point, the average of the iterates. Returns
// the step at which the path ended early, or null.
function walk(plan, each) {
  const {surface, rule, start, steps, noise, noises, drawn, size, transforms, average} = plan;
  const {step} = rule;
  const h = plan.h.slice();
  const state = firstState(rule, start, h);
  const out = new Float64Array(3);
  const part = new Float64Array(3);
  const slow = Float64Array.from(start);
  const [across, up] = box(surface, start);
  surface.gradient(start[0], start[1], out);
  if (!Number.isFinite(out[0])) {
    throw new UsageError(`surface ${surface.name} has no finite value at start=${show(start)}`);
  }
  each(0, state, 0, 0, out, slow);
  for (let t = 1; t <= steps; t++) {
    let gx = out[1];
    let gy = out[2];
    if (drawn) {
      surface.batch(state[0], state[1], drawn, size * (t - 1), size, part);
      gx = part[1];
      gy = part[2];
    }
    if (noises) {
      gx += noise * noises[2 * t - 2];
      gy += noise * noises[2 * t - 1];
    }
    if (plan.schedule) scheduled(plan, h, plan.schedule(t));
    if (transforms.length) transformed(transforms, state, gx, gy, t, part);
    step(state, transforms.length ? part[0] : gx, transforms.length ? part[1] : gy, t, h);
    if (average) averaged(average, slow, state, t);
    surface.gradient(state[0], state[1], out);
    each(t, state, gx, gy, out, slow);
    const near = Math.abs(state[0] - across.middle) <= across.half &&
      Math.abs(state[1] - up.middle) <= up.half;
    if (!near || !Number.isFinite(out[0])) return t;
  }
  return null;
}

// This step's share of the learning rate, for the rule and for the transforms that read the rate.
function scheduled(plan, h, share) {
  if (plan.rate < 0) return;
  h[plan.rate] = plan.h[plan.rate] * share;
  for (const transform of plan.transforms) {
    if (transform.rate >= 0) transform.h[transform.rate] = h[plan.rate];
  }
}

// What the transforms make of parameter and gradient, the first of them first.
const scratch = new Float64Array(4);
function transformed(transforms, state, gx, gy, t, out) {
  out[0] = gx;
  out[1] = gy;
  for (const transform of transforms) {
    scratch[0] = state[0];
    scratch[1] = state[1];
    transform.step(scratch, out[0], out[1], t, transform.h);
    state[0] = scratch[0];
    state[1] = scratch[1];
    out[0] = scratch[2];
    out[1] = scratch[3];
  }
}

// The average of the iterates; Lookahead sets the parameters to it every so many steps.
function averaged(average, slow, state, t) {
  if (average.every && t % average.every) return;
  average.step(slow, state[0], state[1], t, average.h);
  if (average.every) {
    state[0] = slow[0];
    state[1] = slow[1];
  }
}
