/** Maps the yielded values of a generator. */
export async function* mapYielded<T, U, R>(
  generator: AsyncGenerator<T, R>,
  map: (yielded: T) => U,
): AsyncGenerator<U, R> {
  let isDone = false;
  try {
    let step = await generator.next();
    for (; !step.done; step = await generator.next()) yield map(step.value);
    isDone = true;
    return step.value;
  } finally {
    // Let the source clean up if the consumer stops early.
    if (!isDone) await generator.return(undefined as never);
  }
}
