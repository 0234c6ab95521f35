"""Pictures of the sections of a report, for docs/report.md: `python -m benchmarks.report_pictures REPORT.html`.

Each section is shown alone by Chromium, which has to be installed, cut to what is drawn, and written to docs/report/.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

OUT = Path(__file__).resolve().parent.parent / "docs" / "report"
TOP = "head"  # what stands above the sections: title, verdict, figures
WIDTH, HEIGHT = 1000, 2600
COLOURS = 96
#: lower ends of what is shown of long sections, in pixels
MOST = {"setting": 900, "comparison": 1000, "fields": 900, "profiles": 800, "audit": 700}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="an HTML page of `sciml report` or `sciml demo`")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise SystemExit("report_pictures: no Chromium; apt-get install chromium")
    page = arguments.report.read_text(encoding="utf-8")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in (TOP, *re.findall(r'<section id="([a-z]+)">', page)):
        picture = cut(shown(browser, alone(page, name)), MOST.get(name, HEIGHT))
        picture.quantize(COLOURS).save(arguments.out / f"{name}.png", optimize=True)
        print(arguments.out / f"{name}.png", *picture.size)


def alone(page: str, name: str) -> str:
    """The page with one section, or with what stands above them all."""
    hidden = "section[id]" if name == TOP else f"main > :not(#{name}), body > :not(main):not(:has(#{name}))"
    style = f"<style>{hidden}, nav, footer {{ display: none !important }} body {{ background: #fff }}</style>"
    return page.replace("</head>", f"{style}</head>", 1)


def shown(browser: str, page: str) -> Image.Image:
    """What Chromium makes of a page."""
    with tempfile.TemporaryDirectory() as folder:
        source, picture = Path(folder, "page.html"), Path(folder, "page.png")
        source.write_text(page, encoding="utf-8")
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", source.as_uri(),
            ],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")


def cut(picture: Image.Image, most: int) -> Image.Image:
    """Without its margins, and no higher than `most`."""
    empty = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))
    box = ImageChops.difference(picture, empty).getbbox() or (0, 0, *picture.size)
    left, upper, right, lower = box
    margin = 12
    return picture.crop(
        (max(left - margin, 0), max(upper - margin, 0), min(right + margin, picture.width),
         min(lower + margin, picture.height, upper + most))
    )  # fmt: skip


if __name__ == "__main__":
    main()
