"""The default negative prompt: what guided sampling is steered away from."""

from __future__ import annotations

_PICTURE = (
    "blurry, out of focus, low resolution, pixelated, heavy grain, sensor noise, compression blocks, color banding, "
    "posterized gradients, overexposed, underexposed, blown highlights, crushed shadows, washed-out colors, garish "
    "saturation, wrong white balance, color fringing, lens smudges, double exposure, ghost images, moire, harsh "
    "outlines, over-sharpened halos, flat lighting, inconsistent shadows, smeared textures, plastic skin, waxy faces"
)
_BODIES = (
    "deformed anatomy, extra limbs, missing limbs, extra fingers, fused fingers, missing fingers, twisted joints, "
    "bent-backwards elbows, stretched necks, distorted faces, asymmetrical eyes, crossed eyes, empty stare, melted "
    "features, malformed teeth, changing faces, swapped identities, merging people, duplicated people, floating heads, "
    "objects passing through hands, wrong proportions, unnatural poses, stiff expressions"
)
_MOTION = (
    "flicker, jitter, strobing, stutter, dropped frames, frozen picture, slideshow, looping motion, reversed motion, "
    "sliding feet, weightless movement, rubbery movement, sudden jumps, morphing objects, objects appearing from "
    "nowhere, objects vanishing, warping background, wobbling walls, tearing, rolling shutter, shaky camera, aimless "
    "zooming, unwanted cuts, broken perspective, inconsistent scale"
)
_OVERLAYS = (
    "watermark, logo, subtitles, captions, garbled letters, misspelled signs, timestamps, interface elements, borders, "
    "letterbox bars, split screen, collage, amateur rendering, cheap computer graphics, cartoonish shading"
)
_SOUND = (
    "distorted sound, clipping, crackle, hiss, hum, muffled voices, robotic voices, metallic echo, garbled speech, "
    "gibberish words, lips out of sync, voices of the wrong person, overlapping voices, abrupt silence, missing sound "
    "effects, music that drowns speech, sound that does not fit the scene"
)
#: About a hundred faults of pictures, bodies, motion and sound; for guidance (cfg above 1) with the dev models.
NEGATIVE_PROMPT = ", ".join((_PICTURE, _BODIES, _MOTION, _OVERLAYS, _SOUND))
