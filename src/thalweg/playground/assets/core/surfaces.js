// What a path walks on: {name, view, starts, minima, value(x, y), gradient(x, y, out),
// hessian(x, y, out)}. `gradient` writes value and slopes, `hessian` also xx, xy, yy.

const VIEW = [-5, 5, -5, 5];
const one = new Float64Array(1);

// A surface of a typed text. Raises ParseError.
function typed(text, view = VIEW) {
  const [left, right, bottom, top] = view;
  return {
    name: text.trim(), title: '', view, minima: [], saddles: [], bounded: true, lowest: null,
    starts: [[left + 0.15 * (right - left), top - 0.2 * (top - bottom)]],
    ...evaluators(parse(text)),
  };
}

// The mean of a loss over samples, each a row of numbers that the loss takes beside the weights.
function empirical(loss) {
  const {rows, mean} = loss;
  const count = rows.length;
  const columns = loss.columns.map((_, k) => Float64Array.from(rows, (row) => row[k]));
  return {
    ...loss,
    samples: count,
    value(x, y) {
      mean.value(x, y, columns, null, 0, count, one);
      return one[0];
    },
    gradient: (x, y, out) => mean.gradient(x, y, columns, null, 0, count, out),
    hessian: (x, y, out) => mean.hessian(x, y, columns, null, 0, count, out),
    // Over the samples of one step: `size` places of `drawn` from `from` on.
    batch: (x, y, drawn, from, size, out) => mean.gradient(x, y, columns, drawn, from, size, out),
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
