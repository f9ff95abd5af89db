// The pack's settings. Names and explanations are also in locales/*/settings.json, where the frontend finds them by id.

const HEADING = "LTX-2"

const setting = (id, group, label, name, tooltip) => ({
    id, name, tooltip, category: [HEADING, group, label], type: "boolean", defaultValue: true,
})

export const SETTINGS = [
    setting("LTX2.Panels.Canvas", "Panels", "Canvas", "Show what a canvas takes",
        "On LTX-2 Canvas: tokens, expected memory and the nearest legal values."),
    setting("LTX2.Panels.Guides", "Panels", "Guides", "Show guides along the clip",
        "On LTX-2 Apply Guides: a timeline on which guides can be moved."),
    setting("LTX2.Panels.Report", "Panels", "Report", "Show a report of the last run",
        "On LTX-2 Sample: passes, time, precision and memory."),
    setting("LTX2.Messages.Errors", "Messages", "Errors", "Explain errors in a message",
        "When an LTX-2 node refuses a value or fails: the rule, the value and the cure."),
]
