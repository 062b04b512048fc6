"""English words for the demo."""

from __future__ import annotations

from trichord.pipelines.demo.languages.table import Frame, Language, Noun

_SHAPES = {
    "circle": (("circle", "circles"), ("disc", "discs"), ("dot", "dots")),
    "square": (("square", "squares"), ("box", "boxes"), ("block", "blocks")),
    "triangle": (("triangle", "triangles"), ("wedge", "wedges"), ("three-sided shape", "three-sided shapes")),
    "star": (("star", "stars"), ("pentagram", "pentagrams"), ("five-pointed figure", "five-pointed figures")),
    "cross": (("cross", "crosses"), ("plus sign", "plus signs"), ("plus", "pluses")),
    "ring": (("ring", "rings"), ("hoop", "hoops"), ("doughnut", "doughnuts")),
    "heart": (("heart", "hearts"), ("valentine", "valentines"), ("love symbol", "love symbols")),
    "arrow": (("arrow", "arrows"), ("pointer", "pointers"), ("direction sign", "direction signs")),
}

ENGLISH = Language(
    code="en",
    name="English",
    blank=" ",
    shapes={name: tuple(Noun(one=one, many=many) for one, many in words) for name, words in _SHAPES.items()},
    colours={
        "red": ("red", "crimson", "scarlet"),
        "orange": ("orange", "tangerine", "amber"),
        "yellow": ("yellow", "golden", "lemon"),
        "green": ("green", "emerald", "leaf-coloured"),
        "cyan": ("cyan", "turquoise", "aqua"),
        "blue": ("blue", "cobalt", "azure"),
        "purple": ("purple", "violet", "plum"),
        "pink": ("pink", "rosy", "salmon"),
        "white": ("white", "snowy", "ivory"),
        "black": ("black", "ebony", "jet-black"),
    },
    backgrounds={
        "white": ("white", "bright", "blank"),
        "grey": ("grey", "ashen", "concrete"),
        "black": ("black", "pitch-dark", "night-like"),
        "navy": ("navy", "deep blue", "midnight"),
        "beige": ("beige", "sandy", "cream"),
        "mint": ("mint", "pale green", "pistachio"),
        "brown": ("brown", "earthy", "wooden"),
        "lavender": ("lavender", "pale purple", "lilac"),
    },
    sizes={
        "small": ("small", "little", "tiny"),
        "medium": ("medium", "mid-sized", "ordinary"),
        "large": ("large", "big", "huge"),
    },
    counts={
        1: ("a", "one", "a single"),
        2: ("two", "a pair of", "2"),
        3: ("three", "a trio of", "3"),
        4: ("four", "a quartet of", "4"),
    },
    several=("some", "several"),
    positions=(
        ("at the top left", "in the upper left corner", "up on the left"),
        ("at the top", "along the upper edge", "up in the middle"),
        ("at the top right", "in the upper right corner", "up on the right"),
        ("on the left", "at the left edge", "on the left-hand side"),
        ("in the centre", "in the middle", "at the heart of it"),
        ("on the right", "at the right edge", "on the right-hand side"),
        ("at the bottom left", "in the lower left corner", "down on the left"),
        ("at the bottom", "along the lower edge", "down in the middle"),
        ("at the bottom right", "in the lower right corner", "down on the right"),
    ),
    orders=(
        ("{count}", "{size}", "{colour}", "{noun}", "{place}"),
        ("{place}", "{count}", "{size}", "{colour}", "{noun}"),
        ("{count}", "{size}", "{noun}", "painted {colour}", "{place}"),
    ),
    frames=(
        Frame(text="{parts}{background}.", background=" on a {colour} background", last=" and ", capital=True),
        Frame(
            text="{background} {parts}.",
            background="Against a {colour} background one finds",
            unnamed="Here one finds",
            last=" together with ",
        ),
        Frame(text="{background}{parts}", background="{colour} backdrop; ", joint="; ", last="; "),
        Frame(
            text="We see {parts}.{background}",
            background=" Everything lies on {colour}.",
            joint=". We also see ",
            last=". We also see ",
        ),
        Frame(text="Somebody has drawn {parts}{background}.", background=" over a {colour} surface", last=" next to "),
        Frame(text="Shown: {parts}{background}", background=" (behind: {colour})", second=", plus ", last=" and "),
        Frame(
            text="Can you find {parts}{background}?",
            background=", all in front of something {colour}",
            last=" and ",
        ),
    ),
    elisions=((r"(?<![^ ])a(?= [aeiou])", "an"),),
    full_stop=".",
    exclamation="!",
    mojibake="Café sketch – {head}‘{last}’",
    boilerplate=(
        "Click here to see more pictures like this one.",
        "All rights reserved by the owner of this page.",
        "Sign up for our newsletter and save ten percent today.",
        "Please enable cookies in your browser to go on.",
    ),
    mail="Sent in by {found}.",
    phone="For prints call {found}.",
    address="Uploaded from {found}.",
    card="Paid with card {found}.",
    phones=("+1 {area}-555-0{last}", "+1 ({area}) 555-0{last}", "+44 20 7946 0{london}", "+49 30 23125 {berlin}"),
    prepare={"languages": ["en"], "spelling": True},
    example="two red circles",
)
