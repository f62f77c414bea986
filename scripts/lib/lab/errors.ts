/** What went wrong: a machine did not come up, a command did not end in time, or a machine ended under it. */
export type LabErrorKind = 'boot' | 'time' | 'lost';

/** A failure of the lab itself, not of a command that ran in it. */
export class LabError extends Error {
  override readonly name = 'LabError';

  constructor(
    readonly kind: LabErrorKind,
    message: string,
  ) {
    super(message);
  }
}
