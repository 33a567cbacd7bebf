// The state of the page: what is shown, checked on every change, and as the hash of the address.
//
// A value that cannot be is replaced by the nearest that can, and `set` says so. A page adds fields
// of its own with `thalweg.field`.

const LIMITS = {steps: [1, 10000], seed: [0, 2 ** 32 - 1], noise: [0, 1e6], batch: [0, 1e6], step: [0, 10000]};
const FAR_AWAY = 1e6;

const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));

// Each field: its first value, and what becomes of a value that is given. A check returns the value
// to take, and calls `note` where that is another.
const FIELDS = new Map();

function field(name, first, check) {
  FIELDS.set(name, {first, check});
}

function numeric(name, isWhole) {
  return (value, note) => {
    const given = typeof value === 'string' && value.trim() ? Number(value) : value;
    if (typeof given !== 'number' || !Number.isFinite(given)) return note('a number expected');
    const taken = clamp(isWhole ? Math.round(given) : given, LIMITS[name]);
    return taken === given ? taken : note(`a ${isWhole ? 'whole ' : ''}number from ${LIMITS[name].join(' to ')}`, taken);
  };
}

function choice(known) {
  return (value, note) => (known().includes(value) ? value : note(`one of ${known().join(', ')}`));
}

function listed(known) {
  return (value, note) => {
    const given = typeof value === 'string' ? value.split(',').filter(Boolean) : value;
    if (!Array.isArray(given)) return note('a list of names expected');
    const taken = [...new Set(given)].filter((name) => known().includes(name));
    if (taken.length === given.length) return taken;
    const rest = given.filter((name) => !taken.includes(name));
    // Of unknown names alone there is nothing to take.
    return note(rest.length ? `${rest.join(', ')} unknown` : 'each once', taken.length ? taken : undefined);
  };
}

function pair(value, note) {
  const given = typeof value === 'string' ? value.split(',').map(Number) : value;
  if (given === null || given === '') return null;
  if (!Array.isArray(given) || given.length !== 2 || !given.every(Number.isFinite)) {
    return note('two numbers expected');
  }
  const taken = given.map((one) => clamp(one, [-FAR_AWAY, FAR_AWAY]));
  return taken.every((one, k) => one === given[k]) ? taken : note(`within ±${FAR_AWAY}`, taken);
}

function text(value, note) {
  if (typeof value !== 'string') return note('text expected');
  if (!value.trim()) return '';
  try {
    parse(value);
    return value;
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return note(`${error.message} (character ${error.position + 1})`);
  }
}

// {rule: {hyperparameter: value}}, each in its limits.
function settingsOf(value, note) {
  if (typeof value !== 'object' || value === null) return note('an object expected');
  const taken = new Map();
  for (const [name, given] of Object.entries(value)) {
    if (!Object.hasOwn(RULES, name)) {
      note(`no rule named ${name}`);
      continue;
    }
    if (typeof given !== 'object' || given === null) {
      note(`${name}=${show(given)}: an object expected`);
      continue;
    }
    const known = [...RULES[name].hyper, ...Object.values(TRANSFORMS).flatMap(({hyper}) => hyper)];
    for (const [key, raw] of Object.entries(given)) {
      const one = known.find((hyper) => hyper.name === key);
      const wanted = typeof raw === 'string' && raw.trim() ? Number(raw) : raw;
      const trouble = one ? troubleWith(one, wanted) : 'no such hyperparameter';
      if (trouble) note(`${name}.${key}=${show(raw)}: ${trouble}`);
      else taken.set(name, {...taken.get(name), [key]: wanted});
    }
  }
  return Object.fromEntries(taken);
}

field('surface', Object.keys(SURFACES)[0], choice(() => Object.keys(SURFACES)));
field('text', '', text);
field('start', null, pair);
field('rules', Object.keys(RULES).slice(0, 1), listed(() => Object.keys(RULES)));
field('transforms', [], listed(() => Object.keys(TRANSFORMS)));
field('hyper', {}, settingsOf);
field('steps', 100, numeric('steps', true));
field('step', 0, numeric('step', true));
field('noise', 0, numeric('noise', false));
field('seed', 0, numeric('seed', true));
field('batch', 0, numeric('batch', true));
field('schedule', 'constant', choice(() => Object.keys(SCHEDULES)));

const current = {};
const listeners = new Set();

function state() {
  for (const [name, {first}] of FIELDS) if (!Object.hasOwn(current, name)) current[name] = first;
  return structuredClone(current);
}

// Take over some fields: an object, or the hash of an address. Returns what was not taken as given.
function set(given) {
  const notes = [];
  const changes = typeof given === 'string' ? unhashed(given, notes) : given;
  if (typeof changes !== 'object' || changes === null) {
    throw new UsageError(`set(${show(given)}): an object of fields, or a hash, expected`);
  }
  const before = JSON.stringify(state());
  // A hash is a whole state: what it leaves out, or names wrongly, has its first value.
  if (typeof given === 'string') for (const [name, {first}] of FIELDS) current[name] = first;
  for (const [name, value] of Object.entries(changes)) {
    const known = FIELDS.get(name);
    if (!known) {
      notes.push({field: name, message: `no field named ${name}; known: ${[...FIELDS.keys()].join(', ')}`});
      continue;
    }
    const note = (message, taken) => {
      notes.push({field: name, message: `${name}=${show(value)}: ${message}`});
      return taken;
    };
    const taken = known.check(copied(value), note);
    if (taken !== undefined) current[name] = taken;
  }
  if (JSON.stringify(current) !== before) for (const listener of listeners) listener(state());
  return notes;
}

// A copy that the caller cannot change; what is no plain data, such as a function, becomes its name.
function copied(value) {
  try {
    return structuredClone(value);
  } catch (error) {
    if (error.name !== 'DataCloneError') throw error;
    return typeof value;
  }
}

// The state as the hash of an address, less the fields that have their first value.
function hash() {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(state())) {
    if (JSON.stringify(value) === JSON.stringify(FIELDS.get(name).first)) continue;
    if (name !== 'hyper') words.set(name, Array.isArray(value) ? value.join() : String(value ?? ''));
    else {
      for (const [rule, own] of Object.entries(value)) {
        for (const [key, number] of Object.entries(own)) words.set(`${rule}.${key}`, String(number));
      }
    }
  }
  return words.size ? `#${words.toString().replaceAll('%2C', ',').replaceAll('%3A', ':')}` : '';
}

// The fields that a hash names.
function unhashed(given, notes) {
  const fields = {};
  const hyper = new Map();
  for (const [key, value] of new URLSearchParams(given.replace(/^#/, ''))) {
    const [rule, name] = [key.slice(0, key.indexOf('.')), key.slice(key.indexOf('.') + 1)];
    if (FIELDS.has(key) && key !== 'hyper') fields[key] = value;
    else if (Object.hasOwn(RULES, rule)) hyper.set(rule, {...hyper.get(rule), [name]: value});
    else notes.push({field: key, message: `no field named ${key}`});
  }
  return {...fields, hyper: Object.fromEntries(hyper)};
}
