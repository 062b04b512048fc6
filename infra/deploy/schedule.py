"""Schedules as cron writes them, checked, and as systemd does."""

from __future__ import annotations

import re

from trichord.infra.errors import ConfigError

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 7))
_PART = re.compile(r"(?:\*|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,2}))?")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of each month; of February in a leap year
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def check_cron(schedule: str) -> None:
    """Raise ConfigError unless a schedule has cron's five fields, each of numbers, ranges, lists and steps, and is met.

    A day that none of the months has, such as 30 February, is met only where the day of the week is limited too: cron
    then runs on either, unless one of the two begins with `*`.
    """
    fields = schedule.split(" ")
    if len(fields) != len(_FIELDS):
        raise ConfigError(f"--schedule {schedule!r}: expected five fields of cron, such as '0 2 * * *' for 02:00.")
    for text, (name, least, most) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            found = _PART.fullmatch(part)
            numbers = [int(one) for one in (found["first"], found["last"]) if one] if found else []
            if (
                found is None
                or not all(least <= number <= most for number in numbers)
                or numbers != sorted(numbers)
                or (found["step"] is not None and not 1 <= int(found["step"]) <= most)
            ):
                raise ConfigError(
                    f"--schedule {schedule!r}: the {name} is {part!r}; expected numbers from {least} to {most}, "
                    "such as 5, 1-5, 1,15, * or */2."
                )
    day, month, weekday = fields[2:]
    months = _numbers(month, 1, 12)
    if weekday.startswith("*") and min(_numbers(day, 1, 31)) > max(_LONGEST[number - 1] for number in months):
        raise ConfigError(
            f"--schedule {schedule!r} is never met: no month of {month!r} has a day of {day!r}.\n"
            "Name an earlier day, or another month."
        )


def calendar(schedule: str, timezone: str) -> str:
    """Return a schedule of cron as an expression of systemd's calendar.

    Raises:
        ConfigError: it is limited by day of the month and of the week: cron joins them by or, systemd by and.
    """
    minute, hour, day, month, weekday = schedule.split(" ")
    if day != "*" and weekday != "*":
        raise ConfigError(
            f"--schedule {schedule!r} limits the day of the month and of the week: cron runs on either, a timer of "
            "systemd when both are met. Limit one of them."
        )
    days = "" if weekday == "*" else f"{_weekdays(weekday)} "
    date = f"*-{_field(month, 1)}-{_field(day, 1)}"
    return f"{days}{date} {_field(hour, 0)}:{_field(minute, 0)}:00 {timezone}"


def _field(text: str, least: int) -> str:
    parts = []
    for part in text.split(","):
        body, slash, step = part.partition("/")
        if slash and body == "*":
            parts.append(f"{least:02d}/{step}")
        else:
            parts.append("..".join(f"{int(one):02d}" for one in body.split("-")) + slash + step if body != "*" else "*")
    return ",".join(parts)


def _weekdays(text: str) -> str:
    numbers: list[int] = []
    for part in text.split(","):
        body, _, step = part.partition("/")
        first, _, last = ("0-6" if body == "*" else body).partition("-")
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return ",".join(dict.fromkeys(_DAYS[number] for number in numbers))


def _numbers(text: str, least: int, most: int) -> set[int]:
    """Return the numbers that a checked field stands for."""
    numbers = set[int]()
    for part in text.split(","):
        body, slash, step = part.partition("/")
        first, _, last = (f"{least}-{most}" if body == "*" else body).partition("-")
        numbers.update(range(int(first), int(last or (most if slash else first)) + 1, int(step or 1)))
    return numbers
