// The surface in three dimensions: its cells painted from back to front, the paths over them. Where
// the surface hides a path it is drawn faintly.

const CELLS = 56;
const TALL = 0.55; // the highest height, in widths of the surface
const GRAIN = 4; // pixels to a place of the depths
const LIFT = 0.06; // how much nearer than the surface a path counts as lying on it

let mesh = null; // {key, grid}
let carved = null; // {key, image, depths}: the surface without paths

function drawTurned(canvas, now) {
  const on = pen(canvas);
  if (!on) return;
  const {context, width, height} = on;
  const {surface, state} = now;
  const key = [surface.name, surface.view].join();
  if (mesh?.key !== key) mesh = {key, grid: heightsOf(surface, CELLS + 1, CELLS + 1)};
  const project = projection(state.turn, width, height);
  const {image, depths} = carvedOf(key, project, state.turn, width, height);
  context.drawImage(image, 0, 0, width, height);
  const [left, right, bottom, top] = surface.view;
  const place = (path, i) => project([
    2 * (path.points[2 * i] - left) / (right - left) - 1,
    2 * (path.points[2 * i + 1] - bottom) / (top - bottom) - 1,
    2 * TALL * Math.min(1.05, mesh.grid.height(path.losses[i])),
  ]);
  for (const {name, path} of ordered(now)) {
    drawPath(context, path, at(path, state.step).k, name === now.active, look(name).ink, place, depths);
  }
}

// From the cube of the surface to pixels, and the depth, which is larger where it is nearer.
function projection([around, up], width, height) {
  const [c, s, cu, su] = [Math.cos(around), Math.sin(around), Math.cos(up), Math.sin(up)];
  const scale = 0.3 * Math.min(width, 1.35 * height);
  return ([x, y, z]) => {
    const [a, b, lifted] = [c * x - s * y, s * x + c * y, z - TALL];
    return {px: width / 2 + scale * a, py: height / 2 - scale * (b * su + lifted * cu), depth: -b * cu + lifted * su};
  };
}

// The surface from one side, painted once, with the depth of what is seen at each place.
function carvedOf(name, project, turn, width, height) {
  const key = [name, turn, width, height, isDark()].join();
  if (carved?.key === key) return carved;
  const image = made('canvas', {width: 2 * width, height: 2 * height});
  const context = image.getContext('2d');
  context.scale(2, 2);
  context.fillStyle = colour('ground');
  context.fillRect(0, 0, width, height);
  context.strokeStyle = isDark() ? 'rgba(210, 225, 240, .10)' : 'rgba(30, 50, 70, .12)';
  context.lineWidth = 0.7;
  const depths = depthsOf(width, height);
  for (const {points, depth, fill} of [...cells(mesh.grid, project)].sort((a, b) => a.depth - b.depth)) {
    context.beginPath();
    for (const {px, py} of points) context.lineTo(px, py);
    context.closePath();
    context.fillStyle = fill;
    context.fill();
    context.stroke();
    depths.cover(points, depth);
  }
  carved = {key, image, depths};
  return carved;
}

// The depth of the nearest cell at each place of the picture.
function depthsOf(width, height) {
  const [columns, rows] = [Math.ceil(width / GRAIN), Math.ceil(height / GRAIN)];
  const nearest = new Float32Array(columns * rows).fill(-Infinity);
  const inside = (value, count) => Math.max(0, Math.min(count - 1, Math.floor(value / GRAIN)));
  return {
    cover(points, depth) {
      const [xs, ys] = [points.map(({px}) => px), points.map(({py}) => py)];
      const [last, lowest] = [inside(Math.max(...xs), columns), inside(Math.max(...ys), rows)];
      for (let j = inside(Math.min(...ys), rows); j <= lowest; j++) {
        for (let i = inside(Math.min(...xs), columns); i <= last; i++) {
          nearest[j * columns + i] = Math.max(nearest[j * columns + i], depth);
        }
      }
    },
    hides: ({px, py, depth}) => nearest[inside(py, rows) * columns + inside(px, columns)] > depth + LIFT,
  };
}

function* cells({columns, rows, values}, project) {
  const corners = Array.from({length: columns * rows}, (_, k) => project([
    2 * (k % columns) / (columns - 1) - 1,
    1 - 2 * Math.floor(k / columns) / (rows - 1),
    2 * TALL * Math.min(1.05, values[k]),
  ]));
  for (let j = 0; j + 1 < rows; j++) {
    for (let i = 0; i + 1 < columns; i++) {
      const k = j * columns + i;
      const around = [k, k + 1, k + columns + 1, k + columns];
      if (!around.every((corner) => Number.isFinite(values[corner]))) continue;
      const slope = values[k] - values[k + 1] + (values[k] - values[k + columns]);
      const light = 1 + Math.max(-0.25, Math.min(0.2, 2.2 * slope));
      const points = around.map((corner) => corners[corner]);
      yield {
        points,
        depth: points.reduce((sum, point) => sum + point.depth, 0) / 4,
        fill: `rgb(${shade(values[k]).map((one) => Math.min(255, one * light)).join()})`,
      };
    }
  }
}

// A path up to the present step, faintly what follows and what the surface hides.
function drawPath(context, path, k, isActive, ink, place, depths) {
  context.strokeStyle = ink;
  context.lineWidth = isActive ? 3 : 2;
  let before = null;
  let drawn = null; // how the line that is being drawn looks
  const end = () => {
    if (drawn !== null) context.stroke();
    drawn = null;
  };
  for (let i = 0; i <= path.steps; i++) {
    const point = place(path, i);
    if (!(Math.abs(point.px) < 1e4 && Math.abs(point.py) < 1e4)) break;
    const alpha = (i <= k ? 1 : 0.3) * (depths.hides(point) ? 0.35 : 1);
    if (before && alpha !== drawn) {
      end();
      context.globalAlpha = drawn = alpha;
      context.beginPath();
      context.moveTo(before.px, before.py);
    }
    if (before) context.lineTo(point.px, point.py);
    before = point;
  }
  end();
  context.globalAlpha = 1;
  const {px, py} = place(path, Math.min(k, path.steps));
  if (Math.abs(px) < 1e4 && Math.abs(py) < 1e4) dot(context, px, py, isActive ? 6 : 4.5, ink);
}

// Dragging turns the view.
function turnBy(dx, dy) {
  const [around, up] = thalweg.state().turn;
  change({turn: [around + 0.008 * dx, up + 0.008 * dy]});
}
