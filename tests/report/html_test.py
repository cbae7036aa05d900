# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTML report of a campaign with hostile names: that it is well formed and fetches nothing, and
what Chromium lays out of it, wide and narrow, light and dark.

    html_test.py TEST_REPORT
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser

SAMPLES = 10 + 2 + 2 + 3  # counted, of the scene's four arms
PHASES = 4 * 3  # started, init, ready
VOID = {"meta", "br", "hr", "img", "input", "link"}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]

# Answers as JSON in the page's own title: what is really laid out, and how text stands out.
LOOK = r"""
const laid = (s) => [...document.querySelectorAll(s)].filter((x) => {
  const r = x.getBoundingClientRect(); return r.width > 0 && r.height > 0; }).length;
const parts = (c) => (c.match(/[\d.]+/g) || []).map(Number);
const light = (c) => parts(c).slice(0, 3).map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (x) => { for (; x; x = x.parentElement) {
  const c = getComputedStyle(x).backgroundColor;
  if (!(parts(c).length === 4 && parts(c)[3] === 0)) return c; } return "rgb(255,255,255)"; };
const ratio = (x) => { const s = getComputedStyle(x);
  const a = light(x.tagName === "text" ? s.fill : s.color), b = light(behind(x));
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
const texts = [...document.querySelectorAll("h1,h2,h3,p,li,td,th,dd,dt,figcaption,summary,svg text")];
const answer = {
  dots: laid('use[*|href="#gpPt6"]:not(defs *)'), bars: laid("svg polygon"),
  svgs: laid("svg.plot"), inner: innerWidth, scroll: document.documentElement.scrollWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches,
  contrast: Math.min(...texts.map(ratio)), texts: texts.length,
  paper: getComputedStyle(document.body).backgroundColor };
document.body.innerHTML = ""; document.body.textContent = "ANSWER" + JSON.stringify(answer) + "END";
"""


class Strict(HTMLParser):
    """Every element is closed in order; ids are unique; nothing is run or fetched."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.ids, self.wrong, self.elements = [], set(), [], set()

    def see(self, tag, attributes):
        self.elements.add(tag)
        for name, value in attributes:
            if name == "id" and value in self.ids:
                self.wrong.append(f"id {value} twice")
            if name == "id":
                self.ids.add(value)
            if name in ("src", "href", "xlink:href", "data") and not value.startswith("#"):
                self.wrong.append(f"{tag} fetches {value}")
            if name.startswith("on"):
                self.wrong.append(f"{tag} runs {name}")

    def handle_starttag(self, tag, attrs):
        self.see(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.see(tag, attrs)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}> closes nothing")


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="plimsoll-html-")
        cls.page = subprocess.run([sys.argv[1], "--print-hostile"], stdout=subprocess.PIPE,
                                  check=True, timeout=120).stdout.decode("utf-8")
        looked = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", cls.page)
        assert looked != cls.page
        cls.path = os.path.join(cls.folder, "report.html")
        with open(cls.path, "w", encoding="utf-8") as f:
            f.write(looked.replace("</body>", f"<script>{LOOK}</script></body>"))
        cls.plain = os.path.join(cls.folder, "plain.html")
        with open(cls.plain, "w", encoding="utf-8") as f:
            f.write(cls.page)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def chromium(self, dark, *arguments):
        """Blink's setting: 0 is dark, 1 is light."""
        home = tempfile.mkdtemp(dir=self.folder)
        return subprocess.run(
            ["chromium", *FLAGS, f"--user-data-dir={home}", "--hide-scrollbars",
             f"--blink-settings=preferredColorScheme={0 if dark else 1}", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, timeout=60).stdout

    def test_what_is_hostile_stays_text(self):
        parser = Strict()
        parser.feed(self.page)
        parser.close()
        self.assertEqual((parser.wrong, parser.open), ([], []))
        self.assertFalse(parser.elements & {"script", "b", "iframe", "object", "link"})
        self.assertNotIn("</script>", self.page)
        self.assertIsNone(re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x0b-\x1f\x7f-\x9f]", self.page))
        self.assertGreaterEqual(self.page.count("&lt;/script&gt;&lt;b id=x&gt;&quot;&#39;&amp;amp; "), 5)

    def test_everything_is_drawn(self):
        seen = set()
        for width in (1100, 390):
            for dark in (False, True):
                with self.subTest(width=width, dark=dark):
                    seen.add(self.look(width, dark))
        self.assertEqual(len(seen), 2, "light and dark look alike")

    def look(self, width, dark):
        # A window has a least width; a frame has not.
        frame = os.path.join(self.folder, "frame.html")
        with open(frame, "w", encoding="utf-8") as f:
            f.write(f'<body style="margin:0"><iframe src="report.html" width={width} height=2000 '
                    'style="border:0"></iframe><script>onload = () => { document.body.textContent = '
                    'frames[0].document.body.textContent; }</script>')
        text = self.chromium(dark, "--window-size=1200,2000", "--allow-file-access-from-files",
                             "--dump-dom", "file://" + frame).decode()
        a = json.loads(re.search("ANSWER(.*)END", text).group(1))
        self.assertEqual((a["dots"], a["bars"], a["svgs"]), (SAMPLES, PHASES, 3), a)
        self.assertEqual((a["inner"], a["dark"]), (width, dark), a)
        self.assertLessEqual(a["scroll"], width, a)
        self.assertGreater(a["texts"], 100)
        self.assertGreaterEqual(a["contrast"], 4.5, a)
        return a["paper"]

    def test_a_picture_of_it_is_not_blank(self):
        for dark in (False, True):
            path = os.path.join(self.folder, "picture.png")
            self.chromium(dark, "--window-size=1100,1400", f"--screenshot={path}", "file://" + self.plain)
            # A page of one colour compresses to some 8 KB.
            self.assertGreater(os.path.getsize(path), 50000)
            os.unlink(path)


if __name__ == "__main__":
    for tool in ("chromium", "gnuplot"):
        if not shutil.which(tool):
            print(f"skipped: {tool} is not installed (deploy/setup --tests installs it)")
            sys.exit(77)
    unittest.main(argv=[sys.argv[0], "-v"])
