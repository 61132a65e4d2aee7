"""Samples as people see, hear and read them, and how a page shows them."""

import base64
import io
import re
import wave
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image
from results import HOSTILE

from nomagic.exhibits import HEARD, LETTERS, SIDE, STRANGE, exhibit, sparkline
from nomagic.fitting.ledger import Ledger
from nomagic.report import html
from nomagic.words import Exhibit, Form, Gallery, Stage

IMAGE = Form("classification", (1, 8, 8), 10)
PHOTO = Form("classification", (3, 8, 8), 10)
SOUND = Form("classification", (1, 4096), 10)


def opened(one: Exhibit) -> Image.Image:
    return Image.open(io.BytesIO(one.media))


def test_an_image_in_0_1_keeps_its_values():
    x = torch.linspace(0.2, 0.8, 64).reshape(1, 8, 8)
    one = exhibit(x, IMAGE, "a digit")
    assert one.kind == "image"
    assert one.caption == "a digit"
    picture = opened(one)
    assert picture.mode == "L"
    assert picture.size == (8, 8)
    assert picture.getpixel((0, 0)) == round(0.2 * 255)
    assert picture.getpixel((7, 7)) == round(0.8 * 255)
    assert "8 × 8 pixels from 0.2 to 0.8" in one.text


def test_other_values_are_stretched_or_lie_in_the_span_that_is_given():
    x = torch.linspace(-2, 2, 64).reshape(8, 8)
    form = Form("classification", (8, 8), 10)
    assert opened(exhibit(x, form, "")).getpixel((0, 0)) == 0
    assert opened(exhibit(x, form, "")).getpixel((7, 7)) == 255
    assert opened(exhibit(x, form, "", span=(-2, 6))).getpixel((7, 7)) == 128


