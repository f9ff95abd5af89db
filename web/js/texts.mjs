// What the panels say, by language. `{names}` are filled in.

const ENGLISH = {
    stage: "1/{scale} size", full: "full size", size: "size", tokens: "tokens",
    sampling: "sampling", decoding: "decoding",
    length: "{frames} frames, {seconds} s", sound: "sound {tokens} tokens",
    memory: "Expected memory of one pass in 16 bits, weights not counted",
    canvas: "What this canvas takes",
    fits: "Legal for one stage and for two.",
    linked: "{names} over a link: known when the graph runs.",
    multiple: "{name}: {step}n", stages: "{name}: {step}n for two stages",
    frames: "{name}: {step}n + 1", duration: "longer than {step} s", range: "{name}: {least} to {most}",
    apply: "Set {name} to {value}", width: "width", height: "height", frame_rate: "frame rate", frames_name: "frames",
    timeline: "Guides along the clip", unknown: "The clip's length is unknown here: {why}.",
    no_video: "no video is connected", changed: "{title} changes it", foreign: "{title} does not tell it",
    no_guides: "No guides are connected.", at_unknown: "{title}: frame {frame}",
    at: "{title}: frame {frame}, {seconds} s",
    outside: "{title}: frame {frame} is not in the clip ({least} to {most})", fixed: "{title}: frame over a link",
    whole: "{title}: whole clip", more: "{title} adds guides that are not shown",
    keys: "Arrow keys move it; with shift, by {step} frames.",
    report: "Report of the last run", solver: "solver", steps: "{solver}, {steps} steps, {passes} passes",
    time: "time", seconds: "{seconds} s, {each} s a step", precision: "precision", weights: "weights",
    device: "device", video_tokens: "{count} video", audio_tokens: "{count} sound", peak: "peak memory",
    peak_known: "{peak} with the weights", peak_unknown: "not told by this device",
    estimate: "estimate", beside: "{estimate} beside the weights", lossy: "lossy",
    step_cache: "step cache left out {saved} of {of} predictions (picture {video}, sound {audio})",
    skip_step: "skip_step left out {saved} of {of} steps (picture {video}, sound {audio})",
    guidance_interval: "guidance left out {saved} of {of} passes",
    token_tiling: "{tiles} tiles, {most} of {of} tokens at once", few_tokens: "no tiles are needed",
    low_bit_attention: "attention in fewer bits in {layers} of {of} layers",
    off: "a threshold is 0", no_steps: "no step is left to it", few_steps: "too few steps for it",
    never: "a term holds at no step",
    select: "Show node", refused: "{title} was refused", failed: "{title} failed",
}

const CHINESE = {
    stage: "1/{scale} 尺寸", full: "完整尺寸", size: "尺寸", tokens: "token", sampling: "采样", decoding: "解码",
    length: "{frames} 帧，{seconds} 秒", sound: "声音 {tokens} token",
    memory: "16 位精度下一次前向的预计内存，不含权重",
    canvas: "此画布的开销",
    fits: "单阶段和两阶段均可用。",
    linked: "{names} 来自连线：运行时才知道。",
    multiple: "{name}：{step}n", stages: "{name}：两阶段须 {step}n",
    frames: "{name}：{step}n + 1", duration: "超过 {step} 秒", range: "{name}：{least} 到 {most}",
    apply: "将{name}设为 {value}", width: "宽度", height: "高度", frame_rate: "帧率", frames_name: "帧数",
    timeline: "片段上的引导", unknown: "此处不知道片段长度：{why}。",
    no_video: "未连接视频", changed: "“{title}”会改变它", foreign: "“{title}”未说明",
    no_guides: "未连接引导。", at_unknown: "{title}：第 {frame} 帧", at: "{title}：第 {frame} 帧，{seconds} 秒",
    outside: "{title}：第 {frame} 帧不在片段内（{least} 到 {most}）", fixed: "{title}：帧来自连线",
    whole: "{title}：整个片段", more: "“{title}”添加的引导未显示",
    keys: "方向键移动；按住 Shift 每次 {step} 帧。",
    report: "上次运行的报告", solver: "求解器", steps: "{solver}，{steps} 步，{passes} 次前向",
    time: "时间", seconds: "{seconds} 秒，每步 {each} 秒", precision: "精度", weights: "权重",
    device: "设备", video_tokens: "视频 {count}", audio_tokens: "声音 {count}", peak: "峰值内存",
    peak_known: "含权重 {peak}", peak_unknown: "此设备未提供",
    estimate: "预计", beside: "权重之外 {estimate}", lossy: "有损",
    step_cache: "步缓存省去 {saved}/{of} 次预测（画面 {video}，声音 {audio}）",
    skip_step: "skip_step 省去 {saved}/{of} 步（画面 {video}，声音 {audio}）",
    guidance_interval: "引导省去 {saved}/{of} 次前向",
    token_tiling: "{tiles} 个分块，一次最多 {most}/{of} token", few_tokens: "不需要分块",
    low_bit_attention: "{layers}/{of} 层注意力以更低位数计算",
    off: "阈值为 0", no_steps: "没有可省的步", few_steps: "步数太少", never: "有一项在任何一步都不起作用",
    select: "显示节点", refused: "“{title}”被拒绝", failed: "“{title}”失败",
}

export const TEXTS = { en: ENGLISH, zh: CHINESE }

const GIGABYTE = 1e9

// Texts and numbers in a language of the frontend; English where there are none in it.
export function speaker(language) {
    const texts = TEXTS[language] ?? TEXTS.en
    return {
        say: (key, values = {}) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]),
        count: (value) => value.toLocaleString("en"),
        seconds: (value) => value.toFixed(2),
        bytes: (value) => `${(value / GIGABYTE).toFixed(value < 10 * GIGABYTE ? 2 : 1)} GB`,
    }
}
