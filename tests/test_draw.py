"""Pictures: what is drawn is read back from the SVG."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from nomagic.report import draw
from nomagic.report.draw import PictureError, svg, tick
from nomagic.words import Picture, Series

STEPS = tuple(float(step) for step in range(1, 41))
FALLING = tuple(2.3 * math.exp(-step / 9) + 0.05 for step in STEPS)
CURVES = Picture(
    "Learning curves",
    "The validation loss stops falling after epoch 31.",
    "epoch",
    "loss (nats)",
    (
        Series("training", STEPS, FALLING),
        Series(
            "validation",
            STEPS,
            tuple(y + 0.2 for y in FALLING),
            low=tuple(y + 0.1 for y in FALLING),
            high=tuple(y + 0.3 for y in FALLING),
        ),
        Series("chance", (1.0, 40.0), (2.303, 2.303), kind="guide"),
    ),
)
BARS = Picture(
    "Plain models",
    "A linear model reaches 95 %.",
    "model",
    "accuracy (%)",
    (Series("accuracy", ("constant", "linear"), (10.0, 95.0), (8.0, 93.0), (12.0, 96.0), "bars"),),
)
HOSTILE = "</svg><script>alert(1)</script> $x_{ -->&\"' \x00\ud800\u202e\n" + "x" * 500


def parse(picture: Picture, key: str = "") -> ET.Element:
    return ET.fromstring(svg(picture, key).replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def texts(picture: Picture) -> list[str]:
    return [element.text or "" for element in parse(picture).iter("text")]


def test_titles_and_words_say_what_is_seen():
    root = parse(CURVES)
    names = root.get("aria-labelledby", "").split()
    said = {element.get("id"): element.text for element in root if element.get("id")}
    assert root.get("role") == "img"
    assert [said[name] for name in names] == [CURVES.title, CURVES.says]


def test_text_stays_text():
    found = texts(CURVES)
    assert {"epoch", "loss (nats)", "training", "validation", "chance"} <= set(found)


def test_the_same_picture_is_the_same_text():
    assert svg(CURVES) == svg(CURVES)


def test_ids_of_two_pictures_in_a_page_differ():
    one, two = (set(re.findall(r' id="([^"]+)"', svg(CURVES, key))) for key in ("1", "2"))
    assert one
    assert not one & two


def test_every_reference_is_to_a_thing_of_its_own():
    text = svg(CURVES)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"#(p[\w-]+)", text)) <= set(ids)


def test_pages_choose_the_colours():
    text = svg(CURVES)
    assert "stroke: var(--series-1, #0072b2)" in text
    assert "currentColor" in text
    assert draw.INK not in text
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) <= set(draw.SERIES)


def test_series_differ_without_colour():
    lines = [
        style
        for element in parse(CURVES).iter("path")
        if "series-" in (style := element.get("style", "")) and "fill: none" in style
    ]
    dashes = {re.findall(r"stroke-dasharray: [^;]+", style)[:1] == [] for style in lines}
    assert dashes == {True, False}


def test_a_band_is_an_area():
    fills = [
        element.get("style", "") for element in parse(CURVES).iter() if "style" in element.attrib
    ]
    assert any("fill: var(--series-2" in style and "opacity: 0.16" in style for style in fills)


@pytest.mark.parametrize("kind", ["line", "points", "bars", "guide"])
def test_every_kind_is_drawn(kind: str):
    series = Series("s", (1.0, 2.0, 4.0), (1.0, 3.0, 2.0), kind=kind)
    bare = replace(CURVES, series=())
    assert len(svg(replace(CURVES, series=(series,)))) > len(svg(bare))


@pytest.mark.parametrize("log", ["", "x", "y", "xy"])
def test_log_axes_have_powers_of_ten(log: str):
    series = Series("s", (1.0, 1e3, 1e5), (1e-3, 0.01, 1.0))
    found = set(texts(replace(CURVES, series=(series,), log=log)))
    assert ({"1", "100"} <= found) == ("x" in log)
    assert ({"0.001", "0.01"} <= found) == ("y" in log)


def test_log_axes_take_what_has_no_logarithm():
    series = Series("s", (0.0, 10.0, 100.0), (-1.0, 0.0, 2.0))
    assert "no values" not in texts(replace(CURVES, series=(series,), log="xy"))
    none = Series("s", (0.0, 1.0), (-1.0, -2.0))
    assert "no values" not in texts(replace(CURVES, series=(none,), log="xy"))


def test_short_words_stand_and_long_words_lie():
    short = BARS
    long = replace(
        BARS,
        series=(
            replace(BARS.series[0], x=("a constant of the most frequent class", "linear model")),
        ),
    )
    assert [text for text in texts(short) if text in ("constant", "linear")] == [
        "constant",
        "linear",
    ]
    standing, lying = (float(parse(one).get("viewBox", "").split()[3]) for one in (short, long))
    assert lying != standing
    assert "linear model" in texts(long)


def test_many_layers_are_told_by_what_differs():
    names = tuple(f"net.block{layer}.conv.weight" for layer in range(500))
    picture = replace(BARS, series=(Series("update", names, (1e-3,) * 500, kind="bars"),))
    text = svg(picture)
    assert len(text) < 40_000
    assert {"0", "84", "420"} <= set(re.findall(r">(\d+)<", text))


@pytest.mark.parametrize("count", [2, 16])
def test_many_values_stay_small_and_keep_the_extremes(count: int):
    x = tuple(map(float, range(20_000)))
    series = [Series(f"m{i}", x, tuple(math.sin(i + v / 50) for v in x)) for i in range(count)]
    spiked = replace(series[0], y=(*series[0].y[:777], 99.0, *series[0].y[778:]))
    text = svg(replace(CURVES, series=(spiked, *series[1:])))
    assert len(text) < 40_000
    assert ">100<" in text


def test_a_legend_says_what_it_leaves_out():
    series = tuple(Series(f"m{i}", (0.0, 1.0), (0.0, float(i))) for i in range(15))
    found = texts(replace(CURVES, series=series))
    assert "the first 12 of 15" in found
    assert "m12" not in found


@pytest.mark.parametrize(
    "series",
    [
        (),
        (Series("none", (), ()),),
        (Series("nan", (1.0, 2.0), (math.nan, math.inf)),),
        (Series("bars", (), (), kind="bars"),),
    ],
)
def test_nothing_to_see_is_said(series: tuple[Series, ...]):
    assert "no values" in texts(replace(CURVES, series=series))


@pytest.mark.parametrize("kind", ["line", "points", "bars"])
def test_open_intervals_and_crossed_ones_are_drawn(kind: str):
    series = Series(
        "s", (1.0, 2.0, 3.0), (1.0, 2.0, 3.0),
        (-math.inf, math.nan, 3.5), (2.0, math.inf, 2.5), kind,
    )  # fmt: skip
    assert "no values" not in texts(replace(CURVES, series=(series,)))


@pytest.mark.parametrize("kind", ["line", "points", "bars", "map"])
def test_hostile_words_stay_words(kind: str):
    series = Series(HOSTILE, (HOSTILE, "日本語", "$"), (1.0, 2.0, 3.0), kind=kind)
    picture = Picture(HOSTILE, HOSTILE, HOSTILE, HOSTILE, (series, replace(series, name="$b$")))
    text = svg(picture)
    root = ET.fromstring(text.replace(' xmlns="http://www.w3.org/2000/svg"', ""))
    assert {element.tag for element in root.iter()} <= {
        "svg", "title", "desc", "g", "defs", "path", "use", "text", "clipPath", "rect",
    }  # fmt: skip
    assert "<script" not in text
    assert "$b$" in texts(picture)
    assert not re.search(r"\son\w+=", re.sub(r">[^<]*<", "><", text))


def test_series_that_do_not_fit_are_named():
    with pytest.raises(PictureError, match="'odd' has 2 x, 1 y"):
        svg(replace(CURVES, series=(Series("odd", (1.0, 2.0), (1.0,)),)))
    with pytest.raises(PictureError, match="'band' has 1 x, 1 y, 1 low, 0 high"):
        svg(replace(CURVES, series=(Series("band", (1.0,), (1.0,), (0.5,)),)))


def test_what_the_user_has_set_stays():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with mpl.rc_context({"lines.linewidth": 9.0, "svg.fonttype": "path"}):
        assert svg(CURVES) == svg(CURVES)
        assert "stroke-width: 9" not in svg(CURVES)
        assert mpl.rcParams["lines.linewidth"] == 9.0
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0"), (0.5, "0.5"), (1000.0, "1,000"), (2e6, "2e+06"), (1e-5, "1e-05")],
)
def test_ticks(value: float, said: str):
    assert tick(value) == said


# -- maps -----------------------------------------------------------------------------------------


def table(values: list[list[float]], log: str = "") -> Picture:
    rows = [
        Series(f"row {at}", tuple(f"c{n}" for n in range(len(row))), tuple(row), kind="map")
        for at, row in enumerate(values)
    ]
    said = "What was taken for what."
    return Picture("Confusion", said, "predicted", "samples", tuple(rows), log, "true")


def shades(picture: Picture) -> set[str]:
    return set(re.findall(r"fill: var\(--series-1[^;]*; opacity: ([\d.]+)", svg(picture)))


def test_a_small_map_has_its_numbers_written_in():
    found = texts(table([[30.0, 2.0], [math.nan, 41.5]]))
    assert {"30", "2", "41.5", "row 0", "c1", "predicted", "true"} <= set(found)
    assert "nan" not in found


def test_a_map_has_a_shade_for_each_value():
    assert len(shades(table([[0.0, 1.0, 2.0]]))) == 3
    assert len(shades(table([[5.0, 5.0, 5.0]]))) == 1


def test_a_logarithmic_map_tells_small_values_apart():
    values = [[1.0, 10.0, 10_000.0]]
    assert (len(shades(table(values))), len(shades(table(values, "y")))) == (2, 3)


def test_a_large_map_keeps_its_largest_values_and_says_what_shades_mean():
    values = [
        [float(row == 77 and column == 901) * 7 for column in range(1000)] for row in range(90)
    ]
    picture = table(values)
    assert len(svg(picture)) < 40_000
    assert {"0", "7", "samples"} <= set(texts(picture))


def test_a_map_of_nothing_says_so():
    assert "no values" in texts(table([[math.nan, math.inf]]))


def test_a_map_holds_no_other_series():
    line = Series("line", (1.0,), (1.0,))
    picture = table([[1.0]])
    with pytest.raises(PictureError, match="line, map; a map can hold no other series"):
        svg(replace(picture, series=(*picture.series, line)))