def test_a_photo_has_its_colours_and_is_the_right_way_up():
    x = torch.zeros(3, 8, 8)
    x[0, 0, 7] = 1.0
    picture = opened(exhibit(x, PHOTO, ""))
    assert picture.mode == "RGB"
    assert picture.getpixel((7, 0)) == (255, 0, 0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_magenta_and_said(bad: float):
    x = torch.full((1, 8, 8), 0.5)
    x[0, 2, 3] = bad
    one = exhibit(x, IMAGE, "")
    assert opened(one).getpixel((3, 2)) == STRANGE
    assert opened(one).getpixel((0, 0)) == (128, 128, 128)
    assert "1 not finite" in one.text


@pytest.mark.parametrize("value", [0.0, 1.0, -0.42, float("nan")])
def test_constant_images_are_images(value: float):
    assert opened(exhibit(torch.full((1, 8, 8), value), IMAGE, "")).size == (8, 8)


def test_large_images_are_made_smaller():
    one = exhibit(torch.rand(3, 600, 300), Form("classification", (3, 600, 300), 2), "")
    assert opened(one).size == (SIDE // 2, SIDE)


def test_a_waveform_is_a_file_that_plays():
    x = torch.sin(torch.arange(4096) / 10)[None] * 0.01
    one = exhibit(x, SOUND, "seven", rate=16_000)
    assert one.kind == "sound"
    with wave.open(io.BytesIO(one.media)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        samples = torch.frombuffer(bytearray(file.readframes(4096)), dtype=torch.int16)
    assert len(samples) == 4096
    assert int(samples.abs().max()) == 32_767
    assert "0.26 s" in one.text
    assert "played at" not in one.text
    assert "played at 8,000" in exhibit(x, SOUND, "").text


def test_silence_and_broken_samples_are_sounds():
    for x in (torch.zeros(1, 4096), torch.full((1, 4096), float("nan"))):
        with wave.open(io.BytesIO(exhibit(x, SOUND, "").media)) as file:
            assert file.getnframes() == 4096


def test_a_long_sound_is_cut_and_says_so():
    one = exhibit(torch.randn(1, 10 * HEARD), Form("regression", (1, 10 * HEARD), 1), "")
    assert len(one.media) < HEARD + 100
    assert "are heard" in one.text


def test_tokens_are_their_text():
    form = Form("sequence", (5,), 3, ("a", "b", "\n"), 3)
    assert exhibit(torch.tensor([0, 1, 2, 0, 0]), form, "").text == "ab\naa"
    words = Form("sequence", (2,), 3, ("good", "morning"), 2)
    assert exhibit(torch.tensor([0, 1]), words, "").text == "good morning"
    unknown = Form("classification", (2,), 2, ("yes", "no"), 900)
    assert exhibit(torch.tensor([7, 899]), unknown, "").text == "7 899"
    long = Form("sequence", (5000,), 1, ("a",), 1)
    assert len(exhibit(torch.zeros(5000, dtype=torch.long), long, "").text) == LETTERS + 1


def test_a_row_of_a_table_has_its_names():
    form = Form("regression", (3,), 1)
    said = exhibit(torch.tensor([1.5, 2, float("nan")]), form, "", ("alcohol", "ash", "hue")).text
    assert said == "alcohol: 1.5\nash: 2\nhue: nan"
    assert exhibit(torch.ones(3), form, "").text.startswith("1: 1\n")
    assert exhibit(torch.ones(30), Form("regression", (30,), 1), "").text.endswith("and 22 more")


def test_a_series_is_drawn_with_blocks():
    said = exhibit(torch.arange(16.0).reshape(2, 8), Form("regression", (2, 8), 1), "", ("a", "b"))
    assert said.text.splitlines() == ["a: ▁▂▃▄▅▆▇█ 0 … 7", "b: ▁▂▃▄▅▆▇█ 8 … 15"]


def test_a_sparkline_of_odd_numbers():
    assert sparkline(torch.tensor([])) == ""
    assert sparkline(torch.ones(3)) == "▁▁▁"
    assert sparkline(torch.tensor([0, float("nan"), 1])) == "▁·█"
    assert len(sparkline(torch.rand(1000), points=20)) == 20


# -- in a stage, and on a page --------------------------------------------------------------------

GALLERY = Gallery(
    "Worst mistakes",
    "What the network is surest of and wrong about.",
    (
        exhibit(torch.rand(1, 8, 8), IMAGE, "3, taken for 8"),
        exhibit(torch.rand(1, 4096), SOUND, "seven"),
        Exhibit("a row", "text", text="alcohol: 1.5"),
    ),
)


def test_a_stage_with_files_in_it_is_kept_as_it_was(tmp_path: Path):
    ledger = Ledger(tmp_path, {"setup": "digits"})
    stage = Stage("data", ("said",), {"share": 0.5}, galleries=(GALLERY,))
    assert ledger.keep(stage) == stage
    ledger.close()


def rendered(gallery: Gallery) -> str:
    parts = html._environment().get_template("parts.html.j2").module
    return str(parts.gallery(gallery))  # pyright: ignore[reportAttributeAccessIssue]


def test_a_gallery_shows_plays_and_says():
    page = rendered(GALLERY)
    for said in ("Worst mistakes", "surest of", "3, taken for 8", "seven", "alcohol: 1.5"):
        assert said in page
    (png,) = re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="3, taken for 8', page)
    assert base64.b64decode(png) == GALLERY.exhibits[0].media
    (wav,) = re.findall(r'<audio src="data:audio/wav;base64,([^"]+)" controls', page)
    assert base64.b64decode(wav) == GALLERY.exhibits[1].media


def test_hostile_words_stay_words():
    page = rendered(
        Gallery(
            HOSTILE,
            HOSTILE,
            (
                Exhibit(HOSTILE, "image", b"<script>\"'>", HOSTILE),
                Exhibit(HOSTILE, "sound", b"<script>\"'>", HOSTILE),
                Exhibit(HOSTILE, "text", text=HOSTILE),
            ),
        )
    )
    assert "<script" not in page
    assert set(re.findall(r"<(\w+)", page)) <= {"div", "p", "b", "ul", "li", "img", "audio", "span"}
    names: set[str] = set()
    reader = HTMLParser()
    reader.handle_starttag = lambda _, attrs: names.update(name for name, _ in attrs)
    reader.feed(page)
    assert not {name for name in names if name.startswith("on")}
    assert not re.search("[\u202e\x00\x1b\ud800]", page)


def test_the_page_may_show_what_it_holds_and_fetch_nothing():
    assert "img-src data:;" in html.POLICY
    assert "media-src data:;" in html.POLICY
    assert html.POLICY.startswith("default-src 'none'")
