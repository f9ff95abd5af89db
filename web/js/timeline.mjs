// Where guides sit along a clip. Arithmetic alone.

export const clamp = (value, least, most) => Math.min(Math.max(value, least), most)

// A guide's frame counted from the start of the clip; negative ones count from the end.
export const counted = (frame, frames) => (frame < 0 ? frame + frames : frame)

// The nearest frame to `frame` that a guide on a grid of `step` frames can have in the clip.
export function snapped(frame, frames, step) {
    const last = Math.floor((frames - 1) / step) * step
    return clamp(Math.round(frame / step) * step, 0, last)
}

// What a widget is set to for a frame counted from the start: guides that counted from the end go on doing so.
export const written = (frame, frames, before) => (before < 0 && frame > 0 ? frame - frames : frame)

// Where a frame is along the clip, 0 to 1, and back.
export const placeOf = (frame, frames) => (frames > 1 ? clamp(frame / (frames - 1), 0, 1) : 0)
export const frameAt = (place, frames) => place * (frames - 1)

// Rows for labels that would overlap in one: places that are closer than `gap` to their neighbour take the next row.
export function rows(places, gap, count) {
    const order = places.map((place, index) => [place, index]).sort((a, b) => a[0] - b[0])
    const result = new Array(places.length).fill(0)
    const ends = new Array(count).fill(-Infinity)
    for (const [place, index] of order) {
        const free = ends.findIndex((end) => place - end >= gap)
        result[index] = free < 0 ? ends.indexOf(Math.min(...ends)) : free
        ends[result[index]] = place
    }
    return result
}
