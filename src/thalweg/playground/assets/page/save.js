// Saving what is shown: a picture, a film, the numbers.

const SAVED = {PNG: savePicture, GIF: saveFilm, CSV: saveTable, JSON: saveAll};
const FRAMES = 60;

function hand(blob, ending) {
  const link = made('a', {href: URL.createObjectURL(blob), download: `thalweg.${ending}`});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  message(`thalweg.${ending}: ${say('saved')}`);
}

function savePicture() {
  element('map').toBlob((blob) => hand(blob, 'png'));
}

// The frames of the whole path, drawn at 480 pixels' width; the page gets its turn between them.
async function saveFilm() {
  goTo(thalweg.state().step);
  const {steps, step} = thalweg.state();
  const canvas = element('map');
  const width = 480;
  const height = Math.round(width * canvas.height / canvas.width);
  const copy = made('canvas', {width, height}).getContext('2d', {willReadFrequently: true});
  const every = Math.max(1, Math.ceil(steps / FRAMES));
  const frames = [];
  for (let k = 0; k <= steps; k = k === steps ? k + 1 : Math.min(steps, k + every)) {
    thalweg.set({step: k});
    redraw();
    copy.drawImage(canvas, 0, 0, width, height);
    frames.push(copy.getImageData(0, 0, width, height).data);
    message(`${say('making')}: ${k} / ${steps}`);
    await new Promise((resume) => { setTimeout(resume); });
  }
  thalweg.set({step});
  hand(gif(frames, width, height, 6), 'gif');
}

function saveTable() {
  const {paths} = model();
  const rows = ['optimizer,step,x,y,loss'];
  for (const {name, path} of paths) {
    for (let k = 0; k <= path.steps; k++) rows.push([name, k, path.points[2 * k], path.points[2 * k + 1], path.losses[k]].join());
  }
  hand(new Blob([rows.join('\n'), '\n'], {type: 'text/csv'}), 'csv');
}

function saveAll() {
  const {state, paths} = model();
  const plain = (_, value) => (ArrayBuffer.isView(value) ? [...value] : typeof value === 'number' && !Number.isFinite(value) ? null : value);
  const text = JSON.stringify({thalweg: thalweg.version, link: thalweg.hash(), state, paths: paths.map(({path}) => path)}, plain, 1);
  hand(new Blob([text], {type: 'application/json'}), 'json');
}

async function share() {
  const text = location.href.replace(/#.*$/, '') + thalweg.hash();
  try {
    await navigator.clipboard.writeText(text);
    message(say('copied'));
  } catch { // a page opened from a file, or inside another, may be refused the clipboard
    message(say('notCopied'));
  }
}
