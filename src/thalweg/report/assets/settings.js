// The settings of configurations, and how each is laid along an axis.

// What a configuration does not mention was left as it was.
const searched = new Set();

function filled(configuration) {
  const usual = { ...drawing.usual, batch_size: data.setting.batch_size };
  const absent = Object.entries(usual).filter(([key]) => searched.has(key) && configuration[key] === undefined);
  return { ...configuration, ...Object.fromEntries(absent) };
}

// Documents of older versions name the learning rate alone.
const settingsOf = x => (Object.keys(x.configuration ?? {}).length ? x.configuration : { lr: x.learning_rate });
const configurationsOf = e => (e.sensitivity ?? []).map(p => filled(settingsOf(p)));
const isNumber = v => typeof v === 'number';

// The hyperparameters that take more than one value, the learning rate first.
function tunedKeys() {
  const seen = new Map();
  for (const e of entries) {
    for (const c of configurationsOf(e)) {
      for (const key in c) seen.set(key, (seen.get(key) ?? new Set()).add(c[key]));
    }
  }
  const varied = [...seen.keys()].filter(key => seen.get(key).size > 1);
  return varied.sort((a, b) => (b === 'lr') - (a === 'lr'));
}

// How a hyperparameter is laid along an axis: words by position, β by its distance from 1.
function axisOf(key) {
  const values = entries.flatMap(configurationsOf).map(c => c[key]).filter(v => v !== undefined && v !== null);
  const label = key === 'lr' ? 'learning rate' : key;
  if (!values.every(isNumber)) {
    const names = [...new Set(values.map(String))].sort();
    return { key, label, names, of: c => names.indexOf(String(c[key])) };
  }
  const [low, high] = extent(values) ?? [0, 1];
  if (low >= 0.4 && high > 0.9 && high < 1) {
    return { key, label: `1 − ${label}`, log: true, of: c => isNumber(c[key]) ? 1 - c[key] : NaN };
  }
  return { key, label, log: low > 0 && high / low > 20, of: c => isNumber(c[key]) ? c[key] : NaN };
}

function option(select, value, text) {
  const node = html(select, 'option', '', text);
  node.value = value;
  return node;
}
