/** Solves A·x = b for a symmetric positive definite A, given as its lower triangle, by Cholesky; A is overwritten. */
export function solve(a: number[][], b: readonly number[]): number[] {
  const n = b.length;
  for (let j = 0; j < n; j++) {
    const row = a[j] as number[];
    for (let i = j; i < n; i++) {
      const below = a[i] as number[];
      let sum = below[j] as number;
      for (let k = 0; k < j; k++) sum -= (below[k] as number) * (row[k] as number);
      below[j] = i === j ? Math.sqrt(Math.max(sum, 1e-12)) : sum / (row[j] as number);
    }
  }
  const x = b.slice();
  for (let i = 0; i < n; i++) {
    const row = a[i] as number[];
    for (let k = 0; k < i; k++) x[i] = (x[i] as number) - (row[k] as number) * (x[k] as number);
    x[i] = (x[i] as number) / (row[i] as number);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] = (x[i] as number) - ((a[k] as number[])[i] as number) * (x[k] as number);
    x[i] = (x[i] as number) / ((a[i] as number[])[i] as number);
  }
  return x;
}
