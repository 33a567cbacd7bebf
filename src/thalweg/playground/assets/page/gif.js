// A GIF of several frames (GIF89a): one table of 256 colours, pixels packed by LZW.

// The colours that the frames have most often, five bits to a channel.
function palette(frames) {
  const counts = new Uint32Array(1 << 15);
  for (const data of frames) for (let k = 0; k < data.length; k += 4) counts[(data[k] >> 3) << 10 | (data[k + 1] >> 3) << 5 | data[k + 2] >> 3]++;
  return Array.from(counts.keys()).filter((key) => counts[key]).sort((a, b) => counts[b] - counts[a]).slice(0, 256);
}

const channels = (key) => [key >> 10, key >> 5 & 31, key & 31];

// The nearest colour of the table for each pixel.
function indexed(data, table, known) {
  const pixels = new Uint8Array(data.length / 4);
  for (let k = 0; k < pixels.length; k++) {
    const key = (data[4 * k] >> 3) << 10 | (data[4 * k + 1] >> 3) << 5 | data[4 * k + 2] >> 3;
    if (!known.has(key)) known.set(key, nearest(channels(key), table));
    pixels[k] = known.get(key);
  }
  return pixels;
}

function nearest([r, g, b], table) {
  let best = 0;
  let least = Infinity;
  table.forEach(([p, q, s], k) => {
    const far = (p - r) ** 2 + (q - g) ** 2 + (s - b) ** 2;
    if (far < least) [least, best] = [far, k];
  });
  return best;
}

// Variable-length codes of 9 to 12 bits, in blocks of up to 255 bytes.
function packed(pixels) {
  const bytes = [8];
  let block = [];
  let bits = 0;
  let count = 0;
  let width = 9;
  const codes = new Map();
  let next = 258;
  const emit = (code) => {
    bits |= code << count;
    count += width;
    while (count >= 8) {
      block.push(bits & 255);
      bits >>>= 8;
      count -= 8;
      if (block.length === 255) flush();
    }
  };
  const flush = () => {
    if (block.length) bytes.push(block.length, ...block);
    block = [];
  };
  emit(256);
  let prefix = pixels[0];
  for (let k = 1; k < pixels.length; k++) {
    const key = prefix << 8 | pixels[k];
    const known = codes.get(key);
    if (known !== undefined) {
      prefix = known;
      continue;
    }
    emit(prefix);
    if (next < 4096) {
      codes.set(key, next);
      if (next === 1 << width && width < 12) width++;
      next++;
    } else {
      emit(256);
      codes.clear();
      next = 258;
      width = 9;
    }
    prefix = pixels[k];
  }
  emit(prefix);
  emit(257);
  if (count) block.push(bits & 255);
  flush();
  bytes.push(0);
  return bytes;
}

// The file of frames, each the data of an ImageData of one size; `delay` in hundredths of a second.
function gif(frames, width, height, delay) {
  const keys = palette(frames);
  const table = keys.map(channels);
  const known = new Map();
  const short = (value) => [value & 255, value >> 8];
  const colours = Array.from({length: 256}, (_, k) => (table[k] ?? [0, 0, 0]).map((one) => one << 3 | one >> 2)).flat();
  const parts = [
    [...'GIF89a'].map((one) => one.charCodeAt(0)), short(width), short(height), [0xf7, 0, 0], colours,
    [0x21, 0xff, 11, ...[...'NETSCAPE2.0'].map((one) => one.charCodeAt(0)), 3, 1, 0, 0, 0],
  ];
  frames.forEach((data, k) => {
    const pause = k === frames.length - 1 ? 150 : delay;
    parts.push([0x21, 0xf9, 4, 0, ...short(pause), 0, 0, 0x2c, 0, 0, 0, 0], short(width), short(height), [0], packed(indexed(data, table, known)));
  });
  parts.push([0x3b]);
  return new Blob(parts.map((part) => Uint8Array.from(part)), {type: 'image/gif'});
}
