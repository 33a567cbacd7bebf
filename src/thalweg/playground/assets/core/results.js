// What `window.thalweg.path` and `explain` give back.

// The path of one rule. With `details`, also what every step was made of.
function path(options = {}) {
  const plan = prepared(options);
  const points = new Float64Array(2 * plan.steps + 2);
  const losses = new Float64Array(plan.steps + 1);
  const averages = plan.average ? new Float64Array(2 * plan.steps + 2) : null;
  const details = options.details ? recorder(plan) : null;
  let taken = 0;
  const divergedAt = walk(plan, (t, state, gx, gy, out, slow) => {
    taken = t;
    points[2 * t] = state[0];
    points[2 * t + 1] = state[1];
    losses[t] = out[0];
    if (averages) averages.set(slow, 2 * t);
    if (details) details.note(t, state, gx, gy);
  });
  return {
    rule: plan.rule.name,
    surface: plan.surface.name,
    steps: taken,
    diverged_at: divergedAt,
    points: points.subarray(0, 2 * taken + 2),
    losses: losses.subarray(0, taken + 1),
    ...(averages && {averages: averages.subarray(0, 2 * taken + 2)}),
    ...(details && details.result(points, taken)),
  };
}

// Gradients, updates and slots of every step: two numbers per step, one for a scalar slot.
function recorder(plan) {
  const places = slotPlaces(plan.rule);
  const gradients = new Float64Array(2 * plan.steps + 2);
  const slots = places.map(({from, to}) => new Float64Array((to - from) * (plan.steps + 1)));
  return {
    note(t, state, gx, gy) {
      gradients[2 * t] = gx;
      gradients[2 * t + 1] = gy;
      places.forEach(({from, to}, k) => slots[k].set(state.subarray(from, to), (to - from) * t));
    },
    result(points, taken) {
      const updates = new Float64Array(2 * taken + 2);
      for (let k = 2; k < updates.length; k++) updates[k] = points[k] - points[k - 2];
      const named = places.map(({name, from, to}, k) => [name, slots[k].subarray(0, (to - from) * (taken + 1))]);
      return {
        gradients: gradients.subarray(0, 2 * taken + 2),
        updates,
        slots: Object.fromEntries(named),
      };
    },
  };
}

// One step of a path with its numbers: for each line of the formula what it reads and what its
// targets become. `at` is the number of the step, from 1.
function explain(options = {}) {
  const at = whole('at', options.at, 1, MOST_STEPS);
  const plan = prepared({...options, steps: Math.max(at, options.steps ?? at)});
  let before = null;
  let found = null;
  walk({...plan, steps: at}, (t, state, gx, gy) => {
    if (t === at) found = {before, gradient: [gx, gy], after: [state[0], state[1]]};
    before = state.slice();
  });
  if (!found) return null; // the path had ended before
  const h = plan.h.slice();
  if (plan.schedule) scheduled(plan, h, plan.schedule(at));
  const state = found.before.slice();
  let [gx, gy] = found.gradient;
  const lines = [];
  for (const [k, name] of (options.transforms ?? []).entries()) {
    const work = Float64Array.of(state[0], state[1], 0, 0);
    const {h: own} = plan.transforms[k];
    lines.push(...numbers(transformOf(name), work, gx, gy, at, own));
    [state[0], state[1], gx, gy] = work;
  }
  lines.push(...numbers(plan.rule, state, gx, gy, at, h));
  const {gradient, after} = found;
  return {before: [found.before[0], found.before[1]], gradient, after, rate: plan.rate < 0 ? null : h[plan.rate], lines};
}

// The lines of a rule or transform with their values; the state is stepped.
function numbers(rule, state, gx, gy, t, h) {
  const [parameter, gradient] = rule.parameters;
  const known = {...rule.constants, [parameter]: [state[0], state[1]], [gradient]: [gx, gy], t};
  slotPlaces(rule).forEach(({name, from, to}) => {
    known[name] = to - from === 2 ? [state[from], state[from + 1]] : state[from];
  });
  rule.hyper.forEach((one, k) => { known[one.name] = h[k]; });
  const values = [];
  rule.step(state, gx, gy, t, h, values);
  let place = 0;
  return rule.lines.map((line) => {
    const reads = Object.fromEntries(line.reads.map((name) => [name, known[name]]));
    const gives = {};
    for (const target of line.targets) {
      gives[target] = line.conditions?.includes(target) ? values[place] === 1 : values[place];
      known[target] = gives[target];
      place++;
    }
    return {mathml: line.mathml, reads, gives};
  });
}
