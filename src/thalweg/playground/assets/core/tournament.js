// A race of rules on one surface, each with the best of equally many learning rates.

const TOLERANCE = 1e-3;
const LONGEST_RACE = 10000; // steps; the losses of all tries are kept until the race ends
const SLICE = 12; // milliseconds of work before the page gets its turn

// The loss to reach: this share of the height of the start above the lowest known value, or above
// the lowest value that any of the paths found.
function targetOf(surface, start, lowest, tolerance) {
  const from = surface.value(...start);
  const floor = surface.lowest === null ? lowest : Math.min(surface.lowest, lowest);
  return floor + tolerance * (from - floor);
}

const pause = () => new Promise((resume) => {
  const {port1, port2} = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    resume();
  };
  port2.postMessage(0);
});

// One try: the losses of a path, and whether it stayed inside the view.
function attempt(options, rule, lr) {
  const hyper = {...(Object.hasOwn(options.hyper ?? {}, rule) ? options.hyper[rule] : {})};
  if (lr !== null) hyper.lr = lr;
  const {surface, start, steps, noise, seed, batch, schedule, transforms} = options;
  const found = path({surface, start, steps, noise, seed, batch, schedule, transforms, rule, hyper});
  return {rule, lr, losses: found.losses, diverged_at: found.diverged_at, last: found.losses.at(-1)};
}

// Race the rules. Resolves to {target, tolerance, tries, places: [{rule, lr, steps, loss, …}]}, best
// first: fewest steps to the target, from which the path must not rise above it again; then the
// lowest final loss.
//
// `progress(done, all)` is called between tries; a `signal` (of an AbortController) ends the race.
async function race(options = {}, {progress, signal} = {}) {
  const surface = surfaceOf(options.surface);
  const start = pointOf(options.start, surface);
  whole('steps', options.steps ?? 100, 1, LONGEST_RACE);
  const tolerance = number('tolerance', options.tolerance ?? TOLERANCE, 0, 1);
  const rules = options.rules ?? Object.keys(RULES).filter((name) => RULES[name].convention === 'torch');
  if (!Array.isArray(rules) || !rules.length) throw new UsageError(`rules=${show(rules)} must be a list of names`);
  const tries = rules.flatMap((name) => {
    const {rates} = ruleOf(name);
    return rates.length ? rates.map((lr) => [name, lr]) : [[name, null]];
  });
  const results = [];
  let since = performance.now();
  for (const [k, [name, lr]] of tries.entries()) {
    results.push(attempt({...options, surface, start}, name, lr));
    if (performance.now() - since > SLICE) {
      progress?.(k + 1, tries.length);
      await pause();
      if (signal?.aborted) throw signal.reason;
      since = performance.now();
    }
  }
  progress?.(tries.length, tries.length);
  const finite = results.flatMap(({losses, diverged_at: ended}) => (ended === null ? [losses] : []));
  const lowest = finite.reduce((least, losses) => losses.reduce((a, b) => Math.min(a, b), least), Infinity);
  const target = targetOf(surface, start, lowest, tolerance);
  const best = new Map();
  for (const result of results) {
    const one = {...result, steps: stepsTo(result, target)};
    if (!best.has(one.rule) || order(one, best.get(one.rule)) < 0) best.set(one.rule, one);
  }
  const places = [...best.values()].sort(order).map(({rule, lr, steps, last, diverged_at: ended}) => {
    const {rates} = RULES[rule];
    const atEdge = rates.length > 1 && (lr === rates[0] || lr === rates.at(-1));
    return {rule, lr, steps, loss: last, diverged_at: ended, at_edge: atEdge};
  });
  return {surface: surface.name, start, target, tolerance, tries: tries.length, places};
}

// The step from which all losses are at most the target; null if there is none.
function stepsTo({losses, diverged_at: ended}, target) {
  if (ended !== null) return null;
  let step = null;
  for (let k = losses.length - 1; k >= 0 && losses[k] <= target; k--) step = k;
  return step;
}

function order(a, b) {
  const ended = (one) => (one.diverged_at === null ? 0 : 1);
  const reached = (one) => (one.steps === null ? Infinity : one.steps);
  const compare = (p, q) => (p === q ? 0 : p < q ? -1 : 1);
  return ended(a) - ended(b) || compare(reached(a), reached(b)) || compare(a.last, b.last);
}
