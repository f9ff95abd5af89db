"""The rules for one value of one input: its type, its range, its step, its options.

ComfyUI's checks, problem types and messages; stricter where ComfyUI lets a wrong value pass or changes it silently
(9.7 for a whole number becomes 9 there, "false" becomes True, NaN passes every range, steps are the browser's affair).
"""

from __future__ import annotations

import difflib
import math
from typing import Any

from ..graph.problems import Problem
from ..graph.schemas import ANY, InputInfo


def check(info: InputInfo, value: Any, *, with_rules: bool = True) -> tuple[Any, Problem | None]:
    """The value as its node gets it, and what is wrong with it if anything is.

    Args:
        with_rules: whether range, step and options are checked besides the type.
    """
    if isinstance(value, dict) and "__value__" in value:  # how a list is told from a link
        value = value["__value__"]
    try:
        converted = _converted(info, value)
    except (TypeError, ValueError) as error:
        return value, _wrong_type(info, value, str(error))
    return converted, rule_problem(info, converted) if with_rules else None


def rule_problem(info: InputInfo, value: Any) -> Problem | None:
    """What is wrong with a value of the right type."""
    if info.widget_type == "COMBO":
        return _option_problem(info, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if isinstance(value, float) and not math.isfinite(value):
            return _wrong_type(info, value, "it must be a finite number")
        return _range_problem(info, value) or _step_problem(info, value)
    return None


def _converted(info: InputInfo, value: Any) -> Any:
    kind = info.widget_type
    if kind is None:
        if info.type == ANY:
            return value
        raise TypeError("it is made by another node; link one")
    if kind == "BOOLEAN":
        if isinstance(value, bool):
            return value
        raise TypeError("it must be true or false")
    if kind == "STRING":
        if isinstance(value, (str, int, float)):
            return str(value)
        raise TypeError("it must be a text")
    if kind == "COMBO":
        return value
    number = _number(value)
    if kind == "FLOAT":
        # An input that takes INT links as well takes whole numbers as they are.
        return number if isinstance(number, int) and "INT" in info.type.split(",") else float(number)
    if number != int(number):
        raise ValueError("it must be a whole number")
    return int(number)


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError("it must be a number")
    if isinstance(value, str):
        value = _parsed_number(value)
    if not math.isfinite(value):
        raise ValueError("it must be a finite number")
    return value


def _parsed_number(text: str) -> int | float:
    for parse in (int, float):
        try:
            return parse(text)
        except ValueError:
            continue
    raise ValueError("it must be a number")


def _wrong_type(info: InputInfo, value: Any, why: str) -> Problem:
    return Problem(
        "invalid_input_type",
        f"Failed to convert an input value to a {info.type} value",
        f"{info.name}, {value}, {why}",
        _extra(info, value) | {"exception_message": why},
    )


def _range_problem(info: InputInfo, value: float) -> Problem | None:
    low, high = info.config.get("min"), info.config.get("max")
    cure = f"choose a value from {low} to {high}"
    if low is not None and value < low:
        message = f"Value {value} smaller than min of {low}"
        return Problem("value_smaller_than_min", message, info.name, _extra(info, value), cure)
    if high is not None and value > high:
        message = f"Value {value} bigger than max of {high}"
        return Problem("value_bigger_than_max", message, info.name, _extra(info, value), cure)
    return None


def _step_problem(info: InputInfo, value: float) -> Problem | None:
    step, low, high = info.config.get("step"), info.config.get("min") or 0, info.config.get("max")
    if not step:
        return None
    steps = (value - low) / step
    # Whole numbers exactly: a 53-bit seed has no digits to spare in a division.
    exact = isinstance(value, int) and isinstance(step, int) and isinstance(low, int)
    if (value - low) % step == 0 if exact else abs(steps - round(steps)) < 1e-4:
        return None
    near = [round(low + step * count, 9) for count in (math.floor(steps), math.ceil(steps))]
    cure = "choose " + " or ".join(str(each) for each in near if high is None or each <= high)
    message = f"Value {value} is not a multiple of the step {step} counted from {low}"
    return Problem("value_not_on_step", message, info.name, _extra(info, value), cure)


def _option_problem(info: InputInfo, value: Any) -> Problem | None:
    options = info.config.get("options") or []
    # True == 1 in Python; an option list of numbers must not take it.
    if any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in options):
        return None
    is_long = len(options) > 20
    shown = f"(list of length {len(options)})" if is_long else str(options)
    extra = _extra(info, value) | ({"input_config": None} if is_long else {})
    near = difflib.get_close_matches(str(value), [str(option) for option in options], n=3, cutoff=0.4)
    cure = f"did you mean {', '.join(near)}?" if near else info.config.get("tooltip", "choose one of the list")
    return Problem("value_not_in_list", "Value not in list", f"{info.name}: {value!r} not in {shown}", extra, cure)


def _extra(info: InputInfo, value: Any) -> dict[str, Any]:
    return {"input_name": info.name, "input_config": info.as_config, "received_value": value}
