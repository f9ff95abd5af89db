// Bytes of sampling and decoding a canvas, weights not counted: arithmetic alone, over the numbers of
// ../estimates.json.

// The largest of several sums of products: coefficients of 1, x, y, xy, z, ... for the values x, y, z.
function largest(sums, values) {
    const termOf = (coefficient, subset) =>
        values.reduce((product, value, axis) => ((subset >> axis) & 1 ? product * value : product), coefficient)
    return Math.max(...sums.map((sum) => sum.map(termOf).reduce((total, term) => total + term)))
}

// One pass of the transformer.
export function passBytes(video, audio, { sampling }) {
    return largest(video <= sampling.most_at_once ? sampling.at_once : sampling.in_parts, [video, audio])
}

// Decoding as a stream: the most numbers that are alive for each cell of a latent frame, beside the latent itself.
export function decodeBytes({ width, height, frames }, numbers) {
    const { decoding, frames_per_latent: time, pixels_per_latent: side } = numbers
    const { channels, itemsize, most_pixels: mostPixels } = decoding
    const ofLength = decoding.numbers[mostPixels.findIndex((most) => most === null || height * width <= most)]
    const latents = 1 + (frames - 1) / time
    const alive = ofLength[Math.min(latents, ofLength.length) - 1]
    return itemsize * (height / side) * (width / side) * (channels * latents + alive)
}
