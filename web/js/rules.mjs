// What a canvas may be, and the nearest values that are legal. Arithmetic alone; ranges are those of the widgets.

// The nearest values of offset + step * n that are at least `least`: one or two, as the library's errors have them.
export function nearest(value, step, offset = 0) {
    const least = offset || step
    if (value < least) return [least]
    const below = Math.floor((value - offset) / step) * step + offset
    return below === value ? [value] : [below, below + step]
}

// The longest legal clip: the middle of its last latent must lie within the limit.
export function longest(rate, most, numbers) {
    const step = numbers.frames_per_latent
    const frames = Math.min(most, numbers.limit_seconds * rate + step / 2)
    return Math.max(1, Math.floor((frames - 1) / step) * step + 1)
}

// The first rule that a side breaks; the second one only says that the clip cannot be made in several stages.
function sideProblem(canvas, name, numbers) {
    const [most, least] = [numbers.scales[0], numbers.scales.at(-1)].map((scale) => scale * numbers.pixels_per_latent)
    const value = canvas[name]
    if (value % least) return { rule: "multiple", step: least, values: nearest(value, least) }
    if (value % most) return { rule: "stages", step: most, values: nearest(value, most) }
    return null
}

function framesProblem({ frames, frame_rate }, name, numbers, { max }) {
    const step = numbers.frames_per_latent
    if ((frames - 1) % step) return { rule: "frames", step, values: nearest(frames, step, 1) }
    const most = longest(frame_rate, max, numbers)
    return frames > most ? { rule: "duration", step: numbers.limit_seconds, values: [most] } : null
}

function rangeProblem(value, { min, max }) {
    if (value >= min && value <= max) return null
    return { rule: "range", least: min, most: max, values: [Math.min(Math.max(value, min), max)] }
}

const RULES = { width: sideProblem, height: sideProblem, frames: framesProblem, frame_rate: () => null }

// What is wrong with a canvas: {name, rule, values} for each widget, `values` being the nearest that cure it. `ranges`
// holds {min, max} by name.
export function problems(canvas, ranges, numbers) {
    return Object.entries(RULES).flatMap(([name, rule]) => {
        const range = ranges[name]
        const problem = rangeProblem(canvas[name], range) ?? rule(canvas, name, numbers, range)
        const legal = (value) => value >= range.min && value <= range.max
        return problem ? [{ name, ...problem, values: problem.values.filter(legal) }] : []
    })
}

// Whether nothing can be computed for it: only the rules of several stages and of duration leave a canvas whole.
export const isRefused = (found) => found.some(({ rule }) => rule !== "stages" && rule !== "duration")
