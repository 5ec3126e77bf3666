export const handle = async (event) => {
  throw new RangeError(`no ${event.args[0]} left`)
}
