// What a path walks on: {name, view, starts, minima, value(x, y), gradient(x, y, out),
// hessian(x, y, out)}. `gradient` writes value and slopes, `hessian` also xx, xy, yy.

const VIEW = [-5, 5, -5, 5];
const one = new Float64Array(1);
const six = new Float64Array(6);

// A surface of a typed text. Raises ParseError.
function typed(text, view = VIEW) {
  const run = evaluator(parse(text));
  const [left, right, bottom, top] = view;
  return {
    name: text.trim(), title: '', view, minima: [], saddles: [], bounded: true, lowest: null,
    starts: [[left + 0.15 * (right - left), top - 0.2 * (top - bottom)]],
    value(x, y) {
      run(x, y, one, 0);
      return one[0];
    },
    gradient: (x, y, out) => run(x, y, out, 1),
    hessian: (x, y, out) => run(x, y, out, 2),
  };
}

// The mean of a loss over samples, each a row of numbers that the loss takes beside the weights.
function empirical(loss) {
  const {rows} = loss;
  const sum = new Float64Array(6);

  function over(run, x, y, out, count, at) {
    sum.fill(0);
    for (let k = 0; k < count; k++) {
      const row = rows[at(k)];
      run(x, y, row[0], row[1], six);
      for (let i = 0; i < out.length; i++) sum[i] += six[i];
    }
    for (let i = 0; i < out.length; i++) out[i] = sum[i] / count;
  }

  const all = (k) => k;
  return {
    ...loss,
    samples: rows.length,
    value(x, y) {
      let total = 0;
      for (const row of rows) total += loss.sample.value(x, y, row[0], row[1]);
      return total / rows.length;
    },
    gradient: (x, y, out) => over(loss.sample.gradient, x, y, out, rows.length, all),
    hessian: (x, y, out) => over(loss.sample.hessian, x, y, out, rows.length, all),
    // Over the samples of one step, `size` places of `drawn` from `first` on.
    batch: (x, y, drawn, first, size, out) =>
      over(loss.sample.gradient, x, y, out, size, (k) => drawn[first + k]),
  };
}

const BUILT_IN = new Map();
for (const [name, surface] of Object.entries(SURFACES)) {
  const made = surface.rows ? empirical(surface) : surface;
  made.name = name;
  made.lowest = made.minima.length ? made.value(...made.minima[0]) : null;
  BUILT_IN.set(name, made);
}

// The surface that an argument means: a name, {text, view}, or a surface itself.
function surfaceOf(given) {
  if (typeof given === 'string') {
    const found = BUILT_IN.get(given);
    if (!found) throw unknown('surface', given, [...BUILT_IN.keys()]);
    return found;
  }
  if (given && typeof given.text === 'string') {
    const view = given.view ?? VIEW;
    if (!Array.isArray(view) || view.length !== 4 || !view.every(Number.isFinite) ||
        !(view[0] < view[1] && view[2] < view[3])) {
      throw new UsageError(`view=${show(view)} must be [left, right, bottom, top] with left < right and bottom < top`);
    }
    return typed(given.text, view);
  }
  if (given && typeof given.gradient === 'function') return given;
  throw new UsageError(`surface=${show(given)} is neither a name nor {text: 'x^2 + y^2'}`);
}

// Eigenvalues of a symmetric matrix of two rows, the larger first, and the larger one's direction.
function eigen(xx, xy, yy) {
  const middle = (xx + yy) / 2;
  const half = Math.hypot((xx - yy) / 2, xy);
  const angle = Math.atan2(2 * xy, xx - yy) / 2;
  return {values: [middle + half, middle - half], direction: [Math.cos(angle), Math.sin(angle)]};
}
