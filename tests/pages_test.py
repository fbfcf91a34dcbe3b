"""Opens every page that the program writes in headless Chromium, at two widths, light and dark: nothing fails or asks
for anything from anywhere, every picture is there, nothing is cut off, charts are drawn and can be read by keyboard.
Screenshots are left in OUT. usage: pages_test.py FEWSHIFT PICTURES OUT"""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

chromium = shutil.which("chromium")
try:
    from playwright.sync_api import sync_playwright
except ImportError:
    chromium = None
if not chromium:
    print("playwright or chromium is not there")
    sys.exit(77)

program, pictures, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
out.mkdir(parents=True, exist_ok=True)


def run(*args, code=0, said=""):
    result = subprocess.run([program, *map(str, args)], capture_output=True, text=True)
    assert result.returncode == code, (args, result.returncode, result.stderr)
    assert said in result.stderr, result.stderr
    return result.stderr


def make_pages(folder):
    data = folder / "data"
    shutil.copytree(pictures, data)
    some = sorted((data / "train").iterdir())
    picture = sorted(some[0].glob("*.jpg"))[0]
    shutil.copy(picture, data / "test" / some[1].name / "again.jpg")
    (some[0] / "cut.jpg").write_bytes(picture.read_bytes()[:2000])
    (some[0] / "<b>text & \"quotes\".jpg").write_text("no picture")
    for seed in (1, 2):
        told = run("train", "--model", "fenet_0.5", "--size", 32, "--data", data, "--epochs", 2, "--batch", 32, "--seed", seed,
                   "--shift-sparsity", 0.5, "--out", folder / f"run{seed}")
        best = [line.endswith("  best") for line in told.splitlines() if line.startswith("epoch ") and "  val top-1 " in line]
        assert best == [False, True], told  # shifts are pruned in the second epoch, too
    run("export", folder / "run1", "--out", folder / "run.onnx")
    run("data", "check", data, "--few", 400, "--html", out / "check.html", code=3,
        said=f"{out / 'check.html'}\n")
    run("report", folder / "run1", "--html", out / "report.html")
    metrics = folder / "run2" / "metrics.jsonl"
    epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
    epochs[0]["train_loss"] *= 40  # as an unlucky start has it
    metrics.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    run("report", folder / "run1", folder / "run2", "--html", out / "reports.html")
    run("inspect", folder / "run1", "--html", out / "atlas.html")
    run("inspect", folder / "run.onnx", "--picture", picture, "--html", out / "atlas_onnx.html")
    assert '"log_y":true' in (out / "reports.html").read_text() and '"log_y":true' not in (out / "report.html").read_text()
    assert "Epoch by epoch" in (out / "atlas.html").read_text()
    report = json.loads((out / "report.json").read_text())["runs"][0]
    assert len(report["epochs"]) == 2 and report["temperature"] > 0
    assert sum(bin["pictures"] for bin in report["reliability"]["bins"]) == report["pictures"]
    page = (out / "report.html").read_text()
    assert "pictures, as it is" in page and "pictures, calibrated" in page
    first, rest = page.split("<summary>The settings that are as by default</summary>")
    assert ">train.batch<" in first and ">train.batch<" not in rest and ">shift.rate<" in rest
    return ["check", "report", "reports", "atlas", "atlas_onnx"]


def look(browser, name, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    faults, url = [], (out / f"{name}.html").resolve().as_uri()
    page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("request", lambda r: None if r.url == url or r.url.startswith("data:") else faults.append(r.url))
    page.goto(url)
    page.screenshot(path=out / f"{name}_{width}_{scheme}.png", full_page=True)
    broken = page.evaluate("[...document.images].filter(i => !i.complete || i.naturalWidth === 0).length")
    assert broken == 0, f"{broken} pictures are not there"
    assert page.evaluate("document.images.length") > 0
    over = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
    assert over <= 0, f"{over} px lie beyond the right edge"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    for canvas in page.query_selector_all("canvas"):
        drawn = canvas.evaluate("""c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            let n = 0; for (let k = 3; k < d.length; k += 4) n += d[k] > 0; return n / (d.length / 4); }""")
        assert 0.005 < drawn < 0.9, f"a chart covers {drawn:.3f} of its place"
        canvas.focus()
        page.keyboard.press("ArrowRight")
        assert canvas.evaluate("c => Chart.getChart(c).getActiveElements().length") > 0, "arrow keys do nothing"
    for summary in page.query_selector_all("details > summary"):
        summary.click()
        rows = summary.evaluate("s => s.parentElement.querySelectorAll('tr').length")
        assert rows > 1 and summary.evaluate("s => s.parentElement.open")
    for link in page.query_selector_all("a[href^='#']"):
        link.click()
        assert page.evaluate("!!document.querySelector(location.hash)"), page.url
    context.close()
    assert not faults, faults


with tempfile.TemporaryDirectory() as folder:
    names = make_pages(pathlib.Path(folder))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name in names:
            for width in (1280, 390):
                for scheme in ("light", "dark"):
                    try:
                        look(browser, name, width, scheme)
                    except AssertionError as error:
                        sys.exit(f"{name}, {width} px, {scheme}: {error}")
        browser.close()
print(f"{len(names)} pages, each four times")
