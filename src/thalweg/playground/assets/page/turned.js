// The surface in three dimensions: its cells and the paths, painted from back to front.

const CELLS = 56;
const TALL = 0.55; // the highest height, in widths of the surface

let mesh = null; // {key, grid}

function drawTurned(canvas) {
  const on = pen(canvas);
  if (!on) return;
  const {context, width, height} = on;
  const now = model();
  const {surface, state} = now;
  const key = [surface.name, surface.view].join();
  if (mesh?.key !== key) mesh = {key, grid: heightsOf(surface, CELLS + 1, CELLS + 1)};
  const {grid} = mesh;
  context.fillStyle = colour('ground');
  context.fillRect(0, 0, width, height);
  const project = projection(state.turn, width, height);
  const [left, right, bottom, top] = surface.view;
  const unit = (x, y, value) => [
    2 * (x - left) / (right - left) - 1,
    2 * (y - bottom) / (top - bottom) - 1,
    TALL * Math.min(1.05, grid.height(value)) * 2,
  ];
  const pieces = [...cells(grid, project)];
  for (const {name, path} of ordered(now)) {
    const {k} = at(path, state.step);
    pieces.push(...strokes(path, k, name === now.active, look(name), unit, project));
  }
  pieces.sort((a, b) => a.depth - b.depth);
  for (const piece of pieces) piece.paint(context);
}

// From the cube of the surface to pixels, and the depth by which pieces are ordered.
function projection([around, up], width, height) {
  const [c, s, cu, su] = [Math.cos(around), Math.sin(around), Math.cos(up), Math.sin(up)];
  const scale = 0.3 * Math.min(width, 1.35 * height);
  return ([x, y, z]) => {
    const [a, b, lifted] = [c * x - s * y, s * x + c * y, z - TALL];
    return {px: width / 2 + scale * a, py: height / 2 - scale * (b * su + lifted * cu), depth: -b * cu + lifted * su};
  };
}

function* cells({columns, rows, values}, project) {
  const corners = Array.from({length: columns * rows}, (_, k) => project([
    2 * (k % columns) / (columns - 1) - 1,
    1 - 2 * Math.floor(k / columns) / (rows - 1),
    2 * TALL * Math.min(1.05, values[k]),
  ]));
  const edge = isDark() ? 'rgba(210, 225, 240, .10)' : 'rgba(30, 50, 70, .12)';
  for (let j = 0; j + 1 < rows; j++) {
    for (let i = 0; i + 1 < columns; i++) {
      const k = j * columns + i;
      const around = [k, k + 1, k + columns + 1, k + columns];
      if (!around.every((corner) => Number.isFinite(values[corner]))) continue;
      const slope = values[k] - values[k + 1] + (values[k] - values[k + columns]);
      const light = 1 + Math.max(-0.25, Math.min(0.2, 2.2 * slope));
      const fill = `rgb(${shade(values[k]).map((one) => Math.min(255, one * light)).join()})`;
      const points = around.map((corner) => corners[corner]);
      yield {
        depth: points.reduce((sum, point) => sum + point.depth, 0) / 4,
        paint(context) {
          context.beginPath();
          for (const {px, py} of points) context.lineTo(px, py);
          context.closePath();
          context.fillStyle = fill;
          context.fill();
          context.strokeStyle = edge;
          context.lineWidth = 0.7;
          context.stroke();
        },
      };
    }
  }
}

// The pieces of a path, a little above the surface and so a little nearer.
function* strokes(path, k, isActive, {ink}, unit, project) {
  let before = null;
  for (let i = 0; i <= path.steps; i++) {
    const point = project(unit(path.points[2 * i], path.points[2 * i + 1], path.losses[i]));
    if (![point.px, point.py].every((one) => Math.abs(one) < 1e4)) break;
    const from = before;
    before = point;
    const alpha = i <= k ? 1 : 0.3;
    if (from) {
      yield {
        depth: Math.max(from.depth, point.depth) + 0.06,
        paint(context) {
          context.globalAlpha = alpha;
          context.strokeStyle = ink;
          context.lineWidth = isActive ? 3 : 2;
          context.beginPath();
          context.moveTo(from.px, from.py);
          context.lineTo(point.px, point.py);
          context.stroke();
          context.globalAlpha = 1;
        },
      };
    }
    if (i === Math.min(k, path.steps)) {
      yield {depth: point.depth + 0.2, paint: (context) => dot(context, point.px, point.py, isActive ? 6 : 4.5, ink)};
    }
  }
}

// Dragging turns the view.
function turnBy(dx, dy) {
  const [around, up] = thalweg.state().turn;
  change({turn: [around + 0.008 * dx, up + 0.008 * dy]});
}
