// A tree of the parser as a surface: value, gradient and Hessian by forward mode. PRIMITIVES, which
// Python generates, compute an operation of u and v by its number: its value; value and slopes ∂u,
// ∂v; value, slopes and ∂uu, ∂uv, ∂vv.

const [heightOf, slopesOf, bendsOf] = PRIMITIVES;

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
      const [u, v = 0] = inside.map((one) => one.constant);
      return constant(heightOf(OPERATIONS[op], u, v, 0));
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
    const [u, v] = places;
    const [a, b] = places.map((place) => list[place]);
    return add(`${op} ${places} ${number}`, () => ({
      // An operation of one value ignores the second; the number of an exponent is no place.
      run: OPERATIONS[op], u, v: v ?? u, number: number ?? 0,
      ax: a.dx, ay: a.dy, bx: Boolean(b?.dx), by: Boolean(b?.dy),
      dx: a.dx || Boolean(b?.dx), dy: a.dy || Boolean(b?.dy),
    }));
  }

  const result = visit(tree);
  return {list, result};
}

// Functions of (x, y): the value; value and slopes; value, slopes and second derivatives. The latter
// two write into an array.
//
// A term is left out where it does not depend on the variable: 0 · ∞ would be no number.
function evaluators(tree) {
  const {list, result} = compiled(tree);
  const steps = list.map((one, k) => ({...one, k})).filter((one) => one.run !== undefined);
  const part = new Float64Array(6);

  // The values of all instructions, of so many numbers each.
  function memory(width) {
    const values = new Float64Array(width * list.length);
    const places = {x: -1, y: -1};
    list.forEach((one, k) => {
      if (one.constant !== undefined) values[width * k] = one.constant;
      if (!one.variable) return;
      places[one.variable] = width * k;
      if (width > 1) values[width * k + (one.variable === 'x' ? 1 : 2)] = 1;
    });
    return {values, given(x, y) {
      if (places.x >= 0) values[places.x] = x;
      if (places.y >= 0) values[places.y] = y;
    }};
  }

  const heights = memory(1);
  function value(x, y) {
    const {values} = heights;
    heights.given(x, y);
    for (let i = 0; i < steps.length; i++) {
      const one = steps[i];
      values[one.k] = heightOf(one.run, values[one.u], values[one.v], one.number);
    }
    return values[result];
  }

  const slopes = memory(3);
  function gradient(x, y, out) {
    const {values} = slopes;
    slopes.given(x, y);
    for (let i = 0; i < steps.length; i++) {
      const one = steps[i];
      const to = 3 * one.k;
      const u = 3 * one.u;
      const v = 3 * one.v;
      slopesOf(one.run, values[u], values[v], one.number, part);
      values[to] = part[0];
      values[to + 1] = (one.ax ? part[1] * values[u + 1] : 0) + (one.bx ? part[2] * values[v + 1] : 0);
      values[to + 2] = (one.ay ? part[1] * values[u + 2] : 0) + (one.by ? part[2] * values[v + 2] : 0);
    }
    out[0] = values[3 * result];
    out[1] = values[3 * result + 1];
    out[2] = values[3 * result + 2];
  }

  const bends = memory(6);
  function hessian(x, y, out) {
    const {values} = bends;
    bends.given(x, y);
    for (const one of steps) {
      const u = 6 * one.u;
      const v = 6 * one.v;
      bendsOf(one.run, values[u], values[v], one.number, part);
      values[6 * one.k] = part[0];
      derive(one, values, 6 * one.k, u, v);
    }
    for (let k = 0; k < 6; k++) out[k] = values[6 * result + k];
  }

  function derive({ax, ay, bx, by}, values, to, u, v) {
    const [, fu, fv, fuu, fuv, fvv] = part;
    const along = [ax, ay];
    const beside = [bx, by];
    for (let i = 0; i < 2; i++) {
      values[to + 1 + i] = (along[i] ? fu * values[u + 1 + i] : 0) + (beside[i] ? fv * values[v + 1 + i] : 0);
    }
    const bend = (factor, p, q) => (factor === 0 ? 0 : factor * values[p] * values[q]);
    for (let k = 0; k < 3; k++) {
      const [i, j] = [[0, 0], [0, 1], [1, 1]][k];
      let second = 0;
      if ((ax || ay) && fu !== 0) second += fu * values[u + 3 + k];
      if ((bx || by) && fv !== 0) second += fv * values[v + 3 + k];
      if (along[i] && along[j]) second += bend(fuu, u + 1 + i, u + 1 + j);
      if (along[i] && beside[j]) second += bend(fuv, u + 1 + i, v + 1 + j);
      if (beside[i] && along[j]) second += bend(fuv, v + 1 + i, u + 1 + j);
      if (beside[i] && beside[j]) second += bend(fvv, v + 1 + i, v + 1 + j);
      values[to + 3 + k] = second;
    }
  }

  return {value, gradient, hessian};
}
