// What a canvas comes to: tokens, seconds, bytes. Arithmetic alone, over the numbers of ../estimates.json, which
// `python -m tools.web` writes from the library; a test holds every result against the library's.

// Rounds halves to even, as Python does.
export function round(value) {
    const floor = Math.floor(value)
    if (value - floor !== 0.5) return Math.round(value)
    return floor % 2 ? floor + 1 : floor
}

export const latentFrames = (frames, numbers) => Math.floor((frames - 1) / numbers.frames_per_latent) + 1

export const audioTokens = (frames, rate, numbers) =>
    Math.max(1, round((frames / rate) * numbers.audio_latents_per_second))

// Tokens of the video at 1/scale of the size; null where the size does not go into whole latents.
export function videoTokens({ width, height, frames }, scale, numbers) {
    const step = numbers.pixels_per_latent * scale
    if (width % step || height % step) return null
    return latentFrames(frames, numbers) * (height / step) * (width / step)
}

// Bytes of one pass of the transformer, without its weights.
export const passBytes = (video, audio, numbers) => video * numbers.pass_bytes.video + audio * numbers.pass_bytes.audio

// Bytes of decoding one tile, of those that are chosen for the clip, and of the sums that tiles are added up in.
export function decodeBytes({ width, height, frames }, { decode }) {
    const tile = largestTile([frames, height, width], decode)
    return tile.volume * decode.bytes_per_pixel + tile.summed * height * width * (decode.bytes_per_summed_pixel ?? 0)
}

// The largest tiles that stay within the volume, the smallest where none does; and how many frames are summed.
function largestTile(size, decode) {
    const whole = size.reduce((product, length) => product * length)
    if (whole <= decode.volume) return { volume: whole, summed: 0 }
    const candidates = [
        [decode.frames[0], null],
        ...decode.frames.flatMap((frames) => decode.sides.map((side) => [frames, side])),
    ].map(([[frames], side]) => {
        const [height, width] = size.slice(1).map((length) => Math.min(length, side ?? length))
        const summed = Math.min(size[0], frames)
        return { volume: summed * height * width, summed }
    })
    return candidates.find(({ volume }) => volume <= decode.volume) ?? candidates.at(-1)
}

// Everything that the panel shows of a legal canvas: one entry for each scale, the sound and the decoding.
export function summary(canvas, numbers) {
    const audio = audioTokens(canvas.frames, canvas.frame_rate, numbers)
    return {
        seconds: canvas.frames / canvas.frame_rate,
        latents: latentFrames(canvas.frames, numbers),
        audio,
        decode: decodeBytes(canvas, numbers),
        scales: numbers.scales.map((scale) => {
            const tokens = videoTokens(canvas, scale, numbers)
            const size = [canvas.width / scale, canvas.height / scale]
            return { scale, size, tokens, bytes: tokens === null ? null : passBytes(tokens, audio, numbers) }
        }),
    }
}
