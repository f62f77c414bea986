/** Of one series, made at one moment: arrays of the horizon's length, the nearest step first. */
export interface Forecast {
  /** For people: which model answered. */
  model: string;
  mean: number[];
  intervals: ForecastInterval[];
}

/** The value of each step lies between `lower` and `upper` with the probability `level`, a share such as 0.95. */
export interface ForecastInterval {
  level: number;
  lower: number[];
  upper: number[];
}
