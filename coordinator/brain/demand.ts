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
