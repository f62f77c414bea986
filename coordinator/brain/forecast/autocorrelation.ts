/**
 * Sums of the products of values so many steps apart, for distances from 0 to `lagMax`: Σ x(t)·x(t − lag). By the power
 * spectrum (Wiener & Khinchin), so that the work grows as n·log n and not with the distances; Cooley & Tukey, Math. Comput. 19
 * (1965) 297. Distances beyond the values give 0.
 */
export function laggedProducts(values: readonly number[], lagMax: number): Float64Array {
  // Zeros behind the values keep the ends from meeting.
  const size = 2 ** Math.ceil(Math.log2(Math.max(2, 2 * values.length)));
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  real.set(values);
  transform(real, imaginary);
  for (let i = 0; i < size; i++) {
    real[i] = (real[i] as number) ** 2 + (imaginary[i] as number) ** 2;
    imaginary[i] = 0;
  }
  // Of what is even, transformed and transformed back is the same but for the size.
  transform(real, imaginary);
  return Float64Array.from({ length: lagMax + 1 }, (_, lag) =>
    lag < values.length ? (real[lag] as number) / size : 0,
  );
}

/** Fourier transform in place; the length is a power of two. */
function transform(real: Float64Array, imaginary: Float64Array): void {
  reverseBits(real, imaginary);
  const { length } = real;
  for (let half = 1; half < length; half *= 2) {
    for (let k = 0; k < half; k++) {
      const cos = Math.cos((Math.PI * k) / half);
      const sin = -Math.sin((Math.PI * k) / half);
      for (let i = k; i < length; i += 2 * half) {
        const j = i + half;
        const [a, b] = [real[j] as number, imaginary[j] as number];
        const re = a * cos - b * sin;
        const im = a * sin + b * cos;
        real[j] = (real[i] as number) - re;
        imaginary[j] = (imaginary[i] as number) - im;
        real[i] = (real[i] as number) + re;
        imaginary[i] = (imaginary[i] as number) + im;
      }
    }
  }
}

function reverseBits(real: Float64Array, imaginary: Float64Array): void {
  const { length } = real;
  for (let i = 1, j = 0; i < length; i++) {
    let bit = length >> 1;
    for (; (j & bit) !== 0; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i >= j) continue;
    for (const each of [real, imaginary]) {
      const swapped = each[i] as number;
      each[i] = each[j] as number;
      each[j] = swapped;
    }
  }
}
