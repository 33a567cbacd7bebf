// The map: level lines, paths, the start that can be dragged, and the arrows of the step.

// From the surface's coordinates to pixels and back.
function frameOf({view: [left, right, bottom, top]}, width, height) {
  return {
    to: (x, y) => [(x - left) / (right - left) * width, (top - y) / (top - bottom) * height],
    from: (px, py) => [left + px / width * (right - left), top - py / height * (top - bottom)],
  };
}

// What stays while the paths play: relief, scales, minima, and the whole of each path, faintly.
let still = null;
function drawStill(context, frame, now, width, height) {
  context.drawImage(reliefOf(now.surface, width, height), 0, 0, width, height);
  scales(context, now.surface.view, frame, width, height);
  for (const [x, y] of now.surface.minima) cross(context, ...frame.to(x, y));
  context.globalAlpha = 0.3;
  for (const {name, path} of ordered(now)) {
    context.lineWidth = name === now.active ? 3 : 2.2;
    context.strokeStyle = look(name).ink;
    line(context, (i) => frame.to(path.points[2 * i], path.points[2 * i + 1]), 0, path.steps);
  }
  context.globalAlpha = 1;
}

function drawMap(canvas, now) {
  const on = pen(canvas);
  if (!on) return;
  const {context, width, height} = on;
  const frame = frameOf(now.surface, width, height);
  still = keep(still, [now.key, now.active].join(), on, (inside) => drawStill(inside, frame, now, width, height));
  const ends = [];
  for (const {name, path} of ordered(now)) {
    const {ink, dash} = look(name);
    const {k, x, y} = at(path, now.state.step);
    const place = (i) => frame.to(path.points[2 * i], path.points[2 * i + 1]);
    context.lineWidth = name === now.active ? 3 : 2.2;
    context.strokeStyle = ink;
    context.setLineDash(dash.map((one) => context.lineWidth * one));
    line(context, place, 0, k);
    context.setLineDash([]);
    dot(context, ...frame.to(x, y), name === now.active ? 6 : 4.5, ink);
    ends.push({name, ink, at: frame.to(x, y)});
  }
  if (now.state.arrows === 'on') drawArrows(context, frame, now);
  labels(context, ends, width, height);
  start(context, ...frame.to(...startOf(now)));
}

// Round numbers along the lower and the left edge.
function scales(context, [left, right, bottom, top], frame, width, height) {
  context.font = '11px system-ui, sans-serif';
  context.strokeStyle = colour('halo');
  context.fillStyle = colour('soft');
  context.lineWidth = 3;
  const write = (text, px, py) => {
    context.strokeText(text, px, py);
    context.fillText(text, px, py);
  };
  context.textAlign = 'center';
  for (const x of round(left, right, 6)) {
    const [px] = frame.to(x, bottom);
    if (px > 30 && px < width - 15) write(figure(x, 3), px, height - 6);
  }
  context.textAlign = 'left';
  for (const y of round(bottom, top, 5)) {
    const [, py] = frame.to(left, y);
    if (py > 12 && py < height - 20) write(figure(y, 3), 6, py + 4);
  }
}

// The active rule last, so that it lies above the others.
const ordered = ({paths, active}) => [...paths].sort((a, b) => (a.name === active) - (b.name === active));

// A line over some steps; what is far outside is left out, where canvases lose their precision.
function line(context, place, from, to) {
  if (to <= from) return;
  context.beginPath();
  for (let i = from; i <= to; i++) {
    const [px, py] = place(i);
    if (Math.abs(px) < 1e5 && Math.abs(py) < 1e5) context.lineTo(px, py);
  }
  context.stroke();
}

function dot(context, px, py, radius, ink) {
  context.beginPath();
  context.arc(px, py, radius, 0, 7);
  context.fillStyle = ink;
  context.fill();
  context.strokeStyle = colour('halo');
  context.lineWidth = 1.5;
  context.stroke();
}

function cross(context, px, py) {
  context.strokeStyle = colour('soft');
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [dx, dy] of [[5, 5], [5, -5]]) {
    context.moveTo(px - dx, py - dy);
    context.lineTo(px + dx, py + dy);
  }
  context.stroke();
}

function start(context, px, py) {
  context.beginPath();
  context.arc(px, py, 9, 0, 7);
  context.strokeStyle = colour('ink');
  context.lineWidth = 2;
  context.stroke();
  context.beginPath();
  context.arc(px, py, 12, 0, 7);
  context.strokeStyle = colour('halo');
  context.lineWidth = 2;
  context.stroke();
}

