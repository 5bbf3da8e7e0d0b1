"""Images become just the numbers that the preprocessing says, with the right label."""

import sys

import numpy as np
import pytest
from PIL import Image

from trtlab.dataset.samples import Dataset
from trtlab.errors import BackendUnavailableError, SpecError


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pictures"
    made.mkdir()
    return made


def save(path, height=4, width=6, seed=0, mode="RGB"):
    path.parent.mkdir(exist_ok=True, parents=True)
    channels = {"RGB": (3,), "RGBA": (4,), "L": ()}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def read(folder, size=(4, 6), **how):
    return Dataset.from_images(folder, size=size, **how)


def test_values_are_scaled_shifted_and_divided(folder):
    pixels = save(folder / "a.png")
    found = read(folder, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    scaled = pixels.transpose(2, 0, 1) / 255
    want = (scaled - np.array([0.5, 0.4, 0.3])[:, None, None]) / np.array([0.1, 0.2, 0.3])[
        :, None, None
    ]
    assert found.arrays[""].dtype == np.float32
    np.testing.assert_array_equal(found.arrays[""][0], want.astype(np.float32))
    assert found.words == (
        "1 images of pictures: RGB, stretched to 4 × 6 (bilinear), values divided by 255, "
        "minus 0.5 / 0.4 / 0.3, divided by 0.1 / 0.2 / 0.3, float32 NCHW; no labels"
    )


def test_channels_and_layouts(folder):
    pixels = save(folder / "a.png").astype(np.float32)
    assert np.array_equal(read(folder, scale=1, layout="NHWC").arrays[""][0], pixels)
    bgr = read(folder, scale=1, channels="BGR", mean=(1, 2, 3)).arrays[""]
    assert np.array_equal(bgr[0, 0], pixels[:, :, 2] - 1)
    assert np.array_equal(bgr[0, 2], pixels[:, :, 0] - 3)
    gray = read(folder, scale=1, channels="gray").arrays[""]
    assert gray.shape == (1, 1, 4, 6)
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    assert np.abs(gray[0, 0] - luma).max() <= 1
    found = read(folder, scale=0.5, channels="gray", mean=3.0, std=2.0, layout="NHWC")
    assert found.arrays[""].shape == (1, 4, 6, 1)
    assert "gray" in found.words
    assert "values divided by 2, minus 3.0, divided by 2.0, float32 NHWC" in found.words


def test_the_centre_is_cut_out_without_resizing(folder):
    pixels = save(folder / "a.png", 9, 8)
    found = read(folder, (3, 4), resize=None, scale=1, layout="NHWC")
    assert np.array_equal(found.arrays[""][0], pixels[3:6, 2:6])
    assert "RGB, the centre 3 × 4 cut out, values times 1.0" in found.words
    with pytest.raises(SpecError, match=r"a\.png is 9 × 8, smaller than 3 × 12"):
        read(folder, (3, 12), resize=None)


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (41, 63), (32, 32)])
def test_the_shorter_side_is_resized_as_torchvision_does(folder, height, width):
    save(folder / "a.png", height, width)
    found = read(folder, (20, 20), resize=32, scale=1, layout="NHWC", interpolation="bicubic")
    short = min(height, width)
    size = (int(32 * width / short), int(32 * height / short))
    image = Image.open(folder / "a.png").resize(size, Image.Resampling.BICUBIC)
    left, top = (round((side - 20) / 2) for side in size)
    want = np.asarray(image)[top : top + 20, left : left + 20]
    assert np.array_equal(found.arrays[""][0], want)
    assert "shorter side resized to 32 (bicubic), the centre 20 × 20 cut out" in found.words


def test_stretching_changes_both_sides(folder):
    save(folder / "a.png", 4, 6)
    found = read(folder, (3, 9), scale=1, layout="NHWC", interpolation="nearest")
    want = Image.open(folder / "a.png").resize((9, 3), Image.Resampling.NEAREST)
    assert np.array_equal(found.arrays[""][0], np.asarray(want))


def test_gray_transparent_and_palette_images_become_colours(folder):
    gray = save(folder / "a.png", mode="L")
    clear = save(folder / "b.png", mode="RGBA")
    Image.fromarray(clear).quantize(16).save(folder / "c.png")
    found = read(folder, scale=1, layout="NHWC").arrays[""]
    assert np.array_equal(found[0], np.repeat(gray[:, :, None], 3, axis=2))
    assert np.array_equal(found[1], clear[:, :, :3])
    assert found.shape == (3, 4, 6, 3)


def test_labels_from_sub_folders_by_name(folder):
    for path in ("dog/2.png", "cat/b.JPG", "cat/a.png", "ant/deep/x.bmp"):
        save(folder / path)
    (folder / ".cache").mkdir()
    (folder / "dog" / "notes.txt").write_text("no image")
    (folder / "dog" / "._2.png").write_bytes(b"no image")
    found = read(folder)
    assert found.labels.tolist() == [0, 1, 1, 2]
    assert found.words.endswith("; labels from 3 sub-folders")
    (folder / "bee").mkdir()
    with pytest.raises(SpecError, match="without images: bee"):
        read(folder)


