"""A demo scene in the words of other languages: what a filter for one language must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trichord.pipelines.demo.scenes import BACKGROUNDS, COLOURS, SHAPES, Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class _Language:
    """Words in the order of `SHAPES`, `COLOURS` and `BACKGROUNDS`; the frames take any of them without inflection."""

    frames: tuple[str, ...]
    joint: str
    part: str
    shapes: tuple[str, ...]
    colours: tuple[str, ...]
    grounds: tuple[str, ...]


_LANGUAGES: Mapping[str, _Language] = {
    "de": _Language(
        frames=(
            "Auf diesem Bild sieht man {parts}. Der Hintergrund ist {ground} gehalten.",
            "Hier wurde {parts} gezeichnet, und dahinter liegt eine Fläche, die {ground} ist.",
        ),
        joint=" und daneben ",
        part="{shape} in der Farbe {colour}",
        shapes=(
            "ein Kreis", "ein Quadrat", "ein Dreieck", "ein Stern",
            "ein Kreuz", "ein Ring", "ein Herz", "ein Pfeil",
        ),
        colours=("Rot", "Orange", "Gelb", "Grün", "Türkis", "Blau", "Lila", "Rosa", "Weiß", "Schwarz"),
        grounds=("weiß", "grau", "schwarz", "dunkelblau", "beige", "mintgrün", "braun", "lavendelfarben"),
    ),
    "fr": _Language(
        frames=(
            "Sur cette image, on voit {parts}. Le fond du dessin est {ground}.",
            "Quelqu'un a dessiné {parts}, et derrière se trouve un fond {ground}.",
        ),
        joint=" et, juste à côté, ",
        part="{shape} de couleur {colour}",
        shapes=(
            "un cercle", "un carré", "un triangle", "une étoile",
            "une croix", "un anneau", "un cœur", "une flèche",
        ),
        colours=("rouge", "orange", "jaune", "verte", "turquoise", "bleue", "violette", "rose", "blanche", "noire"),
        grounds=("blanc", "gris", "noir", "bleu marine", "beige", "vert menthe", "brun", "lavande"),
    ),
    "es": _Language(
        frames=(
            "En esta imagen se ve {parts}. El fondo del dibujo es {ground}.",
            "Alguien ha dibujado {parts}, y detrás hay un fondo {ground}.",
        ),
        joint=" y, a su lado, ",
        part="{shape} de color {colour}",
        shapes=(
            "un círculo", "un cuadrado", "un triángulo", "una estrella",
            "una cruz", "un anillo", "un corazón", "una flecha",
        ),
        colours=("rojo", "naranja", "amarillo", "verde", "turquesa", "azul", "morado", "rosa", "blanco", "negro"),
        grounds=("blanco", "gris", "negro", "azul marino", "beige", "verde menta", "marrón", "lavanda"),
    ),
    "pt": _Language(
        frames=(
            "Nesta imagem vê-se {parts}. O fundo do desenho é {ground}.",
            "Alguém desenhou {parts}, e atrás não há mais nada do que um fundo {ground}.",
        ),
        joint=" e, ao lado, ",
        part="{shape} de cor {colour}",
        shapes=(
            "um círculo", "um quadrado", "um triângulo", "uma estrela",
            "uma cruz", "um anel", "um coração", "uma seta",
        ),
        colours=("vermelha", "laranja", "amarela", "verde", "turquesa", "azul", "roxa", "rosa", "branca", "preta"),
        grounds=("branco", "cinzento", "preto", "azul-marinho", "bege", "verde-menta", "castanho", "lavanda"),
    ),
    "ru": _Language(
        frames=(
            "На этой картинке изображены такие фигуры: {parts}. Фон рисунка {ground}.",
            "Кто-то нарисовал простые фигуры: {parts}. Сзади виден {ground} фон.",
        ),
        joint=", а рядом ",
        part="{shape}, цвет {colour}",
        shapes=("круг", "квадрат", "треугольник", "звезда", "крест", "кольцо", "сердце", "стрелка"),
        colours=(
            "красный", "оранжевый", "жёлтый", "зелёный", "бирюзовый",
            "синий", "фиолетовый", "розовый", "белый", "чёрный",
        ),
        grounds=("белый", "серый", "чёрный", "тёмно-синий", "бежевый", "мятный", "коричневый", "лавандовый"),
    ),
    "zh": _Language(
        frames=("这张图片上画着{parts}，背景是{ground}的。", "有人在{ground}的背景上画了{parts}，看起来很清楚。"),
        joint="，旁边还有",
        part="一个{colour}的{shape}",
        shapes=("圆形", "正方形", "三角形", "星星", "十字", "圆环", "爱心", "箭头"),
        colours=("红色", "橙色", "黄色", "绿色", "青色", "蓝色", "紫色", "粉红色", "白色", "黑色"),
        grounds=("白色", "灰色", "黑色", "深蓝色", "米色", "薄荷绿色", "棕色", "淡紫色"),
    ),
    "en": _Language(
        frames=(
            "In this picture one can see {parts}. The background of the drawing is {ground}.",
            "Somebody has drawn {parts}, and there is nothing behind but a {ground} background.",
        ),
        joint=" and, right beside it, ",
        part="{shape} of the colour {colour}",
        shapes=("a circle", "a square", "a triangle", "a star", "a cross", "a ring", "a heart", "an arrow"),
        colours=("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "white", "black"),
        grounds=("white", "grey", "black", "navy", "beige", "mint", "brown", "lavender"),
    ),
}  # fmt: skip


def foreign_to(language: str) -> tuple[str, ...]:
    """Return the languages (ISO 639) in which a text is foreign to a corpus in `language`."""
    return tuple(code for code in _LANGUAGES if code != language)


def write_foreign(scene: Scene, rng: np.random.Generator, language: str = "en") -> str:
    """Name shape and colour of up to three groups and the background, in a language other than the given one."""
    others = foreign_to(language)
    words = _LANGUAGES[others[int(rng.integers(len(others)))]]
    parts = [
        words.part.format(
            shape=words.shapes[SHAPES.index(group.shape)], colour=words.colours[tuple(COLOURS).index(group.colour)]
        )
        for group in scene.groups[:3]
    ]
    frame = words.frames[int(rng.integers(len(words.frames)))]
    ground = words.grounds[tuple(BACKGROUNDS).index(scene.background)]
    return frame.format(parts=words.joint.join(parts), ground=ground)
