"""The image service's page, in a real browser."""

import os
import shutil
import sys
import tempfile
import unittest

import pictures
from service import Service, eventually, patience


def find_browser():
    """Chromium and its driver, which are a package each in Debian. (Ubuntu has them only as a snap.)"""
    browser = next((p for p in ("/usr/bin/chromium", "/usr/bin/google-chrome") if os.path.exists(p)), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


try:
    from selenium import webdriver
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.chrome.service import Service as Driver
    from selenium.webdriver.common.by import By
except ImportError:
    webdriver = None

screenshots = os.environ.get("WEFT_SCREENSHOTS")  # a folder to leave them in


@unittest.skipUnless(webdriver, "no python3-selenium")
@unittest.skipUnless(find_browser(), "no chromium with chromedriver")
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        browser, driver = find_browser()
        cls.home = tempfile.mkdtemp(prefix="weft_browser_")
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                       "--window-size=1280,1000", "--user-data-dir=" + cls.home, "--disable-background-networking",
                       "--no-first-run"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        cls.browser = webdriver.Chrome(service=Driver(driver), options=options)
        cls.browser.set_page_load_timeout(patience)

    @classmethod
    def tearDownClass(cls):
        cls.browser.quit()
        shutil.rmtree(cls.home, ignore_errors=True)

    def setUp(self):
        self.files = tempfile.mkdtemp(prefix="weft_uploads_")
        self.service = Service("--local-urls", 1)
        self.open()
        self.complaints()  # of the page of an earlier test, which lost its server

    def tearDown(self):
        self.browser.get("about:blank")
        self.service.kill()
        shutil.rmtree(self.files, ignore_errors=True)

    def open(self):
        self.browser.get(self.service.url)
        eventually(lambda: self.text("#state") == "live", "the page's first event")

    def all(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector):
        try:
            return self.one(selector).text
        except StaleElementReferenceException:
            return ""

    def file(self, name, content):
        path = os.path.join(self.files, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    def upload(self, *files):
        self.one("#files").send_keys("\n".join(self.file(name, content) for name, content in files))

    def shoot(self, name):
        if screenshots:
            self.browser.save_screenshot(os.path.join(screenshots, name + ".png"))

    def complaints(self):
        return [entry["message"] for entry in self.browser.get_log("browser")
                if entry["level"] == "SEVERE" and "/pictures?" not in entry["message"]]

    def states(self):
        return [item.get_attribute("data-state") for item in self.all("#uploads li")]

    def names(self):
        """As far as they are seen: a new card fades in, and is "" at first."""
        return sorted(name.text for name in self.all("#gallery b"))

    def test_uploads_come_into_the_gallery(self):
        self.assertEqual(self.text("#none"), "Nothing here yet.")
        self.upload(("meadow.jpg", pictures.jpeg(2000, 1500, seed=5)), ("sea.png", pictures.png(seed=6)))
        eventually(lambda: self.states() == ["done", "done"], "both uploads")
        eventually(lambda: len(self.all("#gallery button")) == 2, "both pictures")
        eventually(lambda: self.names() == ["meadow.jpg", "sea.png"], "both names")
        # The browser has decoded them.
        eventually(lambda: self.browser.execute_script(
            "return [...document.querySelectorAll('#gallery img')].every(i => i.complete && i.naturalWidth === 320)"),
                   "the thumbnails")
        self.shoot("gallery")
        self.one("#gallery button").click()
        eventually(lambda: self.one("#viewer").is_displayed(), "the viewer")
        eventually(lambda: self.browser.execute_script("return document.querySelector('#viewer img').naturalWidth > 0"),
                   "the large version")
        self.assertEqual(len(self.all("#viewer a")), 4)
        self.shoot("viewer")
        self.assertEqual(self.complaints(), [])

        self.open()  # they are there the next time
        eventually(lambda: len(self.all("#gallery button")) == 2, "both pictures again")

    def test_dropped_files_are_uploaded(self):
        self.browser.execute_script("""
            const data = new DataTransfer();
            data.items.add(new File([Uint8Array.from(arguments[0])], 'dropped.png', { type: 'image/png' }));
            for (const type of ['dragenter', 'dragover', 'drop'])
              document.querySelector('#drop').dispatchEvent(
                  new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true }));
            """, list(pictures.png(64, 48)))
        eventually(lambda: self.states() == ["done"], "the upload")
        eventually(lambda: self.names() == ["dropped.png"], "its name")

    def test_progress_is_shown(self):
        # At 4 MB/s each second is some steps of the bar.
        self.browser.execute_cdp_cmd("Network.enable", {})
        self.browser.execute_cdp_cmd("Network.emulateNetworkConditions",
                                     {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 4e6})
        self.browser.execute_script("""
            window.seen = [];
            new MutationObserver(() => {
              const bar = document.querySelector('#uploads progress');
              if (bar) seen.push(bar.position);
            }).observe(document.querySelector('#uploads'), { subtree: true, attributes: true, childList: true });
            """)
        big = pictures.jpeg(1500, 1000, quality=95) + bytes(4_000_000)
        self.upload(("slow.jpg", big))
        eventually(lambda: self.states() == ["done"], "the upload")
        seen = [v for v in self.browser.execute_script("return seen") if 0 < v < 1]
        self.assertGreater(len(set(seen)), 1, "the bar did not move")
        self.assertEqual(seen, sorted(seen))
        self.browser.execute_cdp_cmd("Network.disable", {})

    def test_a_broken_picture_is_told_of(self):
        self.upload(("broken.jpg", pictures.jpeg()[:5000]), ("notes.png", b"no picture"))
        eventually(lambda: self.states() == ["failed", "failed"], "both failures")
        self.assertEqual({p.text for p in self.all("#uploads p")},
                         {"the picture is cut short", "this is neither a JPEG nor a PNG"})
        self.shoot("broken")
        self.assertEqual(self.all("#gallery button"), [])

    def test_an_address_is_fetched(self):
        sent = self.service.add(pictures.jpeg(seed=8), "web.jpg").json()
        self.open()
        self.one("#url").send_keys(self.service.url + sent["versions"][1]["url"])
        self.one("#fetch button").click()
        eventually(lambda: self.states() == ["done"], "the fetch")
        eventually(lambda: len(self.all("#gallery button")) == 2, "the second picture")

    def test_the_charts_move(self):
        def drawn():
            return self.browser.execute_script(
                "return [...document.querySelectorAll('canvas')].map(c => c.toDataURL())")

        def requests():
            digits = "".join(c for c in self.text("[data-chart=rate] span") if c.isdigit())
            return int(digits or 0)

        # The page itself asks 20 times a second.
        eventually(lambda: requests() > 0, "an event with requests")
        eventually(lambda: self.text("[data-chart=latency] span") not in ("", "p50 –"), "a time")
        before = drawn()
        eventually(lambda: all(a != b for a, b in zip(before, drawn())), "a change in each chart")
        labels = [c.get_attribute("aria-label") for c in self.all("canvas")]
        self.assertRegex(labels[1], r"^p50 [\d.]+ (µs|ms), p99 [\d.]+ (µs|ms)$")
        self.assertRegex(labels[2], r"^loops \d+ %, CPU pool \d+ %, CPU queue 0 of 32$")
        self.assertEqual(self.complaints(), [])

    def test_the_page_tells_that_the_server_is_away(self):
        self.service.stop()
        eventually(lambda: self.text("#state") == "the server is away", "the news")

    def test_looks(self):
        """Judged by people: takes pictures where WEFT_SCREENSHOTS says."""
        if not screenshots:
            self.skipTest("no WEFT_SCREENSHOTS")
        for seed in range(12):
            self.upload((f"picture {seed}.jpg", pictures.jpeg(2400 + 50 * seed, 1600, seed=seed)))
        self.upload(("broken.jpg", pictures.jpeg()[:5000]))
        eventually(lambda: len(self.all("#gallery button")) == 12, "the gallery")
        import time
        time.sleep(8)
        self.shoot("light")
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                     {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        time.sleep(1)
        self.shoot("dark")
        self.browser.set_window_size(480, 1000)
        time.sleep(1)
        self.shoot("narrow")


if __name__ == "__main__":
    unittest.main(verbosity=2)
