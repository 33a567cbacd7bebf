// Arguments that cannot work: the message names the argument, its value and what to give.

class UsageError extends Error {
  constructor(message) {
    super(message);
    this.name = 'UsageError';
  }
}

function show(value) {
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

function unknown(kind, name, known) {
  const near = known.filter((one) => one.startsWith(String(name).slice(0, 3)));
  return new UsageError(`no ${kind} named ${show(name)}; known: ${(near.length ? near : known).join(', ')}`);
}

function number(name, value, low = -Infinity, high = Infinity) {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < low || value > high) {
    const between = Number.isFinite(high) ? ` from ${low} to ${high}` : low > -Infinity ? ` of at least ${low}` : '';
    throw new UsageError(`${name}=${show(value)} must be a finite number${between}`);
  }
  return value;
}

function whole(name, value, low, high) {
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new UsageError(`${name}=${show(value)} must be a whole number from ${low} to ${high}`);
  }
  return value;
}
