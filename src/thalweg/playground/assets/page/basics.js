// What all parts of the page share: elements, numbers as text, canvases, colours, the fields of the
// page's own. Everything is computed by window.thalweg.

const thalweg = window.thalweg;
const element = (id) => document.getElementById(id);
const options = (names) => (value, note) => (names.includes(value) ? value : note(`one of ${names.join(', ')}`));

thalweg.field('lang', document.documentElement.lang, options(LANGUAGES));
thalweg.field('theme', 'auto', options(['auto', 'light', 'dark']));
thalweg.field('view', 'map', options(['map', '3d']));
thalweg.field('turn', [-0.7, 0.8], (value, note) => {
  const given = (typeof value === 'string' ? value.split(',') : value).map(Number);
  if (given.length !== 2 || !given.every(Number.isFinite)) return note('two angles expected');
  return [given[0] % (2 * Math.PI), Math.min(1.5, Math.max(0.15, given[1]))];
});
thalweg.field('arrows', 'on', options(['on', 'off']));
thalweg.field('component', 'x', options(['x', 'y']));
thalweg.field('active', '', (value, note) =>
  (value === '' || thalweg.rules().some(({name}) => name === value) ? value : note('no such rule')));
thalweg.field('story', '', (value, note) =>
  (value === '' || STORIES.some(({id}) => id === value) ? value : note('no such story')));

const RULE = new Map(thalweg.rules().map((rule) => [rule.name, rule]));
const HYPER = new Map(thalweg.transforms().flatMap(({hyper}) => hyper).map((one) => [one.name, one]));

function made(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// A number with four digits, as a person writes it.
function figure(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  if (!Number.isFinite(value)) return value > 0 ? '∞' : '−∞';
  const size = Math.abs(value);
  let text = size && (size < 1e-3 || size >= 1e5) ? value.toExponential(digits - 2) : value.toPrecision(digits);
  if (text.includes('.') && !text.includes('e')) text = text.replace(/\.?0+$/, '');
  return text.replace(/\.?0*e\+?/, 'e').replaceAll('-', '−');
}

const isDark = () => document.documentElement.dataset.theme === 'dark'; // as `speak` has set it
const calm = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);

// How a rule is drawn, the same as in every figure.
function look(name) {
  const {light, dark, dash} = LOOKS[STYLES[name]];
  return {ink: isDark() ? dark : light, dash};
}

// The drawing context of a canvas, its unit one CSS pixel; null while it is not shown.
function pen(canvas) {
  const {clientWidth: width, clientHeight: height} = canvas;
  if (!width || !height) return null;
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.font = '12px system-ui, sans-serif';
  context.lineJoin = context.lineCap = 'round';
  return {context, width, height, ratio};
}

// Draw what stays while the paths play. The second time that it is asked for unchanged it is kept as
// a picture: while a slider moves, there would be a new one for every frame.
function keep(before, key, {context, width, height, ratio}, draw) {
  const whole = [key, width, height, ratio, isDark()].join();
  if (before?.key !== whole) {
    context.save();
    draw(context);
    context.restore();
    return {key: whole, image: null};
  }
  let {image} = before;
  if (!image) {
    image = made('canvas', {width: Math.round(width * ratio), height: Math.round(height * ratio)});
    const inside = image.getContext('2d');
    inside.setTransform(ratio, 0, 0, ratio, 0, 0);
    inside.lineJoin = inside.lineCap = 'round';
    draw(inside);
  }
  context.drawImage(image, 0, 0, width, height);
  return {key: whole, image};
}

// A piece of a rule's line, as in a legend.
function swatch(name) {
  const {ink, dash} = look(name);
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 30 10');
  svg.setAttribute('class', 'swatch');
  svg.setAttribute('aria-hidden', 'true');
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  const drawn = {d: 'M1 5H29', stroke: ink, 'stroke-width': 2.5, 'stroke-dasharray': dash.map((one) => 2.5 * one).join(' ')};
  for (const [key, value] of Object.entries(drawn)) line.setAttribute(key, value);
  svg.append(line);
  return svg;
}

function message(text) {
  element('message').textContent = text;
}

// Take over a change, and say what was not taken as given.
function change(fields) {
  const notes = thalweg.set(fields);
  if (notes.length) message(notes.map((note) => note.message).join('; '));
  return notes;
}
