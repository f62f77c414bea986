/** What went on at all instances of a component. */
export interface Demand {
  /** Cores used. */
  cpu: number;
  /** Arrived, whether served or not. */
  requestsPerSecond: number;
  finishedPerSecond: number;
  failedPerSecond: number;
  ioReadBytesPerSecond: number;
  ioWriteBytesPerSecond: number;
  /** Calls running or waiting at the end of the span. */
  outstanding: number;
  /** Of the instance that has most. */
  memoryBytes: number;
}

export const NO_DEMAND: Demand = {
  cpu: 0,
  requestsPerSecond: 0,
  finishedPerSecond: 0,
  failedPerSecond: 0,
  ioReadBytesPerSecond: 0,
  ioWriteBytesPerSecond: 0,
  outstanding: 0,
  memoryBytes: 0,
};

/** Into what is there: there is one for each component and a tick each second. */
export function copyDemand(from: Demand, to: Demand): void {
  to.cpu = from.cpu;
  to.requestsPerSecond = from.requestsPerSecond;
  to.finishedPerSecond = from.finishedPerSecond;
  to.failedPerSecond = from.failedPerSecond;
  to.ioReadBytesPerSecond = from.ioReadBytesPerSecond;
  to.ioWriteBytesPerSecond = from.ioWriteBytesPerSecond;
  to.outstanding = from.outstanding;
  to.memoryBytes = from.memoryBytes;
}
