// What a canvas comes to: tokens, seconds, bytes. Arithmetic alone, over the numbers of ../estimates.json, which
// `python -m tools.web` writes from the library; a test holds every result against the library's.

import { decodeBytes, passBytes } from "./memory.mjs"

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
