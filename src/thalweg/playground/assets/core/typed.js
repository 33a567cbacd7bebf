// A tree of the parser as a surface: value, gradient and Hessian by forward mode. PRIMITIVES, which
// Python generates, has each operation with its partial derivatives.

// The instructions of a tree, each with the places of its operands, and what it depends on.
function compiled(tree) {
  const list = [];
  const known = new Map();

  function add(key, make) {
    if (!known.has(key)) {
      known.set(key, list.length);
      list.push(make());
    }
    return known.get(key);
  }

  const constant = (value) => add(`#${value}`, () => ({constant: value, dx: false, dy: false}));

  function visit({value, name, op, args}) {
    if (value !== undefined) return constant(value);
    if (name) return add(name, () => ({variable: name, dx: name === 'x', dy: name === 'y'}));
    const places = args.map(visit);
    const inside = places.map((place) => list[place]);
    if (inside.every((one) => one.constant !== undefined)) {
      const out = new Float64Array(6);
      const values = inside.map((one) => one.constant);
      PRIMITIVES[op](values[0], values[1] ?? 0, out);
      return constant(out[0]);
    }
    if (op === 'pow') return power(places, inside[1].constant);
    return operation(op, places);
  }

  // Small whole powers are products, as they are for rules and built-in surfaces.
  function power([base, exponent], number) {
    if (number === 0) return constant(1);
    if (number === 1) return base;
    if (number === 2 || number === 3 || number === 4) {
      const square = operation('mul', [base, base]);
      return number === 2 ? square : operation('mul', [square, number === 3 ? base : square]);
    }
    return number === undefined ? operation('pow', [base, exponent]) : operation('powc', [base], number);
  }

  function operation(op, places, number) {
    return add(`${op} ${places} ${number}`, () => ({
      run: PRIMITIVES[op],
      u: places[0],
      v: places[1] ?? -1,
      number,
      dx: places.some((place) => list[place].dx),
      dy: places.some((place) => list[place].dy),
    }));
  }

  const result = visit(tree);
  return {list, result};
}

// A function (x, y, out, order) that writes value, gradient and Hessian of a tree.
function evaluator(tree) {
  const {list, result} = compiled(tree);
  const values = new Float64Array(6 * list.length);
  const part = new Float64Array(6); // value, ∂u, ∂v, ∂uu, ∂uv, ∂vv
  list.forEach((one, k) => {
    if (one.constant !== undefined) values[6 * k] = one.constant;
    if (one.variable) values[6 * k + (one.variable === 'x' ? 1 : 2)] = 1;
  });
  const pairs = [[0, 0], [0, 1], [1, 1]];

  function derive(one, to, order) {
    const [, fu, fv, fuu, fuv, fvv] = part;
    const u = 6 * one.u;
    const v = 6 * one.v;
    const a = list[one.u];
    const b = one.v < 0 ? null : list[one.v];
    const along = [a.dx, a.dy];
    const beside = b ? [b.dx, b.dy] : [false, false];
    // A term is left out where it does not depend on the variable: 0 · ∞ would be no number.
    for (let i = 0; i < 2; i++) {
      let slope = 0;
      if (along[i]) slope += fu * values[u + 1 + i];
      if (beside[i]) slope += fv * values[v + 1 + i];
      values[to + 1 + i] = slope;
    }
    if (order < 2) return;
    const bend = (f, p, q) => (f === 0 ? 0 : f * p * q);
    for (let k = 0; k < 3; k++) {
      const [i, j] = pairs[k];
      let second = 0;
      if (a.dx || a.dy) second += bend(fu, values[u + 3 + k], 1);
      if (b && (b.dx || b.dy)) second += bend(fv, values[v + 3 + k], 1);
      if (along[i] && along[j]) second += bend(fuu, values[u + 1 + i], values[u + 1 + j]);
      if (along[i] && beside[j]) second += bend(fuv, values[u + 1 + i], values[v + 1 + j]);
      if (beside[i] && along[j]) second += bend(fuv, values[v + 1 + i], values[u + 1 + j]);
      if (beside[i] && beside[j]) second += bend(fvv, values[v + 1 + i], values[v + 1 + j]);
      values[to + 3 + k] = second;
    }
  }

  return (x, y, out, order) => {
    for (let k = 0; k < list.length; k++) {
      const one = list[k];
      if (one.variable) values[6 * k] = one.variable === 'x' ? x : y;
      if (!one.run) continue;
      const v = one.v < 0 ? 0 : values[6 * one.v];
      if (one.number === undefined) one.run(values[6 * one.u], v, part);
      else one.run(values[6 * one.u], v, one.number, part);
      values[6 * k] = part[0];
      if (order) derive(one, 6 * k, order);
    }
    for (let k = 0; k < out.length; k++) out[k] = values[6 * result + k];
  };
}
