// What the page shows: the surface, the path of every chosen rule, and the rule that is looked at.

let shown = null; // {key, ground, surface, paths: [{name, path}], trouble}

const groundOf = ({text, surface}) => (text ? {text} : surface);

// What a path depends on, of the page's state.
function walkOf(state, name, surface) {
  const {start, steps, noise, seed, schedule, transforms, hyper, batch} = state;
  return {
    rule: name,
    surface: groundOf(state),
    start: start ?? undefined,
    steps, noise, seed, schedule, transforms,
    hyper: hyper[name] ?? {},
    batch: surface.samples ? Math.min(batch, surface.samples) : 0,
    details: true,
  };
}

// The paths of the present state; computed only if anything that they depend on has changed.
function model() {
  const state = thalweg.state();
  const {text, surface, start, steps, noise, seed, schedule, transforms, hyper, batch, rules} = state;
  const key = JSON.stringify([text, surface, start, steps, noise, seed, schedule, transforms, hyper, batch, rules]);
  if (shown?.key === key) return {...shown, state, active: activeOf(state)};
  const ground = thalweg.surface(groundOf(state));
  const paths = [];
  const troubles = [];
  for (const name of rules) {
    try {
      paths.push({name, path: thalweg.path(walkOf(state, name, ground))});
    } catch (error) {
      if (error.name !== 'UsageError') throw error;
      troubles.push(error.message);
    }
  }
  shown = {key, surface: ground, paths, trouble: [...new Set(troubles)].join('; ')};
  return {...shown, state, active: activeOf(state)};
}

const activeOf = ({active, rules}) => (rules.includes(active) ? active : rules[0]);

// Where a path is at a step: its end if it ended before.
function at(path, step) {
  const k = Math.min(step, path.steps);
  return {k, x: path.points[2 * k], y: path.points[2 * k + 1], loss: path.losses[k]};
}

// How far a point is from the nearest minimum; null where none is known.
function distance({minima}, x, y) {
  if (!minima.length) return null;
  return Math.min(...minima.map(([a, b]) => Math.hypot(x - a, y - b)));
}

const startOf = ({state, surface}) => state.start ?? surface.starts[0];
