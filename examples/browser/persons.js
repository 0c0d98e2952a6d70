// What a page needs around onnxruntime-web to search persons with an exported encoder: the model's
// description, Pillow's resizing (a browser's own differs from browser to browser), and ranking.

// Fields of ONNX's protobuf: ModelProto.metadata_props, and key and value of its entries.
const METADATA = 14;
const KEY = 1;
const VALUE = 2;

// Yield [field number, bytes] of all length-delimited fields of a protobuf message.
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (!(byte >= 128)) return value; // of a truncated file the last byte is undefined
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const kind = tag % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else {
      const length = varint();
      yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
      at += length;
    }
  }
}

// Output of a task by which persons are searched.
const FEATURES = { encoder: 'image_token', reid: 'feature' };

// The description that tools/export_model.py wrote into a model (Uint8Array of the file).
export function readDescription(model) {
  const text = new TextDecoder();
  for (const [number, entry] of fields(model)) {
    if (number !== METADATA) continue;
    const pair = new Map(fields(entry));
    if (text.decode(pair.get(KEY)) !== 'saip') continue;
    const meta = JSON.parse(text.decode(pair.get(VALUE)));
    if (meta.task in FEATURES) return meta;
    throw new Error(`a model of ${meta.task}, not of ${Object.keys(FEATURES).join(' or ')}`);
  }
  throw new Error('this model was not written by tools/export_model.py');
}

const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5;
      const t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
};
const PRECISION = 2 ** 22; // Pillow's weights are whole numbers of this share

// For each of `size` places: the first of `length` places it is made of, and their weights.
function weightsOf(length, size, filter) {
  const scale = length / size;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: size }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const end = Math.min(length, Math.trunc(center + support + 0.5));
    const raw = [];
    for (let i = first; i < end; i++) raw.push(filter.at((i - center + 0.5) / stretch));
    const sum = raw.reduce((x, y) => x + y, 0);
    return { first, weights: raw.map((w) => Math.round((w / sum) * PRECISION)) };
  });
}

// Resample one axis of RGB rows: `at(other, i)` is the offset of a pixel, `to(other, i)` likewise.
function resample(source, target, places, others, at, to) {
  places.forEach(({ first, weights }, place) => {
    for (let other = 0; other < others; other++) {
      for (let channel = 0; channel < 3; channel++) {
        let sum = PRECISION / 2;
        weights.forEach((w, i) => {
          sum += w * source[at(other, first + i) + channel];
        });
        const value = Math.floor(sum / PRECISION);
        target[to(other, place) + channel] = Math.min(255, Math.max(0, value));
      }
    }
  });
}

// RGB bytes of width x height -> RGB bytes of newWidth x newHeight, as Pillow resizes them: along the
// rows first. (Pillow 13 begins with the columns where that saves much, as for a wide, flat result.)
export function resize(pixels, width, height, newWidth, newHeight, name) {
  const filter = FILTERS[name];
  let source = pixels;
  if (newWidth !== width) {
    const target = new Uint8Array(newWidth * height * 3);
    const row = (w) => (y, x) => (y * w + x) * 3;
    resample(source, target, weightsOf(width, newWidth, filter), height, row(width), row(newWidth));
    source = target;
  }
  if (newHeight === height) return source;
  const target = new Uint8Array(newWidth * newHeight * 3);
  const column = (x, y) => (y * newWidth + x) * 3;
  resample(source, target, weightsOf(height, newHeight, filter), newWidth, column, column);
  return target;
}

// RGBA bytes of a canvas -> RGB bytes.
export function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; i < rgba.length; i += 4, j += 3) {
    rgb[j] = rgba[i];
    rgb[j + 1] = rgba[i + 1];
    rgb[j + 2] = rgba[i + 2];
  }
  return rgb;
}

// A vector of length one from a model's outputs ({name: {data, dims}}) of one image.
export function featureOf(meta, outputs) {
  let vector;
  if (meta.feature !== 'patch_mean') vector = outputs[FEATURES[meta.task]].data;
  else {
    const [, patches, width] = outputs.patch_tokens.dims;
    vector = new Float32Array(width);
    outputs.patch_tokens.data.forEach((x, i) => {
      vector[i % width] += x / patches;
    });
  }
  const length = Math.hypot(...vector);
  return Float32Array.from(vector, (x) => x / length);
}

// Indices and cosines of features, the nearest to the query first.
export function rank(query, features) {
  return features
    .map((feature, index) => ({ index, cosine: feature.reduce((s, x, i) => s + x * query[i], 0) }))
    .sort((a, b) => b.cosine - a.cosine);
}