@pytest.mark.parametrize("name", ["labels.txt", "labels.csv"])
def test_labels_from_a_file_beside_the_images(folder, name):
    for number in range(3):
        save(folder / f"{number}.png", seed=number)
    (folder / name).write_text('name,label\n2.png,7\n"0.png", 5\n\n1.png,0\n')
    found = read(folder)
    assert found.labels.tolist() == [5, 0, 7]
    assert found.words.endswith(f"; labels from {name}")
    assert found.hash == read(folder, labels=folder / name).hash


def test_a_label_file_counts_before_the_sub_folders(folder):
    save(folder / "a" / "1.png")
    save(folder / "b" / "1.png")
    (folder / "truth.csv").write_text("a/1.png,340\nb/1.png,2\n")
    assert read(folder).labels.tolist() == [0, 1]
    assert read(folder, labels=folder / "truth.csv").labels.tolist() == [340, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.png,1\n", r"1 labels for 2 images: no label for 1\.png"),
        ("0.png,1\n1.png,2\n2.png,3\n", r"3 labels for 2 images: no image 2\.png"),
        ("0.png,1\n0.png,1\n", "twice"),
        ("0.png,1\n1.png,-2\n", "entry 2"),
        ("0.png,1.5\n1.png,2\n", "entry 1"),
        ("0.png,cat\n1.png,dog\n", "entry 1"),
        ("0.png,1\n1.png," + "9" * 5000, "entry 2"),
        ("1\n2\n", "entry 1"),
        ("", "0 labels for 2 images"),
        ("\xe9,1\n", "cannot be read"),
    ],
)
def test_label_files_that_do_not_fit(folder, text, message):
    save(folder / "0.png")
    save(folder / "1.png")
    (folder / "labels.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(SpecError, match=message) as caught:
        read(folder)
    assert caught.value.hint


def test_the_limit_draws_as_take_does(folder):
    for number in range(12):
        save(folder / "ab"[number % 2] / f"{number:02}.png", seed=number)
    every, some = read(folder), read(folder, limit=5, seed=3)
    assert some.hash == every.take(5, seed=3).hash
    assert some.labels.tolist() == every.take(5, seed=3).labels.tolist()
    assert "; 5 of 12 drawn with seed 3" in some.words
    assert read(folder, limit=50).hash == every.hash


def test_it_equals_the_same_numbers_given_as_an_array(folder):
    pixels = save(folder / "a.png")
    found = read(folder, scale=1, layout="NHWC")
    assert found.hash == Dataset.from_arrays(pixels[None].astype(np.float32)).hash


def test_folders_without_images_or_with_both_kinds(folder):
    (folder / "a.txt").touch()
    for given, message in [
        (folder, "pictures has no images"),
        (folder / "a.txt", "no folder"),
        (folder / "missing", "no file or folder"),
    ]:
        with pytest.raises(SpecError, match=message) as caught:
            read(given)
        assert caught.value.hint
    save(folder / "a.png")
    save(folder / "cat" / "a.png")
    with pytest.raises(SpecError, match="itself and in sub-folders"):
        read(folder)


def test_unreadable_images_are_named(folder):
    save(folder / "cat" / "a.png")
    whole = (folder / "cat" / "a.png").read_bytes()
    for bad in (b"", b"no image", whole[: len(whole) // 2]):
        (folder / "cat" / "b.png").write_bytes(bad)
        with pytest.raises(SpecError, match=r"^cat/b\.png cannot be read") as caught:
            read(folder)
        assert caught.value.hint
    deep = Image.fromarray(np.full((4, 6), 40_000, np.uint16))
    deep.save(folder / "cat" / "b.png")
    with pytest.raises(SpecError, match=r"cat/b\.png has more than one byte"):
        read(folder)


@pytest.mark.filterwarnings("ignore")  # Pillow's own, about what it skips and large sizes
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tiff", "webp", "ppm"])
def test_damaged_bytes_end_in_an_image_or_a_clear_error(folder, ending):
    save(folder / f"a.{ending}", 16, 16)
    path = folder / f"a.{ending}"
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    generator = np.random.default_rng(0)
    for _ in range(60):
        damaged = whole.copy()
        where = generator.integers(0, min(len(whole), 200), 4)
        damaged[where] = generator.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert len(read(folder)) == 1
        except SpecError as error:
            assert f"a.{ending}" in error.message  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"size": 224}, "no size"),
        ({"size": (0, 4)}, "Height"),
        ({"size": (4, 2.5)}, "Width"),
        ({"resize": "crop"}, "shorter side"),
        ({"resize": 3}, "shorter side"),
        ({"interpolation": "area"}, "interpolation"),
        ({"channels": "CMYK"}, "order of channels"),
        ({"layout": "CHW"}, "layout"),
        ({"scale": 0}, "Scale must not be 0"),
        ({"std": (1, 0, 1)}, "deviation must not be 0"),
        ({"mean": (1, 2)}, "no mean"),
        ({"mean": "zero"}, "no mean"),
        ({"mean": (0.5, 0.5, 0.5), "channels": "gray"}, "no mean"),
        ({"std": float("nan")}, "no std"),
        ({"limit": 0}, "limit"),
    ],
)
def test_settings_that_make_no_sense(folder, how, message):
    save(folder / "a.png")
    with pytest.raises(SpecError, match=message) as caught:
        read(folder, **how)
    assert caught.value.hint


def test_without_pillow_the_hint_says_so(folder, monkeypatch):
    save(folder / "a.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(BackendUnavailableError, match="Pillow") as caught:
        read(folder)
    assert "pip install" in caught.value.hint
