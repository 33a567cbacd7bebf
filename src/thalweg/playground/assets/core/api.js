// `window.thalweg`: all that a page, or a person who scripts it, may use.

// The surface with the functions of plain numbers that a person calls.
function surface(given) {
  const found = surfaceOf(given);
  const slopes = new Float64Array(3);
  const bends = new Float64Array(6);
  const {name, title, view, starts, minima, saddles, bounded, lowest, samples, rows, columns} = found;
  return structuredCloned({name, title, view, starts, minima, saddles, bounded, lowest, samples, rows, columns}, {
    value: (x, y) => found.value(x, y),
    gradient(x, y) {
      found.gradient(x, y, slopes);
      return [slopes[1], slopes[2]];
    },
    hessian(x, y) {
      found.hessian(x, y, bends);
      return [bends[3], bends[4], bends[5]];
    },
    eigenvalues(x, y) {
      found.hessian(x, y, bends);
      return eigen(bends[3], bends[4], bends[5]);
    },
  });
}

const structuredCloned = (data, functions) => ({...structuredClone(data), ...functions});

// A rule without its code, and with the names of the slots that turn round with the gradient.
const described = ({step, ...rest}) => structuredClone(rest);
const describedRule = (rule) => ({...described(rule), momentum: momentumOf(rule)});

function momentumOf(rule) {
  const h = Float64Array.from(rule.hyper, (one) => one.default);
  return oddSlots(rule, h, firstState(rule, [0, 0], h), 2).map(({name}) => name);
}

// Whether a text is a function of x and y, and if not, what is wrong with it and where.
function checked(given) {
  try {
    parse(given);
    return {ok: true};
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return {ok: false, message: error.message, position: error.position};
  }
}

window.thalweg = Object.freeze({
  version: VERSION,
  grammar: GRAMMAR,
  rules: () => Object.values(RULES).map(describedRule),
  transforms: () => Object.values(TRANSFORMS).map(described),
  schedules: () => Object.keys(SCHEDULES),
  schedule: (kind, steps) => Array.from({length: steps}, (_, k) => scheduleOf(kind, steps)(k + 1)),
  surfaces: () => [...BUILT_IN.keys()].map((name) => surface(name)),
  surface,
  check: checked,
  path,
  explain,
  stability,
  race,
  normals: (seed, count) => normals(whole('seed', seed, 0, 2 ** 32 - 1), whole('count', count, 0, 1e7)),
  state,
  set,
  hash,
  field,
  onchange(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
});
