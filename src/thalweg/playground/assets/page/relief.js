// The heights of a surface as shades and level lines.

const LEVELS = 18;
const RAMPS = {
  light: [[196, 219, 226], [226, 233, 226], [247, 243, 230], [243, 226, 208]],
  dark: [[18, 40, 54], [27, 45, 52], [40, 47, 50], [58, 52, 48]],
};

// Heights on a grid, and the logarithmic scale on which they are shown.
function heightsOf(surface, columns, rows) {
  const [left, right, bottom, top] = surface.view;
  const values = new Float64Array(columns * rows);
  for (let j = 0; j < rows; j++) {
    const y = top - j / (rows - 1) * (top - bottom);
    for (let i = 0; i < columns; i++) values[j * columns + i] = surface.value(left + i / (columns - 1) * (right - left), y);
  }
  const sorted = values.filter(Number.isFinite).sort();
  const low = sorted[0] ?? 0;
  const unit = Math.max((sorted[sorted.length >> 2] ?? 1) - low, 1e-9 * ((sorted.at(-1) ?? 1) - low), 1e-300) / 2;
  const scaled = (value) => Math.log1p(Math.max(0, value - low) / unit);
  const high = scaled(sorted[Math.floor(0.995 * (sorted.length - 1))] ?? 1) || 1;
  return {columns, rows, values: values.map((value) => scaled(value) / high), height: (value) => scaled(value) / high};
}

// The shade of a height from 0 to 1 as red, green and blue.
function shade(height) {
  const ramp = RAMPS[isDark() ? 'dark' : 'light'];
  if (!Number.isFinite(height)) return isDark() ? [70, 30, 34] : [236, 200, 200];
  const place = Math.min(0.9999, Math.max(0, height)) * (ramp.length - 1);
  const k = Math.floor(place);
  return ramp[k].map((from, i) => from + (place - k) * (ramp[k + 1][i] - from));
}

// The map without paths, drawn once for a surface, a size and a theme.
let ground = null; // {key, image}
function reliefOf(surface, width, height) {
  const key = [surface.name, surface.view, width, height, isDark()].join();
  if (ground?.key === key) return ground.image;
  const columns = Math.max(20, Math.min(240, Math.round(width / 4)));
  const grid = heightsOf(surface, columns, Math.max(20, Math.round(columns * height / width)));
  const small = made('canvas', {width: grid.columns, height: grid.rows});
  const pixels = new ImageData(grid.columns, grid.rows);
  grid.values.forEach((value, k) => pixels.data.set([...shade(value), 255], 4 * k));
  small.getContext('2d').putImageData(pixels, 0, 0);
  const image = made('canvas', {width: 2 * width, height: 2 * height});
  const context = image.getContext('2d');
  context.scale(2 * width / (grid.columns - 1), 2 * height / (grid.rows - 1));
  context.drawImage(small, -0.5, -0.5);
  context.beginPath();
  for (let level = 0.5; level < LEVELS; level++) outline(grid, level / LEVELS, context);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.strokeStyle = isDark() ? 'rgba(200, 220, 235, .2)' : 'rgba(40, 60, 75, .22)';
  context.lineWidth = 1.6;
  context.stroke();
  ground = {key, image};
  return image;
}

// The line of one height by marching squares: each cell of the grid is crossed by none, one or two.
function outline({columns, rows, values}, level, context) {
  for (let j = 0; j + 1 < rows; j++) {
    for (let i = 0; i + 1 < columns; i++) {
      const k = j * columns + i;
      const corners = [values[k], values[k + 1], values[k + columns + 1], values[k + columns]];
      const high = corners.map((value) => value >= level);
      if (high.every((one) => one === high[0]) || !corners.every(Number.isFinite)) continue;
      const crossings = [];
      for (let side = 0; side < 4; side++) {
        const next = (side + 1) % 4;
        if (high[side] === high[next]) continue;
        const share = (level - corners[side]) / (corners[next] - corners[side]);
        crossings.push([[i + share, j], [i + 1, j + share], [i + 1 - share, j + 1], [i, j + 1 - share]][side]);
      }
      for (let c = 0; c + 1 < crossings.length; c += 2) {
        context.moveTo(...crossings[c]);
        context.lineTo(...crossings[c + 1]);
      }
    }
  }
}
