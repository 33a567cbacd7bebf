// Random numbers that are the same on every machine: xoshiro128** (Blackman & Vigna 2021), its
// state filled from the seed by SplitMix32. tests/support/play_reference.py has the same in Python.

function generator(seed) {
  let mixed = seed >>> 0;
  const next = () => {
    mixed = (mixed + 0x9e3779b9) >>> 0;
    let z = mixed;
    z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
    return (z ^ (z >>> 16)) >>> 0;
  };
  const s = Uint32Array.from([next(), next(), next(), next()]);
  const rotated = (value, by) => (value << by) | (value >>> (32 - by));
  return () => {
    const result = Math.imul(rotated(Math.imul(s[1], 5), 7), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotated(s[3], 11);
    return result;
  };
}

// A uniform number in [0, 1) of 53 bits.
function uniform(draw) {
  const high = draw() >>> 5;
  const low = draw() >>> 6;
  return (high * 67108864 + low) / 9007199254740992;
}

// Standard normal numbers by Marsaglia's polar method, which needs no sine.
function normals(seed, count) {
  const draw = generator(seed);
  const values = new Float64Array(count + (count % 2));
  for (let k = 0; k < count; k += 2) {
    let u, v, size;
    do {
      u = 2 * uniform(draw) - 1;
      v = 2 * uniform(draw) - 1;
      size = u * u + v * v;
    } while (size >= 1 || size === 0);
    const factor = Math.sqrt(-2 * Math.log(size) / size);
    values[k] = u * factor;
    values[k + 1] = v * factor;
  }
  return values.subarray(0, count);
}

// The samples of each step: every epoch goes through all of them in a new order, and a batch that
// the last samples of an epoch do not fill takes the rest from the next.
function batches(seed, samples, size, steps) {
  const draw = generator(seed);
  const order = Uint32Array.from({length: samples}, (_, k) => k);
  const drawn = new Uint32Array(size * steps);
  let place = samples;
  for (let k = 0; k < drawn.length; k++) {
    if (place === samples) {
      for (let last = samples - 1; last > 0; last--) {
        const other = Math.floor(uniform(draw) * (last + 1));
        [order[last], order[other]] = [order[other], order[last]];
      }
      place = 0;
    }
    drawn[k] = order[place++];
  }
  return drawn;
}

// One result per arguments, the latest few: paths of a page share their noise.
function remembered(make, most = 8) {
  const known = new Map();
  return (...args) => {
    const key = args.join();
    if (!known.has(key)) {
      if (known.size === most) known.delete(known.keys().next().value);
      known.set(key, make(...args));
    }
    return known.get(key);
  };
}

const noiseOf = remembered(normals);
const samplesOf = remembered(batches);
