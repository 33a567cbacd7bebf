// A function that a person types, read into a tree. No text is ever run as a program.

const GRAMMAR = `\
sum      = product { ("+" | "-") product }
product  = unary { ("*" | "/") unary }
unary    = ("-" | "+") unary | power
power    = atom [ "^" unary ]
atom     = number | "x" | "y" | "pi" | "e" | function "(" sum { "," sum } ")" | "(" sum ")"
function = "sin" | "cos" | "tan" | "exp" | "log" | "sqrt" | "abs" | "tanh" | "min" | "max"`;

const ARGUMENTS = {
  sin: 1, cos: 1, tan: 1, exp: 1, log: 1, sqrt: 1, abs: 1, tanh: 1, min: 2, max: 2,
};
const CONSTANTS = {pi: Math.PI, e: Math.E};
const ALIASES = {'×': '*', '·': '*', '⋅': '*', '−': '-', '÷': '/', 'π': 'pi', '**': '^', 'ln': 'log'};
const TOKEN = /\s*(?:((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([A-Za-z]+)|(\*\*|[-+*/^(),×·⋅−÷π]))/y;
const LONGEST = 500;

class ParseError extends Error {
  constructor(message, position) {
    super(message);
    this.name = 'ParseError';
    this.position = position;
  }
}

function tokens(text) {
  const found = [];
  TOKEN.lastIndex = 0;
  let end = 0;
  while (text.slice(end).trim()) {
    const match = TOKEN.exec(text);
    if (!match) {
      const position = end + text.slice(end).search(/\S/);
      throw new ParseError(`"${text[position]}" has no meaning here`, position);
    }
    const [, number, name, sign] = match;
    const written = number ?? name ?? sign;
    const value = number ? Number(number) : ALIASES[written] ?? written;
    const kind = number ? 'number' : /^[A-Za-z]/.test(value) ? 'name' : 'sign';
    if (kind === 'number' && !Number.isFinite(value)) {
      throw new ParseError(`${number} is too large`, TOKEN.lastIndex - written.length);
    }
    found.push({kind, value, written, position: TOKEN.lastIndex - written.length});
    end = TOKEN.lastIndex;
  }
  found.push({kind: 'end', value: '', written: '', position: text.length});
  return found;
}

// The tree of a text: {op, args}, {value} or {name}.
function parse(text) {
  if (typeof text !== 'string' || !text.trim()) throw new ParseError('type a function of x and y', 0);
  if (text.length > LONGEST) {
    throw new ParseError(`longer than ${LONGEST} characters`, LONGEST);
  }
  const list = tokens(text);
  let place = 0;
  const at = (...signs) => list[place].kind === 'sign' && signs.includes(list[place].value);
  const op = (name, ...args) => ({op: name, args});

  function expect(sign, reason) {
    if (!at(sign)) fail(`"${sign}" expected${reason}`);
    place++;
  }

  function fail(message) {
    const {kind, written, position} = list[place];
    throw new ParseError(`${message}, but ${kind === 'end' ? 'the text ends' : `"${written}" stands`} here`, position);
  }

  function sum() {
    let left = product();
    while (at('+', '-')) {
      const name = list[place++].value === '+' ? 'add' : 'sub';
      left = op(name, left, product());
    }
    return left;
  }

  function product() {
    let left = unary();
    while (at('*', '/')) {
      const name = list[place++].value === '*' ? 'mul' : 'div';
      left = op(name, left, unary());
    }
    return left;
  }

  function unary() {
    if (at('-')) {
      place++;
      return op('neg', unary());
    }
    if (at('+')) {
      place++;
      return unary();
    }
    return power();
  }

  function power() {
    const base = atom();
    if (!at('^')) return base;
    place++;
    return op('pow', base, unary());
  }

  function atom() {
    const {kind, value, written, position} = list[place];
    if (kind === 'number') {
      place++;
      if (list[place].kind === 'name' || at('(')) fail(`"*" expected after ${written}`);
      return {value};
    }
    if (kind === 'name') {
      place++;
      if (Object.hasOwn(ARGUMENTS, value)) return call(value, position);
      if (at('(') || list[place].kind === 'name') fail(`"*" expected after ${written}`);
      if (Object.hasOwn(CONSTANTS, value)) return {value: CONSTANTS[value]};
      if (value === 'x' || value === 'y') return {name: value};
      const known = ['x', 'y', ...Object.keys(CONSTANTS), ...Object.keys(ARGUMENTS)].join(', ');
      throw new ParseError(`"${written}" is unknown; known: ${known}`, position);
    }
    if (at('(')) {
      place++;
      const inside = sum();
      expect(')', ' to close the parenthesis');
      return inside;
    }
    return fail('a number, x, y, a function or "(" expected');
  }

  function call(name, position) {
    expect('(', ` after ${name}`);
    const args = [sum()];
    while (at(',')) {
      place++;
      args.push(sum());
    }
    expect(')', ` to close ${name}(`);
    if (args.length !== ARGUMENTS[name]) {
      throw new ParseError(`${name} takes ${ARGUMENTS[name]} argument${ARGUMENTS[name] > 1 ? 's' : ''}, not ${args.length}`, position);
    }
    return name === 'tan' ? op('div', op('sin', ...args), op('cos', ...args)) : op(name, ...args);
  }

  const tree = sum();
  if (list[place].kind !== 'end') fail('an operator expected');
  return tree;
}
