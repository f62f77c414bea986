/** CLOCK_MONOTONIC in ms, which all processes of a host share. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
