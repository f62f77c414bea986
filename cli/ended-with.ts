/** What the command line has run ended by itself with this exit code, which becomes its own; nothing is to be told. */
export class EndedWith extends Error {
  constructor(readonly exitCode: number) {
    super(`ended with ${exitCode}`);
  }
}