// The names at the ends of the paths, moved down where they would cover each other.
function labels(context, ends, width, height) {
  if (ends.length < 2) return;
  const taken = [];
  context.font = '600 12px system-ui, sans-serif';
  for (const {name, ink, at: [px, py]} of ends) {
    const wide = context.measureText(name).width;
    const x = Math.min(width - wide - 4, Math.max(4, px + 10));
    let y = Math.min(height - 6, Math.max(14, py - 8));
    while (taken.some(([a, b, w]) => Math.abs(b - y) < 14 && x < a + w + 4 && a < x + wide + 4) && y < height) y += 14;
    taken.push([x, y, wide]);
    context.lineWidth = 4;
    context.strokeStyle = colour('halo');
    context.strokeText(name, x, y);
    context.fillStyle = ink;
    context.fillText(name, x, y);
  }
}

// Of the active rule: the gradient downhill and the momentum in their directions, the next step at
// its true length where that can be seen.
function drawArrows(context, frame, {paths, state, active, surface}) {
  const found = paths.find(({name}) => name === active);
  if (!found || state.step >= found.path.steps) return;
  const {path} = found;
  const {k, x, y} = at(path, state.step);
  const origin = frame.to(x, y);
  const [gx, gy] = surface.gradient(x, y);
  const arrows = [['gradient', -gx, -gy, '#7a7f8c', 46]];
  const slot = RULE.get(active).momentum[0];
  if (slot && k) arrows.push(['momentum', -path.slots[slot][2 * k], -path.slots[slot][2 * k + 1], '#b07a00', 38]);
  arrows.push(['update', path.updates[2 * k + 2], path.updates[2 * k + 3], look(active).ink, 0]);
  for (const [kind, dx, dy, ink, length] of arrows) {
    const tip = frame.to(x + dx, y + dy);
    const [px, py] = [tip[0] - origin[0], tip[1] - origin[1]];
    const size = Math.hypot(px, py);
    if (!size || !Number.isFinite(size)) continue;
    const wanted = length || Math.min(400, Math.max(16, size));
    arrow(context, origin, [origin[0] + px / size * wanted, origin[1] + py / size * wanted], ink, say(kind));
  }
}

function arrow(context, [ax, ay], [bx, by], ink, name) {
  const angle = Math.atan2(by - ay, bx - ax);
  context.beginPath();
  context.moveTo(ax, ay);
  context.lineTo(bx, by);
  for (const turn of [2.6, -2.6]) {
    context.moveTo(bx, by);
    context.lineTo(bx + 8 * Math.cos(angle + turn), by + 8 * Math.sin(angle + turn));
  }
  for (const [width, stroke] of [[4.5, colour('halo')], [2, ink]]) {
    context.lineWidth = width;
    context.strokeStyle = stroke;
    context.stroke();
  }
  context.font = '11px system-ui, sans-serif';
  context.textAlign = bx < ax ? 'right' : 'left';
  const place = [bx + (bx < ax ? -5 : 5), by + (by < ay ? -4 : 12)];
  context.lineWidth = 3.5;
  context.strokeStyle = colour('halo');
  context.strokeText(name, ...place);
  context.fillStyle = colour('ink');
  context.fillText(name, ...place);
  context.textAlign = 'left';
}

// The start follows the pointer on the map, within the view.
function moveStart(canvas, event) {
  const {surface} = model();
  const box = canvas.getBoundingClientRect();
  const [x, y] = frameOf(surface, box.width, box.height).from(event.clientX - box.left, event.clientY - box.top);
  change({start: inside(surface, x, y), story: ''});
}

function inside({view: [left, right, bottom, top]}, x, y) {
  const digits = (value, span) => Number(value.toPrecision(Math.max(3, Math.ceil(3 - Math.log10(span) + Math.log10(Math.abs(value) + 1e-9)))));
  return [
    digits(Math.min(right, Math.max(left, x)), right - left),
    digits(Math.min(top, Math.max(bottom, y)), top - bottom),
  ];
}

const DIRECTIONS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};

function moveByKey(event) {
  const direction = DIRECTIONS[event.key];
  if (!direction) return;
  event.preventDefault();
  const now = model();
  if (now.state.view === '3d') {
    const [around, up] = now.state.turn;
    change({turn: [around + 0.1 * direction[0], up + 0.1 * direction[1]]});
    return;
  }
  const [left, right, bottom, top] = now.surface.view;
  const share = event.shiftKey ? 0.002 : 0.02;
  const [x, y] = startOf(now);
  change({start: inside(now.surface, x + share * direction[0] * (right - left), y + share * direction[1] * (top - bottom)), story: ''});
}
