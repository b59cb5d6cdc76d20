// UTF-8, which QuickJS has no function for.

export function encode(text) {
  const out = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    // Half of a surrogate pair is no character.
    const point = code >= 0xd800 && code <= 0xdfff ? 0xfffd : code;
    if (point < 0x80) out.push(point);
    else if (point < 0x800) out.push(0xc0 | (point >> 6), 0x80 | (point & 63));
    else if (point < 0x10000) out.push(0xe0 | (point >> 12), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
    else out.push(0xf0 | (point >> 18), 0x80 | ((point >> 12) & 63), 0x80 | ((point >> 6) & 63), 0x80 | (point & 63));
  }
  return Uint8Array.from(out);
}

export function decode(bytes) {
  const pieces = [];
  let at = 0;
  while (at < bytes.length) {
    const points = [];
    // `fromCodePoint` takes its points as arguments, of which there may not be too many.
    while (at < bytes.length && points.length < 4096) {
      const [point, length] = next(bytes, at);
      points.push(point);
      at += length;
    }
    pieces.push(String.fromCodePoint(...points));
  }
  return pieces.join("");
}

/** The code point at a place and how many bytes it has; what is not UTF-8 is one replacement character. */
function next(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return [first, 1];
  const length = first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length === 0 || first >= 0xf5) return [0xfffd, 1];
  let point = first & (0xff >> (length + 1));
  for (let index = 1; index < length; index++) {
    const byte = bytes[at + index];
    if (byte === undefined || (byte & 0xc0) !== 0x80) return [0xfffd, index];
    point = (point << 6) | (byte & 63);
  }
  const overlong = point < [0, 0, 0x80, 0x800, 0x10000][length];
  const wrong = overlong || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff);
  return [wrong ? 0xfffd : point, length];
}
