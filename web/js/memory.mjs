// Bytes of sampling and decoding a canvas, weights not counted: arithmetic alone, over the numbers of
// ../estimates.json.

// The largest of several sums of products: coefficients of 1, x, y, xy, z, ... for the values x, y, z.
function largest(sums, values) {
    const termOf = (coefficient, subset) =>
        values.reduce((product, value, axis) => ((subset >> axis) & 1 ? product * value : product), coefficient)
    return Math.max(...sums.map((sum) => sum.map(termOf).reduce((total, term) => total + term)))
}

// One pass of the transformer.
export const passBytes = (video, audio, numbers) => largest(numbers.sampling, [video, audio])

// Decoding in the tiles that are chosen for the clip: a tile, and with several of them what they are summed in.
export function decodeBytes({ width, height, frames }, numbers) {
    const { decoding, frames_per_latent: time, pixels_per_latent: side } = numbers
    const spans = chosenSpans([frames, height, width], decoding)
    const steps = [time, side, side]
    const tiles = [1 + (frames - 1) / time, height / side, width / side].map((length, axis) =>
        intervals(length, spans[axis]?.map((pixels) => pixels / steps[axis]), axis === 0 ? 1 : 0))
    const tile = largest(decoding.tile, tiles.map((axis) => Math.max(...axis.map(([start, stop]) => stop - start))))
    const [times, rows, columns] = tiles
    const inSpace = rows.length * columns.length
    if (times.length * inSpace === 1) return tile
    const sums = framesInSums(times.map(([start, stop]) => [start * time, 1 + (stop - 1) * time]), inSpace === 1)
    const run = times.length > 1 ? decoding.run_bytes : 0
    return tile + decoding.channels * height * width * (sums * decoding.sum_bytes + run)
}

// [size, overlap] of the tiles along frames, height and width; null leaves an axis whole. The largest tiles within the
// volume; the smallest where none is.
function chosenSpans(size, { volume, frames, sides, side_overlap: overlap }) {
    const spansOf = (time, side) => [
        size[0] > time[0] ? time : null,
        ...size.slice(1).map((length) => (side && length > side ? [side, overlap] : null)),
    ]
    const whole = [null, null, null]
    const tiled = frames.flatMap((time) => sides.map((side) => spansOf(time, side)))
    const candidates = [whole, spansOf(frames[0], null), ...tiled]
    const fits = (spans) => spans.reduce((product, span, axis) => product * (span ? span[0] : size[axis]), 1) <= volume
    return candidates.find(fits) ?? candidates.at(-1)
}

// [start, stop] of the tiles of an axis; all but the first begin `early`.
function intervals(length, span, early) {
    if (!span || length <= span[0]) return [[0, length]]
    const [size, overlap] = span
    const found = []
    for (let start = 0; start < length - overlap; start += size - overlap) {
        found.push([start && start - early, Math.min(start + size, length)])
    }
    return found
}

// Frames that are summed while a tile is decoded: those that a tile shares with the one before it, or all of its own
// where several lie beside each other.
function framesInSums(times, isAlone) {
    if (!isAlone) return Math.max(...times.map(([start, stop]) => stop - start))
    return Math.max(0, ...times.slice(1).map(([start], index) => times[index][1] - start))
}
