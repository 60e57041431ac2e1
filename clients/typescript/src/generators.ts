/** The same generator with each thing that it yields turned into another. */
export async function* mapYielded<T, U, R>(
  generator: AsyncGenerator<T, R>,
  turn: (yielded: T) => U,
): AsyncGenerator<U, R> {
  let isDone = false;
  try {
    let step = await generator.next();
    for (; !step.done; step = await generator.next()) yield turn(step.value);
    isDone = true;
    return step.value;
  } finally {
    // Whoever leaves early lets the source clean up too.
    if (!isDone) await generator.return(undefined as never);
  }
}
